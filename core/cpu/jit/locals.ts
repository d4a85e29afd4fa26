/**
 * Locals of a region's function: parameters, temporaries, then from LOCAL_FIRST on the guest registers that the region uses. Read
 * by TypeScript and by AssemblyScript alike: nothing but `export const LOCAL_NAME = <integer>`.
 */
export const LOCAL_BLOCK = 0;
export const LOCAL_PC = 1;
export const LOCAL_DEPTH = 2;
/** i64 x 4: the TLB context of data accesses; an address; instructions retired that H_INSTRET does not count yet; a TLB tag. */
export const LOCAL_DC = 3;
export const LOCAL_VA = 4;
export const LOCAL_COUNT = 5;
export const LOCAL_TAG = 6;
/** i32 x 8: a TLB entry; whether FS and frm have been looked at; temporaries, two; linear addresses of access groups, four. */
export const LOCAL_ENTRY = 7;
export const LOCAL_FS = 8;
export const LOCAL_TEMP = 9;
export const LOCAL_GROUPS = 11;
/** f64 x 2: a result that is looked at; H_FP_LIMIT. */
export const LOCAL_FP = 15;
export const LOCAL_LIMIT = 16;
export const LOCAL_FIRST = 17;
/** How many there are of each type before LOCAL_FIRST, parameters apart. */
export const LOCAL_I64S = 4;
export const LOCAL_I32S = 8;
export const LOCAL_F64S = 2;
