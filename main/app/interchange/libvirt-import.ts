/**
 * A VM from a libvirt domain (https://libvirt.org/formatdomain.html), as `virsh dumpxml` prints it. The text is hostile until
 * shown otherwise: no document type, no entities but XML's own five and characters by number, bounded in length and depth.
 */
import { XMLParser } from 'fast-xml-parser';
import { errorLine, RingsideError } from '../../../core/errors.ts';
import { MAX_TEXT } from './model.ts';
import type { Imported } from './model.ts';
import { Parts } from './parts.ts';

const MAX_DEPTH = 64;
const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KB: 1e3,
  k: 2 ** 10,
  KiB: 2 ** 10,
  MB: 1e6,
  M: 2 ** 20,
  MiB: 2 ** 20,
  GB: 1e9,
  G: 2 ** 30,
  GiB: 2 ** 30,
  T: 2 ** 40,
  TiB: 2 ** 40,
};
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** An element: attributes, children by name, text. */
class Element {
  readonly #raw: unknown;

  constructor(raw: unknown) {
    this.#raw = raw;
  }

  #get(key: string): unknown {
    const raw = this.#raw;
    return typeof raw === 'object' && raw !== null && Object.hasOwn(raw, key)
      ? (raw as Record<string, unknown>)[key]
      : undefined;
  }

  /** Children of a name, in order. */
  all(name: string): Element[] {
    const found = this.#get(name);
    if (found === undefined) return [];
    return (Array.isArray(found) ? found : [found]).map((raw) => new Element(raw));
  }

  /** The first of a path of names; an empty element when there is none. */
  at(...names: string[]): Element {
    const [first, ...rest] = names;
    if (first === undefined) return this;
    return (this.all(first)[0] ?? new Element(undefined)).at(...rest);
  }

  get there(): boolean {
    return this.#raw !== undefined;
  }

  get names(): string[] {
    const raw = this.#raw;
    return typeof raw === 'object' && raw !== null ? Object.keys(raw).filter((key) => !/^[@#]/.test(key)) : [];
  }

  attribute(name: string): string {
    return decode(this.#get(`@${name}`));
  }

  get text(): string {
    return decode(typeof this.#raw === 'object' ? this.#get('#text') : this.#raw).trim();
  }
}

function decode(value: unknown): string {
  if (typeof value !== 'string') return '';
  return value.replace(/&(#x[\da-f]{1,6}|#\d{1,7}|\w+);/gi, (whole, name: string) => {
    if (!name.startsWith('#')) return ENTITIES[name] ?? whole;
    const code = name[1].toLowerCase() === 'x' ? parseInt(name.slice(2), 16) : Number(name.slice(1));
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '';
  });
}

/** @throws RingsideError 'bad-option' */
function parseXml(text: string): Element {
  if (text.length > MAX_TEXT) throw new RingsideError('bad-option', 'this is no libvirt domain: it is far too long');
  if (/<!(DOCTYPE|ENTITY)/i.test(text)) {
    throw new RingsideError(
      'bad-option',
      'this XML has a document type: libvirt’s has none, take what “virsh dumpxml” prints',
    );
  }
  let depth = 0;
  for (const [tag] of text.matchAll(/<\/?[A-Za-z][^>]*>/g)) {
    if (tag.startsWith('</')) depth--;
    else if (!tag.endsWith('/>')) depth++;
    if (depth > MAX_DEPTH)
      throw new RingsideError('bad-option', 'this is no libvirt domain: its elements are nested too deeply');
  }
  try {
    const parser = new XMLParser({
      ignoreAttributes: false,
      attributeNamePrefix: '@',
      processEntities: false,
      parseTagValue: false,
      parseAttributeValue: false,
      ignoreDeclaration: true,
      ignorePiTags: true,
    });
    return new Element(parser.parse(text, true));
  } catch (error) {
    throw new RingsideError('bad-option', `this is no XML: ${errorLine(error)}`, { cause: error });
  }
}

/** @throws RingsideError 'bad-option' when it is no domain, 'unsupported' when it is one for another architecture */
export function importLibvirt(text: string): Imported {
  const root = parseXml(text);
  const domain = root.at('domain').there ? root.at('domain') : root.at('domstatus', 'domain');
  if (!domain.there) {
    throw new RingsideError('bad-option', 'this XML is no libvirt domain: take what “virsh dumpxml NAME” prints');
  }
  const arch = domain.at('os', 'type').attribute('arch') || 'x86_64';
  if (arch !== 'riscv64') {
    throw new RingsideError('unsupported', `this VM is for ${arch}: Ringside emulates riscv64 machines only`);
  }
  const parts = new Parts();
  readDomain(domain, parts);
  for (const kind of domain.at('devices').names) readDevices(kind, domain.at('devices').all(kind), parts);
  return parts.finish();
}

function readDomain(domain: Element, parts: Parts): void {
  parts.name = domain.at('title').text || domain.at('name').text || parts.name;
  const memory = domain.at('memory');
  const bytes = Number(memory.text) * (UNITS[memory.attribute('unit') || 'KiB'] ?? NaN);
  if (Number.isFinite(bytes)) parts.memory = bytes;
  else parts.note('Its <memory> is not a size.');
  parts.harts = Number(domain.at('vcpu').text) || 1;
  const os = domain.at('os');
  parts.kernel = os.at('kernel').text || null;
  parts.initrd = os.at('initrd').text || null;
  parts.append = os.at('cmdline').text;
  const loader = os.at('loader');
  if (loader.text !== '' && loader.attribute('type') !== 'pflash') parts.bios = loader.text;
  else if (loader.text !== '')
    parts.note(`The firmware ${loader.text} is left out: it is for the board’s flash, which cannot be filled here.`);
  parts.noReboot = domain.at('on_reboot').text === 'destroy';
  const count = Number(domain.at('iothreads').text) || 0;
  for (let number = 1; number <= Math.min(count, 16); number++) {
    parts.backend('object', 'iothread', `iothread${number}`, {});
  }
  if (domain.at('qemu:commandline').there) parts.note('Its <qemu:commandline> is left out.');
}

/** Elements that are the board’s own here, or have no meaning. */
const SILENT = new Set(['emulator', 'serial', 'controller', 'graphics', 'video', 'audio', 'sound', 'watchdog']);

function readDevices(kind: string, elements: Element[], parts: Parts): void {
  for (const element of elements) {
    switch (kind) {
      case 'disk':
        readDisk(element, parts);
        break;
      case 'interface':
        readInterface(element, parts);
        break;
      case 'rng': {
        const builtin = element.at('backend').attribute('model') === 'builtin';
        const file = element.at('backend').text || '/dev/urandom';
        const source = builtin
          ? parts.backend('object', 'rng-builtin', undefined, {})
          : parts.backend('object', 'rng-random', undefined, { filename: file });
        parts.device(busType('virtio-rng', element), undefined, undefined, source === null ? {} : { rng: source });
        break;
      }
      case 'console':
        readConsole(element, parts);
        break;
      case 'channel':
        readPort(element, parts);
        break;
      case 'memballoon':
        if (element.attribute('model').startsWith('virtio')) {
          parts.device(busType('virtio-balloon', element), undefined, undefined, {});
        }
        break;
      case 'input': {
        const type = element.attribute('type');
        if (element.attribute('bus') === 'virtio')
          parts.device(busType(`virtio-${type}`, element), undefined, undefined, {});
        else parts.note(`The ${type} on ${element.attribute('bus') || 'usb'} is left out: only virtio input is here.`);
        break;
      }
      case 'filesystem':
        readFilesystem(element, parts);
        break;
      default:
        if (!SILENT.has(kind)) parts.note(`<${kind}> is left out: there is no such device here.`);
    }
  }
}

/** The type of a virtio device by its address and model. */
function busType(family: string, element: Element): string {
  if (element.at('address').attribute('type') === 'virtio-mmio') return `${family}-device`;
  const model = element.attribute('model') || element.at('model').attribute('type');
  const suffix = /^virtio-((?:non-)?transitional)$/.exec(model)?.[1];
  return suffix === undefined ? `${family}-pci` : `${family}-pci-${suffix}`;
}

function readDisk(disk: Element, parts: Parts): void {
  const file = disk.at('source').attribute('file') || disk.at('source').attribute('dev');
  const target = disk.at('target').attribute('dev');
  if (file === '') {
    // An empty drive for CDs is no loss.
    if (disk.attribute('device') !== 'cdrom')
      parts.note(`Disk ${target} is left out: it is no file (${disk.attribute('type')}).`);
    return;
  }
  if (disk.attribute('device') === 'floppy') return parts.note(`${file} is left out: there are no floppies.`);
  const driver = disk.at('driver');
  const errors: Readonly<Record<string, string>> = {
    enospace: 'enospc',
    stop: 'stop',
    report: 'report',
    ignore: 'ignore',
  };
  const change: Record<string, unknown> = { if: 'none' };
  if (disk.at('readonly').there || disk.attribute('device') === 'cdrom') change['readonly'] = true;
  const werror = errors[driver.attribute('error_policy')];
  if (werror !== undefined) change['werror'] = werror;
  const rerror = errors[driver.attribute('rerror_policy')];
  if (rerror !== undefined && rerror !== 'enospc') change['rerror'] = rerror;
  if (driver.attribute('discard') === 'ignore') change['discard'] = 'ignore';
  const id = parts.drive(undefined, file, driver.attribute('type') || 'raw', change);
  if (id === null) return;
  const bus = disk.at('target').attribute('bus');
  if (bus !== 'virtio') parts.note(`${file}: a disk on ${bus || 'another bus'} becomes a virtio disk.`);
  const properties: Record<string, string> = { drive: id };
  const serial = disk.at('serial').text;
  if (serial !== '') properties['serial'] = serial;
  if (/^\d+$/.test(driver.attribute('queues'))) properties['num-queues'] = driver.attribute('queues');
  if (driver.attribute('packed') === 'on') properties['packed'] = 'on';
  if (/^\d+$/.test(driver.attribute('iothread'))) properties['iothread'] = `iothread${driver.attribute('iothread')}`;
  parts.device(busType('virtio-blk', disk), undefined, undefined, properties);
}

function readInterface(card: Element, parts: Parts): void {
  const type = card.attribute('type');
  const source = card.at('source');
  const place = `${source.attribute('address')}:${source.attribute('port')}`;
  const sockets: Readonly<Record<string, string>> = { server: 'listen', client: 'connect', mcast: 'mcast' };
  const key = sockets[type];
  let netdev: string | null = null;
  if (key !== undefined) netdev = parts.backend('netdev', 'socket', undefined, { [key]: place });
  else
    parts.note(`A network card is connected to nothing: there is no networking of type ${type || 'unknown'} here yet.`);
  const properties: Record<string, string> = {};
  if (netdev !== null) properties['netdev'] = netdev;
  const mac = card.at('mac').attribute('address');
  if (mac !== '') properties['mac'] = mac;
  parts.device(busType('virtio-net', card), undefined, undefined, properties);
}

/** A virtio-serial device for consoles and channels, made when it is needed; the name of its bus. */
function serialBus(parts: Parts): string {
  const there = parts.devices.find(({ driver, id }) => driver === 'virtio-serial-pci' && id !== undefined);
  if (there !== undefined) return `${there.id}.0`;
  const id = parts.id(undefined, 'serial-bus');
  parts.devices.push({ driver: 'virtio-serial-pci', id });
  return `${id}.0`;
}

function readConsole(element: Element, parts: Parts): void {
  if (element.at('target').attribute('type') !== 'virtio') return;
  const chardev = parts.backend('chardev', 'program', undefined, {});
  if (chardev !== null) parts.device('virtconsole', undefined, serialBus(parts), { chardev });
}

function readPort(element: Element, parts: Parts): void {
  const target = element.at('target');
  if (target.attribute('type') !== 'virtio') return parts.note('A <channel> that is not virtio is left out.');
  const chardev = parts.backend('chardev', 'program', undefined, {});
  if (chardev === null) return;
  const name = target.attribute('name');
  parts.device('virtserialport', undefined, serialBus(parts), { chardev, ...(name === '' ? {} : { name }) });
}

function readFilesystem(element: Element, parts: Parts): void {
  const path = element.at('source').attribute('dir');
  if (element.attribute('type') !== 'mount' || element.at('driver').attribute('type') === 'virtiofs') {
    return parts.note(`The folder ${path} is left out: only folders shared by 9p are here.`);
  }
  const models: Readonly<Record<string, string>> = {
    passthrough: 'passthrough',
    mapped: 'mapped-xattr',
    squash: 'none',
  };
  const fsdev = parts.backend('fsdev', 'local', undefined, {
    path,
    security_model: models[element.attribute('accessmode') || 'passthrough'] ?? 'none',
    ...(element.at('readonly').there ? { readonly: 'on' } : {}),
  });
  if (fsdev === null) return;
  const tag = element.at('target').attribute('dir');
  parts.device(busType('virtio-9p', element), undefined, undefined, { fsdev, mount_tag: tag });
}
