/** A machine for the monitor's tests: two harts, a page table, a disk in use, and a record of what was asked of it. */
import { RingbufLink } from '../../core/chardev/links/simple.ts';
import { MonitorError, deviceNotFound, noHandler } from '../../core/monitor/errors.ts';
import type { RingElement } from '../../core/virtio/inspect.ts';
import type { EventData, EventName } from '../../core/monitor/events.ts';
import type { Json } from '../../core/monitor/qmp/json.ts';
import type { NetworkState, NetworkView } from '../../core/monitor/network-target.ts';
import type {
  AddressSpace,
  ChardevInput,
  HartRegisters,
  InputEvent,
  MemoryRegion,
  MonitorTarget,
  PciBusInfo,
  QomObject,
  QomType,
  RunState,
  VirtioInfo,
} from '../../core/monitor/target.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1, featureMask } from '../../core/virtio/spec/features.ts';

export const RAM = 0x8000_0000n;
export const RAM_SIZE = 1 << 20;
const ROM = 0x1000n;
/** The first six instructions of QEMU's reset vector, and what it keeps behind them. */
const ROM_WORDS = [0x00000297, 0x02828613, 0xf1402573, 0x0202b583, 0x0182b283, 0x00028067];
const ROM_INFO = [1229083471n, 2n, 0n, 1n];
const FLUSH = 9;

interface Node {
  path: string;
  type: string;
  properties: Record<string, Json>;
}

export class DoubleTarget implements MonitorTarget {
  readonly name = 'double';
  readonly ramSize = RAM_SIZE;
  runState: RunState = 'prelaunch';
  readonly machine = { type: 'virt', cpuType: 'rv64-riscv-cpu', maxCpus: 8, ramId: 'riscv_virt_board.ram' };
  /** What was asked for, e.g. "stop". */
  readonly asked: string[] = [];
  readonly ram = new Uint8Array(RAM_SIZE);
  readonly rom = new Uint8Array(0x100);
  /** What the queue shows. */
  element: RingElement = {
    packed: false,
    slot: 10,
    head: 1,
    state: 'in-flight',
    descriptors: [
      { index: 1, indirect: false, address: 0x82d37478n, length: 16, flags: ['next'] },
      { index: 7, indirect: false, address: 0x869cb000n, length: 4096, flags: ['write', 'next'] },
      { index: 8, indirect: false, address: 0x82d37008n, length: 1, flags: ['write'] },
    ],
    avail: { flags: 0, idx: 14, event: 9 },
    used: { flags: 0, idx: 10, event: 14 },
    wrap: null,
    problem: null,
  };
  pci: readonly PciBusInfo[] | null = null;
  privilege = 3;
  satp = 0n;
  halts = 0;
  readonly #listeners: ((name: EventName, data: Json) => void)[] = [];

  constructor() {
    const view = new DataView(this.rom.buffer);
    ROM_WORDS.forEach((word, index) => view.setUint32(index * 4, word, true));
    ROM_INFO.forEach((word, index) => view.setBigUint64(0x28 + index * 8, word, true));
  }

  emit<N extends EventName>(name: N, data: EventData<N>): void {
    for (const listener of this.#listeners) listener(name, data as Json);
  }
  onEvent(listener: <N extends EventName>(name: N, data: EventData<N>) => void): void {
    this.#listeners.push(listener as (name: EventName, data: Json) => void);
  }

  async stop(): Promise<void> {
    this.asked.push('stop');
    this.runState = 'paused';
    this.emit('STOP', {});
  }
  async cont(): Promise<void> {
    this.asked.push('cont');
    this.runState = 'running';
    this.emit('RESUME', {});
  }
  async reset(): Promise<void> {
    this.asked.push('reset');
    this.emit('RESET', { guest: false, reason: 'host-qmp-system-reset' });
  }
  async powerdown(): Promise<void> {
    this.asked.push('powerdown');
    this.emit('POWERDOWN', {});
  }
  quit(): void {
    this.asked.push('quit');
  }

  readonly cpus = [0, 1].map((index) => ({ index, threadId: 100 + index, qomPath: `/machine/soc0/harts[${index}]` }));
  async halted<T>(look: () => T): Promise<T> {
    this.halts++;
    return look();
  }
  hart(index: number): HartRegisters {
    return {
      pc: 0xffffffff80a6944cn,
      privilege: this.privilege,
      csrs: new Map([
        ['mhartid', BigInt(index)],
        ['mstatus', 0xa000000a0n],
        ['satp', this.satp],
      ]),
      x: Array.from({ length: 32 }, (_, i) => BigInt(i) * 0x10n),
      f: Array.from({ length: 32 }, () => 0n),
    };
  }
  readMemory(address: bigint, length: number): Uint8Array | null {
    for (const [base, bytes] of [
      [RAM, this.ram],
      [ROM, this.rom],
    ] as const) {
      const offset = address - base;
      if (offset >= 0n && offset + BigInt(length) <= BigInt(bytes.length)) {
        return bytes.subarray(Number(offset), Number(offset) + length);
      }
    }
    return null;
  }

  readonly iothreads = [
    { id: 'io0', threadId: 77, tuning: { pollMaxNs: 32768, pollGrow: 2, pollShrink: 3, maxBatch: 4 } },
  ];
  readonly blocks = [
    {
      device: 'hd0',
      nodeName: '#block1',
      fileNode: '#block0',
      file: 'd.raw',
      format: 'raw',
      virtualSize: 67108864,
      actualSize: 200704,
      readonly: false,
      qdev: 'disk0',
      ioStatus: 'ok' as const,
      cache: { writeback: true, direct: false, noFlush: false },
      statistics: {
        read: { operations: 7, bytes: 512000, time: 5079145, failed: 1, invalid: 2 },
        write: { operations: 3, bytes: 12288, time: 1234, failed: 0, invalid: 0 },
        flush: { operations: 2, bytes: 0, time: 99, failed: 0, invalid: 0 },
        unmap: { operations: 1, bytes: 4096, time: 5, failed: 0, invalid: 0 },
        highestWrite: 65536,
      },
    },
  ];
  /** What the keyboard and the tablet got; the keyboard has no key above KEY_MICMUTE. */
  readonly typed: InputEvent[] = [];
  readonly input: MonitorTarget['input'] = {
    mice: [{ name: 'QEMU Virtio Tablet', index: 2, current: true, absolute: true }],
    accepts: (event) => event.type !== 'rel' && (event.type !== 'key' || event.key <= 248),
    send: (events) => {
      for (const event of events) if (!this.input.accepts(event)) throw noHandler(event.type);
      this.typed.push(...events);
    },
  };
  jit: MonitorTarget['jit'] = null;
  readonly chardevs = [{ label: 'serial0', filename: 'stdio', frontendOpen: true }];
  readonly network: NetworkView = {
    nics: ['nic0'],
    netdevs: ['net0', 'net1'],
    state: async () => this.networkState,
    setLink: (name, up) => this.#ask('set_link', name, up),
    rxFilters: async () => [{ name: 'nic0', filter: RX_FILTER }],
    announce: (parameters) => this.#ask('announce', parameters),
  };
  networkState: NetworkState = {
    hubs: [],
    clients: [
      {
        client: { name: 'nic0', type: 'nic', info: 'model=virtio-net-device,macaddr=52:54:00:12:34:56' },
        peer: { name: 'net0', type: 'user', info: 'net=10.0.2.0,restrict=off' },
      },
    ],
  };
  readonly memoryBackends = [{ id: 'mem1', size: 4194304, share: true }];
  readonly memoryDevices = [{ id: 'pm0', address: 0x1_0000_0000n, size: 4194304n, memdev: '/objects/mem1' }];
  readonly roms = [{ name: 'mrom.reset', address: ROM, size: 0x28, memory: 'rom' as const }];
  readonly interrupts = [
    {
      name: 'riscv.sifive.plic',
      inputs: [
        {
          number: 8,
          count: 12,
          level: true,
          pending: false,
          claimed: true,
          priority: 1,
          enabledFor: ['hart 0 S', 'hart 1 S'],
          from: ['virtio-mmio slot 7', 'disk0'],
        },
        { number: 10, count: 0, level: false, pending: false, claimed: false, priority: 0, enabledFor: [], from: [] },
      ],
    },
  ];
  readonly virtio: VirtioInfo[] = [
    {
      path: '/machine/peripheral/disk0',
      name: 'virtio-blk',
      deviceId: 2,
      busName: null,
      featureInfo: [{ bit: FLUSH, name: 'VIRTIO_BLK_F_FLUSH', help: 'Flush command supported' }],
      hostFeatures: featureMask(FLUSH, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1, 60),
      guestFeatures: featureMask(FLUSH, VIRTIO_F_VERSION_1),
      status: 15,
      isr: 1,
      queueSel: 0,
      broken: false,
      error: null,
      started: true,
      useGuestNotifierMask: true,
      legacyCheckDisabled: false,
      queues: [
        {
          index: 0,
          name: 'requestq',
          size: 256,
          maxSize: 1024,
          desc: 0x884c0000n,
          driver: 0x884c4000n,
          device: 0x884c5000n,
          inUse: 4,
          usedIdx: 10,
          lastAvailIdx: 14,
          availIdx: 14,
          signalledUsed: 10,
          signalledUsedValid: true,
          packed: false,
          error: null,
        },
      ],
      inspect: async () => this.element,
    },
  ];
  readonly busTree = {
    name: 'main-system-bus',
    type: 'System',
    devices: [
      {
        driver: 'virtio-mmio',
        id: '',
        gpio: ['gpio-out "sysbus-irq" 1'],
        properties: [
          { name: 'force-legacy', value: false, kind: 'bool' as const },
          { name: 'num-queues', value: 4, kind: 'u16' as const },
          { name: 'mem-reserve', value: 18446744073709551615n, kind: 'size' as const },
          { name: 'serial', value: null, kind: 'string' as const },
        ],
        busLines: [],
        mmio: [{ address: 0x10001000n, size: 0x200n }],
        buses: [{ name: 'virtio-mmio-bus.0', type: 'virtio-mmio-bus', devices: [] }],
      },
    ],
  };
  readonly addressSpaces: AddressSpace[] = [
    { name: 'I/O', root: region('io', 0n, 0x10000n) },
    { name: 'memory', root: system() },
    { name: 'cpu-memory-0', root: null },
  ];
  balloon: MonitorTarget['balloon'] = null;

  readonly #nodes: Node[] = [
    { path: '/', type: 'container', properties: {} },
    { path: '/machine', type: 'virt-machine', properties: { type: 'virt-machine', aia: 'none' } },
    { path: '/machine/peripheral', type: 'container', properties: {} },
    { path: '/machine/peripheral/disk0', type: 'virtio-blk-device', properties: { 'queue-size': 256, packed: false } },
    { path: '/machine/peripheral/rng0', type: 'virtio-rng-device', properties: {} },
    { path: '/objects', type: 'container', properties: {} },
  ];
  readonly qom = {
    find: (path: string): QomObject | 'ambiguous' | null => {
      if (path === 'twice') return 'ambiguous';
      const node = this.#nodes.find((candidate) => candidate.path === path);
      return node === undefined ? null : this.#object(node);
    },
    types: (): QomType[] => TYPES,
  };

  #object({ path, type, properties }: Node): QomObject {
    const prefix = path === '/' ? '/' : `${path}/`;
    return {
      path,
      type,
      children: this.#nodes
        .filter(
          (node) => node.path !== '/' && node.path.startsWith(prefix) && !node.path.slice(prefix.length).includes('/'),
        )
        .map((node) => ({ name: node.path.slice(prefix.length), object: this.#object(node) })),
      properties: () => Object.keys(properties).map((name) => ({ name, type: typeof properties[name] })),
      get: (name) => {
        if (!Object.hasOwn(properties, name)) throw new MonitorError(`Property '${type}.${name}' not found`);
        return properties[name];
      },
      set: async (name, value) => {
        properties[name] = value;
      },
    };
  }

  #ask(what: string, ...details: unknown[]): Promise<void> {
    this.asked.push([what, ...details.map((detail) => JSON.stringify(detail))].join(' '));
    return Promise.resolve();
  }
  addDevice(driver: string, properties: Record<string, Json>): Promise<void> {
    return this.#ask('device_add', driver, properties);
  }
  async removeDevice(id: string): Promise<void> {
    if (id !== 'disk0') throw deviceNotFound(id);
    await this.#ask('device_del', id);
    this.emit('DEVICE_DELETED', { device: id, path: `/machine/peripheral/${id}` });
  }
  addDrive(id: string, properties: Record<string, Json>, options: { withDevice: boolean }): Promise<void> {
    return this.#ask('drive_add', id, properties, options);
  }
  removeDrive(id: string): Promise<void> {
    return this.#ask('drive_del', id);
  }
  addObject(type: string, id: string, properties: Record<string, Json>): Promise<void> {
    return this.#ask('object_add', type, id, properties);
  }
  removeObject(id: string): Promise<void> {
    return this.#ask('object_del', id);
  }
  addNetdev(type: string, id: string, properties: Record<string, Json>): Promise<void> {
    return this.#ask('netdev_add', type, id, properties);
  }
  removeNetdev(id: string): Promise<void> {
    return this.#ask('netdev_del', id);
  }
  async addChardev(id: string, backend: ChardevInput): Promise<{ pty?: string }> {
    await this.#ask('chardev-add', id, backend);
    return {};
  }
  async changeChardev(id: string, backend: ChardevInput): Promise<{ pty?: string }> {
    await this.#ask('chardev-change', id, backend);
    return {};
  }
  readonly #ringbuf = new RingbufLink(16);
  ringbuf(id: string): RingbufLink {
    this.asked.push(`ringbuf ${id}`);
    return this.#ringbuf;
  }
  removeChardev(id: string): Promise<void> {
    return this.#ask('chardev-remove', id);
  }
  sendBreak(id: string): Promise<void> {
    return this.#ask('break', id);
  }

  readonly #traced = new Map([
    ['virtio_notify', false],
    ['virtio_notify_irqfd', false],
    ['virtio_set_status', false],
  ]);
  get trace(): MonitorTarget['trace'] {
    return {
      events: [...this.#traced].map(([name, enabled]) => ({ name, enabled })),
      set: (name, enabled) => this.#traced.set(name, enabled),
      emit: () => {},
      onLine: () => {},
    };
  }
}

const RX_FILTER = {
  promiscuous: false,
  multicast: 'normal',
  unicast: 'normal',
  vlan: 'none',
  'broadcast-allowed': true,
  'multicast-overflow': false,
  'unicast-overflow': false,
  'main-mac': '52:54:00:12:34:56',
  'vlan-table': [],
  'unicast-table': [],
  'multicast-table': ['33:33:00:00:00:01'],
} as const;

function type(name: string, parent: string | null, abstract = false): QomType {
  const device = name === 'virtio-blk-device' || name === 'virtio-rng-device';
  return {
    name,
    parent,
    abstract,
    description: device ? 'a device' : null,
    device: device ? { bus: 'virtio-bus', category: 'storage', userCreatable: true } : null,
    properties: () => [{ name: 'packed', type: 'bool', description: 'on/off', default: false }],
  };
}

const TYPES = [
  type('object', null, true),
  type('device', 'object', true),
  type('virtio-device', 'device', true),
  type('virtio-blk-device', 'virtio-device'),
  type('virtio-rng-device', 'virtio-device'),
];

export function region(name: string, offset: bigint, size: bigint, more: Partial<MemoryRegion> = {}): MemoryRegion {
  return { name, offset, size, priority: 0, kind: 'i/o', owner: '', children: [], ...more };
}

/** A board with a window on a bus that has a device in it. */
function system(): MemoryRegion {
  const bar = region('bar', 0x40200000n, 0x1000n, { priority: 1, owner: 'owner:{dev id=disk1}' });
  const bus = region('gpex_mmio_window', 0n, 2n ** 64n, { children: [bar] });
  return region('system', 0n, 2n ** 64n, {
    kind: 'container',
    children: [
      region('riscv_virt_board.mrom', 0x1000n, 0xf000n, { kind: 'rom' }),
      region('pcie-mmio', 0x40000000n, 0x40000000n, { alias: { target: bus, offset: 0x40000000n } }),
      region('riscv_virt_board.ram', RAM, BigInt(RAM_SIZE), { kind: 'ram' }),
    ],
  });
}
