/** A VM as a .ringside file: its settings, as the library's own files have them, to be given to others. */
import { RingsideError } from '../../../core/errors.ts';
import { issueLine, vmSettingsDraft } from '../../ipc/contract.ts';
import type { VmSettings, VmSettingsDraft } from '../../ipc/contract.ts';
import { MAX_TEXT } from './model.ts';
import type { Exported, Imported } from './model.ts';

const FORMAT = 1;

/** Files of the host that it names; they do not come along. */
function filesOf({ boot, bios, drives }: VmSettingsDraft): string[] {
  const kernel = boot.source === 'files' ? [boot.kernel, boot.initrd] : [];
  return [
    ...kernel.filter((file) => file !== undefined),
    ...(bios === 'default' || bios === 'none' ? [] : [bios]),
    ...drives.map(({ file }) => file),
  ];
}

export function exportFile(settings: VmSettings): Exported {
  const files = filesOf(settings);
  const notes = files.length === 0 ? [] : [`These files are named in it, and do not come along: ${files.join(', ')}.`];
  return { text: `${JSON.stringify({ ringside: FORMAT, settings }, null, 2)}\n`, notes };
}

/** @throws RingsideError 'bad-option' when it is no such file, 'unsupported' for one of a newer Ringside */
export function importFile(text: string): Imported {
  if (text.length > MAX_TEXT) throw new RingsideError('bad-option', 'this is no VM file: it is far too long');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new RingsideError('bad-option', 'this is no VM file: it is not JSON', { cause: error });
  }
  const { ringside, settings } = (json ?? {}) as { ringside?: unknown; settings?: unknown };
  if (typeof ringside !== 'number') {
    throw new RingsideError('bad-option', 'this is no VM file of Ringside: it says no version of the format');
  }
  if (ringside > FORMAT) {
    throw new RingsideError('unsupported', 'made by a newer Ringside: update this one to open it');
  }
  const checked = vmSettingsDraft.safeParse(settings);
  if (!checked.success)
    throw new RingsideError('bad-option', `this VM file is damaged: ${issueLine(checked.error.issues)}`);
  const files = filesOf(checked.data);
  const notes = files.length === 0 ? [] : [`It uses these files of this computer: ${files.join(', ')}.`];
  return { settings: checked.data, notes };
}
