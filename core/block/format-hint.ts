/** Recognises files that are probably no raw images. Only to say so: a guest may write anything to its raw disk. */

/** Bytes that formatHint looks at. */
export const HINT_BYTES = 68;

interface Magic {
  offset: number;
  bytes: readonly number[];
  hint: string;
}

const ascii = (text: string) => [...text].map((letter) => letter.charCodeAt(0));
const convert = (name: string) => `looks like a ${name} image; convert it with "qemu-img convert -O raw"`;
const unpack = (name: string) => `looks like a ${name} compressed file; unpack it first`;

const MAGICS: readonly Magic[] = [
  { offset: 0, bytes: [...ascii('QFI'), 0xfb], hint: convert('QCOW') },
  { offset: 0, bytes: ascii('KDMV'), hint: convert('VMDK') },
  { offset: 0, bytes: ascii('vhdxfile'), hint: convert('VHDX') },
  { offset: 0, bytes: ascii('conectix'), hint: convert('VHD') },
  { offset: 64, bytes: [0x7f, 0x10, 0xda, 0xbe], hint: convert('VDI') },
  { offset: 0, bytes: [0x1f, 0x8b, 0x08], hint: unpack('gzip') },
  { offset: 0, bytes: [0xfd, ...ascii('7zXZ'), 0x00], hint: unpack('xz') },
  { offset: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd], hint: unpack('zstd') },
  { offset: 0, bytes: ascii('BZh'), hint: unpack('bzip2') },
];

/** What to say of a file that begins so, null when nothing speaks against a raw image. */
export function formatHint(head: Uint8Array): string | null {
  const found = MAGICS.find(({ offset, bytes }) => bytes.every((byte, index) => head[offset + index] === byte));
  return found?.hint ?? null;
}
