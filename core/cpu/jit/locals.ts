/**
 * Locals of a region's function: parameters, temporaries, then from LOCAL_FIRST on the guest registers that the region uses. Read
 * by TypeScript and by AssemblyScript alike: nothing but `export const LOCAL_NAME = <integer>`.
 */
export const LOCAL_BLOCK = 0;
export const LOCAL_PC = 1;
export const LOCAL_DEPTH = 2;
/** i64 x 3: the TLB context of data accesses; an address; instructions retired that H_INSTRET does not count yet. */
export const LOCAL_DC = 3;
export const LOCAL_VA = 4;
export const LOCAL_COUNT = 5;
/** i32 x 8: a TLB entry; whether FS and frm have been looked at; temporaries, two; linear addresses of access groups, four. */
export const LOCAL_ENTRY = 6;
export const LOCAL_FS = 7;
export const LOCAL_TEMP = 8;
export const LOCAL_GROUPS = 10;
/** f64 x 2: a result that is looked at; H_FP_LIMIT. */
export const LOCAL_FP = 14;
export const LOCAL_LIMIT = 15;
export const LOCAL_FIRST = 16;
