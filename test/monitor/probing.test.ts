/** What libvirt asks of a QEMU whose abilities it does not know, and of one that runs, in its order (virQEMUCapsInitQMP). */
import { expect, it } from 'vitest';
import { commandLineOptions } from '../../main/cli/options/command-line.ts';
import { Monitor } from '../../core/monitor/monitor.ts';
import type { Json } from '../../core/monitor/qmp/json.ts';
import { DoubleTarget, execute, hmp, qmpClient, streamPair, TextClient } from './client.ts';

const error = (desc: string, errorClass = 'GenericError'): unknown => ({ error: { class: errorClass, desc } });

it.each([
  ['query-version', {}],
  ['query-target', {}],
  ['query-qmp-schema', {}],
  ['query-kvm', {}],
  ['qom-list-types', {}],
  ['query-machines', {}],
  ['query-cpu-definitions', {}],
  ['query-tpm-models', {}],
  ['query-tpm-types', {}],
  ['query-command-line-options', {}],
  ['query-migrate-capabilities', {}],
  ['query-current-machine', {}],
  ['device-list-properties', { typename: 'virtio-blk-device' }],
  ['qom-list-properties', { typename: 'virtio-rng-device' }],
  ['query-chardev', {}],
  ['query-cpus-fast', {}],
  ['query-iothreads', {}],
  ['qom-list', { path: '/machine/peripheral' }],
  ['query-block', {}],
  ['query-named-block-nodes', { flat: true }],
  ['query-blockstats', { 'query-nodes': true }],
  ['query-jobs', {}],
  ['query-status', {}],
  ['query-display-options', {}],
])('%s %j is no surprise', async (command, args) => {
  const answer = await execute(await qmpClient(new DoubleTarget()), command, args);
  expect(answer).not.toHaveProperty('error');
});

it('the machine type, the CPU and the options are those that there are', async () => {
  const target = new DoubleTarget();
  const [ours, theirs] = streamPair();
  new Monitor({ target, version: { ringside: '1.2.3' }, commandLine: commandLineOptions() }).qmp(theirs);
  const client = new TextClient(ours);
  await client.line();
  await execute(client, 'qmp_capabilities');
  expect(await execute(client, 'query-cpu-definitions')).toEqual([
    { name: 'rv64', typename: 'rv64-riscv-cpu', static: false, deprecated: false },
  ]);
  const options = (await execute(client, 'query-command-line-options')) as { option: string }[];
  expect(options.map(({ option }) => option)).toEqual(
    expect.arrayContaining(['machine', 'smp-opts', 'memory', 'drive', 'device', 'chardev', 'mon']),
  );
  expect(await execute(client, 'query-command-line-options', { option: 'drive' })).toMatchObject([
    {
      option: 'drive',
      parameters: expect.arrayContaining([
        { name: 'file', type: 'string', help: expect.any(String) as string },
        { name: 'readonly', type: 'boolean', help: expect.any(String) as string },
      ]) as Json,
    },
  ]);
  expect(await execute(client, 'query-command-line-options', { option: 'nope' })).toEqual(
    error('invalid option name: nope'),
  );
});

it('what is not there says why, in both monitors', async () => {
  const client = await qmpClient(new DoubleTarget());
  expect(await execute(client, 'screendump', { filename: 'x' })).toEqual(
    error('The command screendump has not been found: guests have no display', 'CommandNotFound'),
  );
  expect(await execute(client, 'nope')).toEqual(error('The command nope has not been found', 'CommandNotFound'));
  const target = new DoubleTarget();
  expect(await hmp(target, 'savevm x')).toBe("unknown command: 'savevm' (there are no snapshots)\n");
  expect(await hmp(target, 'info snapshots')).toBe("unknown command: 'info snapshots' (there are no snapshots)\n");
  expect(await hmp(target, 'info nope')).toBe("unknown command: 'info nope'\n");
});

it('disks have counted', async () => {
  const target = new DoubleTarget();
  const [disk] = (await execute(await qmpClient(target), 'query-blockstats')) as { [key: string]: Json }[];
  expect(disk).toMatchObject({
    device: 'hd0',
    qdev: 'disk0',
    'node-name': '#block1',
    stats: {
      rd_operations: 7,
      rd_bytes: 512000,
      rd_total_time_ns: 5079145,
      failed_rd_operations: 1,
      invalid_rd_operations: 2,
      wr_highest_offset: 65536,
      unmap_bytes: 4096,
      timed_stats: [],
    },
    parent: { 'node-name': '#block0', stats: { rd_operations: 0, wr_highest_offset: 65536 } },
  });
  expect(await hmp(target, 'info blockstats')).toBe(
    'hd0: rd_bytes=512000 wr_bytes=12288 rd_operations=7 wr_operations=3 flush_operations=2 wr_total_time_ns=1234' +
      ' rd_total_time_ns=5079145 flush_total_time_ns=99 rd_merged=0 wr_merged=0\n',
  );
});
