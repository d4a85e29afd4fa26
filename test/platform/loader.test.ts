import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RingsideError } from '../../core/errors.ts';
import { readFdt } from '../../core/firmware/fdt.ts';
import { type BootPlan, planBoot, writeSegments } from '../../core/firmware/loader.ts';
import { MROM_PHYS, RAM_PHYS } from '../../core/machine/virt-map.ts';
import { buildVirtFdt } from '../../core/machine/virt-fdt.ts';
import { FIRMWARE_M_MODE, FIRMWARE_SBI } from '../../core/worker/layout.ts';
import { hasQemu, Qtest } from './qtest.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const folder = mkdtempSync(join(tmpdir(), 'ringside-loader-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function file(bytes: Uint8Array): string {
  const path = join(folder, `file${files++}`);
  writeFileSync(path, bytes);
  return path;
}

/** A Linux Image: header, then bytes of 0x5a. `pe` adds an EFI header whose one section ends at the file's end. */
function image(
  options: { size?: number; imageSize?: number; textOffset?: number; flags?: bigint; pe?: boolean } = {},
): Uint8Array {
  const { size = 3 * MIB, imageSize = size + MIB, textOffset = 2 * MIB, flags = 0n, pe = false } = options;
  const bytes = new Uint8Array(size).fill(0x5a);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x5a4d, true);
  view.setUint32(4, 0x0000a009, true);
  view.setBigUint64(8, BigInt(textOffset), true);
  view.setBigUint64(16, BigInt(imageSize), true);
  view.setBigUint64(24, flags, true);
  view.setUint32(32, 2, true);
  view.setUint32(56, 0x05435352, true);
  view.setUint32(60, 64, true);
  if (pe) {
    view.setUint32(64, 0x4550, true);
    view.setUint16(64 + 6, 1, true);
    view.setUint16(64 + 20, 0, true);
    view.setUint32(88 + 16, size - 4096, true);
    view.setUint32(88 + 20, 4096, true);
  }
  return bytes;
}

interface Phdr {
  type?: number;
  offset: number;
  vaddr?: number;
  paddr: number;
  filesz: number;
  memsz: number;
}

function elf({
  entry = RAM_PHYS,
  machine = 243,
  type = 2,
  elfClass = 2,
  data = 1,
  segments = [] as Phdr[],
  size = 8192,
} = {}): Uint8Array {
  const bytes = new Uint8Array(size).fill(0xc3, 64 + 56 * segments.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, elfClass, data, 1]);
  view.setUint16(16, type, true);
  view.setUint16(18, machine, true);
  view.setBigUint64(24, BigInt(entry), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, segments.length, true);
  segments.forEach((segment, index) => {
    const at = 64 + index * 56;
    view.setUint32(at, segment.type ?? 1, true);
    view.setBigUint64(at + 8, BigInt(segment.offset), true);
    view.setBigUint64(at + 16, BigInt(segment.vaddr ?? segment.paddr), true);
    view.setBigUint64(at + 24, BigInt(segment.paddr), true);
    view.setBigUint64(at + 32, BigInt(segment.filesz), true);
    view.setBigUint64(at + 40, BigInt(segment.memsz), true);
  });
  return bytes;
}

interface Request {
  memory?: number;
  bios?: string;
  kernel?: Uint8Array | string;
  initrd?: Uint8Array | string;
}

async function plan({ memory = 512 * MIB, bios = 'default', kernel, initrd }: Request): Promise<BootPlan> {
  const path = (what: Uint8Array | string | undefined): string | undefined =>
    what instanceof Uint8Array ? file(what) : what;
  const result = await planBoot({
    memory,
    bios,
    kernel: path(kernel),
    initrd: path(initrd),
    fdt: (range) => buildVirtFdt({ harts: 1, memory, append: '', initrd: range, rngSeed: new Uint8Array(32) }),
  });
  // Whatever the files: everything is in RAM, nothing overlaps, and the device tree is where it is said to be.
  const sorted = [...result.segments].sort((a, b) => a.address - b.address);
  let end = RAM_PHYS;
  for (const segment of sorted) {
    expect(segment.address).toBeGreaterThanOrEqual(end);
    expect(segment.bytes.length).toBeLessThanOrEqual(segment.memorySize);
    end = segment.address + segment.memorySize;
  }
  expect(end).toBeLessThanOrEqual(RAM_PHYS + memory);
  const tree = readFdt(sorted.find((segment) => segment.address === result.fdtAddress)!.bytes);
  expect(tree.children.length).toBeGreaterThan(0);
  return result;
}

/** The error's kind, checking that it is one line that says what to do. */
async function refusal(request: Request): Promise<string> {
  const error = await plan(request).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(RingsideError);
  const { message, kind } = error as RingsideError;
  expect(message).not.toContain('\n');
  expect(message, message).toMatch(/\. [A-Z][^.]*\.$|-m\)\.$/);
  return kind;
}

describe('a Linux Image', () => {
  it('starts 2 MiB into RAM under the built-in SBI, with room for its bss', async () => {
    const { entry, firmware, segments } = await plan({ kernel: image() });
    expect([entry, firmware]).toEqual([0x80200000, FIRMWARE_SBI]);
    expect(segments[0]).toMatchObject({ address: 0x80200000, memorySize: 4 * MIB });
    expect(segments[0]!.bytes.length).toBe(3 * MIB);
  });

  it('goes where its text_offset says', async () => {
    expect((await plan({ kernel: image({ textOffset: 4 * MIB }) })).entry).toBe(0x80400000);
    expect((await plan({ kernel: image({ textOffset: 0 }), bios: 'none' })).entry).toBe(RAM_PHYS);
  });

  it('may be packed with gzip, or with gzip or zstd as an EFI zboot program', async () => {
    const kernel = image();
    const zboot = (name: string, payload: Uint8Array): Uint8Array => {
      const bytes = new Uint8Array(128 + payload.length);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, 0x5a4d, true);
      bytes.set(new TextEncoder().encode('zimg'), 4);
      view.setUint32(8, 128, true);
      view.setUint32(12, payload.length, true);
      bytes.set(new TextEncoder().encode(name), 24);
      bytes.set(payload, 128);
      return bytes;
    };
    for (const packed of [
      gzipSync(kernel),
      zboot('gzip', gzipSync(kernel)),
      zboot('zstd22', zstdCompressSync(kernel)),
    ]) {
      const { segments } = await plan({ kernel: packed });
      expect(Buffer.compare(segments[0]!.bytes, kernel)).toBe(0);
    }
    expect(await refusal({ kernel: zboot('xzkern', gzipSync(kernel)) })).toBe('unsupported');
    expect(await refusal({ kernel: gzipSync(kernel).subarray(0, 1000) })).toBe('bad-kernel');
    expect(await refusal({ kernel: zboot('gzip', gzipSync(kernel)).subarray(0, 1000) })).toBe('bad-kernel');
    expect(await refusal({ kernel: gzipSync(new Uint8Array(64 * MIB)), memory: 32 * MIB })).toBe('too-large');
  });
});

describe('a kernel', () => {
  it('as ELF goes to its physical addresses, and starts at the physical address of its entry', async () => {
    const segments = [
      { offset: 4096, vaddr: 0xffffffe0_0000, paddr: 0x80200000, filesz: 100, memsz: 5000 },
      { offset: 4200, paddr: 0x80300000, filesz: 50, memsz: 50 },
      { type: 0x70000003, offset: 0, paddr: 0, filesz: 10, memsz: 10 },
      { offset: 0, paddr: 0, filesz: 0, memsz: 0 },
    ];
    const result = await plan({ kernel: elf({ entry: 0xffffffe0_0010, segments }) });
    expect(result.entry).toBe(0x80200010);
    expect(result.segments.slice(0, 2).map(({ address, memorySize }) => [address, memorySize])).toEqual([
      [0x80200000, 5000],
      [0x80300000, 50],
    ]);
    expect(result.segments[0]!.bytes.length).toBe(100);
  });

  it('of no known format is code, as for QEMU', async () => {
    const code = new Uint8Array([0x13, 0, 0, 0]);
    expect((await plan({ kernel: code })).entry).toBe(0x80200000);
    const mMode = await plan({ kernel: code, bios: 'none' });
    expect([mMode.entry, mMode.firmware]).toEqual([RAM_PHYS, FIRMWARE_M_MODE]);
  });

  it('that is missing, unreadable, truncated or for another machine is refused with advice', async () => {
    mkdirSync(join(folder, 'directory'), { recursive: true });
    expect(await refusal({})).toBe('bad-option');
    expect(await refusal({ kernel: join(folder, 'nothing') })).toBe('not-found');
    expect(await refusal({ kernel: join(folder, 'directory') })).toBe('not-a-file');
    expect(await refusal({ kernel: '/dev/null' })).toBe('not-a-file');
    expect(await refusal({ kernel: new Uint8Array(0) })).toBe('bad-kernel');
    expect(await refusal({ kernel: image().subarray(0, 30) })).toBe('bad-kernel');
    for (const length of [64, 70, 100, 5000, 3 * MIB - 1]) {
      expect(await refusal({ kernel: image({ pe: true }).subarray(0, length) })).toBe('bad-kernel');
    }
    expect((await plan({ kernel: image({ pe: true }) })).entry).toBe(0x80200000);
    const arm = image();
    new DataView(arm.buffer).setUint32(56, 0x644d5241, true);
    expect(await refusal({ kernel: arm })).toBe('bad-kernel');
    const x86 = new Uint8Array(4096);
    x86.set(new TextEncoder().encode('HdrS'), 0x202);
    expect(await refusal({ kernel: x86 })).toBe('bad-kernel');
    expect(await refusal({ kernel: image({ flags: 1n }) })).toBe('bad-kernel');
    expect(await refusal({ kernel: image({ textOffset: 1000 }) })).toBe('bad-kernel');
  });

  it('that is too large for RAM is refused', async () => {
    const sparse = file(image());
    truncateSync(sparse, 40 * MIB);
    expect(await refusal({ kernel: sparse, memory: 32 * MIB })).toBe('too-large');
    expect(await refusal({ kernel: image({ imageSize: 31 * MIB }), memory: 32 * MIB })).toBe('too-large');
    expect(await refusal({ kernel: image({ imageSize: 2 ** 53 }), memory: 32 * MIB })).toBe('too-large');
    expect(await refusal({ kernel: image({ textOffset: GIB }) })).toBe('bad-kernel');
    // Kernel fits, but device tree does not.
    expect(await refusal({ kernel: image({ imageSize: 30 * MIB }), memory: 32 * MIB })).toBe('too-large');
    expect((await plan({ kernel: image({ imageSize: 28 * MIB }), memory: 32 * MIB })).fdtAddress).toBe(0x81e00000);
  });
});

describe('an ELF file', () => {
  const segment = { offset: 4096, paddr: RAM_PHYS, filesz: 100, memsz: 100 };

  it('with a header that makes no sense is refused', async () => {
    for (const bad of [
      elf({ segments: [segment] }).subarray(0, 40),
      elf({ segments: [segment] }).subarray(0, 100),
      elf({ segments: [segment] }).subarray(0, 4100),
      elf({ segments: [segment], machine: 62 }),
      elf({ segments: [segment], elfClass: 1 }),
      elf({ segments: [segment], data: 2 }),
      elf({ segments: [segment], type: 1 }),
      elf({ segments: [] }),
      elf({ segments: [{ ...segment, filesz: 200 }] }),
      elf({ segments: [{ ...segment, paddr: 0x1000 }] }),
      elf({ segments: [segment, { ...segment, paddr: RAM_PHYS + 50 }] }),
      elf({ segments: [segment], entry: RAM_PHYS + 100 }),
      elf({ segments: [segment], entry: RAM_PHYS + 1 }),
      elf({ segments: [{ ...segment, offset: 2 ** 53 }] }),
    ]) {
      expect(await refusal({ kernel: bad })).toBe('bad-kernel');
    }
    expect(await refusal({ kernel: elf({ segments: [{ ...segment, memsz: 2 ** 60 }] }) })).toBe('too-large');
  });

  it('with any header at all gives a plan that holds together, or a one-line error', async () => {
    const bytes = elf({ segments: [segment, { ...segment, paddr: RAM_PHYS + 8192 }] });
    const changes = fc.array(fc.tuple(fc.nat(64 + 112 - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const kernel = bytes.slice();
        for (const [at, byte] of list) kernel[at] = byte;
        await plan({ kernel }).catch((error: unknown) => {
          expect(error).toBeInstanceOf(RingsideError);
          expect((error as Error).message).not.toContain('\n');
        });
      }),
      { numRuns: 500 },
    );
  });
});

describe('an initrd', () => {
  it('goes half of RAM, at most 512 MiB, behind the kernel', async () => {
    const initrd = new Uint8Array(1000);
    expect((await plan({ kernel: image(), initrd, memory: 256 * MIB })).initrd).toEqual({
      start: 0x88200000,
      end: 0x882003e8,
    });
    expect((await plan({ kernel: image(), initrd, memory: 2 * GIB })).initrd!.start).toBe(0xa0200000);
  });

  it('that would not fit there goes where it does', async () => {
    const initrd = new Uint8Array(20 * MIB);
    const { initrd: range, fdtAddress } = await plan({ kernel: image(), initrd, memory: 32 * MIB });
    expect(range!.start).toBeGreaterThanOrEqual(0x80600000);
    expect(range!.end).toBeLessThanOrEqual(fdtAddress);
    // Behind a kernel that reaches beyond the usual place.
    const { initrd: behind } = await plan({
      kernel: image({ imageSize: 40 * MIB }),
      initrd: new Uint8Array(10),
      memory: 64 * MIB,
    });
    expect(behind!.start).toBeGreaterThanOrEqual(0x80200000 + 40 * MIB);
  });

  it('that does not fit, is missing, or has no kernel is refused', async () => {
    expect(await refusal({ kernel: image(), initrd: new Uint8Array(28 * MIB), memory: 32 * MIB })).toBe('too-large');
    expect(await refusal({ kernel: image(), initrd: join(folder, 'nothing') })).toBe('not-found');
    expect(await refusal({ bios: file(new Uint8Array(100)), initrd: new Uint8Array(1) })).toBe('bad-option');
  });
});

describe('the device tree', () => {
  it('is as high as possible below 3 GiB, at a multiple of 2 MiB', async () => {
    expect((await plan({ kernel: image(), memory: 512 * MIB })).fdtAddress).toBe(0x9fe00000);
    expect((await plan({ kernel: image(), memory: 3 * GIB })).fdtAddress).toBe(0xbfe00000);
  });
});

describe('firmware', () => {
  it('that is raw goes to the start of RAM, the kernel to the next 2 MiB', async () => {
    const bios = file(new Uint8Array(2 * MIB + 1));
    const { entry, firmware, segments } = await plan({ bios, kernel: image() });
    expect([entry, firmware, segments[0]!.address]).toEqual([0x80400000, FIRMWARE_M_MODE, RAM_PHYS]);
  });

  it('may need no kernel', async () => {
    expect((await plan({ bios: file(new Uint8Array(100)) })).entry).toBe(0);
  });

  it('that is missing, empty, or in the way of the kernel is refused', async () => {
    expect(await refusal({ bios: join(folder, 'nothing'), kernel: image() })).toBe('not-found');
    expect(await refusal({ bios: file(new Uint8Array(0)), kernel: image() })).toBe('bad-kernel');
    const kernel = elf({ segments: [{ offset: 4096, paddr: RAM_PHYS, filesz: 100, memsz: 100 }] });
    expect(await refusal({ bios: file(new Uint8Array(100)), kernel })).toBe('bad-kernel');
  });
});

describe('writing into RAM', () => {
  it('puts bytes in place and zeros behind them, and touches nothing else', () => {
    const ram = new Uint8Array(100).fill(9);
    writeSegments(ram, [{ address: RAM_PHYS + 10, bytes: new Uint8Array([1, 2]), memorySize: 4 }]);
    expect([...ram.subarray(8, 16)]).toEqual([9, 9, 1, 2, 0, 0, 9, 9]);
  });
});

describe.skipIf(!hasQemu)('against QEMU', () => {
  let qemu: Qtest;
  let paths: { bios: string; kernel: string };
  beforeEach(() => {
    paths = { bios: file(new Uint8Array(100_000).fill(0x13)), kernel: file(image()) };
    qemu = new Qtest(['-m', '512M', '-bios', paths.bios, '-kernel', paths.kernel]);
  });
  afterEach(() => qemu.end());

  it('reset vector, firmware information, kernel and device tree are in the same places', async () => {
    const ours = await plan(paths);
    const rom = await qemu.read(MROM_PHYS, ours.resetVector.length);
    expect(Buffer.from(ours.resetVector).toString('hex')).toBe(rom.toString('hex'));
    expect(await qemu.readl(ours.fdtAddress)).toBe(0xedfe0dd0);
    for (const { address, bytes } of ours.segments.filter((segment) => segment.address !== ours.fdtAddress)) {
      expect(await qemu.readl(address + 256)).toBe(new DataView(bytes.buffer, bytes.byteOffset).getUint32(256, true));
    }
  });
});
