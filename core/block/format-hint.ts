/** Recognises files that are probably no raw images. Only to say so: a guest may write anything to its raw disk. */

/** Bytes that are looked at. */
export const HINT_BYTES = 68;

/** What a file looks like: the image of another format, which qemu-img converts, or a compressed file. */
export interface LooksLike {
  name: string;
  kind: 'image' | 'compressed';
}

interface Magic extends LooksLike {
  offset: number;
  bytes: readonly number[];
}

const ascii = (text: string) => [...text].map((letter) => letter.charCodeAt(0));

const MAGICS: readonly Magic[] = [
  { offset: 0, bytes: [...ascii('QFI'), 0xfb], name: 'QCOW', kind: 'image' },
  { offset: 0, bytes: ascii('KDMV'), name: 'VMDK', kind: 'image' },
  { offset: 0, bytes: ascii('vhdxfile'), name: 'VHDX', kind: 'image' },
  { offset: 0, bytes: ascii('conectix'), name: 'VHD', kind: 'image' },
  { offset: 64, bytes: [0x7f, 0x10, 0xda, 0xbe], name: 'VDI', kind: 'image' },
  { offset: 0, bytes: [0x1f, 0x8b, 0x08], name: 'gzip', kind: 'compressed' },
  { offset: 0, bytes: [0xfd, ...ascii('7zXZ'), 0x00], name: 'xz', kind: 'compressed' },
  { offset: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd], name: 'zstd', kind: 'compressed' },
  { offset: 0, bytes: ascii('BZh'), name: 'bzip2', kind: 'compressed' },
];

/** What a file that begins so looks like, null when nothing speaks against a raw image. */
export function looksLike(head: Uint8Array): LooksLike | null {
  const found = MAGICS.find(({ offset, bytes }) => bytes.every((byte, index) => head[offset + index] === byte));
  return found === undefined ? null : { name: found.name, kind: found.kind };
}

/** What to say of a file that begins so, null when nothing speaks against a raw image. */
export function formatHint(head: Uint8Array): string | null {
  const found = looksLike(head);
  if (found === null) return null;
  if (found.name === 'QCOW') return 'looks like a qcow2 image; say format=qcow2';
  return found.kind === 'image'
    ? `looks like a ${found.name} image; convert it with "qemu-img convert -O raw"`
    : `looks like a ${found.name} compressed file; unpack it first`;
}
