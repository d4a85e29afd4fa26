/** Debian guests on our own machine, booted to a shell. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { MachineConfigInput, MachineExit } from '../../core/api/machine.ts';
import { errorLine } from '../../core/errors.ts';
import { Machine } from '../../core/machine/machine.ts';
import { fetchGuest } from '../../main/guests/index.ts';
import type { GuestFiles } from '../../main/guests/index.ts';
import { nativeHostSpec } from '../../native/index.ts';
import { GuestShell } from './guest-shell.ts';

export const MIB = 2 ** 20;
export const host = nativeHostSpec();
/** Why there is no native addon, null when there is: without it images are not locked against other programs, say. */
export const noAddon = 'reason' in host.addon ? host.addon.reason : null;

/** The debian guest, fetched when it is not here; or why it cannot be had. */
export async function debianFiles(): Promise<{ files: GuestFiles } | { reason: string }> {
  try {
    return { files: await fetchGuest('debian') };
  } catch (error) {
    return { reason: `the debian guest cannot be fetched: ${errorLine(error)}` };
  }
}

/** A folder that is removed when the file's tests are over. */
export function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringside-machine-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A machine, what it has said, and how it ends. */
export class Running implements AsyncDisposable {
  readonly machine: Machine;
  readonly shell: GuestShell;
  /** Except that images are not locked where they cannot be. */
  readonly messages: string[] = [];
  readonly exit: Promise<MachineExit>;

  private constructor(machine: Machine) {
    this.machine = machine;
    this.shell = new GuestShell(machine.chardevs.get('serial0')!);
    machine.on('message', (text) => {
      if (noAddon === null || !text.includes('is not locked')) this.messages.push(text);
    });
    this.exit = new Promise((resolve) => machine.once('exit', resolve));
  }

  static async create(config: MachineConfigInput): Promise<Running> {
    return new Running(await Machine.create(config, { host }));
  }

  /** The debian guest at its prompt. Its kernel is quiet unless `append` says otherwise. */
  static async boot(files: GuestFiles, config: Partial<MachineConfigInput> = {}): Promise<Running> {
    const running = await Running.create(debianConfig(files, config));
    try {
      await running.machine.start();
      await running.shell.ready();
      // On a busy host the kernel has things to say, which are no output of the commands.
      await running.shell.ok('dmesg -n 1');
      return running;
    } catch (error) {
      await running.machine.dispose();
      throw error;
    }
  }

  /** Powers off from inside. */
  async shutDown(): Promise<MachineExit> {
    await this.shell.write('poweroff\n');
    return this.exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.dispose();
  }
}

export function debianConfig(files: GuestFiles, config: Partial<MachineConfigInput> = {}): MachineConfigInput {
  const { kernel, initrd, append } = files;
  return { memory: 512 * MIB, kernel, initrd, ...config, append: `${append} ${config.append ?? 'quiet'}` };
}
