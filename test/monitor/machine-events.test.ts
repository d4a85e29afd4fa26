/** What a Machine tells of itself, as events of QMP. */
import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { MachineState } from '../../core/api/machine.ts';
import { MachineMonitorTarget } from '../../core/machine/monitor-target.ts';
import type { MonitoredMachine, MonitoredParts } from '../../core/machine/monitor-target.ts';
import { machineTypes } from '../../core/machine/types.ts';
import { ObjectTree } from '../../core/qom/tree.ts';

class FakeMachine extends EventEmitter {
  state: MachineState = 'created';
  readonly qom = new ObjectTree(machineTypes());

  become(state: MachineState): void {
    this.state = state;
    this.emit('state', state);
  }
}

function watch(): { machine: FakeMachine; target: MachineMonitorTarget; events: unknown[] } {
  const machine = new FakeMachine();
  const target = new MachineMonitorTarget(machine as unknown as MonitoredMachine, { name: null } as MonitoredParts);
  const events: unknown[] = [];
  target.onEvent((name, data) => events.push([name, data]));
  return { machine, target, events };
}

const ioError = { kind: 'io-error', operation: 'write', action: 'stop', noSpace: true, message: 'full', unreported: 0 };

describe('events of a machine', () => {
  it('are STOP and RESUME, with the run states that QEMU has', () => {
    const { machine, target, events } = watch();
    expect(target.runState).toBe('prelaunch');
    machine.become('running');
    machine.become('paused');
    expect(target.runState).toBe('paused');
    expect(events).toEqual([
      ['RESUME', {}],
      ['STOP', {}],
    ]);
  });

  it('tell of a disk whose error stops the machine', () => {
    const { machine, target, events } = watch();
    machine.become('running');
    machine.emit('io-error', 'hd0', ioError);
    machine.become('paused');
    expect(target.runState).toBe('io-error');
    expect(events.slice(1)).toEqual([
      ['BLOCK_IO_ERROR', { device: 'hd0', operation: 'write', action: 'stop', nospace: true, reason: 'full' }],
      ['STOP', {}],
    ]);
    machine.become('running');
    machine.become('paused');
    expect(target.runState).toBe('paused');
  });

  it.each([
    ['guest-poweroff', true, 'guest-shutdown'],
    ['guest-reset', true, 'guest-reset'],
    ['host-quit', false, 'host-ui'],
    ['crash', false, 'host-error'],
  ])('SHUTDOWN says why: %s', (reason, guest, cause) => {
    const { machine, events } = watch();
    machine.emit('exit', { reason, code: 0 });
    expect(events).toEqual([['SHUTDOWN', { guest, reason: cause }]]);
  });

  it('RTC_CHANGE says how far the clock is off', () => {
    const { machine, events } = watch();
    machine.emit('rtc-change', -3600);
    expect(events).toEqual([['RTC_CHANGE', { offset: -3600, 'qom-path': '' }]]);
  });

  it('RESET says who it was', () => {
    const { machine, events } = watch();
    machine.emit('reset', 'guest');
    machine.emit('reset', 'host');
    expect(events).toEqual([
      ['RESET', { guest: true, reason: 'guest-reset' }],
      ['RESET', { guest: false, reason: 'host-qmp-system-reset' }],
    ]);
  });

  it('DEVICE_DELETED has the id of a device that has one', () => {
    const { machine, events } = watch();
    machine.emit('device-deleted', { id: null, path: '/machine/peripheral/x/virtio-backend' });
    machine.emit('device-deleted', { id: 'x', path: '/machine/peripheral/x' });
    expect(events).toEqual([
      ['DEVICE_DELETED', { path: '/machine/peripheral/x/virtio-backend' }],
      ['DEVICE_DELETED', { device: 'x', path: '/machine/peripheral/x' }],
    ]);
  });
});
