/** The contract: what its schemas let through, deltas, and the dispatcher at the app's end. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RingsideError } from '../../core/errors.ts';
import { closeQuestion, commandNames, commands, vmSettings } from '../../main/ipc/contract.ts';
import type { Reply } from '../../main/ipc/contract.ts';
import { Client } from '../../main/ipc/contract/client.ts';
import { diff, patch } from '../../main/ipc/contract/delta.ts';
import { Dispatcher } from '../../main/ipc/dispatcher.ts';
import type { Handlers, SessionLink } from '../../main/ipc/dispatcher.ts';
import { settings, TestApp } from './doubles/app.ts';

const MIB = 2 ** 20;

describe('VM settings', () => {
  const problem = (change: object) => {
    const result = vmSettings.safeParse({ ...settings(), ...change });
    return result.success ? null : `${result.error.issues[0].path.join('.')}: ${result.error.issues[0].message}`;
  };
  const drive = (id: string, file: string, more = {}) => ({ id, file, ...more });

  test('what a person may choose', () => {
    expect(problem({})).toBeNull();
    expect(problem({ boot: { source: 'guest', guest: 'debian' } })).toBeNull();
    expect(problem({ bios: '/fw.bin', boot: { source: 'files' } })).toBeNull();
    expect(problem({ drives: [drive('a', '/a'), drive('b', '/b')] })).toBeNull();
    expect(
      problem({ drives: [drive('a', '/a', { readonly: true }), drive('b', '/a', { readonly: true })] }),
    ).toBeNull();
  });

  test.each([
    ['a name of nothing but blanks', { name: '  ' }, 'name: give it a name'],
    ['control characters in the name', { name: 'a\x1b[31m' }, 'name: no control characters'],
    ['memory that is not whole MiB', { memory: 64 * MIB + 1 }, 'memory: a whole number of MiB'],
    ['no kernel', { boot: { source: 'files' } }, 'boot.kernel: choose a kernel, or a firmware that has one'],
    [
      'a guest id that is a path',
      { boot: { source: 'guest', guest: '../x' } },
      'boot.guest: not the id of a catalogue guest',
    ],
    [
      'two disks of one name',
      { drives: [drive('a', '/a'), drive('a', '/b')] },
      'drives.1.id: disk 1 has this name already',
    ],
    ['one file twice', { drives: [drive('a', '/a'), drive('b', '/a')] }, 'drives.1.file: disk 1 is this file already'],
    [
      'a serial of more bytes than fit',
      { drives: [drive('a', '/a', { serial: 'ü'.repeat(11) })] },
      'drives.0.serial: at most 20 bytes',
    ],
    ['a path with NUL in it', { drives: [drive('a', '/a\0b')] }, 'drives.0.file: not a path'],
  ])('%s is refused', (_, change, message) => {
    expect(problem(change)).toBe(message);
  });

  test('more devices than the board has slots are refused', () => {
    const drives = Array.from({ length: 7 }, (_, at) => drive(`d${at}`, `/${at}`));
    expect(problem({ drives })).toContain('the board has 8 virtio slots and this needs 9');
    expect(problem({ drives, console: false })).toBeNull();
  });

  test('unknown fields are refused, prototypes too', () => {
    expect(problem({ surprise: 1 })).toContain('surprise');
    const hostile = JSON.parse(JSON.stringify(settings()).replace('{', '{"__proto__": {"memory": 1},')) as unknown;
    expect(vmSettings.safeParse(hostile).success).toBe(false);
    expect(({} as { memory?: number }).memory).toBeUndefined();
  });
});

describe('deltas', () => {
  const json = fc.jsonValue({ maxDepth: 5 }).map((value) => structuredClone(value));

  test('patch undoes diff, for any two values', () => {
    fc.assert(
      fc.property(json, json, (before, after) => {
        const frozen = JSON.stringify(before);
        expect(patch(before, diff(before, after))).toEqual(after);
        expect(JSON.stringify(before)).toBe(frozen);
      }),
      { numRuns: 2000 },
    );
  });

  test('only what changes is sent', () => {
    const before = {
      queues: [
        { used: 1, name: 'requestq' },
        { used: 5, name: 'x' },
      ],
      state: 'running',
    };
    const after = structuredClone(before);
    after.queues[1].used = 6;
    expect(diff(before, after)).toEqual([{ path: ['queues', 1, 'used'], value: 6 }]);
    expect(diff(before, structuredClone(before))).toEqual([]);
    const patched = patch(before, diff(before, after)) as typeof before;
    expect(patched.queues[0]).toBe(before.queues[0]);
  });

  test.each([[['__proto__', 'x']], [['constructor', 'prototype', 'x']], [['queues', 9]], [['queues', 'length']]])(
    'a path that is not there is refused: %j',
    (path) => {
      expect(() => patch({ queues: [] }, [{ path, value: 1 }])).toThrow('delta does not fit');
    },
  );
});

describe('the dispatcher', () => {
  let app: TestApp;
  const link: SessionLink = { host: 'browser', send: () => {}, congested: () => false };
  beforeEach(async () => {
    app = await TestApp.create();
  });
  afterEach(() => app.close());

  const call = async (name: unknown, params: unknown): Promise<Reply> => {
    const session = app.app.dispatcher.open(link);
    const reply = await app.app.dispatcher.call(session, name, params);
    session.close();
    return reply;
  };

  test('every command can be called, and refuses what is none of its parameters', async () => {
    for (const name of commandNames.filter((name) => name !== 'app.quit')) {
      expect(await call(name, null), name).toMatchObject({ ok: false, error: { kind: 'bad-option' } });
      expect(await call(name, { unknown: 1 }), name).toMatchObject({ ok: false, error: { kind: 'bad-option' } });
    }
    expect(await call('app.info', {})).toMatchObject({ ok: true, result: { version: '1.2.3', host: 'browser' } });
  });

  test.each(['vm.explode', '__proto__', 'toString', 'constructor', '', 7, null, {}, ['app.info']])(
    'an unknown command is refused: %j',
    async (name) => {
      expect(await call(name, {})).toEqual({ ok: false, error: { kind: 'unsupported', message: 'no such command' } });
    },
  );

  test('random parameters never get past the schemas to do harm', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(
          ...commandNames.filter(
            (name) => name !== 'app.quit' && commands[name].params.safeParse({}).success === false,
          ),
        ),
        fc.jsonValue(),
        async (name, params) => {
          const reply = await call(name, params);
          expect(reply.ok).toBe(false);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('errors cross as kind and one line', async () => {
    const handlers = (error: unknown) =>
      new Dispatcher({ 'app.info': () => Promise.reject(error) } as unknown as Handlers, () => {});
    const answer = async (error: unknown) => {
      const dispatcher = handlers(error);
      return dispatcher.call(dispatcher.open(link), 'app.info', {});
    };
    expect(await answer(new RingsideError('in-use', 'taken:\n try later'))).toEqual({
      ok: false,
      error: { kind: 'in-use', message: 'taken: try later' },
    });
    const bug = await answer(new TypeError('x is not a function'));
    expect(bug).toEqual({ ok: false, error: { kind: 'internal', message: 'app.info: x is not a function' } });
    expect(JSON.stringify(bug)).not.toContain('at ');
  });

  test('results and events that are not as the contract says do not leave', async () => {
    const bugs: string[] = [];
    const sent: unknown[] = [];
    const wrong = { 'log.list': () => ({ entries: [{ secret: 1 }] }) } as unknown as Handlers;
    const dispatcher = new Dispatcher(wrong, (text) => bugs.push(text));
    const session = dispatcher.open({ ...link, send: (_, payload) => sent.push(payload) });
    expect(await dispatcher.call(session, 'log.list', {})).toMatchObject({ ok: false, error: { kind: 'internal' } });
    dispatcher.broadcast('vm.removed', { id: 'not a uuid' });
    expect(bugs).toEqual([expect.stringContaining('vm.removed')]);
    expect(sent).toEqual([]);
  });

  test('a client cannot pile up calls', async () => {
    let release: () => void = () => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    const slow = { 'log.list': () => gate.then(() => ({ entries: [] })) } as unknown as Handlers;
    const dispatcher = new Dispatcher(slow, () => {});
    const session = dispatcher.open(link);
    const replies = Array.from({ length: 70 }, () => dispatcher.call(session, 'log.list', {}));
    expect(await replies[69]).toMatchObject({ ok: false, error: { kind: 'bad-state' } });
    release();
    expect(await replies[0]).toMatchObject({ ok: true });
    expect(await dispatcher.call(session, 'log.list', {})).toMatchObject({ ok: true });
  });
});

describe('the client', () => {
  const over = (answer: unknown) =>
    new Client(
      { call: async () => answer, onEvent: () => {}, openStream: () => Promise.reject(new Error('none')) },
      () => {},
    );

  test('does not send what the contract forbids', async () => {
    await expect(over(null).call('vm.start', { id: 'x' })).rejects.toMatchObject({ kind: 'bad-option' });
  });

  test.each([null, 'ok', { ok: true }, { ok: true, result: { vms: 1 } }, { ok: 'yes', result: {} }])(
    'does not believe an answer that is none: %j',
    async (answer) => {
      await expect(over(answer).call('vm.list', {})).rejects.toMatchObject({ kind: 'internal' });
    },
  );

  test('gives errors with their kind', async () => {
    const answer = { ok: false, error: { kind: 'in-use', message: 'disk.raw is in use' } };
    await expect(over(answer).call('vm.list', {})).rejects.toMatchObject({
      kind: 'in-use',
      message: 'disk.raw is in use',
    });
  });
});

describe('the question before closing', () => {
  const vm = (name: string, state: string) => ({ settings: { name }, state });

  test('is asked only when something is on', () => {
    expect(closeQuestion([])).toBeNull();
    expect(closeQuestion([vm('a', 'stopped'), vm('b', 'crashed')])).toBeNull();
    expect(closeQuestion([vm('a', 'paused')])?.message).toBe('“a” is still running.');
    expect(closeQuestion([vm('a', 'running'), vm('b', 'starting')])?.message).toBe('“a” and “b” are still running.');
    const many = ['a', 'b', 'c', 'd'].map((name) => vm(name, 'running'));
    expect(closeQuestion(many)?.message).toBe('“a”, “b” and 2 more are still running.');
  });
});
