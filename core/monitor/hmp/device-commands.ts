/** HMP: devices, objects, back ends, tracing. */
import { ancestry, balloonOf, findObject, setTrace } from '../commands/qom.ts';
import type { Json } from '../qmp/json.ts';
import type { MonitorTarget, QomObject } from '../target.ts';
import { flag, takes } from './command.ts';
import type { HmpCommand } from './command.ts';
import { optionsCommand } from './options.ts';
import { MonitorError } from '../errors.ts';
import { parseJson, prettyJson } from '../qmp/json.ts';

const userTypes = (target: MonitorTarget): string[] =>
  target.qom
    .types()
    .filter(({ device }) => device?.userCreatable === true)
    .map(({ name }) => name);

const objectTypes = (target: MonitorTarget): string[] => {
  const types = new Map(target.qom.types().map((type) => [type.name, type]));
  return [...types.values()]
    .filter(({ name, abstract }) => !abstract && ancestry(types, name).includes('user-creatable'))
    .map(({ name }) => name);
};

/** Ids of the devices that users have made. */
const deviceIds = (target: MonitorTarget): string[] => {
  const container = target.qom.find('/machine/peripheral');
  return container === null || container === 'ambiguous' ? [] : container.children.map(({ name }) => name);
};

/** Paths in the object tree that a word may become. */
export function completePath(target: MonitorTarget, word: string): string[] {
  const cut = word.lastIndexOf('/');
  if (cut < 0) return ['/'];
  const parent = target.qom.find(cut === 0 ? '/' : word.slice(0, cut));
  if (parent === null || parent === 'ambiguous') return [];
  const prefix = word.slice(0, cut + 1);
  return parent.children.map(({ name, object }) => prefix + name + (object.children.length > 0 ? '/' : ''));
}

function propertyNames(target: MonitorTarget, path: string): string[] {
  const found = target.qom.find(path);
  return found === null || found === 'ambiguous' ? [] : found.properties().map(({ name }) => name);
}

/** A value as text, in the kind that the property has now. */
function fromText(object: QomObject, property: string, text: string): Json {
  const now = object.get(property);
  if (typeof now === 'boolean') {
    if (/^(on|yes|true|y)$/.test(text)) return true;
    if (/^(off|no|false|n)$/.test(text)) return false;
    throw new MonitorError(`Parameter '${property}' expects 'on' or 'off'`);
  }
  if (typeof now === 'number' || typeof now === 'bigint') {
    const match = /^(-?(?:0x[0-9a-f]+|[0-9]+))([kmgt]?)$/i.exec(text);
    if (match === null) throw new MonitorError(`Parameter '${property}' expects a number`);
    const negative = match[1].startsWith('-');
    const magnitude = BigInt(match[1].replace('-', '')) << BigInt(10 * ' kmgt'.indexOf(match[2].toLowerCase() || ' '));
    const value = negative ? -magnitude : magnitude;
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }
  return text;
}

export const DEVICE_COMMANDS: readonly HmpCommand[] = [
  {
    ...optionsCommand(
      'device_add',
      'device_add',
      'driver',
      'driver[,prop=value][,...]',
      'add device, like -device on the command line',
    ),
    complete: userTypes,
  },
  {
    names: ['device_del'],
    args: [takes('id', 'string')],
    params: 'device',
    help: 'remove device',
    async run({ qmp }, { id }) {
      await qmp('device_del', { id: (id as string).replace(/^\/machine\/peripheral\//, '') });
    },
    complete: deviceIds,
  },
  {
    ...optionsCommand(
      'object_add',
      'object-add',
      'qom-type',
      '[qom-type=]type,id=str[,prop=value][,...]',
      'create QOM object',
    ),
    complete: objectTypes,
  },
  {
    names: ['object_del'],
    args: [takes('id', 'string')],
    params: 'id',
    help: 'destroy QOM object',
    async run({ qmp }, { id }) {
      await qmp('object-del', { id: id as string });
    },
    complete(target) {
      const container = target.qom.find('/objects');
      return container === null || container === 'ambiguous' ? [] : container.children.map(({ name }) => name);
    },
  },
  {
    names: ['balloon'],
    args: [takes('value', 'megabytes')],
    params: 'target',
    help: 'request VM to change its memory allocation (in MB)',
    async run({ qmp }, { value }) {
      await qmp('balloon', { value: value as bigint });
    },
  },
  {
    names: ['qom-list'],
    args: [takes('path', 'string', true)],
    params: 'path',
    help: 'list QOM properties',
    run({ target, print }, { path }) {
      if (path === undefined) return print('/\n');
      const object = findObject(target, path as string);
      print(
        object
          .properties()
          .map(({ name, type }) => `${name} (${type})\n`)
          .join(''),
      );
    },
    complete: (target, word) => completePath(target, word),
  },
  {
    names: ['qom-get'],
    args: [takes('path', 'string'), takes('property', 'string')],
    params: 'path property',
    help: 'print QOM property',
    run({ target, print }, { path, property }) {
      print(`${prettyJson(findObject(target, path as string).get(property as string))}\n`);
    },
    complete: (target, word, before) =>
      before.length === 0 ? completePath(target, word) : propertyNames(target, before[0]),
  },
  {
    names: ['qom-set'],
    args: [flag('json', 'j'), takes('path', 'string'), takes('property', 'string'), takes('value', 'rest')],
    params: '[-j] path property value',
    help: 'set QOM property.\n\t\t\t-j: the value is specified in json format.',
    async run({ target }, { json, path, property, value }) {
      const object = findObject(target, path as string);
      const text = value as string;
      await object.set(
        property as string,
        json === true ? parseJson(text) : fromText(object, property as string, text),
      );
    },
    complete(target, word, before) {
      const words = before.filter((given) => given !== '-j');
      if (words.length === 0) return completePath(target, word);
      return words.length === 1 ? propertyNames(target, words[0]) : [];
    },
  },
  {
    names: ['trace-event'],
    args: [takes('name', 'string'), takes('option', 'bool'), takes('vcpu', 'int', true)],
    params: 'name on|off [vcpu]',
    help: 'changes status of a specific trace event (vcpu: vCPU to set, default is all)',
    run({ target, print }, { name, option, vcpu }) {
      try {
        setTrace(target, name as string, option as boolean, vcpu as bigint | undefined);
      } catch (error) {
        if (!(error instanceof MonitorError)) throw error;
        // QEMU has no "Error: " before these.
        print(`${error.message}\n`);
      }
    },
    complete: (target, _word, before) =>
      before.length === 0 ? target.trace.events.map(({ name }) => name) : ['on', 'off'],
  },
];

export const DEVICE_INFO: readonly HmpCommand[] = [
  {
    names: ['balloon'],
    args: [],
    params: '',
    help: 'show balloon information',
    run({ target, print }) {
      print(`balloon: actual=${Math.floor(balloonOf(target).actual / 1048576)}\n`);
    },
  },
  {
    names: ['trace-events'],
    args: [takes('name', 'string', true), takes('vcpu', 'int', true)],
    params: '[name] [vcpu]',
    help: 'show available trace-events & their state (name: event name pattern; vcpu: vCPU to query, default is any)',
    async run({ qmp, print }, { name, vcpu }) {
      const events = (await qmp('trace-event-get-state', {
        name: (name as string | undefined) ?? '*',
        ...(vcpu === undefined ? {} : { vcpu: vcpu as bigint }),
      })) as {
        name: string;
        state: string;
      }[];
      print(events.map((event) => `${event.name} : state ${event.state === 'enabled' ? 1 : 0}\n`).join(''));
    },
    complete: (target) => target.trace.events.map(({ name }) => name),
  },
];
