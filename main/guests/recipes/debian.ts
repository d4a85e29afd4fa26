/** The `debian` guest: Debian's kernel and modules, busybox and a few tools, with a small init of ours. */
import { readDeb } from '../archive/deb.ts';
import type { DebLimits } from '../archive/deb.ts';
import { badArchive } from '../archive/limits.ts';
import type { TarEntry } from '../archive/tar.ts';
import { writeCpio } from '../archive/cpio.ts';
import type { CpioEntry } from '../archive/cpio.ts';
import { dependencyNames, requirePackage } from '../debian/packages.ts';
import type { DebianPackage } from '../debian/packages.ts';
import { INIT_FILES } from '../initramfs/init-script.ts';
import { stripModule } from '../initramfs/elf.ts';
import { toRiscvImage } from '../initramfs/kernel-image.ts';
import { modulesAlias, modulesDep, parseBuiltin, resolveModules } from '../initramfs/modules.ts';
import type { KernelModule } from '../initramfs/modules.ts';
import type { BuildContext, BuiltGuest, GuestRecipe } from '../recipe.ts';

const KERNEL_METAPACKAGE = 'linux-image-riscv64';
const KERNEL_ROLE = 'kernel';

/**
 * Loaded at nearly every boot, so stored unpacked and without idle symbols (see `stripModule`): in an emulated machine
 * ext4 loads eight times as fast so. The kernel notes that their signatures are gone; their packages' were checked here.
 */
const BOOT_MODULES = [
  'virtio_mmio',
  'virtio_pci',
  'virtio_blk',
  'virtio_console',
  'virtio_net',
  'virtio_rng',
  'virtio_balloon',
  'virtio_input',
  'evdev',
  'crc32c_generic',
  'ext4',
  'fat',
  'vfat',
  'nls_cp437',
  'nls_ascii',
  'nls_utf8',
  'nls_iso8859_1',
  'fuse',
  'virtiofs',
  '9p',
  '9pnet_virtio',
  'overlay',
  'loop',
  'squashfs',
  'vsock',
  'vmw_vsock_virtio_transport',
];

/** Left as Debian packs them; busybox modprobe unpacks them when they are asked for. */
const OTHER_MODULES = [
  'virtio_scsi',
  'sd_mod',
  'sr_mod',
  'sg',
  'virtio_gpu',
  'virtio_snd',
  'virtio_crypto',
  'virtio_pmem',
  'nd_pmem',
  'virtio_vdpa',
  'vsock_loopback',
  'vsockmon',
  'nvme',
  'xfs',
  'btrfs',
  'xxhash_generic',
  'blake2b_generic',
  'isofs',
  'udf',
  'exfat',
  'erofs',
  'f2fs',
  'crc32_generic',
  'dm_mod',
  'dm_crypt',
  'nbd',
  'brd',
  'null_blk',
  'zram',
  'tun',
  'veth',
  'bridge',
  'dummy',
  'e1000',
  'e1000e',
  'algif_skcipher',
  'algif_hash',
  'rtc_goldfish',
  'uio_pci_generic',
  'vfio_pci',
];

/** Packages of which the named files are taken besides the kernel's; all else in them is left out. */
const TOOL_PACKAGES: Readonly<Record<string, RegExp>> = {
  'busybox-static': /^usr\/bin\/busybox$/,
  e2fsprogs: /^(usr\/s?bin\/(?!e2scrub)[^/]+|etc\/mke2fs\.conf)$/,
  libext2fs2t64: /^usr\/lib\/riscv64-linux-gnu\/lib[^/]+$/,
  'libcom-err2': /^usr\/lib\/riscv64-linux-gnu\/lib[^/]+$/,
  libss2: /^usr\/lib\/riscv64-linux-gnu\/lib[^/]+$/,
  libblkid1: /^usr\/lib\/riscv64-linux-gnu\/lib[^/]+$/,
  libuuid1: /^usr\/lib\/riscv64-linux-gnu\/lib[^/]+$/,
  libc6:
    /^usr\/lib\/(riscv64-linux-gnu\/)?(ld-linux-riscv64-lp64d\.so\.1|lib(c|m|dl|pthread|rt|resolv|util)\.so\.\d+)$/,
  'util-linux': /^usr\/sbin\/blkid$/,
};

const KERNEL_LIMITS: DebLimits = { total: 1024 * 2 ** 20, entry: 256 * 2 ** 20 };
const TOOL_LIMITS: DebLimits = { total: 128 * 2 ** 20, entry: 32 * 2 ** 20 };

/** Folders that the system needs besides those of its files; /bin, /sbin and /lib lead into /usr as in Debian. */
const FOLDERS = [
  'dev',
  'etc',
  'etc/udhcpc',
  'mnt',
  'proc',
  'root',
  'run',
  'sys',
  'tmp',
  'usr',
  'usr/bin',
  'usr/sbin',
  'usr/lib',
  'var',
];
const LINKS: Readonly<Record<string, string>> = {
  bin: 'usr/bin',
  sbin: 'usr/sbin',
  lib: 'usr/lib',
  'etc/mtab': '/proc/mounts',
  'var/run': '/run',
  'var/tmp': '/tmp',
  // What is needed before busybox has put its own links in place.
  'usr/bin/sh': 'busybox',
  'usr/sbin/modprobe': '../bin/busybox',
};

export const debianGuest: GuestRecipe = {
  id: 'debian',
  title: 'Debian 13 kernel, small system',
  description:
    "Debian's own riscv64 kernel with busybox, e2fsprogs and the virtio drivers, in memory: mounts what is attached and " +
    'gives a root shell.',
  downloadSize: 118 * 10 ** 6,
  append: 'console=ttyS0',
  inputs: {
    format: 2,
    BOOT_MODULES,
    OTHER_MODULES,
    tools: Object.entries(TOOL_PACKAGES).map(([name, files]) => [name, files.source]),
    FOLDERS,
    LINKS,
  },
  wants: (name) => name in TOOL_PACKAGES || name.startsWith('linux-image-'),
  select(packages) {
    const chosen = new Map<string, DebianPackage>();
    const depends = dependencyNames(requirePackage(packages, KERNEL_METAPACKAGE).depends);
    const kernel = depends.find((name) => /^linux-image-\d/.test(name));
    if (kernel === undefined) throw badArchive(`${KERNEL_METAPACKAGE} names no kernel package`);
    chosen.set(KERNEL_ROLE, requirePackage(packages, kernel));
    for (const name of Object.keys(TOOL_PACKAGES)) chosen.set(name, requirePackage(packages, name));
    return chosen;
  },
  build,
  overlay: () =>
    writeCpio(INIT_FILES.map(({ name, text, mode }) => ({ type: 'file', name, data: Buffer.from(text), mode }))),
};

async function build(context: BuildContext): Promise<BuiltGuest> {
  const kernel = await readKernelPackage(context);
  const modules = await resolveModules(
    kernel.modules,
    BOOT_MODULES,
    OTHER_MODULES,
    parseBuiltin(kernel.builtin),
    context.signal,
  );
  const files = new Map<string, CpioEntry>();
  for (const entry of moduleFiles(kernel.version, modules, kernel.builtin)) files.set(entry.name, entry);
  for (const [name, files_] of Object.entries(TOOL_PACKAGES)) {
    context.onProgress(`unpacking ${name}`);
    for (const entry of await toolFiles(context, name, files_)) files.set(entry.name, entry);
  }
  if (!files.has('usr/bin/busybox')) throw badArchive('busybox-static has no busybox');
  context.onProgress('writing the initramfs');
  return { kernel: await toRiscvImage(kernel.image), base: writeCpio(inOrder(files)) };
}

interface KernelPackage {
  readonly image: Uint8Array;
  /** As `uname -r` gives it. */
  readonly version: string;
  /** The text of modules.builtin. */
  readonly builtin: string;
  /** By path relative to /lib/modules/<version>. */
  readonly modules: Map<string, Uint8Array>;
}

async function readKernelPackage(context: BuildContext): Promise<KernelPackage> {
  const modules = new Map<string, Uint8Array>();
  let image: Uint8Array | undefined;
  let version: string | undefined;
  let builtin = '';
  const wanted =
    /^(?:boot\/vmlinu[xz]-|(?:usr\/)?lib\/modules\/([^/]+)\/(kernel\/.*\.ko(?:\.xz|\.zst|\.gz)?$|modules\.builtin$))/;
  const entries = readDeb(
    context.debs.get(KERNEL_ROLE)!,
    ({ name, type }) => type === 'file' && wanted.test(name),
    KERNEL_LIMITS,
    {
      signal: context.signal,
      onProgress: (done, total) => context.onProgress('unpacking the kernel package', done, total),
    },
  );
  for await (const { name, data } of entries) {
    const [, release, path] = wanted.exec(name)!;
    if (release === undefined) image = data;
    else if (path === 'modules.builtin') builtin = Buffer.from(data).toString('utf8');
    else modules.set(path, data);
    version ??= release;
  }
  if (image === undefined || version === undefined) throw badArchive('the kernel package has no kernel or no modules');
  return { image, version, builtin, modules };
}

function moduleFiles(version: string, modules: readonly KernelModule[], builtin: string): CpioEntry[] {
  const root = `usr/lib/modules/${version}`;
  const unpacked = unpackedModules(modules);
  const pathOf = (module: KernelModule): string =>
    unpacked.has(module.name) ? module.path : module.path + module.suffix;
  const text = (name: string, content: string): CpioEntry => ({
    type: 'file',
    name: `${root}/${name}`,
    data: Buffer.from(content),
  });
  return [
    ...modules.map((module): CpioEntry => {
      const data = unpacked.has(module.name) ? stripModule(module.elf, module.path) : module.packed;
      return { type: 'file', name: `${root}/${pathOf(module)}`, data };
    }),
    text('modules.dep', modulesDep(modules, pathOf)),
    text('modules.alias', modulesAlias(modules)),
    text('modules.builtin', builtin),
  ];
}

/** The modules of BOOT_MODULES with all that they need. */
function unpackedModules(modules: readonly KernelModule[]): Set<string> {
  const unpacked = new Set(BOOT_MODULES);
  // A module stands after those that it needs.
  for (const module of modules.toReversed()) {
    if (unpacked.has(module.name)) module.depends.forEach((name) => unpacked.add(name));
  }
  return unpacked;
}

async function toolFiles(context: BuildContext, name: string, files: RegExp): Promise<CpioEntry[]> {
  const entries: CpioEntry[] = [];
  const wanted = readDeb(
    context.debs.get(name)!,
    (header) => (header.type === 'file' || header.type === 'symlink') && files.test(header.name),
    TOOL_LIMITS,
    { signal: context.signal },
  );
  for await (const entry of wanted) entries.push(toolFile(entry));
  if (entries.length === 0) throw badArchive(`package ${name} does not have the files it should`);
  return entries;
}

function toolFile({ name, type, data, mode, linkname }: TarEntry): CpioEntry {
  // No set-user-id bits: everybody is root here.
  return type === 'symlink' ? { type, name, target: linkname } : { type: 'file', name, data, mode: mode & 0o777 };
}

/** Everything with the folders it lies in, each before what is in it. */
function inOrder(files: ReadonlyMap<string, CpioEntry>): CpioEntry[] {
  const folders = new Set(FOLDERS);
  for (const name of [...files.keys(), ...Object.keys(LINKS)]) {
    for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) folders.add(name.slice(0, at));
  }
  return [
    ...[...folders]
      .sort()
      .map((name): CpioEntry => ({ type: 'directory', name, mode: name === 'root' ? 0o700 : 0o755 })),
    // The kernel opens the console before anything is mounted on /dev.
    { type: 'char', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { type: 'char', name: 'dev/null', mode: 0o666, major: 1, minor: 3 },
    ...Object.entries(LINKS).map(([name, target]): CpioEntry => ({ type: 'symlink', name, target })),
    ...files.values(),
  ];
}
