/**
 * WebAssembly's opcodes and types as far as translated code has them. Read by TypeScript and by AssemblyScript alike: nothing but
 * `export const NAME = <integer>`. What they are called and what follows them in text is in wasm-opcodes.ts.
 */

// Value types, and the type of a block without a result.
export const TYPE_I32 = 0x7f;
export const TYPE_I64 = 0x7e;
export const TYPE_F64 = 0x7c;
export const TYPE_FUNCREF = 0x70;
export const TYPE_VOID = 0x40;
/** Of a function, in the type section. */
export const TYPE_FUNC = 0x60;

// Control.
export const UNREACHABLE = 0x00;
export const BLOCK = 0x02;
export const LOOP = 0x03;
export const IF = 0x04;
export const ELSE = 0x05;
export const END = 0x0b;
export const BR = 0x0c;
export const BR_IF = 0x0d;
export const BR_TABLE = 0x0e;
export const RETURN = 0x0f;
export const CALL = 0x10;
export const CALL_INDIRECT = 0x11;
export const RETURN_CALL_INDIRECT = 0x13;
export const DROP = 0x1a;
export const SELECT = 0x1b;
export const LOCAL_GET = 0x20;
export const LOCAL_SET = 0x21;
export const LOCAL_TEE = 0x22;

// Memory.
export const I32_LOAD = 0x28;
export const I64_LOAD = 0x29;
export const F64_LOAD = 0x2b;
export const I32_LOAD16_U = 0x2f;
export const I64_LOAD8_U = 0x31;
export const I64_LOAD16_U = 0x33;
export const I64_LOAD32_U = 0x35;
export const I64_STORE = 0x37;
export const F64_STORE = 0x39;
export const I64_STORE8 = 0x3c;
export const I64_STORE16 = 0x3d;
export const I64_STORE32 = 0x3e;

// Constants.
export const I32_CONST = 0x41;
export const I64_CONST = 0x42;
export const F64_CONST = 0x44;

// Integers.
export const I32_EQZ = 0x45;
export const I32_EQ = 0x46;
export const I32_GT_S = 0x4a;
export const I32_GT_U = 0x4b;
export const I32_LE_U = 0x4d;
export const I64_EQZ = 0x50;
export const I64_EQ = 0x51;
export const I64_NE = 0x52;
export const I64_LT_S = 0x53;
export const I64_LT_U = 0x54;
export const I64_GE_S = 0x59;
export const I64_GE_U = 0x5a;
export const I32_CLZ = 0x67;
export const I32_CTZ = 0x68;
export const I32_POPCNT = 0x69;
export const I32_ADD = 0x6a;
export const I32_SUB = 0x6b;
export const I32_MUL = 0x6c;
export const I32_DIV_S = 0x6d;
export const I32_DIV_U = 0x6e;
export const I32_REM_S = 0x6f;
export const I32_REM_U = 0x70;
export const I32_AND = 0x71;
export const I32_OR = 0x72;
export const I32_SHL = 0x74;
export const I32_SHR_S = 0x75;
export const I32_SHR_U = 0x76;
export const I32_ROTL = 0x77;
export const I32_ROTR = 0x78;
export const I64_CLZ = 0x79;
export const I64_CTZ = 0x7a;
export const I64_POPCNT = 0x7b;
export const I64_ADD = 0x7c;
export const I64_SUB = 0x7d;
export const I64_MUL = 0x7e;
export const I64_DIV_S = 0x7f;
export const I64_DIV_U = 0x80;
export const I64_REM_S = 0x81;
export const I64_REM_U = 0x82;
export const I64_AND = 0x83;
export const I64_OR = 0x84;
export const I64_XOR = 0x85;
export const I64_SHL = 0x86;
export const I64_SHR_S = 0x87;
export const I64_SHR_U = 0x88;
export const I64_ROTL = 0x89;
export const I64_ROTR = 0x8a;

// Floating point.
export const F64_EQ = 0x61;
export const F64_LT = 0x63;
export const F64_GT = 0x64;
export const F64_LE = 0x65;
export const F64_ABS = 0x99;
export const F64_NEG = 0x9a;
export const F64_SQRT = 0x9f;
export const F64_ADD = 0xa0;
export const F64_SUB = 0xa1;
export const F64_MUL = 0xa2;
export const F64_DIV = 0xa3;
export const F64_MIN = 0xa4;
export const F64_MAX = 0xa5;
export const F64_COPYSIGN = 0xa6;

// Conversions.
export const I32_WRAP_I64 = 0xa7;
export const I64_EXTEND_I32_S = 0xac;
export const I64_EXTEND_I32_U = 0xad;
export const F64_CONVERT_I32_S = 0xb7;
export const F64_CONVERT_I32_U = 0xb8;
export const F64_CONVERT_I64_S = 0xb9;
export const F64_CONVERT_I64_U = 0xba;
export const I64_REINTERPRET_F64 = 0xbd;
export const F64_REINTERPRET_I64 = 0xbf;
export const I32_EXTEND16_S = 0xc1;
export const I64_EXTEND8_S = 0xc2;
export const I64_EXTEND16_S = 0xc3;
export const I64_EXTEND32_S = 0xc4;

// Behind the prefix of saturating truncation.
export const PREFIX_MISC = 0xfc;
export const I32_TRUNC_SAT_F64_S = 0x02;
export const I64_TRUNC_SAT_F64_S = 0x06;
// Behind the prefix of vectors.
export const PREFIX_SIMD = 0xfd;
export const F64X2_SPLAT = 0x14;
export const F64X2_EXTRACT_LANE = 0x21;
export const F64X2_RELAXED_MADD = 0x107;
// Behind the prefix of atomics.
export const PREFIX_ATOMIC = 0xfe;
export const I32_ATOMIC_RMW_ADD = 0x1e;

// Sections of a module.
export const SECTION_CUSTOM = 0;
export const SECTION_TYPE = 1;
export const SECTION_IMPORT = 2;
export const SECTION_FUNCTION = 3;
export const SECTION_ELEMENT = 9;
export const SECTION_CODE = 10;
/** Kinds of imports; limits of a shared memory with a maximum, of a table without one. */
export const IMPORT_TABLE = 1;
export const IMPORT_MEMORY = 2;
export const LIMITS_SHARED = 3;
export const LIMITS_MINIMUM = 0;
/** "\0asm", version 1, as a little-endian u64 without its sign. */
export const MAGIC_LOW = 0x6d736100;
export const MAGIC_HIGH = 1;
