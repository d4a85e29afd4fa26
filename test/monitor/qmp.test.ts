import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { QMP_COMMANDS } from '../../core/monitor/commands/table.ts';
import { EVENTS } from '../../core/monitor/events.ts';
import { check } from '../../core/monitor/schema.ts';
import { DoubleTarget, execute, monitorFor, qmpClient, streamPair, TextClient } from './client.ts';
import { RAM } from './double.ts';

const error = (desc: string, errorClass = 'GenericError'): unknown => ({ error: { class: errorClass, desc } });

describe('a client of QMP', () => {
  it('is greeted, negotiates, and has its ids echoed', async () => {
    const client = await qmpClient(new DoubleTarget(), { negotiate: false });
    expect(await client.json()).toEqual({
      QMP: { version: { qemu: { major: 7, minor: 2, micro: 0 }, package: 'Ringside 1.2.3' }, capabilities: [] },
    });
    client.send('{"execute": "query-status", "id": 1}');
    const message = "Expecting capabilities negotiation with 'qmp_capabilities'";
    expect(await client.json()).toEqual({ error: { class: 'CommandNotFound', desc: message }, id: 1 });
    client.send('{"execute": "qmp_capabilities", "id": {"a": [1]}}');
    expect(await client.json()).toEqual({ return: {}, id: { a: [1] } });
    client.send('{"execute": "qmp_capabilities"}{"execute": "query-status", "id": "x"}');
    expect(await client.json()).toEqual(
      error('Capabilities negotiation is already complete, command ignored', 'CommandNotFound'),
    );
    expect(await client.json()).toEqual({
      return: { status: 'prelaunch', singlestep: false, running: false },
      id: 'x',
    });
  });

  it('gets answers in the order of its requests, however they come', async () => {
    const client = await qmpClient(new DoubleTarget());
    client.send(Array.from({ length: 100 }, (_, id) => `{"execute": "query-name", "id": ${id}}`).join(''));
    for (let id = 0; id < 100; id++) expect(await client.json()).toEqual({ return: { name: 'double' }, id });
  });

  // What QEMU 7.2 answers to the same.
  it.each([
    ['[1]', 'QMP input must be a JSON object'],
    ['{}', "QMP input lacks member 'execute'"],
    ['{"execute": 1}', "QMP input member 'execute' must be a string"],
    ['{"foo": 1}', "QMP input member 'foo' is unexpected"],
    ['{"execute": "stop", "foo": 1}', "QMP input member 'foo' is unexpected"],
    ['{"execute": "qom-list", "arguments": []}', "QMP input member 'arguments' must be an object"],
    ['{"execute": "qom-list"}', "Parameter 'path' is missing"],
    ['{"execute": "qom-list", "arguments": {"path": 1}}', "Invalid parameter type for 'path', expected: string"],
    ['{"execute": "qom-list", "arguments": {"path": "/", "foo": 1}}', "Parameter 'foo' is unexpected"],
    [
      '{"execute": "set_link", "arguments": {"name": "a", "up": 1}}',
      "Invalid parameter type for 'up', expected: boolean",
    ],
    [
      '{"execute": "x-query-virtio-queue-status", "arguments": {"path": "/machine/peripheral/disk0", "queue": 99}}',
      'Invalid virtqueue number 99',
    ],
    [
      '{"execute": "x-query-virtio-queue-status", "arguments": {"path": "/", "queue": -1}}',
      "Parameter 'queue' expects uint16_t",
    ],
    [
      '{"execute": "x-query-virtio-queue-status", "arguments": {"path": "/", "queue": 0}}',
      'Path / is not a VirtIODevice',
    ],
    [
      '{"execute": "qom-get", "arguments": {"path": "/machine/peripheral/disk0", "property": "nope"}}',
      "Property 'virtio-blk-device.nope' not found",
    ],
    ['{"execute": "trace-event-set-state", "arguments": {"name": "nope", "enable": true}}', 'unknown event "nope"'],
  ])('is told what is wrong with %s', async (request, desc) => {
    const client = await qmpClient(new DoubleTarget());
    client.send(`${request}\n`);
    expect(await client.json()).toEqual(error(desc));
  });

  it.each([
    ['nope', {}, 'CommandNotFound', 'The command nope has not been found'],
    ['qom-list', { path: '/x' }, 'DeviceNotFound', "Device '/x' not found"],
    ['device-list-properties', { typename: 'nope' }, 'DeviceNotFound', "Device 'nope' not found"],
    ['device_del', { id: 'nope' }, 'DeviceNotFound', "Device 'nope' not found"],
    ['query-balloon', {}, 'DeviceNotActive', 'No balloon device has been activated'],
  ])('gets the class of the error of %s', async (command, args, errorClass, desc) => {
    expect(await execute(await qmpClient(new DoubleTarget()), command, args)).toEqual(error(desc, errorClass));
  });

  it('gets events, before the answer of what caused them, with the time', async () => {
    const client = await qmpClient(new DoubleTarget());
    const before = Date.now() / 1000;
    client.send('{"execute": "cont"}');
    const event = (await client.json()) as { timestamp: { seconds: number; microseconds: number } };
    expect(event).toEqual({ timestamp: expect.anything() as unknown, event: 'RESUME' });
    expect(event.timestamp.seconds).toBeGreaterThanOrEqual(Math.floor(before));
    expect(event.timestamp.microseconds).toBeLessThan(1_000_000);
    expect(await client.json()).toEqual({ return: {} });
    client.send('{"execute": "device_del", "arguments": {"id": "disk0"}}');
    expect(await client.json()).toMatchObject({
      event: 'DEVICE_DELETED',
      data: { device: 'disk0', path: '/machine/peripheral/disk0' },
    });
  });

  it('gets no event before it has negotiated', async () => {
    const target = new DoubleTarget();
    const client = await qmpClient(target, { negotiate: false });
    await client.line();
    await target.stop();
    client.send('{"execute": "qmp_capabilities"}');
    expect(await client.json()).toEqual({ return: {} });
  });

  it('gets the last of many changes of the balloon, once a second', async () => {
    const target = new DoubleTarget();
    const client = await qmpClient(target);
    for (let actual = 1; actual <= 500; actual++) target.emit('BALLOON_CHANGE', { actual });
    expect(await client.json()).toMatchObject({ event: 'BALLOON_CHANGE', data: { actual: 1 } });
    expect(await client.json()).toMatchObject({ event: 'BALLOON_CHANGE', data: { actual: 500 } });
    target.emit('STOP', {});
    expect(await client.json()).toMatchObject({ event: 'STOP' });
  });

  it('is cut off when it reads no events', async () => {
    const target = new DoubleTarget();
    const [ours, theirs] = streamPair();
    monitorFor(target).qmp(theirs);
    ours.write('{"execute": "qmp_capabilities"}');
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (let i = 0; i < 100_000 && !theirs.destroyed; i++) target.emit('STOP', {});
    expect(theirs.destroyed).toBe(true);
  });

  it('is executed no faster than it reads', async () => {
    const target = new DoubleTarget();
    const [ours, theirs] = streamPair();
    monitorFor(target).qmp(theirs);
    ours.write('{"execute": "qmp_capabilities"}');
    const flood = '{"execute": "query-qmp-schema"}'.repeat(100);
    for (let i = 0; i < 50; i++) ours.write(flood);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(theirs.writableLength).toBeLessThan(1 << 20);
    expect(theirs.destroyed).toBe(false);
  });

  it('can have its answers on several lines', async () => {
    const [ours, theirs] = streamPair();
    monitorFor(new DoubleTarget()).qmp(theirs, { pretty: true });
    const client = new TextClient(ours);
    expect(await client.until(/\r\n/)).toContain('{\n    "QMP": {\n        "version": {');
  });
});

/** Arguments for all commands that must have some. */
const ARGUMENTS: Record<string, unknown> = {
  'human-monitor-command': { 'command-line': 'info status' },
  pmemsave: { val: Number(RAM), size: 16, filename: '/nowhere/at/all' },
  memsave: { val: Number(RAM), size: 16, filename: '/nowhere/at/all' },
  'qom-list': { path: '/machine' },
  'qom-get': { path: '/machine', property: 'aia' },
  'qom-set': { path: '/machine', property: 'aia', value: 'aplic' },
  'qom-list-properties': { typename: 'virtio-blk-device' },
  'device-list-properties': { typename: 'virtio-blk-device' },
  device_add: { driver: 'virtio-rng-device', id: 'rng1', 'max-bytes': 10 },
  device_del: { id: 'disk0' },
  'object-add': { 'qom-type': 'iothread', id: 'io1' },
  'object-del': { id: 'io1' },
  'blockdev-add': { driver: 'raw', 'node-name': 'd1', file: { driver: 'file', filename: 'd1.img' }, 'read-only': true },
  'blockdev-del': { 'node-name': 'd1' },
  netdev_add: { type: 'user', id: 'n1' },
  netdev_del: { id: 'n1' },
  set_link: { name: 'nic0', up: false },
  'announce-self': { initial: 50, max: 550, rounds: 5, step: 100 },
  'chardev-add': { id: 'c1', backend: { type: 'null', data: {} } },
  'chardev-change': { id: 'c1', backend: { type: 'null', data: {} } },
  'chardev-remove': { id: 'c1' },
  'ringbuf-write': { device: 'c1', data: 'text' },
  'ringbuf-read': { device: 'c1', size: 16 },
  'chardev-send-break': { id: 'serial0' },
  'trace-event-get-state': { name: 'virtio_*' },
  'trace-event-set-state': { name: 'virtio_notify', enable: true },
  balloon: { value: 512 * 1024 },
  'query-stats': { target: 'vm' },
  'send-key': { keys: [{ type: 'qcode', data: 'a' }] },
  'input-send-event': { events: [{ type: 'btn', data: { button: 'left', down: true } }] },
  'x-query-virtio-status': { path: '/machine/peripheral/disk0' },
  'x-query-virtio-queue-status': { path: '/machine/peripheral/disk0', queue: 0 },
  'x-query-virtio-queue-element': { path: '/machine/peripheral/disk0', queue: 0, index: 10 },
  'x-query-virtio-vhost-queue-status': { path: '/machine/peripheral/disk0', queue: 0 },
};
const FAILS: Record<string, string> = {
  'x-query-jit': 'JIT information is only available with accel=jit',
  'query-hotpluggable-cpus': "The feature 'query-hotpluggable-cpus' is not enabled",
  'query-acpi-ospm-status': 'command is not supported, missing ACPI device',
  'query-vm-generation-id': 'this feature or command is not currently supported',
  qmp_capabilities: 'Capabilities negotiation is already complete, command ignored',
  pmemsave: "Could not open '/nowhere/at/all'",
  memsave: "Could not open '/nowhere/at/all'",
  'x-query-virtio-vhost-queue-status': 'Error: vhost device has not started yet',
};

/** Of query-qmp-schema. */
interface Entry {
  name: string;
  'meta-type': string;
  'arg-type'?: string;
  'ret-type'?: string;
  'element-type'?: string;
  members?: { type: string }[];
  variants?: { type: string }[];
}

describe('commands of QMP', () => {
  it.each(QMP_COMMANDS.map((command) => [command.name, command] as const))(
    '%s returns what its schema says',
    async (name, command) => {
      const target = new DoubleTarget();
      target.balloon = { actual: 1024 * 1024, setTarget: async () => {} };
      target.pci = [{ bus: 0, devices: [] }];
      const answer = (await execute(await qmpClient(target), name, ARGUMENTS[name])) as { error?: { desc: string } };
      if (FAILS[name] !== undefined) return expect(answer.error?.desc).toContain(FAILS[name]);
      expect(answer).not.toHaveProperty('error');
      if (command.returns === null) expect(answer).toEqual({});
      else check(command.returns, answer as never, '');
    },
  );

  it('do what they say', async () => {
    const target = new DoubleTarget();
    const client = await qmpClient(target);
    const names = [
      'stop',
      'cont',
      'system_reset',
      'system_powerdown',
      'device_add',
      'object-add',
      'blockdev-add',
      'blockdev-del',
      'netdev_add',
      'chardev-add',
      'set_link',
      'quit',
    ];
    for (const name of names) await execute(client, name, ARGUMENTS[name]);
    expect(target.asked).toEqual([
      'stop',
      'cont',
      'reset',
      'powerdown',
      'device_add "virtio-rng-device" {"id":"rng1","max-bytes":10}',
      'object_add "iothread" "io1" {}',
      'drive_add "d1" {"file":"d1.img","format":"raw","readonly":true} {"withDevice":false}',
      'drive_del "d1"',
      'netdev_add "user" "n1" {}',
      'chardev-add "c1" {"type":"null","data":{}}',
      'set_link "nic0" false',
      'quit',
    ]);
  });

  it('query-qmp-schema names a type for everything', async () => {
    const entries = (await execute(await qmpClient(new DoubleTarget()), 'query-qmp-schema')) as Entry[];
    const names = entries.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const command of QMP_COMMANDS) expect(names).toContain(command.name);
    for (const event of Object.keys(EVENTS)) expect(names).toContain(event);
    for (const entry of entries) {
      const used = [entry['arg-type'], entry['ret-type'], entry['element-type']].filter((type) => type !== undefined);
      if (entry['meta-type'] === 'object') used.push(...entry.members!.map(({ type }) => type));
      used.push(...(entry.variants ?? []).map(({ type }) => type));
      for (const type of used) expect(names).toContain(type);
    }
    expect(entries.find(({ name }) => name === 'qom-list')).toEqual({
      name: 'qom-list',
      'meta-type': 'command',
      'arg-type': 'qom-list-arg',
      'ret-type': '[ObjectPropertyInfo]',
      'allow-oob': false,
    });
  });

  it('lists the types that implement another', async () => {
    const client = await qmpClient(new DoubleTarget());
    expect(await execute(client, 'qom-list-types', { implements: 'virtio-device' })).toEqual([
      { name: 'virtio-blk-device', parent: 'virtio-device' },
      { name: 'virtio-rng-device', parent: 'virtio-device' },
    ]);
    expect(await execute(client, 'qom-list-types', { implements: 'virtio-device', abstract: true })).toContainEqual({
      name: 'virtio-device',
      abstract: true,
      parent: 'device',
    });
  });

  it('saves memory into a file, and not more than there is', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ringside-monitor-'));
    try {
      const target = new DoubleTarget();
      target.ram.set([1, 2, 3, 4], 0x100);
      const client = await qmpClient(target);
      const filename = join(folder, 'memory');
      expect(await execute(client, 'pmemsave', { val: Number(RAM) + 0x100, size: 4, filename })).toEqual({});
      expect([...readFileSync(filename)]).toEqual([1, 2, 3, 4]);
      expect(await execute(client, 'memsave', { val: Number(RAM) + 0x100, size: 3, filename })).toEqual({});
      expect([...readFileSync(filename)]).toEqual([1, 2, 3]);
      const tooFar = await execute(client, 'pmemsave', { val: 0, size: 16, filename });
      expect(tooFar).toEqual(error('Invalid addr 0x0/size 16 specified'));
      expect(await execute(client, 'pmemsave', { val: Number(RAM), size: 2 ** 40, filename })).toHaveProperty('error');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('x-query-virtio*', () => {
  it('gives the members that QEMU gives', async () => {
    const client = await qmpClient(new DoubleTarget());
    const path = '/machine/peripheral/disk0';
    expect(await execute(client, 'x-query-virtio')).toEqual([{ path, name: 'virtio-blk' }]);

    const status = (await execute(client, 'x-query-virtio-status', { path })) as Record<string, unknown>;
    expect(Object.keys(status).sort()).toEqual([
      'backend-features',
      'broken',
      'bus-name',
      'device-endian',
      'device-id',
      'disable-legacy-check',
      'disabled',
      'guest-features',
      'host-features',
      'isr',
      'name',
      'num-vqs',
      'queue-sel',
      'start-on-kick',
      'started',
      'status',
      'use-guest-notifier-mask',
      'use-started',
      'vhost-started',
      'vm-running',
    ]);
    expect(status['host-features']).toEqual({
      transports: [
        'VIRTIO_RING_F_EVENT_IDX: Used & avail. event fields enabled',
        'VIRTIO_F_VERSION_1: Device compliant for v1 spec (legacy)',
      ],
      'dev-features': ['VIRTIO_BLK_F_FLUSH: Flush command supported'],
      'unknown-dev-features': 2 ** 60,
    });
    expect(status.status).toEqual({
      statuses: [
        'VIRTIO_CONFIG_S_ACKNOWLEDGE: Valid virtio device found',
        'VIRTIO_CONFIG_S_DRIVER: Guest OS compatible with device',
        'VIRTIO_CONFIG_S_FEATURES_OK: Feature negotiation complete',
        'VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready',
      ],
    });

    const queue = (await execute(client, 'x-query-virtio-queue-status', { path, queue: 0 })) as object;
    expect(Object.keys(queue).sort()).toEqual([
      'inuse',
      'last-avail-idx',
      'name',
      'queue-index',
      'shadow-avail-idx',
      'signalled-used',
      'signalled-used-valid',
      'used-idx',
      'vring-align',
      'vring-avail',
      'vring-desc',
      'vring-num',
      'vring-num-default',
      'vring-used',
    ]);

    const element = (await execute(client, 'x-query-virtio-queue-element', { path, queue: 0, index: 10 })) as {
      descs: object[];
      avail: object;
      used: object;
    };
    for (const member of ['avail', 'descs', 'index', 'name', 'used']) expect(element).toHaveProperty(member);
    expect(Object.keys(element.descs[0])).toEqual(expect.arrayContaining(['addr', 'flags', 'len']));
    expect(Object.keys(element.avail)).toEqual(expect.arrayContaining(['flags', 'idx', 'ring']));
    expect(Object.keys(element.used)).toEqual(expect.arrayContaining(['flags', 'idx']));
  });

  it('tells the slot of the ring from the head of the chain', async () => {
    const client = await qmpClient(new DoubleTarget());
    const path = '/machine/peripheral/disk0';
    const element = await execute(client, 'x-query-virtio-queue-element', { path, queue: 0, index: 10 });
    expect(element).toMatchObject({ slot: 10, index: 1, state: 'in-flight', avail: { ring: 1 } });
  });

  it('says why a device is broken', async () => {
    const target = new DoubleTarget();
    const reason = 'queue 0: chain 3: loops after 256 descriptors';
    target.virtio[0] = { ...target.virtio[0], status: 0x4f, broken: true, error: reason };
    const status = await execute(await qmpClient(target), 'x-query-virtio-status', { path: target.virtio[0].path });
    expect(status).toMatchObject({ broken: true, error: reason });
  });
});
