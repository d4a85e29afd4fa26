/**
 * What a machine is made of, for people who look at it while it runs: its objects, its address space, its interrupt sources
 * and its harts. Addresses are guest physical, as 0x hex: they have 64 bits. Counters count from power-on unless they say
 * otherwise.
 */
import { z } from 'zod';
import { hartSnapshot, machineState } from './machine.ts';

/** An object of the tree (QOM). */
export const objectNode = z.object({
  /** e.g. "/machine/peripheral/disk0". */
  path: z.string(),
  name: z.string(),
  type: z.string(),
  /** Of an object that a user made. */
  id: z.string().nullable(),
  /** How deep it hangs; the root is 0. */
  depth: z.number().int(),
});
export type ObjectNode = z.infer<typeof objectNode>;

/** As `mtree -f` has it: what an access reaches, address by address. */
export const memoryRange = z.object({
  /** Both inclusive. */
  start: z.string(),
  end: z.string(),
  /** Of the region, e.g. "riscv_virt_board.ram". */
  name: z.string(),
  kind: z.enum(['i/o', 'ram', 'rom', 'romd']),
  /** Path of the object that it belongs to, or null. */
  owner: z.string().nullable(),
  /** Of `start` in the region. */
  offset: z.string(),
});
export type MemoryRange = z.infer<typeof memoryRange>;

/** An interrupt source of the PLIC or the APLIC, by wire. */
export const interruptSource = z.object({
  number: z.number().int(),
  /** What the board has on it, e.g. "virtio-mmio slot 7"; null: nothing. */
  wire: z.string().nullable(),
  /** The virtio devices that raise it, by id. */
  devices: z.array(z.string()),
  /** How often the wire has risen. */
  raised: z.number().int(),
  /** The wire now. */
  level: z.boolean(),
  /** Latched, and not yet taken by a hart. */
  pending: z.boolean(),
  /** PLIC: a hart has claimed it and not completed it. */
  claimed: z.boolean(),
  /** PLIC: 0 never interrupts, 7 is highest. APLIC by wire: 1 is highest. null: the controller keeps none. */
  priority: z.number().int().nullable(),
  /** Who may take it: "hart 0 S". */
  enabledFor: z.array(z.string()),
});
export type InterruptSource = z.infer<typeof interruptSource>;

/** A message-signalled interrupt: an identity of the interrupt file that a hart's IMSIC has for a privilege mode. */
export const interruptMessage = z.object({
  hart: z.number().int(),
  mode: z.enum(['M', 'S']),
  identity: z.number().int(),
  /** How often a message has come. */
  raised: z.number().int(),
  pending: z.boolean(),
  enabled: z.boolean(),
  /** MSI-X vectors of devices that send it now. */
  from: z.array(z.object({ device: z.string(), vector: z.number().int() })),
});
export type InterruptMessage = z.infer<typeof interruptMessage>;

/** What the translator has done for a hart; counts of regions entered, instructions, regions taken in. */
export const hartJit = z.object({
  entries: z.number(),
  declined: z.number(),
  retired: z.number(),
  attached: z.number(),
  notAttached: z.number(),
  /** How often and how long it stood still to take code in, ms. */
  stops: z.number(),
  longestStop: z.number(),
});

export const hartView = hartSnapshot.extend({
  /** Data accesses that the TLB did not know, instructions decoded, sleeps. */
  tlbMisses: z.number(),
  decoded: z.number(),
  sleeps: z.number(),
  /** Pending interrupts, by the name of their bit in mip. */
  pending: z.array(z.string()),
  /** satp, decoded: "Sv39, ASID 3, root 0x8123_4000", "bare". */
  translation: z.string(),
  jit: hartJit.nullable(),
});
export type HartView = z.infer<typeof hartView>;

/** The translator as a whole; times in ms. null: guest code is only interpreted. */
export const translatorView = z.object({
  regions: z.number(),
  translatedRegions: z.number(),
  translatedInstructions: z.number(),
  batches: z.number(),
  moduleBytes: z.number(),
  translateMs: z.number(),
  compileMs: z.number(),
  flushes: z.number(),
  refused: z.number(),
  loadedRegions: z.number(),
  savedRegions: z.number(),
});

export const machineView = z.object({
  state: machineState,
  /** Parents before their children. */
  objects: z.array(objectNode),
  addressSpaces: z.array(z.object({ names: z.array(z.string()), ranges: z.array(memoryRange) })),
  interrupts: z.object({
    /** e.g. "PLIC". */
    controller: z.string(),
    sources: z.array(interruptSource),
    /** null: the harts have no IMSIC. */
    messages: z.array(interruptMessage).nullable(),
  }),
  harts: z.array(hartView),
  translator: translatorView.nullable(),
});
export type MachineView = z.infer<typeof machineView>;

/** An object's properties, as qom-list and qom-get give them. */
export const objectView = z.object({
  path: z.string(),
  type: z.string(),
  properties: z.array(
    z.object({
      name: z.string(),
      /** QEMU's name of it, e.g. "uint32", "link<iothread>". */
      type: z.string(),
      description: z.string().nullable(),
      /** As text; lists and structures as JSON. null: not set. */
      value: z.string().nullable(),
      /** Path of the object that a link or child property leads to. */
      target: z.string().nullable(),
    }),
  ),
});
export type ObjectView = z.infer<typeof objectView>;

/** A hart's registers at one instant, in 0x hex. */
export const registersView = z.object({
  pc: z.string(),
  privilege: z.string(),
  x: z.array(z.object({ name: z.string(), value: z.string() })),
  csrs: z.array(z.object({ name: z.string(), value: z.string() })),
});
export type RegistersView = z.infer<typeof registersView>;
