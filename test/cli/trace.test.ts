/** `-trace`, `-d trace:`, `-virtfs`: what they stand for. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { TRACE_EVENTS } from '../../core/trace/trace.ts';
import { parseRunArguments, typeHelpText } from '../../main/cli/qemu-options.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringside-trace-'));
afterAll(() => rmSync(folder, { recursive: true }));

const parse = (...args: string[]) => parseRunArguments(['-kernel', 'K', ...args])!;

describe('trace events', () => {
  test('are named, by patterns too, and turned off again', () => {
    expect(parse().trace).toEqual({ events: [], file: null });
    expect(parse('-trace', 'virtqueue_*').trace.events).toEqual(['virtqueue_pop', 'virtqueue_fill', 'virtqueue_flush']);
    expect(parse('-trace', 'enable=virtqueue_*', '-trace', '-virtqueue_f*').trace.events).toEqual(['virtqueue_pop']);
    expect(parse('-d', 'trace:pci_cfg_read,trace:runstate_set').trace.events).toEqual(['pci_cfg_read', 'runstate_set']);
    expect(parse('-trace', 'nothing_like_*').trace.events).toEqual([]);
  });

  test('come from a file, and go to one', () => {
    const events = join(folder, 'events');
    writeFileSync(events, '# those of PCI\npci_cfg_*\n\n-pci_cfg_read\n');
    expect(parse('-trace', `events=${events},file=/tmp/t`).trace).toEqual({
      events: ['pci_cfg_write'],
      file: '/tmp/t',
    });
    expect(parse('-trace', 'runstate_set', '-D', '/tmp/log').trace.file).toBe('/tmp/log');
  });

  test('that are not there are refused, with the one that was meant', () => {
    expect(() => parse('-trace', 'virtqueue_pup')).toThrow(
      /-trace: there is no trace event "virtqueue_pup".*virtqueue_pop/,
    );
    expect(() => parse('-trace', `events=${join(folder, 'none')}`)).toThrow(/cannot be read/);
    expect(() => parse('-d', 'trace:x')).toThrow(/there is no trace event "x"/);
  });

  test('are listed', () => {
    expect(typeHelpText(['-trace', 'help'])).toBe(`${TRACE_EVENTS.join('\n')}\n`);
  });
});

describe('-virtfs', () => {
  test('is an -fsdev and a device', () => {
    const { machine } = parse('-virtfs', 'local,path=/a,,b,mount_tag=share,security_model=none,readonly=on');
    expect(machine.fsdevs).toEqual([
      { type: 'local', id: 'share', path: '/a,b', security_model: 'none', readonly: 'on' },
    ]);
    expect(machine.devices).toEqual([{ driver: 'virtio-9p-pci', fsdev: 'share', mount_tag: 'share' }]);
  });

  test('makes an id where the tag is none', () => {
    const { machine } = parse(
      ...['-virtfs', 'local,path=/a,mount_tag=/dev/root,security_model=none'],
      ...['-virtfs', 'local,id=two,path=/b,mount_tag=b,security_model=none'],
    );
    expect(machine.fsdevs!.map(({ id }) => id)).toEqual(['virtfs0', 'two']);
    expect(machine.devices!.map((device) => [device.fsdev, device.mount_tag])).toEqual([
      ['virtfs0', '/dev/root'],
      ['two', 'b'],
    ]);
  });

  test.each([
    ['local,path=/a,security_model=none', '-virtfs: what does the guest call it? Give mount_tag=TAG'],
    ['local,path=/a,mount_tag=a,security_model=x', '-virtfs: security_model: "x"'],
    ['nope,path=/a,mount_tag=a', '-virtfs: '],
    ['local,mount_tag=a,nope=1', '-virtfs'],
  ])('%s', (value, message) => {
    expect(() => parse('-virtfs', value)).toThrow(message);
  });
});
