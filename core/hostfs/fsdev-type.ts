/** What -fsdev local makes: a folder of the host, which one device at a time may have. */
import { RingsideError } from '../errors.ts';
import type { TypeInfo } from '../qom/object.ts';
import { openSharedFolder } from './open.ts';
import { SECURITY_MODELS } from './ownership.ts';
import type { SecurityModel } from './ownership.ts';
import { MULTIDEVS } from './shared-folder.ts';
import type { Multidevs } from './shared-folder.ts';

export const FSDEV_LOCAL_TYPE: TypeInfo = {
  name: 'fsdev-local',
  parent: 'fsdev',
  description: 'a folder of the host',
  properties: [
    {
      name: 'path',
      kind: 'string',
      default: null,
      holds: 'folder',
      required: true,
      description: 'host path of the folder',
    },
    {
      name: 'security_model',
      kind: 'enum',
      values: SECURITY_MODELS,
      default: null,
      required: true,
      description: "where the guest's owners and modes are kept",
    },
    { name: 'readonly', kind: 'bool', default: false, description: 'the guest can change nothing' },
    {
      name: 'multidevs',
      kind: 'enum',
      values: MULTIDEVS,
      default: 'warn',
      description: 'what to do about other file systems that are mounted in the folder',
    },
    { name: 'fmode', kind: 'string', default: null, description: 'mode of files on the host, octal; mapped models' },
    { name: 'dmode', kind: 'string', default: null, description: 'mode of folders on the host, octal; mapped models' },
  ],
  realize(object, { host, warn }) {
    const path = object.value<string | null>('path');
    const securityModel = object.value<SecurityModel | null>('security_model');
    if (!path) throw new RingsideError('bad-option', 'which folder? Give path=FOLDER');
    if (securityModel === null) {
      throw new RingsideError('bad-option', `security_model is needed: ${SECURITY_MODELS.join(', ')}`);
    }
    const modes = (['fmode', 'dmode'] as const).map((name) => [name, octal(name, object.value<string | null>(name))]);
    const opened = openSharedFolder(
      {
        path,
        securityModel,
        readonly: object.value<boolean>('readonly'),
        multidevs: object.value<Multidevs>('multidevs'),
        ...Object.fromEntries(modes.filter(([, mode]) => mode !== null)),
      },
      host,
    );
    object.onClose(() => opened.close());
    for (const warning of opened.warnings) warn(`fsdev ${object.id}: ${warning}.`);
    object.instance = opened;
  },
};

function octal(name: string, text: string | null): number | null {
  if (text === null) return null;
  if (!/^[0-7]{1,4}$/.test(text)) throw new RingsideError('bad-option', `${name}: "${text}" is not octal, e.g. 0640`);
  return parseInt(text, 8);
}
