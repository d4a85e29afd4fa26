/** Opens the folder of an -fsdev. */
import * as fs from 'node:fs';

import { RingsideError, errorLine } from '../errors.ts';
import type { Host } from '../host/host.ts';
import { isHostError } from '../host/host.ts';
import { O_PATH, SECURITY_MODELS, ownershipProblem } from './ownership.ts';
import type { SecurityModel } from './ownership.ts';
import type { Multidevs, SharedFolderHandle } from './shared-folder.ts';

/** An -fsdev local. */
export interface FsdevOptions {
  /** Host path of the folder. */
  readonly path: string;
  readonly securityModel: SecurityModel;
  readonly readonly?: boolean;
  readonly multidevs?: Multidevs;
  /** Permissions on the host of files and folders that a mapped model makes; by default 0600 and 0700. */
  readonly fmode?: number;
  readonly dmode?: number;
}

export interface OpenSharedFolder {
  readonly handle: SharedFolderHandle;
  /** What the user should know, one line each. */
  readonly warnings: readonly string[];
  close(): void;
}

const FMODE = 0o600;
const DMODE = 0o700;

/** @throws RingsideError */
export function openSharedFolder(options: FsdevOptions, host: Host): OpenSharedFolder {
  const { path, securityModel, readonly = false, multidevs = 'warn', fmode, dmode } = options;
  if (!SECURITY_MODELS.includes(securityModel)) {
    throw new RingsideError('bad-option', `security_model must be ${SECURITY_MODELS.join(', ')}`);
  }
  if (!host.folders.available) {
    throw new RingsideError('unsupported', `folders cannot be shared here: ${host.folders.reason}`);
  }
  for (const [name, mode] of Object.entries({ fmode, dmode })) {
    if (mode === undefined) continue;
    if (!securityModel.startsWith('mapped')) {
      throw new RingsideError('bad-option', `${name} is for the mapped security models`);
    }
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
      throw new RingsideError('bad-option', `${name} must be 0 to 0777, octal`);
    }
  }
  let fd;
  try {
    fd = fs.openSync(path, O_PATH | fs.constants.O_DIRECTORY);
  } catch (error) {
    if (!isHostError(error)) throw error;
    const kind = error.code === 'ENOENT' ? 'not-found' : error.code === 'EACCES' ? 'permission' : 'bad-option';
    throw new RingsideError(kind, `"${path}" is no folder that can be shared: ${errorLine(error)}`, {
      cause: error,
    });
  }
  const problem = ownershipProblem(securityModel, host.folderCalls, fd);
  if (problem) {
    fs.closeSync(fd);
    throw new RingsideError('unsupported', `"${path}" cannot be shared so: ${problem}`);
  }
  const warnings: string[] = [];
  if (securityModel === 'passthrough' && process.getuid?.() !== 0) {
    warnings.push(`passthrough cannot give files to other users without root; mapped-xattr can`);
  }
  const opened = fd;
  return {
    handle: {
      fd,
      securityModel,
      readonly,
      multidevs,
      fmode: fmode ?? FMODE,
      dmode: dmode ?? DMODE,
    },
    warnings,
    close: () => fs.closeSync(opened),
  };
}
