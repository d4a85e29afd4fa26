/**
 * Flattened device trees (Devicetree Specification 0.4, chapter 5): a writer, and a reader that trusts nothing.
 */
import { RingsideError } from '../errors.ts';

const FDT_MAGIC = 0xd00dfeed;
const FDT_VERSION = 17;
const FDT_LAST_COMPATIBLE_VERSION = 16;
const FDT_BEGIN_NODE = 1;
const FDT_END_NODE = 2;
const FDT_PROP = 3;
const FDT_NOP = 4;
const FDT_END = 9;
const HEADER_SIZE = 40;
/** The memory reservation block is one pair of zeros: its end. */
const RESERVATIONS_SIZE = 16;
const MAX_DEPTH = 32;

/** A node: unit name, properties in order, children in order. */
export interface FdtNode {
  name: string;
  properties: Map<string, Uint8Array>;
  children: FdtNode[];
}

/** A property's value: string, list of strings, list of 32-bit cells, empty (true), or bytes as they are. */
export type FdtValue = string | readonly string[] | readonly number[] | true | Uint8Array;

function encodeValue(value: FdtValue): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') return new TextEncoder().encode(`${value}\0`);
  if (typeof value[0] === 'string') return new TextEncoder().encode(value.map((text) => `${text}\0`).join(''));
  const bytes = new Uint8Array(value.length * 4);
  const view = new DataView(bytes.buffer);
  (value as readonly number[]).forEach((cell, index) => view.setUint32(index * 4, cell));
  return bytes;
}

/** The two cells of a 64-bit value (an integer up to 2^53), high first. */
export function cells64(value: number): [number, number] {
  return [Math.floor(value / 2 ** 32), value % 2 ** 32];
}

/** Makes a node. Numbers are one cell each: a lone number is written [n]. */
export function fdtNode(name: string, properties: Record<string, FdtValue>, children: FdtNode[] = []): FdtNode {
  const encoded = Object.entries(properties).map(([key, value]) => [key, encodeValue(value)] as const);
  return { name, properties: new Map(encoded), children };
}

/** Bytes that grow, big-endian, as structure blocks are. */
class Output {
  #bytes = new Uint8Array(4096);
  length = 0;

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  u32(value: number): void {
    this.#reserve(4);
    new DataView(this.#bytes.buffer).setUint32(this.length, value);
    this.length += 4;
  }

  append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  align(): void {
    const padding = -this.length & 3;
    this.#reserve(padding);
    this.length += padding;
  }

  take(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

/** Writes a tree. `bootCpu` is the physical id of the boot hart (header field boot_cpuid_phys). */
export function writeFdt(root: FdtNode, bootCpu = 0): Uint8Array {
  const structure = new Output();
  const strings = new Output();
  const encoder = new TextEncoder();
  const nameOffsets = new Map<string, number>();

  const nameOffset = (name: string): number => {
    let offset = nameOffsets.get(name);
    if (offset === undefined) {
      offset = strings.length;
      nameOffsets.set(name, offset);
      strings.append(encoder.encode(`${name}\0`));
    }
    return offset;
  };
  const writeNode = (node: FdtNode): void => {
    structure.u32(FDT_BEGIN_NODE);
    structure.append(encoder.encode(`${node.name}\0`));
    structure.align();
    for (const [name, value] of node.properties) {
      structure.u32(FDT_PROP);
      structure.u32(value.length);
      structure.u32(nameOffset(name));
      structure.append(value);
      structure.align();
    }
    node.children.forEach(writeNode);
    structure.u32(FDT_END_NODE);
  };
  writeNode(root);
  structure.u32(FDT_END);

  const structureAt = HEADER_SIZE + RESERVATIONS_SIZE;
  const stringsAt = structureAt + structure.length;
  const blob = new Uint8Array(stringsAt + strings.length);
  const header = new DataView(blob.buffer);
  [
    FDT_MAGIC,
    blob.length,
    structureAt,
    stringsAt,
    HEADER_SIZE,
    FDT_VERSION,
    FDT_LAST_COMPATIBLE_VERSION,
    bootCpu,
    strings.length,
    structure.length,
  ].forEach((field, index) => header.setUint32(index * 4, field));
  blob.set(structure.take(), structureAt);
  blob.set(strings.take(), stringsAt);
  return blob;
}

function bad(what: string): never {
  throw new RingsideError('bad-image', `not a usable device tree: ${what}. Make it with dtc.`);
}

/**
 * Reads a tree.
 *
 * @throws RingsideError bad-image for anything that is not a well-formed FDT of version 16 or 17.
 */
export function readFdt(blob: Uint8Array): FdtNode {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  if (blob.length < HEADER_SIZE || view.getUint32(0) !== FDT_MAGIC) bad('it has no FDT header');
  const totalSize = view.getUint32(4);
  const structureAt = view.getUint32(8);
  const stringsAt = view.getUint32(12);
  const stringsEnd = stringsAt + view.getUint32(32);
  if (totalSize > blob.length) bad('it is truncated');
  if (view.getUint32(24) > FDT_VERSION || view.getUint32(20) < FDT_LAST_COMPATIBLE_VERSION) bad('unknown version');
  const structureEnd = view.getUint32(20) >= FDT_VERSION ? structureAt + view.getUint32(36) : totalSize;
  if (structureAt % 4 !== 0 || structureEnd > totalSize || stringsEnd > totalSize) bad('its blocks are out of bounds');

  const text = (at: number, end: number): string => {
    const zero = blob.subarray(0, end).indexOf(0, at);
    if (at >= end || zero < 0) bad('a name has no end');
    return new TextDecoder('latin1').decode(blob.subarray(at, zero));
  };
  let at = structureAt;
  const token = (): number => {
    if (at + 4 > structureEnd) bad('its structure ends early');
    at += 4;
    return view.getUint32(at - 4);
  };
  const nextToken = (): number => {
    let kind = token();
    while (kind === FDT_NOP) kind = token();
    return kind;
  };
  const readProperty = (node: FdtNode): void => {
    const length = token();
    const name = text(stringsAt + token(), stringsEnd);
    if (at + length > structureEnd) bad('a property is out of bounds');
    node.properties.set(name, blob.slice(at, at + length));
    at += (length + 3) & ~3;
  };
  const readNode = (depth: number): FdtNode => {
    if (depth > MAX_DEPTH) bad('it is nested too deep');
    const node: FdtNode = { name: text(at, structureEnd), properties: new Map(), children: [] };
    at += (node.name.length + 1 + 3) & ~3;
    for (;;) {
      const kind = nextToken();
      if (kind === FDT_END_NODE) return node;
      if (kind === FDT_PROP) readProperty(node);
      else if (kind === FDT_BEGIN_NODE) node.children.push(readNode(depth + 1));
      else bad('its structure has an unknown token');
    }
  };
  if (nextToken() !== FDT_BEGIN_NODE) bad('it has no root');
  const root = readNode(0);
  if (nextToken() !== FDT_END) bad('its structure has no end');
  return root;
}

/** The node at a path such as "/cpus/cpu@0", undefined if there is none. */
export function findNode(root: FdtNode, path: string): FdtNode | undefined {
  const names = path.split('/').filter((name) => name !== '');
  let node: FdtNode | undefined = root;
  for (const name of names) node = node?.children.find((child) => child.name === name);
  return node;
}
