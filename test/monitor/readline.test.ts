import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_LINE, Readline } from '../../core/monitor/hmp/readline.ts';
import { DoubleTarget, monitorFor, streamPair, TextClient } from './client.ts';

/** An editor, the lines that came of it, and a screen line that understands what it writes. */
class Fixture {
  readonly lines: string[] = [];
  output = '';
  screen: string[] = [];
  column = 0;
  readonly readline: Readline;

  constructor(words: readonly string[] = []) {
    this.readline = new Readline({
      prompt: '> ',
      write: (text) => this.#show(text),
      onLine: (line) => {
        this.lines.push(line);
        this.readline.prompt();
      },
      complete: (before) => {
        const word = before.split(' ').at(-1)!;
        return { length: word.length, candidates: words.filter((candidate) => candidate.startsWith(word)) };
      },
    });
    this.readline.prompt();
  }

  type(text: string): this {
    this.readline.feed(Buffer.from(text));
    return this;
  }

  #show(text: string): void {
    this.output += text;
    for (const [token, count, letter] of text.matchAll(SCREEN)) {
      if (letter === 'C') this.column += Number(count || 1);
      else if (letter === 'D') this.column -= Number(count || 1);
      else if (letter === 'K') this.screen.length = this.column;
      else if (letter !== undefined) this.screen = [];
      else if (token === '\r') this.column = 0;
      else if (token === '\n') this.screen = [];
      else this.screen[this.column++] = token;
    }
  }

  get shown(): string {
    return this.screen.join('');
  }
}

const ESC = '\x1b';
/** A sequence that moves the cursor or erases, or a character. */
const SCREEN = new RegExp(`${ESC}\\[(\\d*)([A-Z])|[^]`, 'gu');
const LEFT = '\x1b[D';
const UP = '\x1b[A';
const DOWN = '\x1b[B';

describe('the line editor', () => {
  it('echoes what is typed and gives lines', () => {
    const fixture = new Fixture().type('info ').type('status');
    expect(fixture.shown).toBe('> info status');
    expect(fixture.type('\r').lines).toEqual(['info status']);
    expect(fixture.output).toBe('> info status\r\n> ');
  });

  it.each([
    ['carriage return', 'a\rb\r'],
    ['line feed', 'a\nb\n'],
    ['both', 'a\r\nb\r\n'],
  ])('ends lines with %s', (_what, text) => {
    expect(new Fixture().type(text).lines).toEqual(['a', 'b']);
  });

  it.each([
    ['backspace', 'abc\x7f\x08d', 'ad'],
    ['arrows', `ac${LEFT}b`, 'abc'],
    ['application arrows', 'ac\x1bODb', 'abc'],
    ['home and end', 'b\x01a\x05c', 'abc'],
    ['Home and End', 'b\x1b[Ha\x1b[Fc', 'abc'],
    ['Home and End of another terminal', 'b\x1b[1~a\x1b[4~c', 'abc'],
    ['Delete', `abXc${LEFT}${LEFT}\x1b[3~`, 'abc'],
    ['Ctrl-D', `abXc${LEFT}${LEFT}\x04`, 'abc'],
    ['Ctrl-W', 'info  registers\x17status', 'info  status'],
    ['Ctrl-U', 'all of it\x15abc', 'abc'],
    ['Ctrl-K', `abcxyz${LEFT.repeat(3)}\x0b`, 'abc'],
    ['Ctrl-B and Ctrl-F', 'ac\x02b\x06d', 'abcd'],
    ['letters beyond ASCII', 'grün\x7f\x7fün', 'grün'],
    ['keys that are none of these', 'a\x1b[15~\x1bx\x00b', 'ab'],
    ['keys beyond the ends', `${LEFT}\x7f\x04a${LEFT.repeat(3)}\x1b[C\x1b[C\x1b[Cb`, 'ab'],
  ])('knows %s', (_what, keys, line) => {
    const fixture = new Fixture().type(keys);
    expect(fixture.shown).toBe(`> ${line}`);
    expect(fixture.type('\r').lines).toEqual([line]);
  });

  it('keeps a history, and what was being typed', () => {
    const fixture = new Fixture().type('one\rtwo\r\rone\rnew');
    expect(fixture.type(UP).shown).toBe('> one');
    expect(fixture.type(UP).shown).toBe('> two');
    expect(fixture.type(UP).shown).toBe('> two');
    expect(fixture.type(DOWN).shown).toBe('> one');
    expect(fixture.type(DOWN).shown).toBe('> new');
    expect(fixture.readline.history).toEqual(['two', 'one']);
  });

  it('completes one word with a space, several as far as they agree, and lists those', () => {
    const words = [
      'virtio',
      'virtio-queue-element',
      'virtio-queue-status',
      'virtio-status',
      'virtio-vhost-queue-status',
    ];
    expect(new Fixture(words).type('virtio-s\t').shown).toBe('> virtio-status ');
    const fixture = new Fixture(words).type('vir\t');
    expect(fixture.shown).toBe('> virtio');
    // As QEMU lays them out.
    expect(fixture.output).toContain(
      [
        '\r\nvirtio                     virtio-queue-element       ',
        'virtio-queue-status        virtio-status              ',
        'virtio-vhost-queue-status  ',
        '> virtio',
      ].join('\r\n'),
    );
    expect(new Fixture(words).type('x\t').shown).toBe('> x');
  });

  it('does not put a space behind a path that goes on', () => {
    expect(new Fixture(['/machine/']).type('/ma\t').shown).toBe('> /machine/');
  });

  it('takes a line of a few thousand characters at most', () => {
    const fixture = new Fixture().type('x'.repeat(1_000_000)).type('\r');
    expect(fixture.lines[0]).toHaveLength(MAX_LINE);
  });

  it('shows at any time what the line is', () => {
    const keys = fc.constantFrom(
      'a',
      'b',
      ' ',
      'ü',
      LEFT,
      '\x1b[C',
      '\x7f',
      '\x04',
      '\x01',
      '\x05',
      '\x17',
      UP,
      DOWN,
      '\r',
    );
    fc.assert(
      fc.property(fc.array(keys, { maxLength: 60 }), (typed) => {
        const fixture = new Fixture();
        for (const key of typed) fixture.type(key);
        const { shown } = fixture;
        const count = fixture.lines.length;
        fixture.type('\r');
        expect(shown).toBe(`> ${fixture.lines[count]}`);
      }),
    );
  });

  it('bears any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (pieces) => {
        const fixture = new Fixture();
        for (const piece of pieces) fixture.readline.feed(piece);
        fixture.type('\x1b[A\r\x15abc\r');
        expect(fixture.lines.at(-1)).toBe('abc');
      }),
    );
  });
});

describe('a client of HMP', () => {
  function connect(target = new DoubleTarget()): TextClient {
    const [ours, theirs] = streamPair();
    monitorFor(target).hmp(theirs);
    return new TextClient(ours);
  }

  it('sees a banner, a prompt and answers', async () => {
    const client = connect();
    expect(await client.until(/\(qemu\) /)).toBe(
      "QEMU 7.2.0 monitor (Ringside 1.2.3) - type 'help' for more information\r\n(qemu) ",
    );
    client.send('info status\n');
    expect(await client.until(/\(qemu\) /)).toBe('info status\r\nVM status: paused (prelaunch)\r\n(qemu) ');
  });

  it('may type ahead', async () => {
    const client = connect();
    client.send('c\ninfo status\nstop\ninfo status\n');
    expect(await client.until(/VM status: running[^]*VM status: paused\r\n\(qemu\) /)).toContain('stop');
  });

  it.each([
    ['inf', 'info '],
    ['info regis', 'info registers '],
    ['help dev', 'help device_'],
    ['info virtio-status /', 'info virtio-status /machine/peripheral/disk0 '],
    ['info virtio-queue-status /machine/peripheral/disk0 ', '/machine/peripheral/disk0 0 '],
    ['qom-list /mach', 'qom-list /machine/'],
    ['qom-list /machine/peripheral/d', 'qom-list /machine/peripheral/disk0 '],
    ['qom-get /machine a', 'qom-get /machine aia '],
    ['device_add virtio-r', 'device_add virtio-rng-device '],
    ['device_del r', 'device_del rng0 '],
    ['set_link ni', 'set_link nic0 '],
    ['netdev_del ', 'net0      net1'],
    ['info mtree -', '-D'],
    ['p $mst', 'p $mstatus '],
    ['x/4wx $s', '$satp'],
    ['trace-event virtio_s', 'trace-event virtio_set_status '],
    ['cpu ', '0'],
  ])('can complete "%s" by Tab', async (typed, text) => {
    const client = connect();
    await client.until(/\(qemu\) /);
    client.send(`${typed}\t`);
    await client.until(new RegExp(text.replaceAll('$', '\\$')));
  });

  it('has its own current CPU and history', async () => {
    const client = connect();
    client.send('cpu 1\ninfo cpus\ninfo history\n');
    const text = await client.until(/2: 'info history'\r\n/);
    expect(text).toContain('* CPU #1');
    expect(text).toContain("0: 'cpu 1'\r\n1: 'info cpus'\r\n");
  });

  it('cannot make it keep much by not reading', async () => {
    const [ours, theirs] = streamPair();
    monitorFor(new DoubleTarget()).hmp(theirs);
    for (let i = 0; i < 2000; i++) ours.write('xp/4096gx 0x80000000\n');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(theirs.writableLength).toBeLessThan(1 << 20);
  });
});
