import { describe, expect, it } from 'vitest';
import { HMP_COMMANDS, HMP_INFO } from '../../core/monitor/hmp/table.ts';
import { DoubleTarget, hmp } from './client.ts';
import { RAM, RAM_SIZE } from './double.ts';

const print = (line: string): Promise<string> => hmp(new DoubleTarget(), line);

describe('expressions', () => {
  // As QEMU 7.2 prints them.
  it.each([
    ['p 1', '0x1\n'],
    ['p/d 1+2*3', '7\n'],
    ['p/d (1+2)*3', '9\n'],
    ['p/d 7/2', '3\n'],
    ['p/d 7%4', '3\n'],
    ['p/d -5', '-5\n'],
    ['p/d - - 5', '5\n'],
    ['p/d ~-1', '0\n'],
    ['p/x 0xff & ~0xf | 1', '0xf1\n'],
    ['p/d 010', '8\n'],
    ['p/c 65', "'A'\n"],
    ["p/d 'a'", '97\n'],
    ['p/o -1', '01777777777777777777777\n'],
    ['p/u -1', '18446744073709551615\n'],
    ['p/x 0', '0\n'],
    ['print /x $pc', '0xffffffff80a6944c\n'],
    ['p/x $a0+$x1', '0xb0\n'],
    ['p/x $mstatus', '0xa000000a0\n'],
    ['p 1/0', 'division by zero\nTry "help p" for more information\n'],
    ['p $nope', 'unknown register\nTry "help p" for more information\n'],
    ['p 1 +', 'unexpected end of expression\nTry "help p" for more information\n'],
    ['p', 'unexpected end of expression\nTry "help p" for more information\n'],
    ['p 1 2', 'print|p: extraneous characters at the end of line\nTry "help p" for more information\n'],
  ])('%s', async (line, text) => {
    expect(await print(line)).toBe(text);
  });

  it('are not followed without end', async () => {
    expect(await print(`p ${'('.repeat(100_000)}`)).toContain('expression is nested too deeply');
    expect(await print(`p ${'-'.repeat(100_000)}1`)).toBe('0x1\n');
    expect(await print(`p ${'9'.repeat(100_000)}`)).toContain('invalid char in expression');
  });
});

describe('x and xp', () => {
  // As QEMU 7.2 prints its reset vector, but for instructions, which are written as binutils does without aliases.
  it.each([
    ['xp/4wx 0x1000', '0000000000001000: 0x00000297 0x02828613 0xf1402573 0x0202b583\n'],
    [
      'xp/4gd 0x1028',
      '0000000000001028:           1229083471                    2\n0000000000001038:                    0                    1\n',
    ],
    ['xp/9bo 0x1000', '0000000000001000: 0227  02   0   0 023 0206 0202  02\n0000000000001008: 0163\n'],
    ['xp/9hu 0x1000', '0000000000001000:   663     0 34323   642  9587 61760 46467   514\n0000000000001010: 45699\n'],
    ['xp/6c 0x1028', "0000000000001028: 'O' 'S' 'B' 'I' '\\x00' '\\x00'\n"],
    [
      'xp/2i 0x1000',
      '0x0000000000001000:  00000297          auipc t0,0x0\n0x0000000000001004:  02828613          addi a2,t0,40\n',
    ],
    ['x/1wx 0x1000', '0000000000001000: 0x00000297\n'],
    ['xp/4wx 0x50000000', '0000000050000000: Cannot access memory\n'],
    ['xp/2z 0x1000', 'invalid char in format: \'z\'\nTry "help xp" for more information\n'],
  ])('%s', async (line, text) => {
    expect(await print(line)).toBe(text);
  });

  it('take the format over that was used last', async () => {
    const target = new DoubleTarget();
    target.ram.fill(0x11, 0, 16);
    expect(await hmp(target, `xp ${RAM}`)).toBe('0000000080000000: 0x11111111\n');
  });

  it('show the end of memory, and that nothing is behind it', async () => {
    const end = RAM + BigInt(RAM_SIZE);
    const text = await print(`xp/5gx 0x${(end - 16n).toString(16)}`);
    expect(text).toBe(
      '00000000800ffff0: 0x0000000000000000 0x0000000000000000\n0000000080100000: Cannot access memory\n',
    );
    expect(await print('xp/2gx -8')).toBe('fffffffffffffff8: Cannot access memory\n');
  });

  it('look through the page tables of the current CPU', async () => {
    const target = new DoubleTarget();
    const view = new DataView(target.ram.buffer);
    const ppn = (offset: number): bigint => (RAM + BigInt(offset)) >> 12n;
    // Sv39: root at 0x1000, then 0x2000, 0x3000; page 0xffffffff80000000 is at 0x8000_4000, the next one nowhere.
    view.setBigUint64(0x1000 + 510 * 8, (ppn(0x2000) << 10n) | 1n, true);
    view.setBigUint64(0x2000, (ppn(0x3000) << 10n) | 1n, true);
    view.setBigUint64(0x3000, (ppn(0x4000) << 10n) | 0xcfn, true);
    // A 2 MiB page.
    view.setBigUint64(0x2000 + 8, (0x80000n << 10n) | 0xc3n, true);
    view.setBigUint64(0x4ff8, 0x1122334455667788n, true);
    view.setUint32(0x100, 0xcafe, true);
    target.privilege = 1;
    target.satp = (8n << 60n) | ppn(0x1000);
    expect(await hmp(target, 'x/1gx 0xffffffff80000ff8')).toBe('ffffffff80000ff8: 0x1122334455667788\n');
    expect(await hmp(target, 'x/2gx 0xffffffff80000ff8')).toBe('ffffffff80000ff8: Cannot access memory\n');
    expect(await hmp(target, 'x/1wx 0xffffffff80200100')).toBe('ffffffff80200100: 0x0000cafe\n');
    expect(await hmp(target, 'x/1wx 0x7f80000000')).toContain('Cannot access memory');
    expect(await hmp(target, 'gva2gpa 0xffffffff80000ff8')).toBe('gpa: 0x80004ff8\n');
    expect(await hmp(target, 'info mem')).toBe(
      [
        'vaddr            paddr            size             attr',
        '---------------- ---------------- ---------------- -------',
        'ffffffff80000000 0000000080004000 0000000000001000 rwx--ad',
        'ffffffff80200000 0000000080000000 0000000000200000 r----ad',
        '',
      ].join('\n'),
    );
  });

  it('do not follow page tables that lead in circles', async () => {
    const target = new DoubleTarget();
    const view = new DataView(target.ram.buffer);
    for (let entry = 0; entry < 512; entry++) {
      view.setBigUint64(0x1000 + entry * 8, (((RAM + 0x1000n) >> 12n) << 10n) | 1n, true);
    }
    target.privilege = 1;
    target.satp = (10n << 60n) | ((RAM + 0x1000n) >> 12n);
    expect(await hmp(target, 'x/1wx 0')).toContain('Cannot access memory');
    expect(await hmp(target, 'info mem')).toContain('more than 4000000 entries');
  });

  it('look at harts that stand still', async () => {
    const target = new DoubleTarget();
    await hmp(target, 'xp 0x1000', 'p $pc', 'info registers');
    expect(target.halts).toBe(3);
  });

  it('have a limit', async () => {
    expect(await print('xp/99999999wx 0x80000000')).toContain('the count can be 65536 at most');
  });
});

describe('commands of HMP', () => {
  // As QEMU 7.2 says it.
  it.each([
    ['nope', "unknown command: 'nope'\n"],
    ['info nope', "unknown command: 'info nope'\n"],
    ['info status', 'VM status: paused (prelaunch)\n'],
    ['info virtio-status', 'virtio-status: string expected\nTry "help info virtio-status" for more information\n'],
    ['info virtio-status /machine/nope', 'Error: Path /machine/nope is not a VirtIODevice\n'],
    ['device_del nope', "Error: Device 'nope' not found\n"],
    ['qom-list /nope', "Error: Device '/nope' not found\n"],
    ['cpu 5', 'Error: invalid CPU index\n'],
    ['info cpus', '* CPU #0: thread_id=100\n  CPU #1: thread_id=101\n'],
    ['info balloon', 'Error: No balloon device has been activated\n'],
    ['info virtio', '/machine/peripheral/disk0 [virtio-blk]\n'],
    ['info name', 'double\n'],
    ['info block', 'hd0 (#block1): d.raw (raw)\n    Attached to:      disk0\n    Cache mode:       writeback\n'],
    ['info chardev', 'serial0: filename=stdio\n'],
    [
      'info network',
      'nic0: index=0,type=nic,model=virtio-net-device,macaddr=52:54:00:12:34:56\n \\ net0: index=0,type=user,net=10.0.2.0,restrict=off\n',
    ],
    ['info roms', 'addr=0000000000001000 size=0x000028 mem=rom name="mrom.reset"\n'],
    ['info irq', 'IRQ statistics for riscv.sifive.plic:\n 8: 12 (virtio-mmio slot 7, disk0)\n'],
    [
      'info pic',
      'riscv.sifive.plic:\n' +
        '  8: level 1 pending 0 claimed 1 priority 1 to hart 0 S, hart 1 S (virtio-mmio slot 7, disk0)\n' +
        ' 10: level 0 pending 0 claimed 0 priority 0 disabled\n',
    ],
    ['info mem', 'No translation or protection\n'],
    ['info pci', 'PCI devices not supported\n'],
    ['info trace-events virtio_no*', 'virtio_notify : state 0\nvirtio_notify_irqfd : state 0\n'],
    [
      'info iothreads',
      'io0:\n  thread_id=77\n  poll-max-ns=32768\n  poll-grow=2\n  poll-shrink=3\n  aio-max-batch=4\n',
    ],
    ['help device_add', 'device_add driver[,prop=value][,...] -- add device, like -device on the command line\n'],
    ['help info status', 'info status  -- show the current VM status (running|paused)\n'],
    ['help nope', "unknown command: 'nope'\n"],
    ['qom-get /machine aia', '"none"\n'],
    ['qom-list /machine/peripheral/disk0', 'queue-size (number)\npacked (boolean)\n'],
    ['   # a remark', ''],
    ['', ''],
  ])('%s', async (line, text) => {
    expect(await print(line)).toBe(text);
  });

  it('info virtio-status prints as QEMU does', async () => {
    expect(await print('info virtio-status /machine/peripheral/disk0')).toBe(`/machine/peripheral/disk0:
  device_name:             virtio-blk${' '}
  device_id:               2
  vhost_started:           false
  bus_name:                (null)
  broken:                  false
  disabled:                false
  disable_legacy_check:    false
  started:                 true
  use_started:             true
  start_on_kick:           false
  use_guest_notifier_mask: true
  vm_running:              false
  num_vqs:                 1
  queue_sel:               0
  isr:                     1
  endianness:              little
  status:
	VIRTIO_CONFIG_S_ACKNOWLEDGE: Valid virtio device found,
	VIRTIO_CONFIG_S_DRIVER: Guest OS compatible with device,
	VIRTIO_CONFIG_S_FEATURES_OK: Feature negotiation complete,
	VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready
  Guest features:
	VIRTIO_F_VERSION_1: Device compliant for v1 spec (legacy)
	VIRTIO_BLK_F_FLUSH: Flush command supported
  Host features:
	VIRTIO_RING_F_EVENT_IDX: Used & avail. event fields enabled,
	VIRTIO_F_VERSION_1: Device compliant for v1 spec (legacy)
	VIRTIO_BLK_F_FLUSH: Flush command supported
  unknown-features(0x1000000000000000)
  Backend features:

`);
  });

  it('info virtio-queue-status prints as QEMU does', async () => {
    expect(await print('info virtio-queue-status /machine/peripheral/disk0 0')).toBe(`/machine/peripheral/disk0:
  device_name:          virtio-blk
  queue_index:          0
  inuse:                4
  used_idx:             10
  signalled_used:       10
  signalled_used_valid: true
  last_avail_idx:       14
  shadow_avail_idx:     14
  VRing:
    num:          256
    num_default:  1024
    align:        4096
    desc:         0x00000000884c0000
    avail:        0x00000000884c4000
    used:         0x00000000884c5000
`);
  });

  it('info virtio-queue-element shows slot, head and the chain in its order', async () => {
    expect(await print('info virtio-queue-element /machine/peripheral/disk0 0 10')).toBe(`/machine/peripheral/disk0:
  device_name: virtio-blk
  slot:    10
  state:   in-flight
  index:   1
  desc:
    descs:
        addr 0x82d37478 len 16 (next) [1],
        addr 0x869cb000 len 4096 (write, next) [7],
        addr 0x82d37008 len 1 (write) [8]
  avail:
    flags: 0
    idx:   14
    ring:  1
    event: 9
  used:
    flags: 0
    idx:   10
    event: 14
`);
  });

  it('info virtio-queue-element never shows a stale slot as live', async () => {
    const target = new DoubleTarget();
    target.element = { ...target.element, state: 'free', head: null, descriptors: [] };
    const text = await hmp(target, 'info virtio-queue-element /machine/peripheral/disk0 0 11');
    expect(text).toContain('state:   free');
    expect(text).toContain('none: the slot holds no buffer');
    expect(text).not.toContain('addr');
  });

  it('info virtio-queue-element decodes packed rings', async () => {
    const target = new DoubleTarget();
    target.element = {
      packed: true,
      slot: 3,
      head: 12,
      state: 'available',
      descriptors: [{ index: 3, indirect: false, address: 0x80001000n, length: 512, flags: ['avail'] }],
      avail: { flags: 0, idx: null, event: null },
      used: { flags: 2, idx: null, event: 0x8005 },
      wrap: { driver: true, device: false },
      problem: null,
    };
    expect(await hmp(target, 'info virtio-queue-element /machine/peripheral/disk0 0')).toContain(
      [
        '  slot:    3',
        '  state:   available',
        '  index:   12',
        '  desc:',
        '    descs:',
        '        addr 0x80001000 len 512 (avail) [3]',
        '  driver event suppression:',
        '    flags: 0',
        '  device event suppression:',
        '    flags: 2',
        '    event: 32773',
        '  wrap counters:',
        '    driver: 1',
        '    device: 0',
        '',
      ].join('\n'),
    );
  });

  it('info qtree prints as QEMU does', async () => {
    expect(await print('info qtree')).toBe(`bus: main-system-bus
  type System
  dev: virtio-mmio, id ""
    gpio-out "sysbus-irq" 1
    force-legacy = false
    num-queues = 4 (0x4)
    mem-reserve = 18446744073709551615 (16 EiB)
    serial = ""
    mmio 0000000010001000/0000000000000200
    bus: virtio-mmio-bus.0
      type virtio-mmio-bus
`);
  });

  it('info qom-tree prints as QEMU does', async () => {
    expect(await print('info qom-tree')).toBe(`/machine (virt-machine)
  /peripheral (container)
    /disk0 (virtio-blk-device)
    /rng0 (virtio-rng-device)
`);
  });

  it('info mtree shows aliases with what they show', async () => {
    expect(await print('info mtree')).toBe(`address-space: I/O
  0000000000000000-000000000000ffff (prio 0, i/o): io

address-space: memory
  0000000000000000-ffffffffffffffff (prio 0, i/o): system
    0000000000001000-000000000000ffff (prio 0, rom): riscv_virt_board.mrom
    0000000040000000-000000007fffffff (prio 0, i/o): alias pcie-mmio @gpex_mmio_window 0000000040000000-000000007fffffff
    0000000080000000-00000000800fffff (prio 0, ram): riscv_virt_board.ram

address-space: cpu-memory-0
memory-region: gpex_mmio_window
  0000000000000000-ffffffffffffffff (prio 0, i/o): gpex_mmio_window
    0000000040200000-0000000040200fff (prio 1, i/o): bar

`);
    expect(await print('info mtree -o')).toContain('(prio 1, i/o): bar owner:{dev id=disk1}\n');
  });

  it('info mtree -f shows what an access reaches', async () => {
    expect(await print('info mtree -f')).toContain(` AS "memory", root: system
 Root memory region: system
  0000000000001000-000000000000ffff (prio 0, rom): riscv_virt_board.mrom
  0000000040000000-00000000401fffff (prio 0, i/o): gpex_mmio_window @0000000040000000
  0000000040200000-0000000040200fff (prio 1, i/o): bar
  0000000040201000-000000007fffffff (prio 0, i/o): gpex_mmio_window @0000000040201000
  0000000080000000-00000000800fffff (prio 0, ram): riscv_virt_board.ram
`);
  });

  it('info registers prints as QEMU does', async () => {
    const text = await print('info registers');
    expect(text.startsWith('\nCPU#0\n pc       ffffffff80a6944c\n mhartid  0000000000000000\n')).toBe(true);
    expect(text).toContain(
      ' x0/zero  0000000000000000 x1/ra    0000000000000010 x2/sp    0000000000000020 x3/gp    0000000000000030\n',
    );
    expect(text).toContain(' f28/ft8  0000000000000000 f29/ft9  0000000000000000 f30/ft10 ');
    expect(await print('info registers -a')).toMatch(/CPU#0[^]*CPU#1/);
    expect(await print('info registers 1')).toMatch(/CPU#1/);
  });

  it('info pci prints as QEMU does', async () => {
    const target = new DoubleTarget();
    const none = { irq: null, irqPin: 0, regions: [], bridge: null };
    const region = { bar: 0, type: 'io' as const, address: 0x80n, size: 0x80n, prefetch: false, mem64: false };
    target.pci = [
      {
        bus: 0,
        devices: [
          {
            ...none,
            bus: 0,
            slot: 0,
            function: 0,
            classCode: 0x0600,
            vendor: 0x1b36,
            device: 8,
            subsystemVendor: 0x1af4,
            subsystem: 0x1100,
            qdevId: '',
          },
          {
            ...none,
            bus: 0,
            slot: 1,
            function: 0,
            classCode: 0x0100,
            vendor: 0x1af4,
            device: 0x1001,
            subsystemVendor: 0x1af4,
            subsystem: 2,
            irq: 13,
            irqPin: 1,
            qdevId: 'disk1',
            regions: [
              region,
              { ...region, bar: 1, type: 'memory', address: 0x40200000n, size: 0x1000n },
              { ...region, bar: 4, type: 'memory', address: 0x400200000n, size: 0x4000n, prefetch: true, mem64: true },
            ],
          },
        ],
      },
    ];
    expect(await hmp(target, 'info pci')).toBe(`  Bus  0, device   0, function 0:
    Host bridge: PCI device 1b36:0008
      PCI subsystem 1af4:1100
      id ""
  Bus  0, device   1, function 0:
    SCSI controller: PCI device 1af4:1001
      PCI subsystem 1af4:0002
      IRQ 13, pin A
      BAR0: I/O at 0x0080 [0x00ff].
      BAR1: 32 bit memory at 0x40200000 [0x40200fff].
      BAR4: 64 bit prefetchable memory at 0x400200000 [0x400203fff].
      id "disk1"
`);
  });

  it('do what they say', async () => {
    const target = new DoubleTarget();
    target.balloon = { actual: 1 << 20, setTarget: async (bytes) => void target.asked.push(`balloon ${bytes}`) };
    const text = await hmp(
      target,
      'c',
      'stop',
      'system_reset',
      'device_add virtio-blk-pci,drive=a,,b,id=x,packed',
      'device_del /machine/peripheral/disk0',
      'object_add iothread,id=io1',
      'drive_add 0 file=a.img,if=none,id=d1,readonly',
      'drive_add -n 0:1 a.img,if=virtio,id=d1',
      'drive_add 0 a.img',
      'drive_del d1',
      'netdev_add user,id=n1,hostfwd=tcp::1-:2',
      'chardev-add null,id=c1',
      'set_link nic0 off',
      'balloon 1',
      'qom-set /machine/peripheral/disk0 queue-size 0x80',
      'qom-set -j /machine/peripheral/disk0 packed true',
      'qom-get /machine/peripheral/disk0 queue-size',
      'trace-event virtio_n* on',
      'quit',
    );
    expect(text).toBe("OK\nError: Can't hot-add drive to type virtio\nError: Parameter 'id' is missing\n128\n");
    expect(target.asked).toEqual([
      'cont',
      'stop',
      'reset',
      'device_add "virtio-blk-pci" {"drive":"a,b","id":"x","packed":"on"}',
      'device_del "disk0"',
      'object_add "iothread" "io1" {}',
      'drive_add "d1" {"file":"a.img","readonly":"on"} {"withDevice":true}',
      'drive_del "d1"',
      'netdev_add "user" "n1" {"hostfwd":"tcp::1-:2"}',
      'chardev-add "c1" {"type":"null","data":{}}',
      'set_link "nic0" false',
      'balloon 1048576',
      'quit',
    ]);
    expect(target.trace.events.filter(({ enabled }) => enabled)).toHaveLength(2);
  });

  it('have help', async () => {
    const help = await print('help');
    for (const { names } of HMP_COMMANDS) expect(help).toContain(`${names.join('|')} `);
    const info = await print('info');
    for (const { names } of HMP_INFO) expect(info).toContain(`info ${names[0]} `);
  });
});
