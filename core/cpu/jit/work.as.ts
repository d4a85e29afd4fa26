/** The translator's work arrays, at fixed addresses in its part of linear memory. */
import { TRANSLATOR_VISITED, TRANSLATOR_WORK, TRANSLATOR_WORK_SIZE } from './abi';

/** Halfwords in the three pages that a region may lie in. */
export const HALFWORDS = 6144;
/** Copies of the page before, the entry's own and the page behind it. */
export const W_PAGES: usize = TRANSLATOR_WORK;
/** u64 x 3: their guest physical addresses. */
export const W_ADDRESSES: usize = TRANSLATOR_WORK + 0x3000;
/** A predecoded slot of 16 bytes a halfword. */
export const W_SLOTS: usize = TRANSLATOR_WORK + 0x4000;
/** u8 a halfword: VISITED, LEADER. */
export const W_VISIT: usize = TRANSLATOR_VISITED;
/** u16 a halfword: the block that begins there. */
export const W_BLOCK_OF: usize = TRANSLATOR_WORK + 0x20000;
/** u16 stack of addresses to be visited. */
export const W_STACK: usize = TRANSLATOR_WORK + 0x24000;
/** u16: halfwords of the function that is being looked at. */
export const W_LEAF: usize = TRANSLATOR_WORK + 0x3100;
/** i16 x 2 a case of an indirect jump: halfword, block. */
export const W_CASES: usize = TRANSLATOR_WORK + 0x27000;
/** Basic blocks, BLOCK_SIZE each. */
export const W_BLOCKS: usize = TRANSLATOR_WORK + 0x28000;
/** u16: blocks in reverse postorder. */
export const W_ORDER: usize = TRANSLATOR_WORK + 0x38000;
/** u16 x 2 a label: kind, block. */
export const W_LABELS: usize = TRANSLATOR_WORK + 0x39000;
/** u8 a register (x, then f): its local. */
export const W_LOCAL: usize = TRANSLATOR_WORK + 0x41000;
/** u64 a halfword: registers that live on behind the call there. */
export const W_LIVE: usize = TRANSLATOR_WORK + 0x42000;
/** u64 each: sets of dirty registers at the accesses of a chain. */
export const W_CHAIN: usize = TRANSLATOR_WORK + 0x1d800;
/** u8 a halfword: the group that the access there belongs to; then the groups (groups.as.ts), numbers from 1 on. */
export const W_GROUP_OF: usize = TRANSLATOR_WORK + 0x3e000;
export const W_GROUPS: usize = TRANSLATOR_WORK + 0x40000;
/** 16 bytes a function: address and size of its body, its first hint, spare. */
export const W_FUNCTIONS: usize = TRANSLATOR_WORK + 0x4e000;
/** u32 x 2 a hint: offset in the function's body, likely. */
export const W_HINTS: usize = TRANSLATOR_WORK + 0x50000;
export const W_HINTS_END: usize = TRANSLATOR_WORK + 0xb0000;
/** Attach records, one after the other; their addresses are with the functions. */
export const W_RECORDS: usize = TRANSLATOR_WORK + 0xb0000;
export const W_RECORDS_END: usize = TRANSLATOR_WORK + 0xf0000;
/** u32 each: where the module has the hart block's address, or that and an offset. */
export const W_PATCHES: usize = TRANSLATOR_WORK + 0xf0000;
export const W_PATCHES_END: usize = TRANSLATOR_WORK + TRANSLATOR_WORK_SIZE;
