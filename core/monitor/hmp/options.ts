/** `first,key=value,flag`, with `,,` for a comma in a value: what device_add, netdev_add and object_add take. */
import { MonitorError } from '../errors.ts';
import { takes } from './command.ts';
import type { HmpCommand } from './command.ts';

/**
 * @param implied the key of a first entry without "="
 * @throws MonitorError
 */
export function parseOptions(text: string, implied: string): Record<string, string> {
  const parts: string[] = [''];
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ',') parts[parts.length - 1] += text[i];
    else if (text[i + 1] === ',') {
      parts[parts.length - 1] += ',';
      i++;
    } else parts.push('');
  }
  const options = Object.create(null) as Record<string, string>;
  parts.forEach((part, index) => {
    const equals = part.indexOf('=');
    let key = equals < 0 ? part : part.slice(0, equals);
    let value = equals < 0 ? 'on' : part.slice(equals + 1);
    if (index === 0 && equals < 0) [key, value] = [implied, part];
    if (!/^[A-Za-z][\w.-]*$/.test(key)) throw new MonitorError(`Invalid parameter '${key}'`);
    if (key in options) throw new MonitorError(`Parameter '${key}' is given twice`);
    options[key] = value;
  });
  return options;
}

/** A command whose argument is such a list, with QMP's command of the same members behind it. */
export function optionsCommand(name: string, qmp: string, implied: string, params: string, help: string): HmpCommand {
  return {
    names: [name],
    args: [takes(implied, 'options')],
    params,
    help,
    async run(context, args) {
      await context.qmp(qmp, parseOptions(args[implied] as string, implied));
    },
  };
}
