/** virtio-input (virtio 1.3, section 5.8). */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { InputDevice } from '../../core/virtio/input/device.ts';
import type { InputEvent } from '../../core/virtio/input/device.ts';
import type { InputKind } from '../../core/virtio/input/models.ts';
import * as spec from '../../core/virtio/spec/input.ts';
import { STATUS_DEVICE_NEEDS_RESET } from '../../core/virtio/spec/status.ts';
import type { MockDriver } from '../harness/mock-driver.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const bench = new VirtioBench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

const KEY_A = 30;
const KEY_LEFTSHIFT = 42;

async function plug(kind: InputKind, options: { serial?: string; wheelAxis?: boolean; queueSize?: number } = {}) {
  const device = new InputDevice({ id: 'input0', kind, ...options });
  const driver = await (await bench.attach(device)).init({ queueSize: options.queueSize ?? 16 });
  return { device, driver };
}

/** What a driver finds behind a selection. */
async function select(driver: MockDriver, select: number, subsel = 0): Promise<Buffer> {
  await driver.writeConfig(spec.INPUT_CONFIG_SELECT, 1, select);
  await driver.writeConfig(spec.INPUT_CONFIG_SUBSEL, 1, subsel);
  const bytes = Buffer.alloc(await driver.readConfig(spec.INPUT_CONFIG_SIZE, 1));
  for (let i = 0; i < bytes.length; i++) bytes[i] = await driver.readConfig(spec.INPUT_CONFIG_UNION + i, 1);
  return bytes;
}

async function codes(driver: MockDriver, type: number): Promise<number[]> {
  const bits = await select(driver, spec.VIRTIO_INPUT_CFG_EV_BITS, type);
  return [...bits].flatMap((byte, i) =>
    [...Array(8).keys()].filter((bit) => byte & (1 << bit)).map((bit) => i * 8 + bit),
  );
}

/** Gives the driver's event buffers to the device. */
function giveBuffers(driver: MockDriver, count: number): number[] {
  return Array.from({ length: count }, () => {
    const address = bench.allocator.alloc(8);
    driver.queues[spec.INPUT_EVENTQ].add([{ address, length: 8, writable: true }]);
    return address;
  });
}

function readEvent(address: number): InputEvent {
  const bytes = Buffer.from(bench.memory.read(address, 8));
  return { type: bytes.readUInt16LE(0), code: bytes.readUInt16LE(2), value: bytes.readInt32LE(4) };
}

const report: InputEvent = { type: spec.EV_SYN, code: spec.SYN_REPORT, value: 0 };
const key = (code: number, value: number): InputEvent => ({ type: spec.EV_KEY, code, value });

describe('virtio-input says what it is', () => {
  it.each([
    ['keyboard', 'QEMU Virtio Keyboard', [6, 0x627, 1, 1]],
    ['mouse', 'QEMU Virtio Mouse', [6, 0x627, 2, 2]],
    ['tablet', 'QEMU Virtio Tablet', [6, 0x627, 3, 2]],
  ] as const)('%s', async (kind, name, ids) => {
    const { driver } = await plug(kind, { serial: 'sn-4' });
    expect((await select(driver, spec.VIRTIO_INPUT_CFG_ID_NAME)).toString()).toBe(name);
    expect((await select(driver, spec.VIRTIO_INPUT_CFG_ID_SERIAL)).toString()).toBe('sn-4');
    const devids = await select(driver, spec.VIRTIO_INPUT_CFG_ID_DEVIDS);
    expect([0, 2, 4, 6].map((at) => devids.readUInt16LE(at))).toEqual(ids);
    expect(await select(driver, spec.VIRTIO_INPUT_CFG_PROP_BITS)).toHaveLength(0);
  });

  it('keys and LEDs of a keyboard', async () => {
    const { driver } = await plug('keyboard');
    const keys = await codes(driver, spec.EV_KEY);
    expect(keys[0]).toBe(spec.KEY_ESC);
    // What udev wants of a keyboard.
    for (let code = 1; code < 32; code++) expect(keys).toContain(code);
    expect(keys).not.toContain(spec.BTN_LEFT);
    expect(await codes(driver, spec.EV_LED)).toEqual([spec.LED_NUML, spec.LED_CAPSL, spec.LED_SCROLLL]);
    expect(await select(driver, spec.VIRTIO_INPUT_CFG_EV_BITS, spec.EV_REP)).toHaveLength(1);
    expect(await select(driver, spec.VIRTIO_INPUT_CFG_EV_BITS, spec.EV_ABS)).toHaveLength(0);
  });

  it('axes and buttons of mouse and tablet', async () => {
    const mouse = await plug('mouse');
    expect(await codes(mouse.driver, spec.EV_REL)).toEqual([spec.REL_X, spec.REL_Y, spec.REL_WHEEL]);
    expect(await codes(mouse.driver, spec.EV_KEY)).toContain(spec.BTN_LEFT);
    await bench.clear();
    const tablet = await plug('tablet', { wheelAxis: false });
    expect(await codes(tablet.driver, spec.EV_ABS)).toEqual([spec.ABS_X, spec.ABS_Y]);
    expect(await codes(tablet.driver, spec.EV_REL)).toEqual([]);
    const axis = await select(tablet.driver, spec.VIRTIO_INPUT_CFG_ABS_INFO, spec.ABS_Y);
    expect([0, 4, 8, 12, 16].map((at) => axis.readInt32LE(at))).toEqual([0, 0x7fff, 0, 0, 0]);
    expect(await select(tablet.driver, spec.VIRTIO_INPUT_CFG_ABS_INFO, 2)).toHaveLength(0);
  });

  it('and nothing to questions that mean nothing; what lies behind an answer is zero', async () => {
    const { driver } = await plug('keyboard', { serial: 'x'.repeat(128) });
    expect(await select(driver, spec.VIRTIO_INPUT_CFG_ID_SERIAL)).toHaveLength(128);
    for (let what = 0; what < 256; what += 3) {
      for (const subsel of [1, 9, 255]) {
        if (what === spec.VIRTIO_INPUT_CFG_EV_BITS && subsel === 1) continue;
        expect(await select(driver, what, subsel)).toHaveLength(0);
      }
    }
    expect(await driver.readConfig(spec.INPUT_CONFIG_UNION, 4)).toBe(0);
    // Both at once, and a write to what cannot be written.
    await driver.writeConfig(spec.INPUT_CONFIG_SELECT, 2, spec.VIRTIO_INPUT_CFG_EV_BITS | (spec.EV_LED << 8));
    await driver.writeConfig(spec.INPUT_CONFIG_SIZE, 1, 77);
    expect(await driver.readConfig(spec.INPUT_CONFIG_SIZE, 1)).toBe(1);
    expect(() => new InputDevice({ id: 'k', kind: 'keyboard', serial: 'x'.repeat(129) })).toThrow(/longer than 128/);
  });
});

describe('virtio-input events', () => {
  it('come in groups, one event to a buffer', async () => {
    const { device, driver } = await plug('keyboard');
    const buffers = giveBuffers(driver, 8);
    device.press(KEY_LEFTSHIFT, KEY_A);
    for (let i = 0; i < 8; i++) expect((await driver.used(driver.queues[spec.INPUT_EVENTQ])).length).toBe(8);
    expect(buffers.map(readEvent)).toEqual([
      ...[key(KEY_LEFTSHIFT, 1), report, key(KEY_A, 1), report],
      ...[key(KEY_A, 0), report, key(KEY_LEFTSHIFT, 0), report],
    ]);
  });

  it('of a tablet and a mouse carry their values', async () => {
    const { device, driver } = await plug('mouse');
    const buffers = giveBuffers(driver, 3);
    const move = [
      { type: spec.EV_REL, code: spec.REL_X, value: -5 },
      { type: spec.EV_REL, code: spec.REL_Y, value: 0x7fff_ffff },
    ];
    device.send(move);
    for (let i = 0; i < 3; i++) await driver.used(driver.queues[spec.INPUT_EVENTQ]);
    expect(buffers.map(readEvent)).toEqual([...move, report]);
  });

  it('wait for buffers, and never come as half a group', async () => {
    const { device, driver } = await plug('keyboard');
    const eventq = driver.queues[spec.INPUT_EVENTQ];
    giveBuffers(driver, 3);
    device.press(KEY_A);
    await driver.used(eventq);
    await driver.used(eventq);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(eventq.takeUsed()).toBeNull();
    const [last] = giveBuffers(driver, 1);
    expect(await driver.kick(eventq)).toBe(true);
    await driver.used(eventq);
    await driver.used(eventq);
    expect(readEvent(last)).toEqual(report);
  });

  it('are dropped when the guest does not take them for long, a group at a time', async () => {
    const { device, driver } = await plug('keyboard');
    const eventq = driver.queues[spec.INPUT_EVENTQ];
    for (let i = 0; i < 400; i++) device.press(KEY_A);
    // The worker has them all before it is given buffers.
    await device.host!.configureBackend({ groups: [] });
    let seen = 0;
    const values: number[] = [];
    while (seen < 1024) {
      const buffers = giveBuffers(driver, 16);
      await driver.notify(spec.INPUT_EVENTQ);
      for (let i = 0; i < 16; i++) await driver.used(eventq);
      for (const event of buffers.map(readEvent)) if (event.type === spec.EV_KEY) values.push(event.value);
      seen += 16;
    }
    expect(values).toEqual(Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? 1 : 0)));
    giveBuffers(driver, 2);
    await driver.notify(spec.INPUT_EVENTQ);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(eventq.takeUsed()).toBeNull();
  });

  it('are dropped without a driver, and when they do not fit its queue', async () => {
    const { device, driver } = await plug('mouse', { queueSize: 2 });
    await driver.reset();
    device.press(spec.BTN_LEFT);
    await driver.init({ queueSize: 2 });
    const move = { type: spec.EV_REL, code: spec.REL_X, value: 1 };
    device.send([move, move, move]);
    device.send([move]);
    const buffers = giveBuffers(driver, 2);
    await driver.notify(spec.INPUT_EVENTQ);
    for (let i = 0; i < 2; i++) await driver.used(driver.queues[spec.INPUT_EVENTQ]);
    expect(buffers.map(readEvent)).toEqual([move, report]);
  });

  it('that the device does not have are refused, and nothing of theirs is sent', async () => {
    const { device } = await plug('keyboard');
    const bad: InputEvent[] = [
      { type: spec.EV_REL, code: 0, value: 1 },
      key(spec.BTN_LEFT, 1),
      key(-1, 1),
      key(KEY_A, 2 ** 31),
      key(KEY_A, 0.5),
      { type: spec.EV_LED, code: 0, value: 1 },
      { type: spec.EV_SYN, code: 3, value: 0 },
    ];
    for (const event of bad) {
      expect(() => device.send([key(KEY_A, 1), event])).toThrow(expect.objectContaining({ kind: 'bad-option' }));
    }
    expect(() => device.send(Array.from({ length: 40 }, () => key(KEY_A, 2)))).toThrow(/before a SYN_REPORT/);
  });

  it('break the device for a buffer that is too small', async () => {
    const { device, driver } = await plug('keyboard');
    driver.queues[spec.INPUT_EVENTQ].add([{ address: bench.allocator.alloc(8), length: 7, writable: true }]);
    device.press(KEY_A);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/no room for an event/);
    expect((await driver.status()) & STATUS_DEVICE_NEEDS_RESET).not.toBe(0);
    await driver.init();
    const buffers = giveBuffers(driver, 2);
    device.press(KEY_A);
    await driver.used(driver.queues[spec.INPUT_EVENTQ]);
    expect(readEvent(buffers[0])).toEqual(key(KEY_A, 1));
  });
});

describe('virtio-input status', () => {
  function status(driver: MockDriver, type: number, code: number, value: number) {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16LE(type, 0);
    bytes.writeUInt16LE(code, 2);
    bytes.writeInt32LE(value, 4);
    return driver.submit(driver.queues[spec.INPUT_STATUSQ], [{ address: bench.allocator.put(bytes), length: 8 }]);
  }

  it('switches LEDs', async () => {
    const { device, driver } = await plug('keyboard');
    const seen: InputEvent[] = [];
    device.onStatus = (event) => seen.push(event);
    await status(driver, spec.EV_LED, spec.LED_CAPSL, 1);
    await status(driver, spec.EV_LED, spec.LED_NUML, 1);
    await status(driver, spec.EV_LED, spec.LED_NUML, 0);
    await status(driver, spec.EV_SND, 2, 440);
    await status(driver, spec.EV_KEY, KEY_A, 1);
    await status(driver, spec.EV_LED, 4000, 1);
    await until(() => seen.some(({ type }) => type === spec.EV_SND));
    expect([...device.leds]).toEqual([spec.LED_CAPSL]);
    expect(seen.every(({ type }) => type === spec.EV_LED || type === spec.EV_SND)).toBe(true);
    await driver.reset();
    expect(device.leds.size).toBe(0);
  });

  it('comes to the control thread no oftener than it can take it', async () => {
    const { device, driver } = await plug('keyboard');
    let events = 0;
    device.onStatus = () => events++;
    const start = performance.now();
    for (let i = 0; i < 500; i++) await status(driver, spec.EV_LED, spec.LED_CAPSL, i & 1);
    await until(() => device.leds.has(spec.LED_CAPSL));
    expect(events).toBeLessThanOrEqual((performance.now() - start) / 10 + 2);
  });

  it('breaks the device when it is too short', async () => {
    const { driver } = await plug('keyboard');
    driver.queues[spec.INPUT_STATUSQ].add([{ address: bench.allocator.alloc(8), length: 4 }]);
    await driver.notify(spec.INPUT_STATUSQ);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/an event has 8 bytes/);
  });
});
