/** Pseudo-terminals as the host's end of a character device. */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { PtyLink } from '../../core/chardev/links/pty.ts';
import { createHost } from '../../core/host/node-host.ts';
import { nativeHostSpec } from '../../native/index.ts';
import { DoubleUser, bytes, until } from './link-user.ts';

const spec = nativeHostSpec();
const missing = 'reason' in spec.addon ? spec.addon.reason : null;
const host = createHost(spec);

let link: PtyLink | null = null;
afterEach(async () => {
  await link?.close();
  link = null;
});

/** A program that has the terminal open. */
class Terminal {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  }
  write(text: string): void {
    writeSync(this.#fd, text);
  }
  /** What has come. */
  read(): string {
    const buffer = Buffer.alloc(1 << 16);
    try {
      return buffer.toString('latin1', 0, readSync(this.#fd, buffer));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return '';
      throw error;
    }
  }
  async see(text: string): Promise<void> {
    let seen = '';
    await until(() => (seen += this.read()).endsWith(text));
    expect(seen).toBe(text);
  }
  close(): void {
    closeSync(this.#fd);
  }
}

describe.skipIf(missing !== null)('a pseudo-terminal', () => {
  it('is announced as in QEMU', () => {
    link = new PtyLink(host, 'c0');
    expect(link.announcement).toBe(`char device redirected to ${link.path} (label c0)`);
    expect(link.filename).toBe(`pty:${link.path}`);
  });

  it('carries bytes as they are, while somebody has it open', async () => {
    link = new PtyLink(host, 'c0');
    const user = new DoubleUser(link);
    expect(user.open).toBe(false);
    link.write(bytes('for nobody'));
    for (let round = 0; round < 2; round++) {
      const terminal = new Terminal(link.path);
      await until(() => user.open === true);
      link.write(bytes('a\nb\r\x03\x04\xff'));
      await terminal.see('a\nb\r\x03\x04\xff');
      user.text = '';
      terminal.write('x\ry\nz\x03');
      await until(() => user.text === 'x\ry\nz\x03');
      terminal.close();
      await until(() => user.open === false);
    }
  });

  it('says when it is not read, and when it is again', async () => {
    link = new PtyLink(host, 'c0');
    const user = new DoubleUser(link);
    const terminal = new Terminal(link.path);
    await until(() => user.open === true);
    const part = bytes('0123456789abcdef'.repeat(256));
    let sent = part.length;
    while (link.write(part)) sent += part.length;
    let read = 0;
    await until(() => (read += terminal.read().length) === sent);
    expect(user.drains).toBe(1);
    terminal.close();
  });

  it('what somebody typed at once and left is not lost', async () => {
    link = new PtyLink(host, 'c0');
    const user = new DoubleUser(link);
    const terminal = new Terminal(link.path);
    terminal.write('quick');
    terminal.close();
    await until(() => user.text === 'quick');
    await until(() => user.open === false);
  });
});

it('without the addon the reason is said', () => {
  const bare = createHost({ addon: { reason: 'there is no addon' } });
  expect(() => new PtyLink(bare, 'c0')).toThrow(
    expect.objectContaining({
      kind: 'unsupported',
      message: 'this computer gives no pseudo-terminal: there is no addon',
    }),
  );
});
