/**
 * The inspector on a guest: watch its disk's queue while it writes, break on a sector, step, inject an error that the guest
 * sees, clear, and find that it goes on.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { REQUEST_WORDS } from '../../core/api/inspect.ts';
import type { QueueBatch, QueueControl } from '../../core/api/inspect.ts';
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_T_OUT } from '../../core/virtio/spec/blk.ts';
import { MIB, Running, debianFiles, tempFolder } from '../harness/debian.ts';

const found = await debianFiles();
const folder = tempFolder();

describe.skipIf('reason' in found)('the inspector of a Debian guest', () => {
  let running: Running;
  beforeAll(async () => {
    if ('reason' in found) return;
    const image = join(folder, 'disk.raw');
    writeFileSync(image, new Uint8Array(4 * MIB));
    const packed = join(folder, 'packed.raw');
    writeFileSync(packed, new Uint8Array(4 * MIB));
    running = await Running.boot(found.files, {
      drives: [
        { id: 'drive0', file: image, serial: 'mmio0' },
        { id: 'packed0', file: packed, if: 'none' },
      ],
      netdevs: [{ type: 'hubport', id: 'net0', hubid: 0 }],
      devices: [
        { driver: 'virtio-net-device', id: 'nic0', netdev: 'net0' },
        { driver: 'virtio-blk-pci', id: 'pci0', drive: 'packed0', packed: true },
      ],
    });
  }, 120_000);
  afterAll(async () => running?.machine.dispose());

  const control = (): Promise<QueueControl> => running.machine.inspector.control('drive0', 0, { op: 'state' });
  async function stopped(): Promise<QueueControl> {
    for (let state = await control(); ; state = await control()) if (state.stop !== null) return state;
  }

  it('shows requests, stops at one, makes one fail, and lets the guest go on', async () => {
    const { inspector } = running.machine;
    const requests: { type: number; status: number; sector: number }[] = [];
    const collect = ({ done: { count, words } }: QueueBatch): void => {
      for (let i = 0; i < count; i++) {
        const [type, status, low] = words.subarray(REQUEST_WORDS * i + 4);
        requests.push({ type, status, sector: low });
      }
    };
    const handle = await inspector.watch('drive0', 0, { batch: collect, ended: () => {} });
    expect(handle.profile.detail).toBe('sector');
    // Which of the two disks Linux finds first is its own affair.
    const { text } = await running.shell.run('grep -l mmio0 /sys/block/vd*/serial');
    const [disk] = /vd[a-z]/.exec(text)!;
    const write = (sector: number): string =>
      `dd if=/dev/zero of=/dev/${disk} bs=4096 count=1 seek=${sector / 8} conv=fsync`;
    const written = (sector: number) =>
      requests.filter((each) => each.type === VIRTIO_BLK_T_OUT && each.sector === sector);

    // One write, seen.
    await running.shell.run(write(64));
    await inspector.poll();
    expect(written(64)).toMatchObject([{ status: 0 }]);

    // Another one stands at a breakpoint: the guest waits.
    const match = { types: [VIRTIO_BLK_T_OUT], detail: { from: 2048, to: 2048 } };
    await inspector.control('drive0', 0, { op: 'rules', breakpoints: [{ id: 'b', match }], injections: [] });
    const waiting = running.shell.run(write(2048));
    expect(await stopped()).toMatchObject({ paused: true, stop: { breakpoint: 'b' } });
    const view = await inspector.view('drive0', 0, 0, 256);
    expect(view.chains[0]).toMatchObject({ state: 'in-flight', type: 'VIRTIO_BLK_T_OUT (1)', detail: 2048 });
    expect(view.control?.paused).toBe(true);
    await inspector.control('drive0', 0, { op: 'step', chains: 1 });
    await inspector.control('drive0', 0, { op: 'clear' });
    expect((await waiting).status).toBe(0);

    // The next one fails, and the guest says so.
    const error = { id: 'e', kind: 'error', match, status: null, count: null, probability: 1 } as const;
    await inspector.control('drive0', 0, { op: 'rules', breakpoints: [], injections: [error] });
    expect(await running.shell.run(write(2048))).toMatchObject({ status: 1, text: expect.stringContaining('rror') });
    const { injections } = await control();
    expect(injections[0].hits).toBeGreaterThan(0);
    await inspector.control('drive0', 0, { op: 'clear' });
    expect((await running.shell.run(write(2048))).status).toBe(0);
    await inspector.poll();
    expect(written(2048).map(({ status }) => status)).toContain(VIRTIO_BLK_S_IOERR);
    expect(written(2048).at(-1)?.status).toBe(0);
    expect((await control()).active).toBe(false);

    handle.close();
  }, 120_000);

  it('finds that Linux breaks no rule, of split and packed rings, on mmio and PCI', async () => {
    const { inspector } = running.machine;
    const watched = [
      ['drive0', 0],
      ['pci0', 0],
      ['nic0', 0],
      ['nic0', 1],
      ['nic0', 2],
    ] as const;
    const handles = await Promise.all(
      watched.map(([device, queue]) => inspector.watch(device, queue, { batch: () => {}, ended: () => {} })),
    );
    const { text } = await running.shell.run('ls /sys/block');
    const disks = text.match(/vd[a-z]/g) ?? [];
    expect(disks).toHaveLength(2);
    for (const disk of disks) {
      const write = `dd if=/dev/zero of=/dev/${disk} bs=64k count=16 conv=fsync`;
      const read = `dd if=/dev/${disk} of=/dev/null bs=4k count=64 iflag=direct`;
      const both = await running.shell.run(`${write} && ${read} && blkdiscard -l 65536 /dev/${disk}; true`);
      expect(both.status).toBe(0);
    }
    await running.shell.run(
      'ip addr add 10.0.0.3/24 dev eth0; ip link set eth0 up promisc on; ping -c 1 -W 1 10.0.0.4',
    );
    expect((await inspector.view('pci0', 0, 0, 16)).format).toBe('packed');
    for (const device of ['drive0', 'pci0', 'nic0']) {
      expect(await inspector.findings(device, false), device).toEqual([]);
    }
    for (const handle of handles) handle.close();
  }, 120_000);

  it('writes the packets of its card as pcapng', async () => {
    const { inspector } = running.machine;
    const file = join(folder, 'net.pcapng');
    expect(await inspector.capturePackets('nic0', file)).toEqual({ device: 'nic0', file });
    await expect(inspector.capturePackets('nic0', file)).rejects.toMatchObject({ kind: 'in-use' });
    await expect(inspector.capturePackets('drive0', file)).rejects.toMatchObject({ kind: 'unsupported' });
    // Nobody answers, but it asks.
    await running.shell.run('ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up; ping -c 1 -W 1 10.0.0.2');
    expect(await inspector.capturePackets('nic0')).toEqual({ device: 'nic0', file });
    expect(await inspector.capturePackets('nic0', null)).toBe(null);
    await expect(inspector.capturePackets('nic0', file)).rejects.toThrow('there already');
    const bytes = readFileSync(file);
    expect(bytes.readUInt32LE(0)).toBe(0x0a0d0d0a);
    // Who has 10.0.0.2?
    expect(bytes.includes(Buffer.of(10, 0, 0, 2))).toBe(true);
  }, 120_000);
});
