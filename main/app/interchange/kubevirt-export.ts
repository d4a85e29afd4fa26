/** A VM as a manifest for KubeVirt (kubevirt.io/v1 VirtualMachine), for kubectl apply. */
import type { VmSettings } from '../../ipc/contract.ts';
import type { BootFiles, Exported } from './model.ts';
import { shellQuote } from './model.ts';

const MIB = 2 ** 20;
const LABEL_CHARS = 63;

type Yaml = string | number | boolean | readonly Yaml[] | { readonly [key: string]: Yaml | undefined };

export function exportKubevirt(settings: VmSettings, boot: BootFiles): Exported {
  const notes: string[] = [];
  const name = dnsLabel(settings.name);
  const { drives, devices, netdevs, bios } = settings;
  const disks = drives.map((drive) => ({ name: dnsLabel(drive.id), drive }));
  notes.push('KubeVirt must have been built for riscv64; its nodes must be of that architecture, or emulate it.');
  for (const { name: disk, drive } of disks) {
    notes.push(
      `Upload ${drive.file}: virtctl image-upload pvc ${name}-${disk} --size=SIZE --image-path=${shellQuote(drive.file)}`,
    );
  }
  if (boot.kernel !== undefined) {
    notes.push(
      `Put ${boot.kernel}${boot.initrd === undefined ? '' : ` and ${boot.initrd}`} into a container image in /boot, and set its name at kernelBoot.`,
    );
  }
  if (bios !== 'default' && bios !== 'none') notes.push(`The firmware ${bios} is left out: KubeVirt brings its own.`);
  const nics = devices.filter(({ driver }) => driver.startsWith('virtio-net-'));
  if (netdevs.length > 0) notes.push('Networks are the cluster’s: each card is on the pod network here.');
  const known = /^virtio-(net|blk|rng|balloon|tablet)-/;
  for (const { id, driver } of devices.filter((device) => !known.test(device.driver))) {
    notes.push(`${id ?? driver} is left out: KubeVirt has no such device.`);
  }
  const rng = settings.rng || devices.some(({ driver }) => driver.startsWith('virtio-rng-'));

  const manifest: Yaml = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name, labels: { 'app.kubernetes.io/name': name } },
    spec: {
      runStrategy: 'Manual',
      template: {
        metadata: { labels: { 'kubevirt.io/domain': name } },
        spec: {
          architecture: 'riscv64',
          domain: {
            machine: { type: 'virt' },
            cpu: { cores: settings.harts },
            memory: { guest: `${Math.ceil(settings.memory / MIB)}Mi` },
            ...(boot.kernel === undefined ? {} : { firmware: { kernelBoot: kernelBoot(boot) } }),
            devices: {
              autoattachGraphicsDevice: false,
              autoattachMemBalloon: devices.some(({ driver }) => driver.startsWith('virtio-balloon-')),
              ...(rng ? { rng: {} } : {}),
              disks: disks.map(({ name: disk, drive }) => ({
                name: disk,
                disk: { bus: 'virtio', ...(drive.readonly ? { readonly: true } : {}) },
                ...(drive.serial === undefined ? {} : { serial: drive.serial }),
              })),
              interfaces: nics.slice(0, 1).map(() => ({ name: 'default', model: 'virtio', masquerade: {} })),
            },
          },
          networks: nics.slice(0, 1).map(() => ({ name: 'default', pod: {} })),
          volumes: disks.map(({ name: disk }) => ({
            name: disk,
            persistentVolumeClaim: { claimName: `${name}-${disk}` },
          })),
        },
      },
    },
  };
  if (nics.length > 1) notes.push('Only the first network card is on the pod network; further ones need Multus.');
  return { text: `# kubectl apply -f FILE\n${yaml(manifest, 0)}`, notes };
}

function kernelBoot({ kernel, initrd, append }: BootFiles): Yaml {
  const inImage = (file: string) => `/boot/${file.split(/[/\\]/).at(-1)}`;
  return {
    ...(append === '' ? {} : { kernelArgs: append }),
    container: {
      image: 'registry.example.org/kernel:latest',
      kernelPath: inImage(kernel!),
      ...(initrd === undefined ? {} : { initrdPath: inImage(initrd) }),
    },
  };
}

/** RFC 1123: lower case letters, digits and "-". */
export function dnsLabel(name: string): string {
  const label = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, LABEL_CHARS)
    .replace(/^-+|-+$/g, '');
  return label || 'vm';
}

/** Block style; strings that could be read as something else in double quotes, as JSON has them. */
function yaml(value: Yaml, depth: number): string {
  const indent = '  '.repeat(depth);
  if (Array.isArray(value)) {
    return value.map((item: Yaml) => `${indent}- ${yaml(item, depth + 1).trimStart()}`).join('');
  }
  const entries = Object.entries(value as Record<string, Yaml | undefined>).filter(([, item]) => item !== undefined);
  return entries.map(([key, item]) => `${indent}${scalar(key)}:${child(item!, depth)}`).join('');
}

function child(value: Yaml, depth: number): string {
  if (typeof value !== 'object') return ` ${scalar(value)}\n`;
  if (Array.isArray(value)) return value.length === 0 ? ' []\n' : `\n${yaml(value, depth + 1)}`;
  return Object.keys(value).length === 0 ? ' {}\n' : `\n${yaml(value, depth + 1)}`;
}

function scalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  const plain = /^[A-Za-z/][A-Za-z0-9_./-]*$/.test(value) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(value);
  return plain ? value : JSON.stringify(value);
}
