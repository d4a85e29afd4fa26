/** What a scripted machine is made of: a board as small as a page can show. */
import type { MachineSnapshot, MachineView, ObjectView } from '../../../main/ipc/contract.ts';

const OBJECTS: [path: string, type: string][] = [
  ['/', 'container'],
  ['/machine', 'virt-machine'],
  ['/machine/unattached', 'container'],
  ['/machine/unattached/device[0]', 'riscv.sifive.plic'],
  ['/machine/peripheral', 'container'],
  ['/machine/peripheral/drive0', 'virtio-blk-device'],
];

export function fakeView(snapshot: MachineSnapshot): MachineView {
  return {
    state: snapshot.state,
    objects: OBJECTS.map(([path, type]) => {
      const name = path.slice(path.lastIndexOf('/') + 1);
      const depth = path === '/' ? 0 : path.split('/').length - 1;
      return { path, name, type, id: path.includes('peripheral/') ? name : null, depth };
    }),
    addressSpaces: [
      {
        names: ['memory', 'cpu-memory-0'],
        ranges: [
          range('0x1000', '0xffff', 'riscv_virt_board.mrom', 'rom', null),
          range('0xc000000', '0xc5fffff', 'riscv.sifive.plic', 'i/o', '/machine/unattached/device[0]'),
          range('0x10008000', '0x100081ff', 'virtio-mmio', 'i/o', null),
          range('0x80000000', '0x9fffffff', 'riscv_virt_board.ram', 'ram', null),
        ],
      },
    ],
    interrupts: {
      controller: 'PLIC',
      messages: null,
      sources: Array.from({ length: 12 }, (_, index) => ({
        number: index + 1,
        wire: index === 9 ? 'UART' : index < 8 ? `virtio-mmio slot ${index}` : null,
        devices: snapshot.virtio.filter(({ transport }) => transport.irq === index + 1).map(({ id }) => id),
        raised: index === 7 ? 412 : 0,
        level: false,
        pending: false,
        claimed: false,
        priority: index === 7 ? 1 : 0,
        enabledFor: index === 7 ? ['hart 0 S'] : [],
      })),
    },
    harts: snapshot.harts.map((hart) => ({
      ...hart,
      tlbMisses: 81_233,
      decoded: 512_000,
      sleeps: 1_204,
      pending: ['STIP'],
      translation: 'Sv57, ASID 3, root 0x81a34000',
      jit: {
        entries: 1_000_000,
        declined: 1_000,
        retired: hart.instret / 2,
        attached: 812,
        notAttached: 2,
        stops: 60,
        longestStop: 2.4,
      },
    })),
    translator: {
      regions: 812,
      translatedRegions: 830,
      translatedInstructions: 41_000,
      batches: 60,
      moduleBytes: 2_400_000,
      translateMs: 310,
      compileMs: 620,
      flushes: 0,
      refused: 3,
      loadedRegions: 500,
      savedRegions: 500,
    },
  };
}

function range(start: string, end: string, name: string, kind: 'i/o' | 'ram' | 'rom', owner: string | null) {
  return { start, end, name, kind, owner, offset: '0x0' };
}

export function fakeObject(path: string): ObjectView {
  return {
    path,
    type: 'virtio-blk-device',
    properties: [
      { name: 'drive', type: 'link<drive>', description: 'the drive', value: 'drive0', target: null },
      { name: 'num-queues', type: 'uint16', description: null, value: '1', target: null },
    ],
  };
}
