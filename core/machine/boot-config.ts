/** What a machine is made of, and what it boots, before there is one. */
import { createHash, randomBytes } from 'node:crypto';
import { machineConfig } from '../api/machine.ts';
import type { MachineConfig, MachineConfigInput } from '../api/machine.ts';
import { RingsideError } from '../errors.ts';
import type { BootPlan } from '../firmware/loader.ts';
import { buildVirtFdt } from './virt-fdt.ts';

/** As QEMU's. */
const RNG_SEED_BYTES = 32;
/** How much of a segment tells it from others. */
const NAMING_BYTES = 64 * 1024;

/** Tells what boots from what else might: by how firmware and kernel begin. What is alike here may differ all the same. */
export function bootName({ segments, fdtAddress, initrd }: BootPlan): string {
  const hash = createHash('sha256');
  for (const { address, bytes } of segments) {
    if (address === fdtAddress || address === initrd?.start) continue;
    hash.update(`${address} ${bytes.length} `).update(bytes.subarray(0, NAMING_BYTES));
  }
  return hash.digest('hex').slice(0, 32);
}

/** With a new random seed for the guest. Its size depends on the configuration alone. */
export function deviceTree(
  { harts, memory, append, aia, bios }: MachineConfig,
  initrd: BootPlan['initrd'],
): Uint8Array {
  const hideMachineLevel = bios === 'default';
  return buildVirtFdt({ harts, memory, append, aia, hideMachineLevel, initrd, rngSeed: randomBytes(RNG_SEED_BYTES) });
}

/** @throws RingsideError 'bad-option', one line */
export function parseConfig(input: MachineConfigInput): MachineConfig {
  const result = machineConfig.safeParse(input);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue.path.length === 0 ? 'the configuration' : issue.path.join('.');
  const what =
    issue.code === 'unrecognized_keys'
      ? `there is no option ${issue.keys.map((key) => `"${key}"`).join(' and no ')}. Leave it out`
      : issue.message;
  throw new RingsideError('bad-option', `${where}: ${what}.`);
}
