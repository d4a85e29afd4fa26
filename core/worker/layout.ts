/**
 * The map of the machine's one linear memory (a shared WebAssembly.Memory): the core's own state
 * first, guest RAM behind it at RAM_OFFSET. Read by TypeScript and by AssemblyScript (*.as.ts) alike,
 * so this file holds nothing but `export const NAME = <integer expression>` and imports nothing.
 * Addresses are byte offsets into linear memory; the type of each word is in its comment.
 *
 * "atomic" marks words that several threads touch: use Atomics (atomic.* in AssemblyScript) on them.
 */

export const MAX_HARTS = 8;

// ---- the big picture ------------------------------------------------------------------------------------------
/** AssemblyScript statics (asc --memoryBase), 64 KiB .. 1 MiB. Constants only: every thread instantiates them. */
export const STATIC_BASE = 0x10000;
/** Machine-wide control words (one page). */
export const CONTROL_BASE = 0x100000;
/** State of PLIC, APLIC, IMSICs, ACLINT and UART. */
export const DEVICE_BASE = 0x110000;
/** I/O workers' wait blocks. */
export const IOTHREAD_BASE = 0x13f000;
/** Hot registers and doorbells of the virtio devices, VIRTIO_STRIDE each. */
export const VIRTIO_BASE = 0x140000;
/** MSI-X vectors of virtio-pci devices, MSIX_STRIDE each, by virtio slot. */
export const MSIX_BASE = 0x180000;
/** Mask ROM (reset vector, firmware information): guest physical MROM_PHYS + n is at MROM_BASE + n. */
export const MROM_BASE = 0x1f0000;
export const MROM_SIZE = 0xf000;
/** Byte rings of the character devices. */
export const CHARDEV_BASE = 0x200000;
/** Per-hart blocks, HART_STRIDE each. */
export const HART_BASE = 0x400000;
export const HART_STRIDE = 0x100000;
/** Per-queue counters (observation), 16 MiB. */
export const QUEUE_STATS_BASE = 0xc00000;
// 0x1c00000 to CODE_BASE: the translator (core/cpu/jit/abi.ts).
/** Predecoded code pages, shared out evenly among the harts. */
export const CODE_BASE = 0x2000000;
export const CODE_SIZE = 0x12000000;
/** Guest RAM; page aligned. Guest physical 0x8000_0000 is here. */
export const RAM_OFFSET = 0x14000000;

// ---- control page: offsets from CONTROL_BASE ------------------------------------------------------------------
/** i32 atomic: bumped, then notified, by any thread that wants the control thread to look (mailboxes, rings, exits). */
export const CTL_ATTENTION = 0;
/** i32 atomic: RUN_* below; harts obey it. Wait word of paused harts. */
export const CTL_RUN = 4;
/** i32: number of harts. */
export const CTL_HARTS = 8;
/** f64: milliseconds of the host's monotonic clock at which mtime was 0. Rewritten only while no hart runs. */
export const CTL_CLOCK_BASE = 16;
/** u64: bytes of guest RAM. */
export const CTL_RAM_SIZE = 24;
/** i32 atomic: wait word of the clock worker. */
export const CTL_CLOCK_WAKE = 32;
/** u64 atomic: mtime at which the clock worker wakes by itself. */
export const CTL_CLOCK_DEADLINE = 40;
/** i32 atomic: EXIT_*: what the guest asked for (test finisher, SBI SRST). First writer wins (cmpxchg from 0). */
export const CTL_EXIT = 48;
/** i32: code that goes with CTL_EXIT (test finisher's 16-bit code, SRST reason). */
export const CTL_EXIT_CODE = 52;
/** i32: FIRMWARE_*. */
export const CTL_FIRMWARE = 56;
/** u64: guest physical address of the FDT (built-in SBI hands it to the first hart in a1). */
export const CTL_FDT_ADDR = 64;
/** u64: entry point of the boot hart (guest physical). */
export const CTL_ENTRY = 72;
/** i32: hart id that boots first under the built-in SBI. */
export const CTL_BOOT_HART = 80;
/** i32 atomic: 1 while the clock worker computes no timer line. As H_IS_PARKED of a hart. */
export const CTL_CLOCK_PARKED = 84;
/** i32: number of virtio-mmio slots that exist on the board (8). */
export const CTL_VIRTIO_SLOTS = 88;
/** i32: IRQCHIP_*: where wired interrupts go. Rewritten only while nothing runs, before irqchipReset. */
export const CTL_IRQCHIP = 92;

export const RUN_PAUSED = 0;
export const RUN_RUNNING = 1;
export const RUN_QUIT = 2;

export const EXIT_NONE = 0;
export const EXIT_POWEROFF = 1;
export const EXIT_RESET = 2;
export const EXIT_FAIL = 3;

/** The built-in SBI: harts start in S-mode, ecalls from S-mode are served by the engine. */
export const FIRMWARE_SBI = 0;
/** Harts start in M-mode at the reset vector. */
export const FIRMWARE_M_MODE = 1;

export const IRQCHIP_PLIC = 0;
/** APLIC in direct delivery mode. */
export const IRQCHIP_APLIC = 1;
/** APLIC in MSI delivery mode, an IMSIC at each hart; harts have Smaia and Ssaia. */
export const IRQCHIP_IMSIC = 2;

// ---- hart block: offsets from HART_BASE + hart * HART_STRIDE ---------------------------------------------------
/** 32 x u64 integer registers; x0 is always 0. */
export const H_X = 0;
/** u64: where writes to x0 go. */
export const H_SINK = 0x100;
/** 32 x u64 floating-point registers, NaN-boxed. */
export const H_F = 0x200;
/** u64. Exact whenever the hart is not inside the interpreter. */
export const H_PC = 0x300;
/** u64: instructions retired. */
export const H_INSTRET = 0x308;
/** i32: privilege mode, 0 U, 1 S, 3 M. */
export const H_PRIV = 0x310;
/** i32: hart id. */
export const H_ID = 0x314;
/** i32: accrued exception flags NX UF OF DZ NV (bits 0..4). */
export const H_FFLAGS = 0x318;
/** i32: dynamic rounding mode, 0..7 as written. */
export const H_FRM = 0x31c;
/** i32: HSM state (SBI HSM numbering: 0 started, 1 stopped, 2 start pending, 4 suspended). atomic. */
export const H_HSM = 0x320;
/** u64 start address and u64 opaque argument of a pending HSM start / resume. */
export const H_HSM_ADDR = 0x328;
export const H_HSM_ARG = 0x330;
/** u64: LR/SC reservation address (guest physical), all ones when there is none; u64 value loaded. */
export const H_RES_ADDR = 0x338;
export const H_RES_VALUE = 0x340;
/** i32: FAULT_* cause of the exception that a helper wants taken (-1 none), u64 its tval. */
export const H_FAULT = 0x348;
export const H_FAULT_TVAL = 0x350;
/** u64: address behind the system instruction that is being executed. */
export const H_NEXT_PC = 0x358;

// CSRs, u64 each.
export const H_MSTATUS = 0x400;
export const H_MIE = 0x408;
/** Software-writable part of mip (SSIP, and STIP/SEIP as written by M-mode). */
export const H_MIP = 0x410;
export const H_MIDELEG = 0x418;
export const H_MEDELEG = 0x420;
export const H_MTVEC = 0x428;
export const H_MEPC = 0x430;
export const H_MCAUSE = 0x438;
export const H_MTVAL = 0x440;
export const H_MSCRATCH = 0x448;
export const H_MCOUNTEREN = 0x450;
export const H_MENVCFG = 0x458;
export const H_STVEC = 0x460;
export const H_SEPC = 0x468;
export const H_SCAUSE = 0x470;
export const H_STVAL = 0x478;
export const H_SSCRATCH = 0x480;
export const H_SCOUNTEREN = 0x488;
export const H_SENVCFG = 0x490;
export const H_SATP = 0x498;
/** Sstc. atomic: the clock worker reads it. All ones when nothing is due. */
export const H_STIMECMP = 0x4a0;
export const H_MCOUNTINHIBIT = 0x4a8;
export const H_MCYCLE_DELTA = 0x4b0;
export const H_MINSTRET_DELTA = 0x4b8;
/** 16 x u8 pmpcfg, then 16 x u64 pmpaddr. */
export const H_PMPCFG = 0x500;
export const H_PMPADDR = 0x510;
/** AIA: u64 miselect and siselect, then the priority numbers of interrupts 0..15 at each level, u8 each. */
export const H_MISELECT = 0x590;
export const H_SISELECT = 0x598;
export const H_MIPRIO = 0x5a0;
export const H_SIPRIO = 0x5b0;
/** 29 x u64 mhpmcounter/mhpmevent are read-only zero and have no storage. */

// Words other threads touch; a cache line of their own.
/** i32 atomic: interrupt lines driven by devices, bit numbers of mip (MSIP 3, STIP 5, MTIP 7, SEIP 9, MEIP 11). */
export const H_IRQ = 0x800;
/** i32: nonzero asks the interpreter to leave its fast loop at the next taken branch. Plain loads by the hart. */
export const H_POLL = 0x804;
/** i32 atomic: 1 while the hart sleeps in wfi (or is parked), so that whoever raises a line must notify H_WAKE. */
export const H_SLEEPING = 0x808;
/** i32 atomic: wait word of a sleeping hart. */
export const H_WAKE = 0x80c;
/** i32 atomic: FENCE_* bits that another hart asks for; cleared when done. */
export const H_REMOTE_FENCE = 0x810;
/** i32 atomic: 1 while the hart is out of guest code because of CTL_RUN. */
export const H_IS_PARKED = 0x814;
/** u64 atomic: ACLINT mtimecmp. All ones when nothing is due. */
export const H_MTIMECMP = 0x818;
/** Counters for the GUI and the bench, u64 each. */
export const H_STAT_TRAPS = 0x840;
export const H_STAT_MMIO = 0x848;
export const H_STAT_TLB_MISS = 0x850;
export const H_STAT_DECODED = 0x858;
export const H_STAT_WFI = 0x860;
// 0x868 to 0x877: core/cpu/jit/abi.ts.

export const FENCE_I = 1;
export const FENCE_VMA = 2;

// Mailbox: an MMIO access that the control thread must serve.
/** i32 atomic: MBOX_IDLE -> MBOX_REQUEST (by hart) -> MBOX_DONE (by control thread, notified) -> MBOX_IDLE. */
export const H_MBOX_STATE = 0x900;
/** i32: 0 read, 1 write. */
export const H_MBOX_WRITE = 0x904;
/** i32: 1, 2, 4 or 8 bytes. */
export const H_MBOX_SIZE = 0x908;
/** i32: set by the control thread, 0 done, 1 access fault. */
export const H_MBOX_FAULT = 0x90c;
/** u64: guest physical address; u64: value written or read (zero-extended). */
export const H_MBOX_ADDR = 0x910;
export const H_MBOX_VALUE = 0x918;
export const MBOX_IDLE = 0;
export const MBOX_REQUEST = 1;
export const MBOX_DONE = 2;

// MMU and code cache bookkeeping of the hart (private to core/cpu).
/** i32: next free translation context number, 1..511. */
export const H_NEXT_CONTEXT = 0xa00;
/** u64 x 4: lowest and highest superpage-mapped address cached, for the upper and the lower half of the address space. */
export const H_SUPER_RANGE = 0xa08;
/** i32: instruction-stream epoch: fence.i bumps it, code pages of an older epoch are compared before use. */
export const H_EPOCH = 0xa28;
/** i32: first code page's address, number of code pages, index of the next one to (re)use. */
export const H_CODE_START = 0xa30;
export const H_CODE_COUNT = 0xa34;
export const H_CODE_NEXT = 0xa38;

/** i32: read-modify-written as a memory barrier. */
export const H_BARRIER = 0xa3c;
// 0xa40 to 0xa67 and 0xa6c: core/cpu/jit/abi.ts.
/** u32: counts what makes global mappings that are cached void. */
export const H_GLOBALS = 0xa80;
/** u32: the last PAGE_VERSION given to a code page. */
export const H_PAGE_VERSION = 0xa68;

/** Scratch slots for instructions that straddle a page. */
export const H_SCRATCH = 0x1000;
/** Address-space table: 64 entries of 80 bytes. */
export const H_SPACES = 0x2000;
/** Data TLB: 4096 entries of 32 bytes. */
export const H_DTLB = 0x10000;
/** Instruction TLB. */
export const H_ITLB = 0x30000;
/** Directory of predecoded pages. */
export const H_CODE_DIR = 0x40000;

// ---- platform devices: offsets from DEVICE_BASE ----------------------------------------------------------------
/** PLIC state, 32 KiB (layout private to core/irqchip/plic.as.ts). */
export const DEV_PLIC = 0;
/** UART state, 4 KiB (private to core/devices/uart16550.as.ts). */
export const DEV_UART = 0x8000;
/** ACLINT state, 4 KiB (private to core/cpu/clock.as.ts): i32 atomic lock, u64 atomic mtime offset. */
export const DEV_ACLINT = 0x9000;
/** Built-in SBI state, 4 KiB (private to core/firmware/sbi.as.ts). */
export const DEV_SBI = 0xa000;
/** PCI INTx lines and where virtio-pci registers are mapped, 4 KiB (private to core/pci/*.as.ts). */
export const DEV_INTX = 0xb000;
/** APLIC state, 16 KiB (private to core/irqchip/aplic-state.as.ts). */
export const DEV_APLIC = 0x10000;
/** IMSIC state, 32 KiB (private to core/irqchip/imsic.as.ts). */
export const DEV_IMSIC = 0x14000;

// ---- I/O workers: IOTHREAD_BASE + n * IOTHREAD_STRIDE -----------------------------------------------------------
export const IOTHREAD_STRIDE = 64;
export const MAX_IOTHREADS = 16;
/** i32 atomic: wait word; bump it, then notify if IOT_SLEEPING is 1. */
export const IOT_WAKE = 0;
/** i32 atomic: 1 while the worker sleeps (set before its last look at the doorbells). */
export const IOT_SLEEPING = 4;
/** i32 atomic, written by the control thread: IoThreadTuning (core/worker/adaptive-poll.ts). */
export const IOT_POLL_MAX_NS = 8;
export const IOT_POLL_GROW = 12;
export const IOT_POLL_SHRINK = 16;
export const IOT_MAX_BATCH = 20;

// ---- virtio hot registers: VIRTIO_BASE + slot * VIRTIO_STRIDE ----------------------------------------------------
export const VIRTIO_STRIDE = 0x1000;
export const MAX_VIRTIO = 64;
/** i32: 1 when a device sits in the slot. */
export const VQ_PRESENT = 0;
/** i32: interrupt source number. */
export const VQ_IRQ = 4;
/** i32 atomic: InterruptStatus register (bit 0 used buffer, bit 1 configuration change). */
export const VQ_ISR = 8;
/** i32 atomic: ConfigGeneration register. */
export const VQ_CONFIG_GENERATION = 12;
/** i32: number of queues whose doorbell may be rung. */
export const VQ_NUM_QUEUES = 16;
/** PCI: i32 atomic, 1 when ISR status asserts INTx; i32 atomic, the MSI-X vector of configuration changes. */
export const VQ_INTX_GATE = 20;
export const VQ_CONFIG_VECTOR = 24;
/** PCI: u16[256] atomic, the MSI-X vector of each queue. */
export const VQ_QUEUE_VECTOR = 0x200;
/** i32[256] atomic: doorbell counters; and for each queue the linear address of its I/O worker's wait block (0: none). */
export const VQ_DOORBELL = 0x400;
export const VQ_DOORBELL_IOTHREAD = 0x800;
/** i32[256] atomic: last value written by the driver (NOTIFICATION_DATA). */
export const VQ_NOTIFY_DATA = 0xc00;

// ---- MSI-X: MSIX_BASE + slot * MSIX_STRIDE -----------------------------------------------------------------------
/** The table (16-byte entries, each word atomic), MSIX_MAX_VECTORS of them, is at the start. */
export const MSIX_STRIDE = 0x1000;
export const MSIX_MAX_VECTORS = 240;
/** i32[8] atomic: pending bits. */
export const MSIX_PBA = 0xf00;
/** i32 atomic: MSIX_* bits of core/pci/msix-vectors.ts. */
export const MSIX_STATE = 0xf20;

// ---- character device rings: CHARDEV_BASE + n * CHARDEV_STRIDE ---------------------------------------------------
/** Each chardev has a ring towards the host ("out") and one towards the guest ("in"). */
export const CHARDEV_STRIDE = 0x12000;
export const MAX_CHARDEVS = 16;
export const RING_OUT = 0;
export const RING_IN = 0x9000;
/** Ring header: i32 atomic head (bytes ever written), i32 atomic tail (bytes ever read), both wrap at 2^32. */
export const RING_HEAD = 0;
export const RING_TAIL = 4;
/** i32 atomic: the reader sleeps and wants waking when bytes come. */
export const RING_WANT_DATA = 8;
/** i32 atomic: the writer found the ring full and wants waking when there is room. */
export const RING_WANT_ROOM = 12;
export const RING_DATA = 64;
/** Bytes in a ring (a power of two). */
export const RING_SIZE = 0x8000;

// ---- queue statistics: QUEUE_STATS_BASE + slot * QUEUE_STATS_SLOT_STRIDE + queue * QUEUE_STATS_STRIDE ------------
/** Written by the I/O worker that runs the queue, read by the control thread. 64 slots of 256 queues: 16 MiB. */
export const QUEUE_STATS_SLOT_STRIDE = 0x40000;
/** Counters. Recent events of a queue that somebody watches have a ring of their own (core/inspect/event-ring.ts). */
export const QUEUE_STATS_STRIDE = 0x400;
/** f64 each, since the queue was activated: chains popped, buffers used, available buffer notifications seen. */
export const QS_POPPED = 0;
export const QS_USED = 8;
export const QS_NOTIFICATIONS = 16;
/** f64 each: used buffer notifications sent, and those that the driver did not want. */
export const QS_INTERRUPTS = 24;
export const QS_SUPPRESSED = 32;
/** i32 each: the device's position in the available ring, used index, chains popped but not used. */
export const QS_LAST_AVAIL_IDX = 40;
export const QS_USED_IDX = 44;
export const QS_IN_FLIGHT = 48;
/** i32: a code of QUEUE_FAULTS (core/virtio/queue/queue-fault.ts), 0 when the queue is sound. */
export const QS_ERROR = 52;
