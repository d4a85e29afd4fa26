/** virtio-console (virtio 1.3, section 5.3) between a driver and a character device, with nothing lost either way. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Chardev } from '../../core/chardev/chardev.ts';
import { ConsoleDevice } from '../../core/virtio/console/device.ts';
import {
  CONSOLE_CONFIG_COLS,
  CONSOLE_CONFIG_EMERG_WR,
  CONSOLE_CONFIG_MAX_NR_PORTS,
  CONSOLE_CONFIG_ROWS,
  CONSOLE_RECEIVEQ,
  CONSOLE_TRANSMITQ,
} from '../../core/virtio/spec/console.ts';
import { ISR_CONFIG_CHANGE, MMIO_CONFIG_GENERATION } from '../../core/virtio/spec/mmio.ts';
import { CONTROL_BASE, CTL_ATTENTION, RING_SIZE } from '../../core/worker/layout.ts';
import type { MockDriver } from '../harness/mock-driver.ts';
import type { MockQueue } from '../harness/mock-queue.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const benches = { modern: new VirtioBench(), legacy: new VirtioBench({ legacy: true }) };
afterEach(async () => {
  await benches.modern.clear();
  await benches.legacy.clear();
});
afterAll(async () => {
  await benches.modern.close();
  await benches.legacy.close();
});

const text = (bytes: Uint8Array[]) => Buffer.concat(bytes).toString('latin1');
const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff);

/** What the machine does: drains the chardev whenever CTL_ATTENTION has moved. */
class Attention {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #chardev: Chardev;
  #running = true;
  readonly #done: Promise<void>;

  constructor(memory: WebAssembly.Memory, chardev: Chardev) {
    this.#words = new Int32Array(memory.buffer as SharedArrayBuffer, CONTROL_BASE + CTL_ATTENTION, 1);
    this.#chardev = chardev;
    this.#done = this.#run();
  }

  async #run(): Promise<void> {
    while (this.#running) {
      const seen = Atomics.load(this.#words, 0);
      this.#chardev.drain();
      const wait = Atomics.waitAsync(this.#words, 0, seen, 100);
      if (wait.async) await wait.value;
    }
  }

  async stop(): Promise<void> {
    this.#running = false;
    Atomics.add(this.#words, 0, 1);
    Atomics.notify(this.#words, 0);
    await this.#done;
  }
}

let nextChardev = 0;

describe.each(['modern', 'legacy'] as const)('virtio-console, %s transport', (version) => {
  const bench = benches[version];
  let chardev: Chardev;
  let device: ConsoleDevice;
  let attention: Attention;
  let driver: MockDriver;
  let rx: MockQueue;
  let tx: MockQueue;
  let output: Uint8Array[];

  beforeEach(async () => {
    // A ring of its own for each test: what one leaves must not come out in the next.
    chardev = new Chardev({ memory: bench.memory.memory, index: nextChardev++ % 16 });
    output = [];
    chardev.onData = (bytes) => output.push(bytes);
    device = new ConsoleDevice({ id: 'console0', chardev });
    attention = new Attention(bench.memory.memory, chardev);
    driver = await (await bench.attach(device)).init();
    rx = driver.queues[CONSOLE_RECEIVEQ];
    tx = driver.queues[CONSOLE_TRANSMITQ];
  });
  afterEach(() => attention.stop());

  const send = async (bytes: Uint8Array) => {
    const used = await driver.submit(tx, [{ address: bench.allocator.put(bytes), length: bytes.length }]);
    expect(used.length).toBe(0);
  };

  it('brings output to the host', async () => {
    await send(Buffer.from('hello, '));
    await send(Buffer.from('world\n'));
    await until(() => text(output) === 'hello, world\n');
  });

  it('brings input to the guest, into buffers as small as they come', async () => {
    const buffers = Array.from({ length: 4 }, () => bench.allocator.alloc(3));
    for (const address of buffers) rx.add([{ address, length: 3, writable: true }]);
    await driver.notify(CONSOLE_RECEIVEQ);
    expect(chardev.write(Buffer.from('abcdefgh'))).toBe(8);
    const lengths = [await driver.used(rx), await driver.used(rx), await driver.used(rx)].map(({ length }) => length);
    expect(lengths).toEqual([3, 3, 2]);
    expect(text(buffers.map((address) => bench.memory.read(address, 3)))).toBe('abcdefgh\0\0\0\0');
  });

  it('keeps input until the driver has buffers', async () => {
    expect(chardev.write(Buffer.from('early'))).toBe(5);
    await new Promise((resolve) => setTimeout(resolve, 10));
    const address = bench.allocator.alloc(64);
    const used = await driver.submit(rx, [{ address, length: 64, writable: true }]);
    expect(Buffer.from(bench.memory.read(address, used.length)).toString()).toBe('early');
  });

  it('makes the guest wait while the host takes nothing, and loses nothing', async () => {
    chardev.pause();
    const bytes = pattern(5 * RING_SIZE + 123);
    const address = bench.allocator.put(bytes);
    const half = bytes.length >> 1;
    tx.add([
      { address, length: half },
      { address: address + half, length: bytes.length - half },
    ]);
    await driver.notify(CONSOLE_TRANSMITQ);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(tx.takeUsed()).toBeNull();
    expect(output).toEqual([]);
    chardev.resume();
    await driver.used(tx);
    await until(() => output.reduce((sum, { length }) => sum + length, 0) === bytes.length);
    expect(Buffer.compare(Buffer.concat(output), bytes)).toBe(0);
  });

  it('makes the host wait while the guest takes nothing, and loses nothing', async () => {
    const bytes = pattern(3 * RING_SIZE + 77);
    let offered = 0;
    const push = () => (offered += chardev.write(bytes.subarray(offered)));
    chardev.onRoom = push;
    push();
    expect(offered).toBe(RING_SIZE);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(offered).toBe(RING_SIZE);

    const received: Uint8Array[] = [];
    let total = 0;
    const address = bench.allocator.alloc(8 * 1021);
    for (let i = 0; i < 8; i++) rx.add([{ address: address + 1021 * i, length: 1021, writable: true }]);
    await driver.kick(rx);
    const where = new Map<number, number>();
    // Heads come back in order; each is offered again.
    for (let next = 0; total < bytes.length; next = (next + 1) % 8) {
      const used = await driver.used(rx);
      received.push(bench.memory.read(address + 1021 * next, used.length));
      total += used.length;
      where.set(used.id, next);
      rx.add([{ address: address + 1021 * next, length: 1021, writable: true }]);
      await driver.kick(rx);
    }
    expect(offered).toBe(bytes.length);
    expect(Buffer.compare(Buffer.concat(received), bytes)).toBe(0);
  });

  it('carries bytes both ways at once through one-byte buffers', async () => {
    const up = pattern(700);
    const down = pattern(600).reverse();
    const echo: number[] = [];
    const writable = bench.allocator.alloc(1);
    chardev.write(down);
    for (let i = 0; i < up.length; i++) {
      await send(up.subarray(i, i + 1));
      if (i >= down.length) continue;
      await driver.submit(rx, [{ address: writable, length: 1, writable: true }]);
      echo.push(bench.memory.readU8(writable));
    }
    expect(Uint8Array.from(echo)).toEqual(down);
    await until(() => output.reduce((sum, { length }) => sum + length, 0) === up.length);
    expect(Buffer.compare(Buffer.concat(output), up)).toBe(0);
  });

  it('tells the driver of a new size (5.3.6)', async () => {
    device.resize(132, 43);
    expect(await driver.readConfig(CONSOLE_CONFIG_COLS, 2)).toBe(132);
    expect(await driver.readConfig(CONSOLE_CONFIG_ROWS, 2)).toBe(43);
    expect(await driver.readConfig(CONSOLE_CONFIG_MAX_NR_PORTS, 4)).toBe(1);
    expect(await driver.read(MMIO_CONFIG_GENERATION)).toBe(version === 'modern' ? 1 : 0);
    expect(bench.irq.level(driver.irq)).toBe(1);
    expect(await driver.handleInterrupt()).toBe(ISR_CONFIG_CHANGE);
    expect(bench.irq.level(driver.irq)).toBe(0);
  });

  it('takes emergency writes, also on a device that nobody has set up (5.3.5.1)', async () => {
    await driver.reset();
    for (const char of 'panic') await driver.writeConfig(CONSOLE_CONFIG_EMERG_WR, 4, char.charCodeAt(0) | 0x1234_5600);
    expect(text(output)).toBe('panic');
    expect(await driver.readConfig(CONSOLE_CONFIG_EMERG_WR, 4)).toBe(0);
    chardev.pause();
    await driver.writeConfig(CONSOLE_CONFIG_EMERG_WR, 1, 33);
    expect(text(output)).toBe('panic');
    chardev.resume();
    await until(() => text(output) === 'panic!');
  });

  it('keeps output behind what was written before, emergency or not', async () => {
    chardev.pause();
    await send(Buffer.from('first '));
    await driver.writeConfig(CONSOLE_CONFIG_EMERG_WR, 4, 50);
    chardev.resume();
    await until(() => text(output) === 'first 2');
  });

  it('breaks the queue for a receive buffer that cannot be written (5.3.6.1)', async () => {
    rx.add([{ address: bench.allocator.alloc(8), length: 8 }]);
    await driver.notify(CONSOLE_RECEIVEQ);
    chardev.write(Buffer.from('x'));
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/queue 0 \(receiveq\(port0\)\).*5\.3\.6\.1/);
  });

  it('leaves out what is device-writable in a transmit buffer', async () => {
    const address = bench.allocator.put(Buffer.from('seen'));
    await driver.submit(tx, [
      { address, length: 4 },
      { address: bench.allocator.alloc(4), length: 4, writable: true },
    ]);
    await driver.submit(tx, [{ address, length: 4, writable: true }]);
    await until(() => text(output) === 'seen');
  });

  it('forgets a half-sent buffer at a reset and goes on with new ones', async () => {
    chardev.pause();
    const bytes = pattern(2 * RING_SIZE);
    tx.add([{ address: bench.allocator.put(bytes), length: bytes.length }]);
    await driver.notify(CONSOLE_TRANSMITQ);
    await until(() => bench.bus.snapshot()[0].queues[CONSOLE_TRANSMITQ].inFlight === 1);
    await driver.init();
    tx = driver.queues[CONSOLE_TRANSMITQ];
    chardev.resume();
    await send(Buffer.from('after'));
    await until(() => text(output).endsWith('after'));
    expect(Buffer.compare(Buffer.concat(output).subarray(0, -5), bytes.subarray(0, RING_SIZE))).toBe(0);
  });
});
