import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { type FdtNode, fdtNode, findNode, readFdt, writeFdt } from '../../core/firmware/fdt.ts';
import { buildVirtFdt, interruptParents } from '../../core/machine/virt-fdt.ts';
import { RingsideError } from '../../core/errors.ts';
import { hasQemu } from './qtest.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringside-fdt-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hasDtc = spawnSync('dtc', ['--version']).status === 0;
const MIB = 2 ** 20;
const rngSeed = new Uint8Array(32).map((_, i) => i);

describe('writer and reader', () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9,._-]{0,12}$/);
  const value = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.stringMatching(/^[ -~]{0,20}$/),
    fc.array(fc.nat(2 ** 32 - 1), { minLength: 1, maxLength: 6 }),
    fc.constant(true as const),
  );
  const treeOf = (depth: number): fc.Arbitrary<FdtNode> =>
    fc
      .record({
        name,
        properties: fc.dictionary(name, value, { maxKeys: 4 }),
        children: depth === 0 ? fc.constant<FdtNode[]>([]) : fc.array(treeOf(depth - 1), { maxLength: 3 }),
      })
      .map((node) => fdtNode(node.name, node.properties, node.children));

  it('agree on any tree', () => {
    fc.assert(
      fc.property(treeOf(4), (root) => {
        expect(readFdt(writeFdt(root))).toEqual(root);
      }),
    );
  });

  it('fail with one line, and nothing else, on anything that is no tree', () => {
    const good = buildVirtFdt({ harts: 2, memory: 64 * MIB, append: 'x', rngSeed });
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(good.length).map((length) => good.slice(0, length)),
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }).map((changes) => {
        const bytes = good.slice();
        for (const [at, byte] of changes) bytes[at] = byte;
        return bytes;
      }),
    );
    fc.assert(
      fc.property(hostile, (blob) => {
        try {
          readFdt(blob);
        } catch (error) {
          expect(error).toBeInstanceOf(RingsideError);
          expect((error as RingsideError).kind).toBe('bad-image');
          expect((error as Error).message).not.toContain('\n');
        }
      }),
      { numRuns: 2000 },
    );
  });
});

/** The tree as lines: a path and property with its bytes. Phandles and references to them stay: we number as QEMU does. */
function lines(node: FdtNode, path = ''): string[] {
  const own = [...node.properties].map(([key, value]) => `${path || '/'} ${key} ${Buffer.from(value).toString('hex')}`);
  return [`${path || '/'}`, ...own, ...node.children.flatMap((child) => lines(child, `${path}/${child.name}`))].sort();
}

describe('the board', () => {
  it.skipIf(!hasDtc)('is well-formed for dtc', () => {
    const file = join(folder, 'ours.dtb');
    writeFileSync(file, buildVirtFdt({ harts: 8, memory: 1024 * MIB, append: 'console=ttyS0', rngSeed }));
    const dtc = spawnSync('dtc', ['-I', 'dtb', '-O', 'dts', file], { encoding: 'utf8' });
    expect(dtc.status).toBe(0);
    // QEMU's tree has this one, too: #address-cells is not needed where no interrupt-map refers to the node.
    const warnings = dtc.stderr
      .split('\n')
      .filter((line) => line && !line.includes('Missing #address-cells in interrupt provider'));
    expect(warnings).toEqual([]);
  });

  it('tells the ramdisk, the command line, memory and harts', () => {
    const initrd = { start: 0x1_2000_0000, end: 0x1_2000_1234 };
    const root = readFdt(buildVirtFdt({ harts: 3, memory: 3 * 1024 * MIB, append: 'a "b" c', initrd, rngSeed }));
    const bytes = (path: string, property: string): string =>
      Buffer.from(findNode(root, path)!.properties.get(property)!).toString('hex');
    expect(bytes('/chosen', 'linux,initrd-start')).toBe('0000000120000000');
    expect(bytes('/chosen', 'linux,initrd-end')).toBe('0000000120001234');
    expect(Buffer.from(bytes('/chosen', 'bootargs'), 'hex').toString()).toBe('a "b" c\0');
    expect(bytes('/memory@80000000', 'reg')).toBe('000000008000000000000000c0000000');
    expect(findNode(root, '/cpus')!.children.map((node) => node.name)).toEqual(['cpu@0', 'cpu@1', 'cpu@2', 'cpu-map']);
  });

  it('hides machine-level controllers from a kernel that no firmware hides them from', () => {
    for (const hideMachineLevel of [true, false]) {
      const root = readFdt(
        buildVirtFdt({ harts: 2, memory: 64 * MIB, append: '', rngSeed, aia: 'aplic-imsic', hideMachineLevel }),
      );
      const disabled = findNode(root, '/soc')!.children.filter(({ properties }) => properties.has('status'));
      expect(disabled.map(({ name }) => name)).toEqual(hideMachineLevel ? ['aplic@c000000', 'imsics@24000000'] : []);
    }
  });

  it('tells what a PCI host bridge must know of the interrupt controllers', () => {
    const phandle = (aia: 'none' | 'aplic' | 'aplic-imsic', path: string): number => {
      const root = readFdt(buildVirtFdt({ harts: 2, memory: 64 * MIB, append: '', rngSeed, aia }));
      return Buffer.from(findNode(root, path)!.properties.get('phandle')!).readUInt32BE();
    };
    const none = interruptParents(2, 'none');
    const aplic = interruptParents(2, 'aplic');
    const imsic = interruptParents(2, 'aplic-imsic');
    expect([none.wired, none.cells(32), none.msi]).toEqual([phandle('none', '/soc/plic@c000000'), [32], null]);
    expect([aplic.wired, aplic.cells(32), aplic.msi]).toEqual([phandle('aplic', '/soc/aplic@d000000'), [32, 4], null]);
    expect([imsic.wired, imsic.msi]).toEqual([
      phandle('aplic-imsic', '/soc/aplic@d000000'),
      phandle('aplic-imsic', '/soc/imsics@28000000'),
    ]);
  });

  it.skipIf(!hasQemu).each(['none', 'aplic', 'aplic-imsic'] as const)(
    'with aia=%s is that of QEMU, but for what is listed here',
    (aia) => {
      const file = join(folder, 'qemu.dtb');
      const kernel = join(folder, 'kernel');
      const initrd = join(folder, 'initrd');
      writeFileSync(kernel, new Uint8Array(4096));
      writeFileSync(initrd, new Uint8Array(10000));
      const options = [
        '-smp',
        '2',
        '-m',
        '512M',
        '-kernel',
        kernel,
        '-initrd',
        initrd,
        '-append',
        'console=ttyS0 quiet',
      ];
      const dump = spawnSync('qemu-system-riscv64', [
        '-M',
        `virt,aia=${aia},dumpdtb=${file}`,
        ...options,
        '-display',
        'none',
      ]);
      expect(dump.status).toBe(0);
      const theirs = readFdt(readFileSync(file));
      const ours = readFdt(
        buildVirtFdt({
          harts: 2,
          memory: 512 * MIB,
          append: 'console=ttyS0 quiet',
          initrd: { start: 0x88200000, end: 0x88202710 },
          rngSeed,
          aia,
        }),
      );

      // Devices that the board has not got (yet).
      const absent = /^\/(pmu|fw-cfg@10100000|flash@20000000|platform-bus@4000000)\b/;
      // Ours differ in what the harts implement, in random bytes, and in the properties that QEMU changed after 7.2.
      const different = new RegExp(
        [
          '^/cpus/cpu@\\d+ (riscv,isa(-base|-extensions)?|mmu-type|riscv,cbo[mz]-block-size) ',
          '^/chosen (rng-seed|linux,initrd-(start|end)) ',
          '^/soc/plic@c000000 riscv,ndev ',
          '^/soc/aplic@c000000 riscv,delegation ',
        ].join('|'),
      );
      const compared = (root: FdtNode): string[] =>
        lines(root).filter((line) => !absent.test(line) && !different.test(line));
      expect(compared(ours)).toEqual(compared(theirs));
      // Nodes of ours are in QEMU's order.
      const order = (node: FdtNode, path = ''): string[] => [
        path,
        ...node.children.flatMap((child) => order(child, `${path}/${child.name}`)),
      ];
      expect(order(ours)).toEqual(order(theirs).filter((path) => !absent.test(path)));
    },
  );
});
