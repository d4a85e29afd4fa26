/** virtio-serial with several ports: VIRTIO_CONSOLE_F_MULTIPORT (virtio 1.3, sections 5.3.2 and 5.3.6.2). */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Chardev } from '../../core/chardev/chardev.ts';
import { ConsoleDevice } from '../../core/virtio/console/device.ts';
import * as spec from '../../core/virtio/spec/console.ts';
import type { MockDriver } from '../harness/mock-driver.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const {
  VIRTIO_CONSOLE_DEVICE_READY: DEVICE_READY,
  VIRTIO_CONSOLE_DEVICE_ADD: ADD,
  VIRTIO_CONSOLE_DEVICE_REMOVE: REMOVE,
  VIRTIO_CONSOLE_PORT_READY: PORT_READY,
  VIRTIO_CONSOLE_CONSOLE_PORT: CONSOLE_PORT,
  VIRTIO_CONSOLE_RESIZE: RESIZE,
  VIRTIO_CONSOLE_PORT_OPEN: OPEN,
  VIRTIO_CONSOLE_PORT_NAME: NAME,
} = spec;

interface Message {
  nr: number;
  event: number;
  value: number;
  payload: Buffer;
}

const benches = { modern: new VirtioBench(), legacy: new VirtioBench({ legacy: true }) };
afterAll(async () => {
  await benches.modern.close();
  await benches.legacy.close();
});

let nextChardev = 0;

describe.each(['modern', 'legacy'] as const)('virtio-serial with ports, %s transport', (version) => {
  const bench = benches[version];
  let device: ConsoleDevice;
  let driver: MockDriver;
  let timers: NodeJS.Timeout[];

  beforeEach(() => {
    timers = [];
    device = new ConsoleDevice({ id: 'serial0', maxPorts: 4 });
  });
  afterEach(async () => {
    timers.forEach(clearInterval);
    await bench.clear();
  });

  const chardev = (): Chardev & { text: () => string } => {
    const made = new Chardev({ memory: bench.memory.memory, index: nextChardev++ % 16 });
    let output = '';
    made.onData = (bytes) => (output += Buffer.from(bytes).toString('latin1'));
    // What the machine does when CTL_ATTENTION moves.
    timers.push(setInterval(() => made.drain(), 1));
    return Object.assign(made, { text: () => output });
  };

  const say = async (nr: number, event: number, value: number): Promise<void> => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(nr, 0);
    bytes.writeUInt16LE(event, 4);
    bytes.writeUInt16LE(value, 6);
    const queue = driver.queues[spec.CONSOLE_CONTROL_TRANSMITQ];
    await driver.submit(queue, [{ address: bench.allocator.put(bytes), length: 8 }]);
  };

  const hear = async (): Promise<Message> => {
    const address = bench.allocator.alloc(64);
    const queue = driver.queues[spec.CONSOLE_CONTROL_RECEIVEQ];
    const { length } = await driver.submit(queue, [{ address, length: 64, writable: true }]);
    const bytes = Buffer.from(bench.memory.read(address, length));
    const [nr, event, value] = [bytes.readUInt32LE(0), bytes.readUInt16LE(4), bytes.readUInt16LE(6)];
    return { nr, event, value, payload: bytes.subarray(8) };
  };
  const brief = async () => {
    const { nr, event, value } = await hear();
    return [nr, event, value];
  };

  const send = async (nr: number, text: string): Promise<void> => {
    const queue = driver.queues[spec.consoleReceiveq(nr) + 1];
    await driver.submit(queue, [{ address: bench.allocator.put(Buffer.from(text)), length: text.length }]);
  };
  const receive = async (nr: number): Promise<string> => {
    const address = bench.allocator.alloc(64);
    const queue = driver.queues[spec.consoleReceiveq(nr)];
    const { length } = await driver.submit(queue, [{ address, length: 64, writable: true }]);
    return Buffer.from(bench.memory.read(address, length)).toString();
  };

  it('has the queues and the configuration of its ports', async () => {
    driver = await (await bench.attach(device)).init();
    expect(driver.queues).toHaveLength(10);
    expect(device.queues.map(({ name }) => name)).toEqual([
      'receiveq(port0)',
      'transmitq(port0)',
      'control receiveq',
      'control transmitq',
      'receiveq(port1)',
      'transmitq(port1)',
      'receiveq(port2)',
      'transmitq(port2)',
      'receiveq(port3)',
      'transmitq(port3)',
    ]);
    expect([0, 1, 2, 3, 4, 5, 9].map(spec.consolePort)).toEqual([0, 0, null, null, 1, 1, 3]);
    expect(await driver.readConfig(spec.CONSOLE_CONFIG_MAX_NR_PORTS, 4)).toBe(4);
    expect(driver.offered & 7n).toBe(7n);
  });

  it('tells of its ports, and carries bytes both ways on each', async () => {
    const [a, b, c] = [chardev(), chardev(), chardev()];
    const console = await device.addPort({ isConsole: true, chardev: a });
    const agent = await device.addPort({ isConsole: false, name: 'org.ringside.0', chardev: b });
    const third = await device.addPort({ isConsole: false, nr: 3, chardev: c });
    expect([console.nr, agent.nr, third.nr]).toEqual([0, 1, 3]);
    driver = await (await bench.attach(device)).init();
    await say(0, DEVICE_READY, 1);
    expect(await brief()).toEqual([0, ADD, 1]);
    expect(await brief()).toEqual([1, ADD, 1]);
    expect(await brief()).toEqual([3, ADD, 1]);
    await say(0, PORT_READY, 1);
    expect(await brief()).toEqual([0, CONSOLE_PORT, 1]);
    expect(await brief()).toEqual([0, OPEN, 1]);
    await say(1, PORT_READY, 1);
    const name = await hear();
    expect([name.nr, name.event, name.payload.toString()]).toEqual([1, NAME, 'org.ringside.0']);
    expect(await brief()).toEqual([1, OPEN, 1]);
    await say(3, PORT_READY, 1);
    expect(await brief()).toEqual([3, OPEN, 1]);

    for (const [nr, at] of [
      [0, a],
      [1, b],
      [3, c],
    ] as const) {
      const opened: boolean[] = [];
      at.onGuestOpen = (open) => opened.push(open);
      // Bytes wait until somebody in the guest has opened the port.
      at.write(Buffer.from(`to ${nr}`));
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(driver.queues[spec.consoleReceiveq(nr)].takeUsed()).toBeNull();
      await say(nr, OPEN, 1);
      await until(() => at.guestOpen);
      expect(await receive(nr)).toBe(`to ${nr}`);
      await send(nr, `from ${nr}`);
      await until(() => at.text() === `from ${nr}`);
      await say(nr, OPEN, 0);
      await until(() => !at.guestOpen);
      expect(opened).toEqual([true, false]);
    }
  });

  it('tells of the host coming and going, and of new sizes', async () => {
    const at = chardev();
    at.setConnected(false);
    await device.addPort({ isConsole: true, chardev: at });
    driver = await (await bench.attach(device)).init();
    await say(0, DEVICE_READY, 1);
    await brief();
    await say(0, PORT_READY, 1);
    expect(await brief()).toEqual([0, CONSOLE_PORT, 1]);
    at.setConnected(true);
    expect(await brief()).toEqual([0, OPEN, 1]);
    at.setConnected(false);
    expect(await brief()).toEqual([0, OPEN, 0]);
    // As a program of the host says it, through the character device.
    at.onResize!(132, 43);
    const { event, payload } = await hear();
    expect([event, payload.readUInt16LE(0), payload.readUInt16LE(2)]).toEqual([RESIZE, 132, 43]);
    expect(await driver.readConfig(spec.CONSOLE_CONFIG_COLS, 2)).toBe(132);
    // A driver that begins anew hears all of it again.
    await driver.init();
    await say(0, DEVICE_READY, 1);
    await brief();
    await say(0, PORT_READY, 1);
    expect(await brief()).toEqual([0, CONSOLE_PORT, 1]);
    expect((await hear()).event).toBe(RESIZE);
  });

  it('plugs ports in and out while the driver runs', async () => {
    driver = await (await bench.attach(device)).init();
    await say(0, DEVICE_READY, 1);
    const at = chardev();
    const port = await device.addPort({ isConsole: false, name: 'one', chardev: at });
    expect(await brief()).toEqual([1, ADD, 1]);
    await say(1, PORT_READY, 1);
    await hear();
    await brief();
    await say(1, OPEN, 1);
    await until(() => port.guestOpen);
    await port.remove();
    expect(await brief()).toEqual([1, REMOVE, 1]);
    expect(at.guestOpen).toBe(false);
    // Output of a port that is gone is taken; it comes back under another name.
    await send(1, 'to nobody');
    const again = chardev();
    await device.addPort({ isConsole: false, name: 'two', chardev: again });
    expect(await brief()).toEqual([1, ADD, 1]);
    await say(1, PORT_READY, 1);
    expect((await hear()).payload.toString()).toBe('two');
    await brief();
    await send(1, 'hello');
    await until(() => again.text() === 'hello');
    expect(at.text()).toBe('');
  });

  it('serves port 0 at once for a driver without multiport', async () => {
    const at = chardev();
    await device.addPort({ isConsole: true, chardev: at });
    driver = await (await bench.attach(device)).init({ features: [spec.VIRTIO_CONSOLE_F_SIZE] });
    at.write(Buffer.from('hi'));
    expect(await receive(0)).toBe('hi');
    await send(0, 'ho');
    await until(() => at.text() === 'ho');
  });

  it('survives nonsense, and floods', async () => {
    const at = chardev();
    await device.addPort({ isConsole: true, chardev: at });
    driver = await (await bench.attach(device)).init();
    let told = 0;
    at.onGuestOpen = () => told++;
    await say(0, PORT_READY, 1); // before it was told of the port
    await say(7, PORT_READY, 1);
    await say(0xffff_ffff, OPEN, 1);
    await say(0, 99, 1);
    await say(0, DEVICE_READY, 1);
    expect(await brief()).toEqual([0, ADD, 1]);
    for (let i = 0; i < 500; i++) {
      await say(0, PORT_READY, 1);
      await say(0, OPEN, i & 1);
    }
    await until(() => at.guestOpen);
    // The last state is told, and by no means each of them.
    expect(told).toBeLessThanOrEqual(500);
    const messages = [await brief(), await brief()];
    expect(messages).toEqual([
      [0, CONSOLE_PORT, 1],
      [0, OPEN, 1],
    ]);
    driver.queues[3].add([{ address: bench.allocator.alloc(8), length: 7 }]);
    await driver.notify(3);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/7 bytes are no control message/);
    await driver.init();
    await say(0, DEVICE_READY, 1);
    driver.queues[2].add([{ address: bench.allocator.alloc(8), length: 7, writable: true }]);
    await driver.notify(2);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/no room for a control message/);
  });

  it('refuses ports that cannot be', async () => {
    const add = (options: Partial<Parameters<ConsoleDevice['addPort']>[0]>) =>
      device.addPort({ isConsole: false, chardev: chardev(), ...options });
    await add({ nr: 2, name: 'x' });
    for (const options of [
      { nr: 2 },
      { nr: 4 },
      { nr: 0 },
      { name: 'x' },
      { name: 'a/b' },
      { name: 'n'.repeat(256) },
    ]) {
      await expect(add(options)).rejects.toMatchObject({ kind: 'bad-option' });
    }
    expect([(await add({})).nr, (await add({})).nr]).toEqual([1, 3]);
    await expect(add({})).rejects.toThrow(/no free port/);
    for (const maxPorts of [0, 32, 1.5]) {
      expect(() => new ConsoleDevice({ id: 's', maxPorts })).toThrow(/max_ports of s must be 1 to 31/);
    }
    driver = await bench.attach(device);
  });
});
