/** A guest's character device and the host's end of it: who waits for whom, and what is dropped. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Chardev } from '../../core/chardev/chardev.ts';
import { HostLink } from '../../core/chardev/host-link.ts';
import { LinkPump } from '../../core/chardev/link-pump.ts';
import { RingReader, RingWriter, inRingBase, outRingBase } from '../../core/chardev/ring.ts';
import { RING_SIZE } from '../../core/worker/layout.ts';
import { bytes, until } from './link-user.ts';

const INDEX = 3;

/** Takes what it is told to take. */
class DoubleLink extends HostLink {
  readonly filename = 'double';
  sent = '';
  enough = false;
  flowing = false;

  protected send(data: Uint8Array): boolean {
    this.sent += Buffer.from(data).toString('latin1');
    return !this.enough;
  }
  protected flow(wanted: boolean): void {
    this.flowing = wanted;
  }
  protected end(): void {}
  come(open: boolean): void {
    this.setOpen(open);
  }
  say(text: string): void {
    this.received(bytes(text));
  }
  goOn(): void {
    this.enough = false;
    this.drained();
  }
}

let guestOut: RingWriter;
let guestIn: RingReader;
let chardev: Chardev;
let link: DoubleLink;
beforeEach(() => {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
  const buffer = memory.buffer as unknown as SharedArrayBuffer;
  guestOut = new RingWriter(buffer, outRingBase(INDEX));
  guestIn = new RingReader(buffer, inRingBase(INDEX));
  chardev = new Chardev({ memory, index: INDEX });
  link = new DoubleLink();
});

function guestWrites(text: string): void {
  expect(guestOut.write(bytes(text))).toBe(text.length);
  chardev.drain();
}
function guestReads(): string {
  const buffer = Buffer.alloc(RING_SIZE);
  return buffer.toString('latin1', 0, guestIn.read(buffer));
}

describe('a console', () => {
  it('loses what nobody takes, and says so once for each who comes', () => {
    const drops: string[] = [];
    new LinkPump({ chardev, link, throttles: false, onDrop: () => drops.push('dropped') });
    link.come(true);
    link.enough = true;
    for (const text of ['taken', 'lost', 'lost too']) guestWrites(text);
    expect(link.sent).toBe('taken');
    expect(drops).toHaveLength(1);
    link.goOn();
    guestWrites(', seen');
    expect(link.sent).toBe('taken, seen');
    link.enough = true;
    guestWrites('.');
    guestWrites('lost');
    expect(drops).toHaveLength(1);
    // Somebody else comes: for him everything begins anew.
    link.come(false);
    link.come(true);
    guestWrites('!');
    guestWrites('lost');
    expect(link.sent).toBe('taken, seen.!');
    expect(drops).toHaveLength(2);
  });

  it('is there for its guest whether somebody looks or not', () => {
    new LinkPump({ chardev, link, throttles: false });
    expect(chardev.connected).toBe(true);
    link.come(true);
    link.come(false);
    expect(chardev.connected).toBe(true);
  });
});

describe('a port', () => {
  it('waits, and loses nothing', async () => {
    new LinkPump({ chardev, link, throttles: true });
    link.come(true);
    link.enough = true;
    for (const text of ['one ', 'two ', 'three']) guestWrites(text);
    expect(link.sent).toBe('one ');
    link.goOn();
    await until(() => link.sent === 'one two three');
  });

  it('is told when somebody comes and goes, and does not wait for who has gone', () => {
    const told: boolean[] = [];
    chardev.onConnected = (open) => told.push(open);
    new LinkPump({ chardev, link, throttles: true });
    link.come(true);
    link.enough = true;
    guestWrites('one');
    link.come(false);
    link.enough = false;
    expect(told).toEqual([false, true, false]);
    guestWrites('two');
    expect(link.sent).toBe('onetwo');
  });
});

describe('input', () => {
  it('waits for the guest, whole and in order, and holds the link', () => {
    new LinkPump({ chardev, link, throttles: false });
    expect(link.flowing).toBe(true);
    const text = 'x'.repeat(RING_SIZE);
    link.say(text);
    expect(link.flowing).toBe(true);
    link.say('more');
    expect(link.flowing).toBe(false);
    link.say(' and more');
    expect(guestReads()).toBe(text);
    chardev.drain();
    expect(guestReads()).toBe('more and more');
    expect(link.flowing).toBe(true);
  });

  it('is not taken any more when the device has gone', () => {
    const pump = new LinkPump({ chardev, link, throttles: false });
    pump.close();
    expect(link.flowing).toBe(false);
    link.say('nobody');
    expect(guestReads()).toBe('');
    guestWrites('waits');
    expect(link.sent).toBe('');
    new LinkPump({ chardev, link, throttles: false });
    chardev.drain();
    expect(link.sent).toBe('waits');
  });

  it('breaks are passed on', () => {
    let breaks = 0;
    new LinkPump({ chardev, link, throttles: false, onBreak: () => breaks++ });
    (link as unknown as { breakReceived(): void }).breakReceived();
    expect(breaks).toBe(1);
  });
});
