/** The `debian-installer` guest: Debian's network installer as the archive packs it. */
import { readDeb } from '../archive/deb.ts';
import { badArchive } from '../archive/limits.ts';
import { requirePackage } from '../debian/packages.ts';
import { toRiscvImage } from '../initramfs/kernel-image.ts';
import type { BuildContext, BuiltGuest, GuestRecipe } from '../recipe.ts';

const PACKAGE = 'debian-installer-13-netboot-riscv64';
const ROLE = 'installer';
const LIMITS = { total: 512 * 2 ** 20, entry: 256 * 2 ** 20 };
const FILES =
  /^usr\/lib\/debian-installer\/images\/[^/]+\/riscv64\/(?:text\/)?debian-installer\/riscv64\/(linux|vmlinuz|initrd\.gz)$/;

export const debianInstallerGuest: GuestRecipe = {
  id: 'debian-installer',
  title: 'Debian 13 installer',
  description: "Debian's network installer for riscv64: installs a whole system on an attached disk.",
  downloadSize: 53 * 10 ** 6,
  append: 'console=ttyS0',
  inputs: { format: 1 },
  wants: (name) => name === PACKAGE,
  select: (packages) => new Map([[ROLE, requirePackage(packages, PACKAGE)]]),
  build,
};

async function build(context: BuildContext): Promise<BuiltGuest> {
  let kernel: Uint8Array | undefined;
  let base: Uint8Array | undefined;
  const entries = readDeb(context.debs.get(ROLE)!, ({ name, type }) => type === 'file' && FILES.test(name), LIMITS, {
    signal: context.signal,
    onProgress: (done, total) => context.onProgress('unpacking the installer package', done, total),
  });
  for await (const { name, data } of entries) {
    if (name.endsWith('initrd.gz')) base = data;
    else kernel = data;
  }
  if (kernel === undefined || base === undefined) throw badArchive('the installer package has no kernel or no initrd');
  return { kernel: await toRiscvImage(kernel), base };
}
