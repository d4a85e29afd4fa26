/** Console ports: scrollback, watchers that keep up and that do not, input that waits for the guest. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { ConsolePort, Scrollback } from '../../main/app/console-port.ts';
import type { BytePort } from '../../main/ipc/contract.ts';
import { ConsoleClient } from '../../main/ipc/contract/console-client.ts';
import {
  bytesFrame,
  countFrame,
  FRAME_ACK,
  FRAME_DATA,
  FRAME_GAP,
  FRAME_HELLO,
  FRAME_INPUT,
  FRAME_RESET,
  INPUT_WINDOW,
  MAX_BODY,
  OUTPUT_WINDOW,
} from '../../main/ipc/contract/console-frames.ts';
import { bytePair } from '../../main/app/byte-pair.ts';
import { FakeConsole } from './doubles/machine.ts';

const KIB = 1024;
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');
const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

describe('the scrollback', () => {
  test('keeps the last bytes, at their positions, whatever is appended', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 }),
        fc.integer({ min: 1, max: 33 }),
        (chunks, capacity) => {
          const scrollback = new Scrollback(capacity);
          const all: number[] = [];
          for (const chunk of chunks) {
            scrollback.append(chunk);
            all.push(...chunk);
            expect(scrollback.end).toBe(all.length);
            expect(scrollback.begin).toBe(Math.max(0, all.length - capacity));
            for (let at = scrollback.begin; at < scrollback.end; at += 7) {
              expect([...scrollback.read(at, 11)]).toEqual(all.slice(at, at + 11));
            }
          }
        },
      ),
    );
  });

  test('a replay does not begin inside a line that has lost its beginning', () => {
    const scrollback = new Scrollback(16);
    scrollback.append(Buffer.from('0123456789\r\nabcdef\r\nxyz'));
    expect(text(scrollback.read(scrollback.replayFrom, 100))).toBe('abcdef\r\nxyz');
    const short = new Scrollback(16);
    short.append(Buffer.from('no\nloss'));
    expect(short.replayFrom).toBe(0);
  });
});

/** A watcher that shows nothing until told to, and remembers what it was told. */
class Watcher {
  output = '';
  replayed = '';
  gaps: number[] = [];
  resets = 0;
  closed = false;
  readonly pending: (() => void)[] = [];
  readonly client: ConsoleClient;

  constructor(port: ConsolePort, { slow = false } = {}) {
    const [ours, theirs] = bytePair();
    this.client = new ConsoleClient(ours, {
      data: (bytes, replay, shown) => {
        this.output += text(bytes);
        if (replay) this.replayed += text(bytes);
        if (slow) this.pending.push(shown);
        else shown();
      },
      gap: (bytes) => this.gaps.push(bytes),
      reset: () => {
        this.resets++;
        this.output = '';
      },
      closed: () => (this.closed = true),
    });
    port.watch(theirs);
  }

  showAll(): void {
    for (const shown of this.pending.splice(0)) shown();
  }
}

describe('a console port', () => {
  let port: ConsolePort;
  let guest: FakeConsole;
  beforeEach(() => {
    port = new ConsolePort();
    guest = new FakeConsole();
    port.connect(guest);
  });

  test('shows who comes late what was written before, and says so', async () => {
    guest.print('before ');
    const watcher = new Watcher(port);
    await settle();
    guest.print('after');
    await settle();
    expect(watcher.output).toBe('before after');
    expect(watcher.replayed).toBe('before ');
  });

  test('a watcher that keeps up gets every byte of a long output', async () => {
    const watcher = new Watcher(port);
    let expected = '';
    for (let at = 0; at < 2000; at++) {
      const line = `${at} ${'x'.repeat(at % 500)}\r\n`;
      expected += line;
      guest.print(line);
      if (at % 50 === 0) await settle();
    }
    await settle();
    expect(watcher.gaps).toEqual([]);
    expect(watcher.output).toBe(expected);
  });

  test('one that does not is sent no more than its window, skips, and then goes on', async () => {
    const slow = new Watcher(port, { slow: true });
    const quick = new Watcher(port);
    const chunk = 'y'.repeat(10 * KIB);
    for (let at = 0; at < 100; at++) {
      guest.print(chunk);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(slow.output.length).toBe(OUTPUT_WINDOW);
    expect(quick.output.length).toBe(1000 * KIB);
    for (let turn = 0; turn < 20; turn++) {
      slow.showAll();
      await settle();
    }
    expect(slow.gaps).toHaveLength(1);
    expect(slow.output.length + slow.gaps[0]).toBe(1000 * KIB);
    guest.print('the end');
    await settle();
    expect(slow.output.endsWith('the end')).toBe(true);
  });

  test('what is typed reaches the guest in order, however slowly it reads', async () => {
    let received = '';
    guest.receive = (part) => (received += part);
    const watcher = new Watcher(port);
    guest.stuck = true;
    const typed = Array.from({ length: 30_000 }, (_, at) => `${at},`).join('');
    expect(watcher.client.send(Buffer.from(typed))).toBe(true);
    await settle();
    // 4 KiB are in the guest's ring, a window is on its way, the rest has not left the client.
    expect(watcher.client.pending).toBe(typed.length - 4 * KIB);
    guest.unstick();
    await settle();
    expect(watcher.client.pending).toBe(0);
    expect(received).toBe(typed.slice(4 * KIB));
  });

  test('a paste larger than memory should hold is refused whole', () => {
    const watcher = new Watcher(port);
    expect(watcher.client.send(new Uint8Array(5 * 2 ** 20))).toBe(false);
    expect(watcher.client.pending).toBe(0);
  });

  test('a new machine begins a new session; the old one’s output is gone', async () => {
    const watcher = new Watcher(port);
    guest.print('old');
    await settle();
    port.disconnect();
    const late = new Watcher(port);
    await settle();
    expect(late.output).toBe('old');
    const second = new FakeConsole();
    port.connect(second);
    guest.print('a ghost');
    second.print('new');
    await settle();
    expect([watcher.output, watcher.resets]).toEqual(['new', 1]);
    const fresh = new Watcher(port);
    await settle();
    expect(fresh.output).toBe('new');
  });

  test('what was typed for a machine that has gone is dropped, not kept for the next', async () => {
    const watcher = new Watcher(port);
    guest.stuck = true;
    watcher.client.send(new Uint8Array(8 * KIB));
    await settle();
    port.disconnect();
    await settle();
    expect(watcher.client.pending).toBe(0);
    let received = '';
    const second = new FakeConsole();
    second.receive = (part) => (received += part);
    port.connect(second);
    await settle();
    expect(received).toBe('');
  });

  test('a watcher that goes takes its waiting input along, and nobody else’s', async () => {
    let received = '';
    guest.receive = (part) => (received += part);
    guest.stuck = true;
    const first = new Watcher(port);
    const second = new Watcher(port);
    first.client.send(new Uint8Array(4 * KIB).fill(97));
    await settle();
    first.client.send(Buffer.from('first'));
    await settle();
    second.client.send(Buffer.from('second'));
    await settle();
    first.client.close();
    guest.unstick();
    await settle();
    expect(received).toBe('second');
  });

  describe('clients that break the rules lose their stream', () => {
    const raw = (): [BytePort, { frames: Uint8Array[]; closed: boolean }] => {
      const [ours, theirs] = bytePair();
      const seen = { frames: [] as Uint8Array[], closed: false };
      ours.onMessage((frame) => seen.frames.push(frame));
      ours.onClose(() => (seen.closed = true));
      port.watch(theirs);
      return [ours, seen];
    };

    test.each([
      ['an empty frame', new Uint8Array(0)],
      ['an unknown type', new Uint8Array([99, 1])],
      ['a frame that only the app sends', bytesFrame(FRAME_DATA, Buffer.from('x'))],
      ['an acknowledgement of what was never sent', countFrame(FRAME_ACK, 1)],
      ['an acknowledgement cut short', new Uint8Array([FRAME_ACK, 0, 0])],
      ['input of nothing', new Uint8Array([FRAME_INPUT])],
      ['a frame that is too long', bytesFrame(FRAME_INPUT, new Uint8Array(MAX_BODY + 1))],
    ])('%s', async (_, frame) => {
      const [ours, seen] = raw();
      ours.send(frame);
      await settle();
      expect(seen.closed).toBe(true);
    });

    test('more input than the window', async () => {
      guest.stuck = true;
      const [ours, seen] = raw();
      for (let sent = 0; sent <= INPUT_WINDOW + 4 * KIB; sent += MAX_BODY) {
        ours.send(bytesFrame(FRAME_INPUT, new Uint8Array(MAX_BODY)));
      }
      await settle();
      expect(seen.closed).toBe(true);
    });

    test('and the frames are as documented', async () => {
      guest.print('abc');
      const [, seen] = raw();
      port.connect(new FakeConsole());
      await settle();
      expect(seen.frames.map((frame) => frame[0])).toEqual([FRAME_HELLO, FRAME_DATA, FRAME_RESET]);
      expect([...seen.frames[0]]).toEqual([FRAME_HELLO, 3, 0, 0, 0]);
      expect(FRAME_GAP).not.toBe(FRAME_RESET);
    });
  });

  test('closing the port closes its watchers', async () => {
    const watcher = new Watcher(port);
    port.close();
    await settle();
    expect(watcher.closed).toBe(true);
  });
});
