/**
 * Where the interrupt controllers keep what people may look at: offsets from DEVICE_BASE + DEV_PLIC, DEVICE_BASE + DEV_APLIC
 * and DEVICE_BASE + DEV_IMSIC.
 * Bits are one for each source, in u32 words. Read by TypeScript and by AssemblyScript alike: nothing but integer
 * constants. Whoever writes holds the controller's lock; a look without it may see a change half made.
 */

/** The inputs. */
export const PLIC_LEVEL = 0x40;
/** Latched, not yet claimed. */
export const PLIC_PENDING = 0x50;
/** Between claim and completion. */
export const PLIC_CLAIMED = 0x60;
/** u32 for each source: 0 never interrupts, 7 is highest. */
export const PLIC_PRIORITY = 0x100;
/** u32 for each context. */
export const PLIC_THRESHOLD = 0x300;
/** Bits for each context, PLIC_ENABLE_STRIDE apart; hart h's are 2h (M) and 2h + 1 (S). */
export const PLIC_ENABLE = 0x400;
export const PLIC_ENABLE_STRIDE = 16;
/** u32 for each source: how often its input has risen since power-on. Wraps. */
export const PLIC_RAISED = 0x500;
export const PLIC_STATE_SIZE = 0x680;

/** The inputs. */
export const APLIC_LEVEL = 0x20;
/** u32 for each source: how often its input has risen since power-on. Wraps. */
export const APLIC_RAISED = 0x100;
/** The domains, root first, APLIC_DOMAIN_STRIDE apart. */
export const APLIC_DOMAIN = 0x400;
export const APLIC_DOMAIN_STRIDE = 0x800;

// Of a domain.
export const APLIC_D_PENDING = 0x10;
export const APLIC_D_ENABLED = 0x20;
/** u32 for each source: its sourcecfg (4.5.2). */
export const APLIC_D_SOURCECFG = 0x100;
/** u32 for each source: its target (4.5.16). */
export const APLIC_D_TARGET = 0x300;

/** Interrupt files of the IMSICs, IMSIC_FILE_STRIDE apart; hart h's are 2h (M) and 2h + 1 (S). */
export const IMSIC_FILE_STRIDE = 0x80;
// Of a file: bits for each identity, in u64 words.
export const IMSIC_F_PENDING = 0x20;
export const IMSIC_F_ENABLED = 0x40;
/** u32 for each identity of each file, IMSIC_RAISED_STRIDE apart: how often it has become pending since power-on. Wraps. */
export const IMSIC_RAISED = 0x1000;
export const IMSIC_RAISED_STRIDE = 0x400;
