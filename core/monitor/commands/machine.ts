/** Run state, identity, CPUs, memory. */
import { open } from 'node:fs/promises';
import { errorLine } from '../../errors.ts';
import { MonitorError } from '../errors.ts';
import { translate } from '../page-walk.ts';
import { bool, i64, list, nothing, object, oneOf, optional, str, u64 } from '../schema.ts';
import { RUN_STATES } from '../target.ts';
import type { MonitorTarget } from '../target.ts';
import { action, query } from './command.ts';

/** The release whose monitor is followed. */
export const QEMU_VERSION = { major: 7, minor: 2, micro: 0 };

const runState = oneOf('RunState', RUN_STATES);
/** Bytes that are read from guest memory at a time. */
const SAVE_CHUNK = 1 << 20;

export const MACHINE_COMMANDS = [
  query('query-status', {
    help: 'the run state',
    args: nothing,
    returns: object('StatusInfo', { running: bool, singlestep: bool, status: runState }),
    run: ({ target }) => ({ status: target.runState, singlestep: false, running: target.runState === 'running' }),
  }),
  query('query-version', {
    help: 'the QEMU release whose monitor this follows, and as package the version of Ringside',
    args: nothing,
    returns: object('VersionInfo', {
      qemu: object('VersionTriple', { major: i64, minor: i64, micro: i64 }),
      package: str,
    }),
    run: ({ version }) => ({ qemu: QEMU_VERSION, package: `Ringside ${version.ringside}` }),
  }),
  query('query-name', {
    help: 'the name given with -name',
    args: nothing,
    returns: object('NameInfo', { name: optional(str) }),
    run: ({ target }) => (target.name === null ? {} : { name: target.name }),
  }),
  query('query-uuid', {
    help: 'the UUID; all zeros, as there is no -uuid',
    args: nothing,
    returns: object('UuidInfo', { UUID: str }),
    run: () => ({ UUID: '00000000-0000-0000-0000-000000000000' }),
  }),
  query('query-target', {
    help: 'the architecture',
    args: nothing,
    returns: object('TargetInfo', { arch: oneOf('SysEmuTarget', ['riscv64']) }),
    run: () => ({ arch: 'riscv64' as const }),
  }),
  query('query-kvm', {
    help: 'no KVM is used',
    args: nothing,
    returns: object('KvmInfo', { enabled: bool, present: bool }),
    run: () => ({ enabled: false, present: false }),
  }),
  query('query-machines', {
    help: 'the machine types',
    args: nothing,
    returns: list(
      object('MachineInfo', {
        name: str,
        'is-default': optional(bool),
        'cpu-max': i64,
        'hotpluggable-cpus': bool,
        'numa-mem-supported': bool,
        deprecated: bool,
        'default-cpu-type': optional(str),
        'default-ram-id': optional(str),
      }),
    ),
    run: ({ target: { machine } }) => [
      {
        name: machine.type,
        'is-default': true,
        'cpu-max': machine.maxCpus,
        'hotpluggable-cpus': false,
        'numa-mem-supported': false,
        deprecated: false,
        'default-cpu-type': machine.cpuType,
        'default-ram-id': machine.ramId,
      },
    ],
  }),
  query('query-memory-size-summary', {
    help: 'bytes of guest RAM',
    args: nothing,
    returns: object('MemoryInfo', { 'base-memory': u64 }),
    run: ({ target }) => ({ 'base-memory': target.ramSize }),
  }),
  query('query-cpus-fast', {
    help: 'the harts and the host threads that execute them',
    args: nothing,
    returns: list(
      object('CpuInfoFast', {
        'cpu-index': i64,
        'qom-path': str,
        'thread-id': i64,
        props: object('CpuInstanceProperties', { 'core-id': i64 }),
        target: oneOf('SysEmuTarget', ['riscv64']),
      }),
    ),
    run: ({ target }) =>
      target.cpus.map(({ index, qomPath, threadId }) => ({
        'cpu-index': index,
        'qom-path': qomPath,
        'thread-id': threadId,
        props: { 'core-id': index },
        target: 'riscv64' as const,
      })),
  }),
  action('stop', { help: 'pauses the machine', args: nothing, run: ({ target }) => target.stop() }),
  action('cont', { help: 'lets the machine go on', args: nothing, run: ({ target }) => target.cont() }),
  action('system_reset', { help: 'presses the reset button', args: nothing, run: ({ target }) => target.reset() }),
  action('system_powerdown', {
    help: 'presses the power button',
    args: nothing,
    run: ({ target }) => target.powerdown(),
  }),
  action('quit', { help: 'ends the machine at once', args: nothing, run: ({ target }) => target.quit() }),
  action('pmemsave', {
    help: 'writes guest physical memory to a file of the host',
    args: object('pmemsave-arg', { val: u64, size: u64, filename: str }),
    run: ({ target }, { val, size, filename }) =>
      saveMemory(target, (address) => ({ physical: address, left: 2n ** 64n }), val, size, filename),
  }),
  action('memsave', {
    help: "writes a hart's virtual memory to a file of the host",
    args: object('memsave-arg', { val: u64, size: u64, filename: str, 'cpu-index': optional(i64) }),
    async run({ target }, { val, size, filename, 'cpu-index': cpu = 0 }) {
      const index = Number(cpu);
      if (!target.cpus.some((candidate) => candidate.index === index)) {
        throw new MonitorError("Parameter 'cpu-index' expects a CPU number");
      }
      await saveMemory(target, (address) => translate(target, index, address), val, size, filename);
    },
  }),
];

type Translate = (address: bigint) => { physical: bigint; left: bigint } | null;

async function saveMemory(
  target: MonitorTarget,
  translateAddress: Translate,
  from: number | bigint,
  count: number | bigint,
  filename: string,
): Promise<void> {
  let address = BigInt.asUintN(64, BigInt(from));
  let left = BigInt.asUintN(64, BigInt(count));
  if (left > BigInt(target.ramSize)) {
    throw new MonitorError(`Parameter 'size' expects at most the ${target.ramSize} bytes of RAM`);
  }
  const file = await open(filename, 'w', 0o600).catch((error: unknown) => {
    throw new MonitorError(`Could not open '${filename}': ${errorLine(error)}`);
  });
  try {
    while (left > 0n) {
      const bytes = await target.halted(() => {
        const place = translateAddress(address);
        if (place === null) return null;
        let length = left < BigInt(SAVE_CHUNK) ? left : BigInt(SAVE_CHUNK);
        if (length > place.left) length = place.left;
        const view = target.readMemory(place.physical, Number(length));
        return view === null ? null : Uint8Array.from(view);
      });
      if (bytes === null) throw new MonitorError(`Invalid addr 0x${address.toString(16)}/size ${left} specified`);
      await file.writeFile(bytes);
      address = BigInt.asUintN(64, address + BigInt(bytes.length));
      left -= BigInt(bytes.length);
    }
  } finally {
    await file.close();
  }
}
