/** A machine for people who look inside: its objects, its address space, who interrupts, what its harts do. */
import type {
  HartView,
  InterruptSource,
  MachineView,
  MemoryRange,
  ObjectView,
  RegistersView,
} from '../api/machine-view.ts';
import type { AiaKind, MachineSnapshot } from '../api/machine.ts';
import { RingsideError } from '../errors.ts';
import { aplicSources, plicSources } from '../irqchip/wired-view.ts';
import type { WiredSource } from '../irqchip/wired-view.ts';
import { flatGroups, flatView } from '../monitor/memory-tree.ts';
import type { AddressSpace, HartRegisters } from '../monitor/target.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import type { JitStatistics } from '../worker/jit-stats.ts';
import * as L from '../worker/layout.ts';
import type { ControlPage } from './control-page.ts';
import { seenMessages } from './message-view.ts';
import { PCIE_IRQ, RTC_IRQ, UART_IRQ, VIRTIO_IRQ, VIRTIO_SLOTS } from './virt-map.ts';

export interface ViewedMachine {
  readonly snapshot: MachineSnapshot;
  readonly tree: ObjectTree;
  readonly addressSpaces: readonly AddressSpace[];
  readonly control: ControlPage;
  readonly aia: AiaKind;
  readonly jit: JitStatistics | null;
}

const CONTROLLERS: Record<AiaKind, string> = {
  none: 'PLIC',
  aplic: 'APLIC, wired to the harts',
  'aplic-imsic': 'APLIC, sends messages to the harts’ IMSICs',
};
const INTX_LINES = 4;

export function viewMachine(machine: ViewedMachine): MachineView {
  const { snapshot, tree, addressSpaces, control, aia, jit } = machine;
  return {
    state: snapshot.state,
    objects: [...nodes(tree.root, 0)],
    addressSpaces: flatSpaces(addressSpaces),
    interrupts: {
      controller: CONTROLLERS[aia],
      sources: interruptSources(control, aia, snapshot),
      messages:
        aia === 'aplic-imsic'
          ? seenMessages(control, snapshot.harts.length, tree).map((message) => ({
              ...message,
              from: [...message.from],
            }))
          : null,
    },
    harts: snapshot.harts.map((hart) => hartView(hart, control, jit)),
    translator: jit === null ? null : pickTranslator(jit),
  };
}

// ---- objects -----------------------------------------------------------------------------------------------------

function* nodes(object: QomObject, depth: number): Generator<MachineView['objects'][number]> {
  yield { path: object.path, name: object.name, type: object.type.name, id: object.id, depth };
  for (const child of object.children.values()) yield* nodes(child, depth + 1);
}

/** @throws RingsideError 'not-found' */
export function viewObject(tree: ObjectTree, path: string): ObjectView {
  const object = path.startsWith('/') ? tree.find(path) : null;
  if (object === null) throw new RingsideError('not-found', `${path} is gone: choose another object`);
  const properties = object.list().map(({ name, type, description }) => {
    const value = asText(() => object.get(name));
    return { name, type, description: description ?? null, value, target: targetOf(tree, object, name, value) };
  });
  return { path: object.path, type: object.type.name, properties };
}

/** A property that cannot be read says why. */
function asText(get: () => unknown): string | null {
  let value: unknown;
  try {
    value = get();
  } catch (error) {
    return `(${(error as Error).message})`;
  }
  if (value === null || value === undefined || value === '') return null;
  if (typeof value === 'object') {
    return JSON.stringify(value, (_, member: unknown) => (typeof member === 'bigint' ? member.toString() : member));
  }
  return String(value as string | number | bigint | boolean);
}

/** Where a child or a link leads. */
function targetOf(tree: ObjectTree, object: QomObject, name: string, value: string | null): string | null {
  const child = object.children.get(name);
  if (child !== undefined) return child.path;
  const spec = object.type.properties.get(name);
  if (value === null || spec?.kind !== 'link') return null;
  // A kind of back end has a container; anything else is a type.
  const backend = tree.find(`/${spec.target}s/${value}`);
  if (backend !== null) return backend.path;
  for (const { id, type, path } of tree.root.walk()) if (id === value && type.isA(spec.target)) return path;
  return null;
}

// ---- memory ------------------------------------------------------------------------------------------------------

/** Spaces that show the same belong together. */
function flatSpaces(spaces: readonly AddressSpace[]): MachineView['addressSpaces'] {
  return flatGroups(spaces).flatMap(({ root, spaces: shown }) =>
    root === null ? [] : [{ names: shown.map(({ name }) => name), ranges: flatView(root).map(memoryRange) }],
  );
}

function memoryRange({ start, end, region, offset }: ReturnType<typeof flatView>[number]): MemoryRange {
  const [, owner = null] = /(?:path|id)=([^}]+)/.exec(region.owner) ?? [];
  return {
    start: hex(start),
    end: hex(end),
    name: region.name,
    // A container has no range of its own.
    kind: region.kind === 'container' ? 'i/o' : region.kind,
    owner,
    offset: hex(offset),
  };
}

// ---- interrupts --------------------------------------------------------------------------------------------------

/** The wires, and who is at them. */
export function interruptSources(control: ControlPage, aia: AiaKind, snapshot: MachineSnapshot): InterruptSource[] {
  const load = (address: number): number => control.load(address);
  const wired = aia === 'none' ? plicSources(load, snapshot.harts.length) : aplicSources(load, aia === 'aplic-imsic');
  return wired.map((source) => describe(source, snapshot));
}

function describe(source: WiredSource, { virtio }: MachineSnapshot): InterruptSource {
  const devices = virtio.filter(({ transport }) => transport.irq === source.number).map(({ id }) => id);
  return { ...source, wire: wireOf(source.number), devices, enabledFor: [...source.enabledFor] };
}

function wireOf(number: number): string | null {
  if (number === UART_IRQ) return 'UART';
  if (number === RTC_IRQ) return 'real-time clock';
  if (number >= PCIE_IRQ && number < PCIE_IRQ + INTX_LINES) return `PCI INT${'ABCD'[number - PCIE_IRQ]}`;
  if (number >= VIRTIO_IRQ && number < VIRTIO_IRQ + VIRTIO_SLOTS) return `virtio-mmio slot ${number - VIRTIO_IRQ}`;
  return null;
}

// ---- harts -------------------------------------------------------------------------------------------------------

/** Bits of mip (privileged ISA, 3.1.9). */
const MIP_BITS: readonly [number, string][] = [
  [1, 'SSIP'],
  [3, 'MSIP'],
  [5, 'STIP'],
  [7, 'MTIP'],
  [9, 'SEIP'],
  [11, 'MEIP'],
];
/** satp.MODE (4.1.11). */
const SATP_MODES: Record<number, string> = { 0: 'bare', 8: 'Sv39', 9: 'Sv48', 10: 'Sv57' };

function hartView(hart: MachineSnapshot['harts'][number], control: ControlPage, jit: JitStatistics | null): HartView {
  const block = control.hart(hart.id);
  const counter = (offset: number): number => Number(control.getU64(block + offset));
  const pending = control.load(block + L.H_IRQ) | Number(control.getU64(block + L.H_MIP) & 0xffffn);
  const mine = jit?.harts[hart.id];
  return {
    ...hart,
    tlbMisses: counter(L.H_STAT_TLB_MISS),
    decoded: counter(L.H_STAT_DECODED),
    sleeps: counter(L.H_STAT_WFI),
    pending: MIP_BITS.filter(([bit]) => (pending >>> bit) & 1).map(([, name]) => name),
    translation: translation(control.getU64(block + L.H_SATP)),
    jit:
      mine === undefined
        ? null
        : {
            entries: mine.entries,
            declined: mine.declined,
            retired: mine.retired,
            attached: mine.attached,
            notAttached: mine.notAttached,
            stops: mine.stops.count,
            longestStop: mine.stops.max,
          },
  };
}

function translation(satp: bigint): string {
  const mode = SATP_MODES[Number(satp >> 60n)] ?? `mode ${satp >> 60n}`;
  if (mode === 'bare') return mode;
  const asid = (satp >> 44n) & 0xffffn;
  return `${mode}, ASID ${asid}, root ${hex((satp & 0xfff_ffff_ffffn) << 12n)}`;
}

function pickTranslator(jit: JitStatistics): NonNullable<MachineView['translator']> {
  const { regions, translatedRegions, translatedInstructions, batches, moduleBytes } = jit;
  const { translateMs, compileMs, flushes, refused, loadedRegions, savedRegions } = jit;
  const size = { regions, translatedRegions, translatedInstructions, batches, moduleBytes };
  return { ...size, translateMs, compileMs, flushes, refused, loadedRegions, savedRegions };
}

// prettier-ignore
const ABI_NAMES = [
  'zero', 'ra', 'sp', 'gp', 'tp', 't0', 't1', 't2', 's0', 's1', 'a0', 'a1', 'a2', 'a3', 'a4', 'a5',
  'a6', 'a7', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9', 's10', 's11', 't3', 't4', 't5', 't6',
];
const PRIVILEGES = ['U', 'S', '?', 'M'];

export function viewRegisters({ pc, privilege, x, csrs }: HartRegisters): RegistersView {
  return {
    pc: hex(pc),
    privilege: PRIVILEGES[privilege] ?? '?',
    x: x.map((value, index) => ({ name: ABI_NAMES[index], value: hex(value) })),
    csrs: [...csrs].map(([name, value]) => ({ name, value: hex(value) })),
  };
}

function hex(value: bigint): string {
  return `0x${BigInt.asUintN(64, value).toString(16)}`;
}
