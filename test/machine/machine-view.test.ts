/** What people see of a machine's insides: objects, memory, interrupt sources, harts. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { AiaKind } from '../../core/api/machine.ts';
import { machineView } from '../../core/api/machine-view.ts';
import { Machine } from '../../core/machine/machine.ts';
import { MIB, host, tempFolder } from '../harness/debian.ts';
import { busyProgram, kernelFile } from './programs.ts';

const folder = tempFolder();
const kernel = kernelFile(folder, 'counting', busyProgram('counting'));
const file = join(folder, 'disk.raw');

function create(aia: AiaKind = 'none'): Promise<Machine> {
  const drives = [
    { id: 'disk0', file, readonly: true },
    { id: 'hd1', file, readonly: true, if: 'none' as const },
  ];
  const devices = [{ driver: 'virtio-blk-pci', id: 'disk1', drive: 'hd1' }];
  return Machine.create({ memory: 32 * MIB, harts: 2, bios: 'none', kernel, drives, devices, aia }, { host });
}

describe('a machine looked at', () => {
  let machine: Machine;

  beforeAll(async () => {
    writeFileSync(file, '');
    truncateSync(file, MIB);
    machine = await create();
    await machine.start();
    await vi.waitUntil(() => machine.snapshot().harts.every(({ instret }) => instret > 0), 30_000);
  });
  afterAll(() => machine.dispose());

  test('the view is what its schema says', () => {
    const view = machine.view();
    expect(machineView.parse(view)).toEqual(view);
    expect(JSON.parse(JSON.stringify(view))).toEqual(view);
  });

  test('objects come after their parents', () => {
    const { objects } = machine.view();
    const seen = new Set<string>();
    for (const { path, depth } of objects) {
      if (depth > 0) expect(seen).toContain(path.slice(0, path.lastIndexOf('/')) || '/');
      seen.add(path);
    }
    expect(objects).toContainEqual({
      path: '/machine/peripheral/disk0',
      name: 'disk0',
      type: 'virtio-blk-device',
      id: 'disk0',
      depth: 3,
    });
  });

  test('a disk has as many queues as there are harts where each can have an interrupt of its own', () => {
    const queues = (path: string) =>
      machine.viewObject(path).properties.find(({ name }) => name === 'num-queues')!.value;
    expect(queues('/machine/peripheral/disk0')).toBe('1');
    expect(queues('/machine/peripheral/disk1/virtio-backend')).toBe('2');
  });

  test('an object has its properties, and links lead somewhere', () => {
    const { type, properties } = machine.viewObject('/machine/peripheral/disk0');
    expect(type).toBe('virtio-blk-device');
    const property = (name: string) => properties.find((each) => each.name === name);
    expect(property('realized')).toMatchObject({ type: 'bool', value: 'true', target: null });
    expect(property('drive')).toMatchObject({ value: 'disk0', target: '/drives/disk0' });
    expect(() => machine.viewObject('/machine/peripheral/nobody')).toThrow(/is gone/);
    expect(() => machine.viewObject('disk0')).toThrow(/is gone/);
  });

  test('every object of the tree can be looked at', () => {
    for (const { path } of machine.view().objects) expect(machine.viewObject(path).path).toBe(path);
  });

  test('memory is in order, without overlaps, and says whose it is', () => {
    const [space] = machine.view().addressSpaces;
    expect(space.names).toEqual(['memory', 'cpu-memory-0', 'cpu-memory-1']);
    let next = 0n;
    for (const { start, end } of space.ranges) {
      expect(BigInt(start)).toBeGreaterThanOrEqual(next);
      next = BigInt(end) + 1n;
    }
    const ram = space.ranges.find(({ kind }) => kind === 'ram');
    expect(ram).toMatchObject({ start: '0x80000000', end: '0x81ffffff' });
    expect(space.ranges.find(({ name }) => name === 'riscv.sifive.plic')?.owner).toMatch(/^\/machine\/unattached\//);
  });

  test('the disk is on its wire', () => {
    const { controller, sources } = machine.view().interrupts;
    expect(controller).toBe('PLIC');
    expect(sources).toHaveLength(95);
    expect(sources.find(({ devices }) => devices.includes('disk0'))).toMatchObject({
      number: 8,
      wire: 'virtio-mmio slot 7',
      raised: 0,
      enabledFor: [],
    });
  });

  test('harts tell what they do', () => {
    const { harts, translator } = machine.view();
    expect(harts.map(({ id, translation, privilege }) => ({ id, translation, privilege }))).toEqual([
      { id: 0, translation: 'bare', privilege: 'M' },
      { id: 1, translation: 'bare', privilege: 'M' },
    ]);
    expect(harts[0].decoded).toBeGreaterThan(0);
    expect(harts[0].jit).not.toBeNull();
    expect(translator).not.toBeNull();
  });

  test('registers are read between two instructions, and the machine goes on', async () => {
    const { pc, x } = await machine.viewRegisters(1);
    expect(BigInt(pc)).toBeGreaterThanOrEqual(0x8000_0000n);
    expect(x[0]).toEqual({ name: 'zero', value: '0x0' });
    expect(x).toHaveLength(32);
    expect(machine.state).toBe('running');
    expect(() => machine.viewRegisters(2)).toThrow(/no hart 2/);
  });

  test.each(['aplic', 'aplic-imsic'] as const)('sources of aia=%s', async (aia) => {
    const other = await create(aia);
    try {
      const { controller, sources } = other.view().interrupts;
      expect(controller).toMatch(/^APLIC/);
      expect(sources).toHaveLength(96);
      const { messages } = other.view().interrupts;
      // Nobody has enabled any yet.
      expect(messages).toEqual(aia === 'aplic' ? null : []);
      expect(sources[7]).toMatchObject({ devices: ['disk0'], raised: 0, priority: aia === 'aplic' ? 0 : null });
    } finally {
      await other.dispose();
    }
  });
});
