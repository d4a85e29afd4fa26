/** The monitor of a booted Debian. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:net';
import { beforeEach, describe, expect, test } from 'vitest';
import { SocketListener } from '../../core/chardev/listener.ts';
import { Monitor } from '../../core/monitor/monitor.ts';
import { MIB, Running, debianFiles, tempFolder } from '../harness/debian.ts';
import { TextClient, execute } from '../monitor/client.ts';

const BOOT_MS = 150_000;
const debian = await debianFiles();
const folder = tempFolder();

beforeEach((context) => {
  if ('reason' in debian) context.skip(debian.reason);
});

/** A booted machine with QMP and HMP on sockets. */
async function boot(): Promise<{ guest: Running; qmp: TextClient; hmp: TextClient; close: () => Promise<void> }> {
  if ('reason' in debian) throw new Error(debian.reason);
  const file = join(folder, 'disk.raw');
  writeFileSync(file, '');
  truncateSync(file, 16 * MIB);
  const other = join(folder, 'other.raw');
  writeFileSync(other, '');
  truncateSync(other, MIB);
  const guest = await Running.boot(debian.files, {
    harts: 2,
    aia: 'aplic-imsic',
    drives: [
      { id: 'hd0', file },
      { id: 'hd1', file: other, if: 'none' },
    ],
    netdevs: [{ type: 'hubport', id: 'net0', hubid: 0 }],
    devices: [
      { driver: 'virtio-balloon-device', id: 'balloon0' },
      { driver: 'virtio-net-device', id: 'nic0', netdev: 'net0' },
      { driver: 'virtio-blk-pci', id: 'disk1', drive: 'hd1' },
    ],
  });
  const monitor = new Monitor({ target: guest.machine.monitor('debian'), version: { ringside: '0.0.0' } });
  const at = (name: string) => ({ kind: 'unix' as const, path: join(folder, name) });
  const listeners = [
    await SocketListener.listen(at('qmp'), (socket) => monitor.qmp(socket.resume())),
    await SocketListener.listen(at('hmp'), (socket) => monitor.hmp(socket.resume())),
  ];
  const qmp = new TextClient(connect(at('qmp').path));
  await qmp.line();
  qmp.send('{"execute": "qmp_capabilities"}');
  await qmp.line();
  const hmp = new TextClient(connect(at('hmp').path));
  await hmp.until(/\(qemu\) /);
  const close = async (): Promise<void> => {
    monitor.close();
    await Promise.all(listeners.map((listener) => listener.close()));
  };
  return { guest, qmp, hmp, close };
}

/** What a line prints. */
async function ask(hmp: TextClient, line: string): Promise<string> {
  hmp.send(`${line}\n`);
  const text = await hmp.until(/\r\n\(qemu\) $/);
  return text.slice(line.length + 2, -'(qemu) '.length).replaceAll('\r\n', '\n');
}

describe('the monitor of a booted guest', () => {
  test('sees what there is and does what it is told', { timeout: 2 * BOOT_MS }, async () => {
    const { guest, qmp, hmp, close } = await boot();
    await using _guest = guest;
    const { shell, machine } = guest;

    // Devices and queues.
    expect(await execute(qmp, 'x-query-virtio')).toEqual(
      expect.arrayContaining([
        { path: '/machine/peripheral/hd0', name: 'virtio-blk' },
        { path: '/machine/peripheral/balloon0', name: 'virtio-balloon' },
        { path: '/machine/peripheral/rng0', name: 'virtio-rng' },
      ]),
    );
    const path = '/machine/peripheral/hd0';
    const before = (await execute(qmp, 'x-query-virtio-queue-status', { path, queue: 0 })) as Record<string, number>;
    await shell.ok(
      'dd if=/dev/$(grep -lx 32768 /sys/block/vd*/size | cut -d/ -f4) of=/dev/null bs=4k count=64 iflag=direct 2>/dev/null',
    );
    const after = (await execute(qmp, 'x-query-virtio-queue-status', { path, queue: 0 })) as Record<string, number>;
    expect(after['used-idx']).toBeGreaterThanOrEqual(before['used-idx'] + 64);
    expect(after).toMatchObject({ inuse: 0, 'last-avail-idx': after['used-idx'], 'signalled-used-valid': true });
    // All its buffers have come back, so no slot holds one.
    const element = await execute(qmp, 'x-query-virtio-queue-element', { path, queue: 0, index: 1 });
    expect(element).toMatchObject({ slot: 1, state: 'free', descs: [] });
    // A console's receive queue is full of buffers.
    const waiting = await ask(hmp, 'info virtio-queue-element /machine/peripheral/console0 0');
    expect(waiting).toMatch(/state: {3}available\n[^]*addr 0x[89a-f][0-9a-f]{7} len 4096 \(write\) \[\d+\]\n/);

    // Interrupts and memory of a PCI device.
    const irq = await ask(hmp, 'info irq');
    expect(irq).toMatch(/^IRQ statistics for riscv\.aplic:\n(.*\n)* \d: \d+ \(virtio-mmio slot \d, hd0\)\n/);
    expect(irq).toMatch(
      /\nIRQ statistics for riscv\.imsic \(hart \d S\):\n(.*\n)*\s*\d+: \d+ \(disk1 vector [0-2]\)\n/,
    );
    expect(await ask(hmp, 'info pic')).toMatch(
      / level [01] pending [01] claimed 0 to hart \d S \(virtio-mmio slot \d, hd0\)/,
    );
    const tree = await ask(hmp, 'info mtree -o');
    expect(tree).toMatch(
      /\(prio 1, i\/o\): virtio-blk-pci-msix owner:\{dev id=disk1\}\n +0+4[0-9a-f]+-[0-9a-f]{16} \(prio 0, i\/o\): msix-table /,
    );
    expect(tree).toContain('(prio 0, i/o): virtio-pci-common-virtio-blk owner:{dev id=disk1}\n');
    const flat = await ask(hmp, 'info mtree -f');
    expect(flat).toMatch(
      / AS "memory", root: system\n AS "cpu-memory-0", root: system\n AS "cpu-memory-1", root: system\n AS "virtio-blk-pci", root: bus master container\n Root memory region: system\n/,
    );
    expect(flat).toMatch(/\n {2}00000004[0-9a-f]{8}-[0-9a-f]{16} \(prio 0, i\/o\): virtio-pci-notify-virtio-blk\n/);

    // Trace events: of registers that harts otherwise serve by themselves, of queues in workers, of the machine.
    const traced: string[] = [];
    machine.trace.onLine((line) => traced.push(line));
    const read = 'for d in a b; do dd if=/dev/vd$d of=/dev/null bs=4k count=1 skip=3 iflag=direct 2>/dev/null; done';
    expect(await ask(hmp, 'trace-event virtio_* on')).toBe('');
    expect(await ask(hmp, 'trace-event virtqueue_pop on')).toBe('');
    await shell.ok(read);
    const line = (pattern: RegExp): Promise<void> =>
      expect.poll(() => traced.some((text) => pattern.test(text)), { timeout: 30_000 }).toBe(true);
    await line(/^virtio_queue_notify vdev disk1 n \d vq disk1:requestq/);
    await line(/^virtqueue_pop vq disk1:requestq\S* elem \d+ bytes 4113$/);
    await line(/^virtio_blk_handle_read vdev disk1 req \d+ sector 24 nsectors 8$/);
    await line(/^virtio_blk_req_complete vdev disk1 req \d+ status 0$/);
    await line(/^virtio_notify vdev disk1 vq disk1:requestq/);
    await line(/^virtio_mmio_write_offset virtio_mmio_write offset 0x50 value 0x/);
    await line(/^virtio_mmio_read virtio_mmio_read offset 0x60$/);
    expect(await ask(hmp, 'info trace-events virtqueue_p*')).toBe('virtqueue_pop : state 1\n');
    expect(await ask(hmp, 'trace-event * off')).toBe('');
    expect(await ask(hmp, 'trace-event pci_cfg_read on')).toBe('');
    await shell.ok('od -A n -t x1 /sys/bus/pci/devices/0000:00:01.0/config');
    await line(/^pci_cfg_read disk1 00:01\.0 @0x0 -> 0x1af4|^pci_cfg_read disk1 00:01\.0 @0x[0-9a-f]+ -> 0x/);
    expect(await ask(hmp, 'trace-event pci_cfg_read off')).toBe('');
    await shell.ok('true');
    traced.length = 0;
    await shell.ok(read);
    expect(traced).toEqual([]);
    expect(await ask(hmp, 'trace-event nope on')).toBe('unknown event "nope"\n');

    // Registers and memory: the kernel's text is where the page tables say.
    const registers = await ask(hmp, 'info registers -a');
    expect(registers).toMatch(/CPU#0\n pc {7}[0-9a-f]{16}\n[^]*CPU#1\n[^]* satp {5}[89a][0-9a-f]{15}\n/);
    const stvec = / stvec {4}([0-9a-f]{16})/.exec(registers)![1];
    const text = await ask(hmp, `x/2i 0x${stvec}`);
    expect(text).toMatch(new RegExp(`^0x${stvec}:  [0-9a-f]{4,8} +[a-z.]+ `));
    const place = /gpa: (0x[0-9a-f]+)/.exec(await ask(hmp, `gva2gpa 0x${stvec}`))![1];
    const [, virtual] = (await ask(hmp, `x/2gx 0x${stvec}`)).split(': ');
    const [, physical] = (await ask(hmp, `xp/2gx ${place}`)).split(': ');
    expect(virtual).toBe(physical);
    expect(await ask(hmp, 'info mem')).toContain(' r-x-ga');
    expect(await ask(hmp, 'xp/1wx 0x10001000')).toBe('0000000010001000: Cannot access memory\n');
    // Looking has not disturbed it.
    expect(machine.state).toBe('running');
    expect(await shell.ok('echo $((6 * 7))')).toBe('42');

    // Stop and go.
    expect(await execute(qmp, 'trace-event-set-state', { name: 'runstate_set', enable: true })).toEqual({});
    expect(await execute(qmp, 'stop')).toEqual({});
    expect(await execute(qmp, 'query-status')).toEqual({ status: 'paused', singlestep: false, running: false });
    const pc = await ask(hmp, 'p/x $pc');
    expect(await ask(hmp, 'p/x $pc')).toBe(pc);
    expect(await ask(hmp, 'c')).toBe('');
    expect(await shell.ok('echo on')).toBe('on');
    expect(traced).toEqual([
      'runstate_set current_run_state 9 (running) new_state 4 (paused)',
      'runstate_set current_run_state 4 (paused) new_state 9 (running)',
    ]);

    // The balloon.
    qmp.text = '';
    expect(await execute(qmp, 'balloon', { value: 384 * MIB })).toEqual({});
    await qmp.until(/"BALLOON_CHANGE", "data": \{"actual": 402653184\}\}\r\n/);
    expect(await ask(hmp, 'info balloon')).toBe('balloon: actual=384\n');

    // The cable.
    await shell.ok('modprobe virtio_net; ip link set eth0 up');
    const carrier = (): Promise<string> => shell.ok('sleep 0.2; cat /sys/class/net/eth0/carrier');
    await expect.poll(carrier).toBe('1');
    expect(await ask(hmp, 'set_link nic0 off')).toBe('');
    await expect.poll(carrier).toBe('0');
    expect(await ask(hmp, 'set_link nic0 on')).toBe('');
    await expect.poll(carrier).toBe('1');
    expect(await ask(hmp, 'info network')).toMatch(
      /^hub 0\n \\ net0: nic0: index=0,type=nic,model=virtio-net-device,macaddr=[0-9a-f:]{17}\n$/,
    );

    // Objects.
    expect(await execute(qmp, 'object-add', { 'qom-type': 'iothread', id: 'io1' })).toEqual({});
    expect(await execute(qmp, 'qom-set', { path: '/objects/io1', property: 'poll-max-ns', value: 32768 })).toEqual({});
    expect(await execute(qmp, 'query-iothreads')).toMatchObject([{ id: 'io1', 'poll-max-ns': 32768, 'poll-grow': 0 }]);
    expect(await ask(hmp, 'info iothreads')).toMatch(/^io1:\n {2}thread_id=\d+\n {2}poll-max-ns=32768\n/);
    expect(await execute(qmp, 'object-del', { id: 'io1' })).toEqual({});
    expect(await ask(hmp, 'device_add nope')).toBe("Error: 'nope' is not a valid device model name\n");
    expect(await ask(hmp, 'device_del nope')).toBe("Error: Device 'nope' not found\n");
    expect(await ask(hmp, 'qom-get /machine/peripheral/hd0 queue-size')).toMatch(/^\d+\n$/);
    expect(await ask(hmp, 'info qtree')).toContain('dev: virtio-blk-device, id "hd0"\n');
    expect(await ask(hmp, 'info mtree -f')).toContain('(prio 0, ram): riscv_virt_board.ram\n');
    expect(await ask(hmp, 'info block')).toMatch(/^hd0 \(#block1\): .*disk\.raw \(raw\)\n {4}Attached to: {6}hd0\n/);

    // A reset, and the end.
    qmp.text = '';
    expect(await execute(qmp, 'system_reset')).toEqual({});
    await shell.ready();
    qmp.send('{"execute": "quit"}');
    await qmp.until(
      /\{"return": \{\}\}\r\n[^]*"event": "SHUTDOWN", "data": \{"guest": false, "reason": "host-qmp-quit"\}/,
    );
    expect(await guest.exit).toEqual({ reason: 'host-quit', code: 0 });
    await close();
    expect(guest.messages).toEqual([]);
  });
});
