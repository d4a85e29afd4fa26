import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

import { describe, expect, it } from 'vitest';

import { createHost } from '../../core/host/node-host.ts';
import { createMachineMemory, RAM_SIZE_MAX, ramWarnings } from '../../core/memory/create.ts';
import { GuestAddressError, GuestMemory, RAM_BASE } from '../../core/memory/guest-memory.ts';
import { CONTROL_BASE, CTL_RAM_SIZE, RAM_OFFSET } from '../../core/worker/layout.ts';

const MIB = 2 ** 20;
const host = createHost({ addon: { reason: 'not in this test' } });
const make = (ramSize: number) => createMachineMemory({ ramSize, host });

describe('machine memory', () => {
  it('has the RAM size in the control page and zeroed RAM at RAM_OFFSET', () => {
    const { guest, fd, sharing } = make(16 * MIB);
    const linear = new DataView(guest.memory.buffer);
    expect(linear.getBigUint64(CONTROL_BASE + CTL_RAM_SIZE, true)).toBe(BigInt(16 * MIB));
    expect(guest.memory.buffer.byteLength).toBe(RAM_OFFSET + 16 * MIB);
    guest.writeU32(RAM_BASE, 0x12345678);
    expect(linear.getUint32(RAM_OFFSET, true)).toBe(0x12345678);
    expect(guest.readU32(RAM_BASE + 4)).toBe(0);
    expect(fd).toBeNull();
    expect(sharing).toEqual({ available: false, reason: 'not in this test' });
  });

  it('goes up to the end of a 32-bit linear memory', () => {
    const { guest } = make(RAM_SIZE_MAX);
    const last = RAM_BASE + RAM_SIZE_MAX - 8;
    guest.writeU64(last, 0xfeed_face_dead_beefn);
    expect(guest.readU64(last)).toBe(0xfeed_face_dead_beefn);
    expect(guest.linear(last, 8)).toBe(2 ** 32 - 8);
    expect(guest.view(last, 8)[7]).toBe(0xfe);
    guest.storeU16(last + 6, 0xabcd);
    expect(guest.loadU16(last + 6)).toBe(0xabcd);
  });

  it.each([
    ['one MiB too many', RAM_SIZE_MAX + MIB, 'too-large', /at most 3776 MiB/],
    ['far too much', 2 ** 50, 'too-large', /at most 3776 MiB/],
    ['nothing', 0, 'bad-option', /multiple of 1 MiB/],
    ['a fraction of a MiB', 16 * MIB + 4096, 'bad-option', /multiple of 1 MiB/],
    ['not a number', NaN, 'bad-option', /multiple of 1 MiB/],
  ])('refuses %s', (_name, ramSize, kind, message) => {
    expect(() => make(ramSize)).toThrow(expect.objectContaining({ kind, message: expect.stringMatching(message) }));
  });

  it('warns of more RAM than the host has, and only then', () => {
    expect(ramWarnings(1024 * MIB, 1024 * MIB)).toEqual([]);
    expect(ramWarnings(1025 * MIB, 1024 * MIB)).toEqual([
      expect.stringMatching(/1025 MiB of RAM and this host only 1024/),
    ]);
  });
});

describe('guest memory', () => {
  const { guest } = make(16 * MIB);

  it('is little-endian', () => {
    guest.writeU64(RAM_BASE + 3, 0x1122334455667788n);
    expect([...guest.read(RAM_BASE + 3, 8)]).toEqual([0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    expect(guest.readU8(RAM_BASE + 3)).toBe(0x88);
    expect(guest.readU16(RAM_BASE + 3)).toBe(0x7788);
    expect(guest.readU32(RAM_BASE + 3)).toBe(0x55667788);
    expect(guest.readU64Number(RAM_BASE + 3)).toBe(0x11223344 * 2 ** 32 + 0x55667788);
  });

  it('copies with read and aliases with view', () => {
    const copy = guest.read(RAM_BASE + 64, 4);
    const view = guest.view(RAM_BASE + 64, 4);
    guest.write(RAM_BASE + 64, [1, 2, 3, 4]);
    expect([...copy]).toEqual([0, 0, 0, 0]);
    expect([...view]).toEqual([1, 2, 3, 4]);
    guest.fill(RAM_BASE + 65, 2, 9);
    expect([...view]).toEqual([1, 9, 9, 4]);
  });

  const end = RAM_BASE + 16 * MIB;
  it.each<[string, (memory: GuestMemory) => unknown]>([
    ['below RAM', (memory) => memory.readU8(RAM_BASE - 1)],
    ['across the start', (memory) => memory.readU32(RAM_BASE - 2)],
    ['at the end', (memory) => memory.readU8(end)],
    ['across the end', (memory) => memory.readU64(end - 7)],
    ['a write across the end', (memory) => memory.writeU32(end - 3, 0)],
    ['a view across the end', (memory) => memory.view(end - 4, 5)],
    ['a negative length', (memory) => memory.view(RAM_BASE, -1)],
    ['a length that would wrap', (memory) => memory.view(RAM_BASE + 8, 2 ** 64)],
    ['the highest u64', (memory) => memory.view(2 ** 64, 1)],
    ['not a number', (memory) => memory.view(NaN, 1)],
    ['bytes that do not fit', (memory) => memory.write(end - 1, [1, 2])],
    ['a fill that does not fit', (memory) => memory.fill(end - 1, 2, 0)],
    ['linear of too long a range', (memory) => memory.linear(RAM_BASE, 16 * MIB + 1)],
    ['a misaligned atomic', (memory) => memory.loadU16(RAM_BASE + 1)],
  ])('refuses %s', (_name, access) => {
    expect(() => access(guest)).toThrow(GuestAddressError);
  });

  it('takes an empty range anywhere in RAM, its end included', () => {
    expect(guest.view(end, 0).length).toBe(0);
    expect(guest.contains(end, 0)).toBe(true);
    expect(guest.contains(end + 1, 0)).toBe(false);
    expect(guest.contains(RAM_BASE, 16 * MIB)).toBe(true);
  });

  it('is the same memory in a worker', async () => {
    guest.writeU32(RAM_BASE + 4096, 41);
    const worker = new Worker(
      `import { workerData } from 'node:worker_threads';
       const { GuestMemory, RAM_BASE } = await import(workerData.module);
       const guest = new GuestMemory(workerData.handle);
       guest.storeU32(RAM_BASE + 4096, guest.loadU32(RAM_BASE + 4096) + 1);`,
      {
        eval: true,
        workerData: {
          module: new URL('../../core/memory/guest-memory.ts', import.meta.url).href,
          handle: guest.handle,
        },
      },
    );
    await once(worker, 'exit');
    expect(guest.loadU32(RAM_BASE + 4096)).toBe(42);
  });
});
