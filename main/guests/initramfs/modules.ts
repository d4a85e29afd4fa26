/** Kernel modules: what they need, and the index files that modprobe reads (what depmod would write). */
import { compressionOf, decompressBytes } from '../archive/decompress.ts';
import { badArchive } from '../archive/limits.ts';
import { readSections } from './elf.ts';

/** A module's unpacked size; Debian's largest is some 60 MiB. */
const MAX_MODULE = 128 * 2 ** 20;

export interface ModuleInfo {
  /** Names of the modules that must be loaded before, with `_` for `-`. */
  readonly depends: readonly string[];
  /** Modules or aliases which help but may be missing. */
  readonly softdeps: readonly string[];
  readonly aliases: readonly string[];
}

export interface KernelModule extends ModuleInfo {
  /** With `_` for `-`. */
  readonly name: string;
  /** Relative to /lib/modules/<version>, without a compression suffix: kernel/fs/ext4/ext4.ko. */
  readonly path: string;
  /** As the package has it. */
  readonly packed: Uint8Array;
  /** The suffix of `packed`: '.xz', '.zst', '.gz' or ''. */
  readonly suffix: string;
  /** The ELF file. */
  readonly elf: Uint8Array;
}

/** A module's name from its path: kernel/crypto/crc32c_generic.ko.xz gives crc32c_generic. */
export function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1);
  return file.replace(/\.ko(\.(xz|zst|gz))?$/, '').replaceAll('-', '_');
}

/**
 * The wanted modules and all they depend on, every module after its dependencies.
 * @param available the package's modules by path relative to /lib/modules/<version>
 * @param required names that must be there, as a module or (in `builtin`) in the kernel itself
 * @param optional names that are left out when they are not there
 * @throws RingsideError 'bad-image' when a required module or a dependency is missing.
 */
export async function resolveModules(
  available: ReadonlyMap<string, Uint8Array>,
  required: readonly string[],
  optional: readonly string[],
  builtin: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<KernelModule[]> {
  const paths = new Map([...available.keys()].map((path) => [moduleName(path), path]));
  const resolved = new Map<string, KernelModule>();

  const visit = async (name: string, must: boolean, wantedBy: readonly string[]): Promise<void> => {
    if (resolved.has(name) || builtin.has(name)) return;
    if (wantedBy.includes(name)) throw badArchive(`kernel modules depend on one another in a circle (${name})`);
    const path = paths.get(name);
    if (path === undefined) {
      if (must) throw badArchive(`the kernel package has no module ${[...wantedBy, name].join(' -> ')}`);
      return;
    }
    signal?.throwIfAborted();
    const module = await unpackModule(name, path, available.get(path)!);
    for (const soft of module.softdeps) await visit(soft, false, [...wantedBy, name]);
    for (const dependency of module.depends) await visit(dependency, true, [...wantedBy, name]);
    resolved.set(name, module);
  };

  for (const name of required) await visit(name, true, []);
  for (const name of optional) await visit(name, false, []);
  return [...resolved.values()];
}

async function unpackModule(name: string, path: string, packed: Uint8Array): Promise<KernelModule> {
  const plain = path.replace(/\.(xz|zst|gz)$/, '');
  const elf = await decompressBytes(packed, compressionOf(path), MAX_MODULE, path);
  return { name, path: plain, packed, suffix: path.slice(plain.length), elf, ...readModinfo(elf, path) };
}

/** The names built into the kernel, from modules.builtin. */
export function parseBuiltin(text: string): Set<string> {
  return new Set(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map(moduleName),
  );
}

/**
 * What a module says of itself in its .modinfo section.
 * @throws RingsideError 'bad-image' when it has none.
 */
export function readModinfo(elf: Uint8Array, what: string): ModuleInfo {
  const section = readSections(elf, what).find(({ name }) => name === '.modinfo');
  if (section === undefined) throw badArchive(`${what} is not a kernel module`);
  return parseModinfo(section.bytes);
}

function parseModinfo(bytes: Uint8Array): ModuleInfo {
  const depends: string[] = [];
  const softdeps: string[] = [];
  const aliases: string[] = [];
  for (const record of Buffer.from(bytes).toString('utf8').split('\0')) {
    const equals = record.indexOf('=');
    const value = record.slice(equals + 1);
    // A line break would forge lines of modules.alias.
    if (equals < 0 || /[\r\n]/.test(value)) continue;
    const names = value.split(/[\s,]+/).filter((name) => name !== '');
    switch (record.slice(0, equals)) {
      case 'depends':
        depends.push(...names.map(moduleName));
        break;
      case 'softdep':
        softdeps.push(...names.filter((name) => !name.endsWith(':')).map(moduleName));
        break;
      case 'alias':
        aliases.push(value);
        break;
    }
  }
  return { depends, softdeps, aliases };
}

/**
 * modules.dep: each module with all it needs, the ones to be loaded first last, as depmod orders them.
 * @param pathOf where a module lies, relative to /lib/modules/<version>
 */
export function modulesDep(modules: readonly KernelModule[], pathOf: (module: KernelModule) => string): string {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const closure = (module: KernelModule, into: Set<string>): Set<string> => {
    for (const name of module.depends) {
      const dependency = byName.get(name);
      if (dependency === undefined) continue; // built in
      closure(dependency, into);
      into.add(name);
    }
    return into;
  };
  return modules
    .map((module) => {
      const first = [...closure(module, new Set())].map((name) => pathOf(byName.get(name)!));
      return `${pathOf(module)}:${first
        .reverse()
        .map((path) => ` ${path}`)
        .join('')}\n`;
    })
    .join('');
}

/** modules.alias: which module serves which device or request. */
export function modulesAlias(modules: readonly KernelModule[]): string {
  const lines = modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`));
  return ['# Aliases extracted from modules themselves.\n', ...lines].join('');
}
