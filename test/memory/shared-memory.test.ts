/** Guest RAM behind a memfd: the main thread, a worker, wasm and another process all have the same bytes. */
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, ftruncateSync, readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';

import { afterEach, describe, expect, it } from 'vitest';

import type { Host } from '../../core/host/host.ts';
import { createHost } from '../../core/host/node-host.ts';
import { createMachineMemory } from '../../core/memory/create.ts';
import type { MachineMemory } from '../../core/memory/create.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { RAM_OFFSET } from '../../core/worker/layout.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';

const MIB = 2 ** 20;
const RAM = 32 * MIB;
const LAST_WORD = RAM_BASE + RAM - 4;

/**
 * (module (import "env" "memory" (memory 0 65536 shared)) (func (export "add") (param i32 i32) (result i32)
 * i32.atomic.rmw.add))
 */
const ATOMIC_ADD = new Uint8Array([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x01, 0x07, 0x01, 0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7f],
  ...[
    0x02, 0x12, 0x01, 0x03, 0x65, 0x6e, 0x76, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02, 0x03, 0x00, 0x80, 0x80,
    0x04,
  ],
  ...[0x03, 0x02, 0x01, 0x00],
  ...[0x07, 0x07, 0x01, 0x03, 0x61, 0x64, 0x64, 0x00, 0x00],
  ...[0x0a, 0x0c, 0x01, 0x0a, 0x00, 0x20, 0x00, 0x20, 0x01, 0xfe, 0x1e, 0x02, 0x00, 0x0b],
]);

/** Runs test/memory/peer.mjs on the machine's memfd and gives what it printed. */
function runPeer(fd: number): number {
  const peer = fileURLToPath(new URL('peer.mjs', import.meta.url));
  const addonFile = 'path' in hostSpec.addon ? hostSpec.addon.path : '';
  const args = [peer, addonFile, String(process.pid), String(fd), String(RAM)];
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8' }));
}

describe.skipIf(whyNoAddon)(`guest RAM in a memfd${whyNoAddon ? ` (skipped: ${whyNoAddon})` : ''}`, () => {
  const host = createHost(hostSpec);
  const made: MachineMemory[] = [];
  const make = (ramSize = RAM, on: Host = host) => {
    made.push(createMachineMemory({ ramSize, host: on }));
    return made.at(-1)!;
  };
  afterEach(() => made.splice(0).forEach((memory) => memory.close()));

  it('is one with JavaScript, wasm, a worker and another process', async () => {
    const { guest, fd, sharing } = make();
    expect(sharing).toEqual({ available: true });

    const { instance } = await WebAssembly.instantiate(ATOMIC_ADD, { env: { memory: guest.memory } });
    const add = instance.exports.add as (address: number, value: number) => number;

    guest.writeU32(RAM_BASE + 4, 1234);
    guest.storeU32(RAM_BASE, 40);
    expect(add(guest.linear(RAM_BASE, 4), 1)).toBe(40);
    expect(runPeer(fd!)).toBe(1234);
    expect(guest.loadU32(RAM_BASE)).toBe(42);
    expect(guest.readU32(LAST_WORD)).toBe(~41 >>> 0);

    const worker = new Worker(
      `import { workerData } from 'node:worker_threads';
       const { GuestMemory, RAM_BASE } = await import(workerData.module);
       const guest = new GuestMemory(workerData.handle);
       guest.storeU32(RAM_BASE + 4, guest.loadU32(RAM_BASE) * 100);`,
      {
        eval: true,
        workerData: {
          module: new URL('../../core/memory/guest-memory.ts', import.meta.url).href,
          handle: guest.handle,
        },
      },
    );
    await once(worker, 'exit');
    expect(runPeer(fd!)).toBe(4200);
  });

  it('can be mapped by a worker into a memory of its own', async () => {
    const { guest, fd } = make();
    const worker = new Worker(
      `import { workerData } from 'node:worker_threads';
       const { createHost } = await import(workerData.module);
       const pages = workerData.size / 65536;
       const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
       createHost(workerData.spec).mapSharedMemory(memory, 0, workerData.size, workerData.fd);
       Atomics.store(new Int32Array(memory.buffer), 5, 77);`,
      {
        eval: true,
        workerData: {
          module: new URL('../../core/host/node-host.ts', import.meta.url).href,
          spec: hostSpec,
          size: RAM,
          fd,
        },
      },
    );
    await once(worker, 'exit');
    expect(guest.loadU32(RAM_BASE + 20)).toBe(77);
  });

  it('still traps outside linear memory', async () => {
    const { guest } = make();
    const { instance } = await WebAssembly.instantiate(ATOMIC_ADD, { env: { memory: guest.memory } });
    const add = instance.exports.add as (address: number, value: number) => number;
    expect(add(RAM_OFFSET + RAM - 4, 3)).toBe(0);
    expect(() => add(RAM_OFFSET + RAM, 3)).toThrow(/out of bounds/);
  });

  it('reads files straight into guest RAM', () => {
    const { guest } = make();
    const script = fileURLToPath(import.meta.url);
    const text = readFileSync(script);
    const fd = host.open(script, { write: false });
    const views = [guest.view(RAM_BASE + 1, 100), guest.view(RAM_BASE + RAM - 200, 200)];
    expect(host.readv(fd, views, 10)).toBe(300);
    host.close(fd);
    expect(Buffer.concat(views)).toEqual(text.subarray(10, 310));
  });

  it('cannot be resized, whoever has the descriptor', () => {
    const { fd } = make();
    expect(fstatSync(fd!).size).toBe(RAM);
    expect(() => ftruncateSync(fd!, 4096)).toThrow(expect.objectContaining({ code: 'EPERM' }));
    expect(() => ftruncateSync(fd!, RAM * 2)).toThrow(expect.objectContaining({ code: 'EPERM' }));
  });

  it('gives its memory back when closed, once', () => {
    const memory = make();
    memory.guest.fill(RAM_BASE, RAM, 0xff);
    const blocks = () => fstatSync(memory.fd!).blocks * 512;
    expect(blocks()).toBe(RAM);
    memory.close();
    expect(memory.guest.readU32(RAM_BASE)).toBe(0);
    expect(blocks).toThrow(expect.objectContaining({ code: 'EBADF' }));
    memory.close();
  });

  it('is had as plain memory, with the reason, when the host refuses the mapping', () => {
    let leaked = -1;
    const refusing = Object.assign(Object.create(host) as Host, {
      createSharedMemory: (name: string, size: number) => (leaked = host.createSharedMemory(name, size)),
      mapSharedMemory: () => {
        throw new Error('ENOMEM: cannot allocate memory, mmap');
      },
      adviseHugePages: () => undefined,
      close: (fd: number) => host.close(fd),
      sharedMemory: { available: true },
    });
    const { guest, fd, sharing } = make(RAM, refusing);
    expect(fd).toBeNull();
    expect(sharing).toEqual({ available: false, reason: expect.stringMatching(/ENOMEM: cannot allocate memory/) });
    guest.writeU32(RAM_BASE, 7);
    expect(guest.readU32(RAM_BASE)).toBe(7);
    expect(() => closeSync(leaked)).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });

  it('lets the process end cleanly with the mapping in place', () => {
    const script = `
      const { createHost } = await import(process.argv[1]);
      const { createMachineMemory } = await import(process.argv[2]);
      let memory = createMachineMemory({ ramSize: ${RAM}, host: createHost(JSON.parse(process.argv[3])) });
      memory.guest.fill(0x80000000, ${RAM}, 1);
      memory = null;
      gc();
      console.log('collected');`;
    const modules = ['host/node-host.ts', 'memory/create.ts'].map(
      (name) => new URL(`../../core/${name}`, import.meta.url).href,
    );
    const args = ['--expose-gc', '--input-type=module', '-e', script, ...modules, JSON.stringify(hostSpec)];
    const ended = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(ended).toMatchObject({ status: 0, signal: null, stdout: 'collected\n', stderr: '' });
  });
});
