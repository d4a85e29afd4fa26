/** A VM's hardware while it is on: what is said of a device, what the guest has to do, and what is asked of the app. */
import { fireEvent, render, screen } from '@testing-library/svelte';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { AppInfo, HardwareTypes, HotplugPort, LiveDevice, LiveHardware } from '../../main/ipc/contract.ts';
import { VmDraft } from '../../renderer/forms/draft.svelte.ts';
import AttachBox from '../../renderer/hardware/AttachBox.svelte';
import { keepImages, takeImages } from '../../renderer/hardware/dropped.ts';
import { attachSteps, detachSteps } from '../../renderer/hardware/guest-steps.ts';
import { addPorts, plugParts, whyNotPluggable } from '../../renderer/hardware/live.svelte.ts';
import type { Live } from '../../renderer/hardware/live.svelte.ts';
import LiveBox from '../../renderer/hardware/LiveBox.svelte';
import PortsPanel from '../../renderer/hardware/PortsPanel.svelte';
import PropertyField from '../../renderer/hardware/PropertyField.svelte';
import { addDevice, types } from '../../renderer/hardware/types.svelte.ts';
import { confirm } from '../../renderer/lib/ui/confirm.svelte.ts';

const MIB = 2 ** 20;

beforeAll(async () => {
  const main = await vi.importActual<{ hardwareTypes(): HardwareTypes }>('../../main/app/hardware-types.ts');
  types.all = main.hardwareTypes();
});
beforeEach(() => confirm.answer(false));

const port = (change: Partial<HotplugPort> = {}): HotplugPort => ({
  id: 'rp0',
  bus: 'rp0',
  address: '0000:00:01.0',
  slotControl: 0x6c,
  secondary: 1,
  devices: ['disk0'],
  served: false,
  powered: true,
  busy: false,
  ...change,
});
const device = (change: Partial<LiveDevice> = {}): LiveDevice => ({
  id: 'disk0',
  driver: 'virtio-blk-pci',
  bus: 'rp0',
  busKind: 'port',
  hotplugged: true,
  removable: true,
  address: '0000:01:00.0',
  ready: true,
  link: null,
  disk: { drive: 'd', file: '/images/a.raw', format: 'raw', size: 64 * MIB, writeCache: true, readonly: false },
  leaving: null,
  ...change,
});
const asked = (state: 'waiting' | 'silent' | 'refused', ago = 60_000) => ({
  leaving: { state, since: Date.now() - ago, forget: false },
});

function live(ports: HotplugPort[], balloon: LiveHardware['balloon'] = null) {
  const fake = {
    now: { ports, devices: [], balloon } satisfies LiveHardware,
    portOf: ({ bus }: LiveDevice) => ports.find((each) => each.bus === bus),
    unplug: vi.fn(),
    setLink: vi.fn(),
    setBalloon: vi.fn(),
  };
  return Object.assign(fake, { as: fake as unknown as Live });
}

const box = (shown: LiveDevice, ports = [port()], kept = false) => {
  const fake = live(ports);
  render(LiveBox, { live: fake.as, device: shown, kept });
  return fake;
};
const status = () => screen.getByTestId('live-status').textContent;
const steps = () => screen.queryByTestId('guest-steps')?.textContent;

describe('a device in the running machine', () => {
  test('that the guest has not found yet: what Debian has to be told', () => {
    box(device({ ready: false }), [port({ powered: false })]);
    expect(status()).toContain('the guest has not turned its slot on');
    expect(steps()).toBe(
      "printf '\\300\\001' | dd of=/sys/bus/pci/devices/0000:00:01.0/config bs=1 seek=108 conv=notrunc\n" +
        'echo 1 > /sys/bus/pci/rescan',
    );
  });

  test('a guest that serves its slots is told nothing', () => {
    box(device({ ready: false }), [port({ served: true })]);
    expect(status()).toContain('its driver is not ready yet');
    expect(steps()).toBeUndefined();
  });

  test('one that is asked for: waiting, busy, silent, refused', () => {
    box(device(asked('waiting')));
    expect(status()).toBe('Waiting for the guest to let go');
    expect(steps()?.split('\n')[0]).toBe('echo 1 > /sys/bus/pci/devices/0000:01:00.0/remove');
  });

  test.each([
    ['waiting', port({ busy: true, served: true }), 'The guest is letting go of it', undefined],
    ['silent', port({ served: true }), 'The guest has not let go of it', 'remove'],
    ['refused', port(), 'The guest keeps it', undefined],
  ] as const)('%s', (state, slot, text, step) => {
    box(device(asked(state)), [slot]);
    expect(status()).toBe(text);
    if (step === undefined) expect(steps()).toBeUndefined();
    else expect(steps()).toContain(step);
  });

  test('it can be asked for again, but not at once', () => {
    box(device(asked('waiting', 0)));
    expect((screen.getByTestId('detach') as HTMLButtonElement).disabled).toBe(true);
  });

  test('detaching asks first; what is in the settings may go from there too', async () => {
    const fake = box(device(), [port()], true);
    await fireEvent.click(screen.getByTestId('detach'));
    expect(confirm.question).toMatchObject({ title: 'Detach disk0?', choices: [{ value: 'forget', chosen: true }] });
    confirm.answer(true);
    await vi.waitFor(() => expect(fake.unplug).toHaveBeenCalledWith('disk0', true));
  });

  test.each([
    [{ busKind: 'virtio-mmio', bus: 'virtio-mmio-bus.7', removable: false }, 'no way to tell a guest'],
    [{ busKind: 'pci', bus: 'pcie.0', removable: false }, 'on the root bus stays'],
    [{ busKind: 'port', removable: false }, 'hotplug=off'],
  ] as const)('one that stays says why: %o', (change, why) => {
    box(device(change));
    expect(screen.queryByTestId('detach')).toBeNull();
    expect(screen.getByText(new RegExp(why))).toBeTruthy();
  });

  test('the cable of a network card', async () => {
    const fake = box(device({ id: 'net0', driver: 'virtio-net-pci', disk: null, link: true }));
    await fireEvent.click(screen.getByTestId('live-link'));
    expect(fake.setLink).toHaveBeenCalledWith('net0', false);
  });

  test('the balloon: what is wanted, and what the guest has', async () => {
    const fake = live([port()], { actual: 512 * MIB, max: 512 * MIB });
    const balloon = device({ id: 'b', driver: 'virtio-balloon-pci', disk: null });
    render(LiveBox, { live: fake.as, device: balloon, kept: true });
    const slider = screen.getByRole('slider', { name: 'Memory for the guest' });
    await fireEvent.input(slider, { target: { value: String(256 * MIB) } });
    expect(screen.getByTestId('balloon-actual').textContent).toContain('has 512 MiB of 512 MiB; it gives memory up');
    await fireEvent.change(slider, { target: { value: String(256 * MIB) } });
    expect(fake.setBalloon).toHaveBeenCalledWith(256 * MIB);
  });
});

test('commands for the guest follow port and address', () => {
  const other = port({ address: '0000:00:0a.0', slotControl: 0x50 });
  expect(attachSteps(other)[0]).toContain('0000:00:0a.0/config bs=1 seek=80 ');
  // The guest does not know of it: there is nothing to remove.
  expect(detachSteps(other, null)).toHaveLength(1);
});

describe('a device that the running machine does not have', () => {
  test('is attached, to stay or not', async () => {
    const onattach = vi.fn(() => Promise.resolve());
    render(AttachBox, { id: 'disk0', kept: false, why: null, wrong: false, onattach });
    await fireEvent.click(screen.getByTestId('attach-now'));
    expect(onattach).toHaveBeenLastCalledWith(true);
    await fireEvent.click(screen.getByTestId('keep'));
    await fireEvent.click(screen.getByTestId('attach-now'));
    expect(onattach).toHaveBeenLastCalledWith(false);
  });

  test('or says why it cannot be, and offers ports', async () => {
    const onports = vi.fn();
    render(AttachBox, { id: 'a', kept: true, why: 'There are no ports.', wrong: false, onattach: vi.fn(), onports });
    expect(screen.queryByTestId('attach-now')).toBeNull();
    await fireEvent.click(screen.getByTestId('add-ports'));
    expect(onports).toHaveBeenCalled();
  });
});

function draft() {
  const made = new VmDraft({ limits: { memory: { min: MIB, max: 2 ** 31 }, harts: 8 } } as AppInfo);
  made.name = 'vm';
  made.source = 'files';
  made.kernel = '/kernel';
  return made;
}

test('what is attached is the device with what is behind it', () => {
  const made = draft();
  const folder = addDevice(made, types.device('virtio-9p-pci')!);
  made.parts.find(({ list }) => list === 'fsdevs')!.properties.path = '/srv';
  expect(plugParts(made, folder)).toEqual({
    device: { driver: 'virtio-9p-pci', id: folder.id, fsdev: 'fsdev0' },
    fsdevs: [{ type: 'local', id: 'fsdev0', path: '/srv' }],
  });
  made.addDrive('/a.raw');
  const disk = made.addPart('devices', 'virtio-blk-pci', 'disk', { drive: 'drive0' });
  expect(plugParts(made, disk)).toMatchObject({ drive: { id: 'drive0', file: '/a.raw', if: 'none' } });
  expect(whyNotPluggable(disk)).toBeNull();
  disk.type = 'virtio-blk-device';
  expect(whyNotPluggable(disk)).toContain('virtio-mmio slot');
});

test('ports have numbers of their own, and show what is in them', async () => {
  const made = draft();
  addPorts(made, 2);
  made.removePart(made.parts[0].key);
  addPorts(made, 2);
  const numbers = made.parts.map(({ properties }) => properties.chassis);
  expect(numbers.toSorted()).toEqual(['1', '2', '3']);
  expect(new Set(made.parts.map(({ id }) => id)).size).toBe(3);
  const onshow = vi.fn();
  const id = made.parts[0].id;
  const fake = live([port({ id, bus: id })]);
  render(PortsPanel, { draft: made, live: fake.as, onadd: vi.fn(), onopen: vi.fn(), onshow });
  expect(screen.getByText(/no driver in the guest/)).toBeTruthy();
  expect(screen.getAllByText('comes with the next start')).toHaveLength(2);
  await fireEvent.click(screen.getByText('disk0'));
  expect(onshow).toHaveBeenCalledWith('disk0');
});

test('a list of structures is edited in rows', async () => {
  const made = draft();
  addDevice(made, types.device('virtio-blk-pci')!);
  made.addPart('objects', 'iothread', 'iothread');
  const property = types.device('virtio-blk-pci')!.properties.find(({ kind }) => kind === 'struct-list')!;
  const onchange = vi.fn();
  const field = render(PropertyField, { draft: made, property, value: undefined, problem: null, onchange });
  await fireEvent.click(screen.getByTestId('add-row'));
  expect(onchange).toHaveBeenLastCalledWith('[{}]');
  await field.rerender({ value: '[{}]' });
  await fireEvent.change(screen.getByLabelText('iothread of row 1'), { target: { value: 'iothread0' } });
  expect(onchange).toHaveBeenLastCalledWith('[{"iothread":"iothread0"}]');
  await field.rerender({ value: '[{"iothread":"iothread0"}]' });
  await fireEvent.change(screen.getByLabelText('vqs of row 1'), { target: { value: '0, 2' } });
  expect(onchange).toHaveBeenLastCalledWith('[{"iothread":"iothread0","vqs":[0,2]}]');
  await fireEvent.click(screen.getByRole('button', { name: 'Remove row 1' }));
  expect(onchange).toHaveBeenLastCalledWith(undefined);
});

test('a property that can change while the VM is on is applied now', async () => {
  const property = types.backend('object', 'iothread')!.properties.find(({ name }) => name === 'poll-max-ns')!;
  const onapply = vi.fn();
  render(PropertyField, {
    draft: draft(),
    property,
    value: '1000',
    problem: null,
    onchange: vi.fn(),
    live: true,
    onapply,
  });
  await fireEvent.click(screen.getByTestId('apply-poll-max-ns'));
  expect(onapply).toHaveBeenCalledWith('1000');
});

test('images that are dropped on another page of a VM wait for its Hardware page', () => {
  keepImages('a', ['/1.raw']);
  keepImages('a', ['/2.raw']);
  expect(takeImages('b')).toEqual([]);
  expect(takeImages('a')).toEqual(['/1.raw', '/2.raw']);
  expect(takeImages('a')).toEqual([]);
});
