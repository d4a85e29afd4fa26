/** A Debian mirror on 127.0.0.1, with a throw-away key, that can be told to misbehave. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createCleartextMessage, generateKey, readKey, readPrivateKey, sign } from 'openpgp';
import type { ArchiveKey } from '../../../main/guests/debian/archive-keys.ts';
import { makeDeb, makeImage, makeModule, makeXz } from './archives.ts';
import type { TarItem } from './archives.ts';

export interface SigningKey extends ArchiveKey {
  readonly privateKey: string;
}

export async function makeKey(owner: string): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKey({ userIDs: [{ name: owner }], format: 'armored' });
  const fingerprint = (await readKey({ armoredKey: publicKey })).getFingerprint().toUpperCase();
  return { owner, fingerprint, armored: publicKey, privateKey };
}

export async function signText(text: string, key: SigningKey): Promise<string> {
  const signingKeys = await readPrivateKey({ armoredKey: key.privateKey });
  return sign({ message: await createCleartextMessage({ text }), signingKeys });
}

export function sha256(data: Uint8Array | string): string {
  return createHash('sha256').update(data).digest('hex');
}

export interface ReleaseOptions {
  fields?: Record<string, string | undefined>;
  files?: Record<string, Uint8Array>;
}

/** The text of a Release file, unsigned. An undefined field is left out. */
export function releaseText({ fields = {}, files = {} }: ReleaseOptions = {}): string {
  const all: Record<string, string | undefined> = {
    Origin: 'Debian',
    Label: 'Debian',
    Suite: 'stable',
    Version: '13.9',
    Codename: 'trixie',
    Date: 'Sat, 12 Sep 2026 07:55:41 UTC',
    Architectures: 'all amd64 riscv64',
    Components: 'main contrib',
    ...fields,
  };
  const lines = Object.entries(all)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}`);
  const hashes = Object.entries(files).map(([path, data]) => ` ${sha256(data)} ${data.length} ${path}`);
  return [...lines, 'SHA256:', ...hashes, ''].join('\n');
}

export const KERNEL_VERSION = '6.12.1+deb13-riscv64';
export const KERNEL_PACKAGE = `linux-image-${KERNEL_VERSION}`;
const MODULES = `./usr/lib/modules/${KERNEL_VERSION}`;
const LIBRARIES = './usr/lib/riscv64-linux-gnu';

/** What the packages of the catalogue's guests hold, in small. */
export function guestPackages(revision = 1): Record<string, { version: string; depends?: string; files: TarItem[] }> {
  const tool = (...names: string[]): { version: string; files: TarItem[] } => ({
    version: '1.0',
    files: names.map((name) => ({ name, data: `content of ${name}`, mode: 0o755 })),
  });
  const module = (path: string, modinfo: string[]): TarItem => ({
    name: `${MODULES}/kernel/${path}.ko.xz`,
    data: makeXz(makeModule(modinfo)),
  });
  const builtin = [
    ...['virtio_mmio', 'virtio_pci', 'virtio_console', 'virtio_net', 'virtio_rng', 'virtio_balloon', 'virtio_input'],
    ...['evdev', 'crc32c_generic', 'fat', 'vfat', 'nls_cp437', 'nls_ascii', 'nls_utf8', 'nls_iso8859-1', 'fuse'],
    ...['virtiofs', '9p', '9pnet_virtio', 'overlay', 'loop', 'squashfs', 'vsock', 'vmw_vsock_virtio_transport'],
  ];
  return {
    'linux-image-riscv64': {
      version: `6.12.1-${revision}`,
      depends: `${KERNEL_PACKAGE} (= 6.12.1-${revision})`,
      files: [],
    },
    [KERNEL_PACKAGE]: {
      version: `6.12.1-${revision}`,
      files: [
        { name: `./boot/vmlinux-${KERNEL_VERSION}`, data: makeImage(`kernel of revision ${revision}`) },
        module('drivers/block/virtio_blk', ['alias=virtio:d00000002v*', 'depends=', 'name=virtio_blk']),
        module('fs/ext4/ext4', ['alias=fs-ext4', 'depends=jbd2', 'softdep=pre: crc32c', 'name=ext4']),
        module('fs/jbd2/jbd2', ['depends=', 'name=jbd2']),
        module('fs/xfs/xfs', ['alias=fs-xfs', 'depends=', 'name=xfs']),
        module('net/unwanted', ['depends=', 'name=unwanted']),
        { name: `${MODULES}/modules.builtin`, data: builtin.map((name) => `kernel/x/${name}.ko\n`).join('') },
      ],
    },
    'busybox-static': tool('./usr/bin/busybox', './usr/share/doc/busybox-static/copyright'),
    e2fsprogs: tool('./usr/sbin/mke2fs'),
    libext2fs2t64: tool(`${LIBRARIES}/libext2fs.so.2`),
    'libcom-err2': tool(`${LIBRARIES}/libcom_err.so.2`),
    libss2: tool(`${LIBRARIES}/libss.so.2`),
    libblkid1: tool(`${LIBRARIES}/libblkid.so.1`),
    libuuid1: tool(`${LIBRARIES}/libuuid.so.1`),
    libc6: tool(`${LIBRARIES}/libc.so.6`, `${LIBRARIES}/gconv/IBM037.so`),
    'util-linux': tool('./usr/sbin/blkid', './usr/bin/su'),
    'debian-installer-13-netboot-riscv64': {
      version: `2025-${revision}`,
      files: ['linux', 'initrd.gz'].map((file) => ({
        name: `./usr/lib/debian-installer/images/13/riscv64/text/debian-installer/riscv64/${file}`,
        data: file === 'linux' ? makeImage('installer') : 'installer initrd',
      })),
    },
  };
}

export class FakeMirror {
  readonly key: SigningKey;
  /** What is served, by path below the mirror's base. */
  readonly files = new Map<string, Buffer>();
  /** Requests, as "path" or "path bytes=N-". */
  readonly requests: string[] = [];
  /** Answers instead of the file; returning false means to answer as usual. */
  intercept: ((path: string, request: IncomingMessage, response: ServerResponse, body?: Buffer) => boolean) | undefined;
  readonly #server: Server;
  #port = 0;

  private constructor(key: SigningKey) {
    this.key = key;
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  static async start(key: SigningKey): Promise<FakeMirror> {
    const mirror = new FakeMirror(key);
    await new Promise<void>((resolve) => mirror.#server.listen(0, '127.0.0.1', resolve));
    mirror.#port = (mirror.#server.address() as AddressInfo).port;
    return mirror;
  }

  get address(): string {
    return `http://127.0.0.1:${this.#port}/debian`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Publishes packages, and a signed Release for them. */
  async publish(packages = guestPackages(), options: { fields?: ReleaseOptions['fields']; signer?: SigningKey } = {}) {
    this.files.clear();
    const stanzas = Object.entries(packages).map(([name, { version, depends, files }]) => {
      const deb = makeDeb(files);
      const filename = `pool/main/${name}_${version}_riscv64.deb`;
      this.files.set(filename, deb);
      return [
        `Package: ${name}`,
        `Version: ${version}`,
        ...(depends === undefined ? [] : [`Depends: ${depends}`]),
        `Filename: ${filename}`,
        `Size: ${deb.length}`,
        `SHA256: ${sha256(deb)}`,
        'Description: a package',
        ' with more than one line',
        '',
      ].join('\n');
    });
    const index = Buffer.from(`${stanzas.join('\n')}\n`);
    const packed = makeXz(index);
    await this.publishIndex(packed, index, options);
  }

  async publishIndex(
    packed: Buffer,
    plain: Buffer,
    options: { fields?: ReleaseOptions['fields']; signer?: SigningKey } = {},
  ) {
    const base = 'main/binary-riscv64';
    this.files.set(`dists/trixie/${base}/Packages.xz`, packed);
    const text = releaseText({
      fields: options.fields,
      files: { [`${base}/Packages`]: plain, [`${base}/Packages.xz`]: packed },
    });
    this.files.set('dists/trixie/InRelease', Buffer.from(await signText(text, options.signer ?? this.key)));
  }

  /** The path of a package's file. */
  pool(name: string): string {
    const path = [...this.files.keys()].find((file) => file.startsWith(`pool/main/${name}_`));
    if (path === undefined) throw new Error(`no package ${name}`);
    return path;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURI(request.url ?? '').replace(/^\/debian\//, '');
    const { range } = request.headers;
    this.requests.push(range === undefined ? path : `${path} ${range}`);
    const body = this.files.get(path);
    if (this.intercept?.(path, request, response, body) === true) return;
    if (body === undefined) {
      response.writeHead(404).end();
      return;
    }
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    if (range !== undefined && start < body.length) {
      const contentRange = `bytes ${start}-${body.length - 1}/${body.length}`;
      response.writeHead(206, { 'content-range': contentRange, 'content-length': body.length - start });
    } else {
      response.writeHead(200, { 'content-length': body.length });
    }
    response.end(body.subarray(range !== undefined ? start : 0));
  }
}
