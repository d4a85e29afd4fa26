/** Forms that are made from the types' tables: each kind of property, what is wrong with it, and what it is connected to. */
import { fireEvent, render, screen, within } from '@testing-library/svelte';
import { beforeAll, expect, test, vi } from 'vitest';
import type { AppInfo, HardwareTypes } from '../../main/ipc/contract.ts';
import { VmDraft } from '../../renderer/forms/draft.svelte.ts';
import AddDeviceDialog from '../../renderer/hardware/AddDeviceDialog.svelte';
import { droppedPaths } from '../../renderer/hardware/dropped.ts';
import PartForm from '../../renderer/hardware/PartForm.svelte';
import { addDevice, types } from '../../renderer/hardware/types.svelte.ts';

beforeAll(async () => {
  // The real table; the renderer's type check does not go into core, which it comes from.
  const main = await vi.importActual<{ hardwareTypes(): HardwareTypes }>('../../main/app/hardware-types.ts');
  types.all = main.hardwareTypes();
});

const limits = { memory: { min: 2 ** 24, max: 2 ** 31 }, harts: 8 };

function draftWith(type: string) {
  const draft = new VmDraft({ limits } as AppInfo);
  draft.name = 'vm';
  draft.source = 'files';
  draft.kernel = '/kernel';
  return { draft, part: addDevice(draft, types.device(type)!) };
}

function form(type: string) {
  const { draft, part } = draftWith(type);
  const onremove = vi.fn();
  render(PartForm, { draft, part, live: false, onremove });
  return { draft, part, onremove };
}

const deviceOf = (draft: VmDraft) => draft.settings!.devices[0];

test('what is typed is in the settings, and what is as by default is not', async () => {
  const { draft, part } = form('virtio-rng-pci');
  expect(part.id).toBe('rng1');
  const period = screen.getByTestId('property-period');
  await fireEvent.input(period, { target: { value: '1000' } });
  expect(deviceOf(draft)).toEqual({ driver: 'virtio-rng-pci', id: 'rng1', period: '1000' });
  await fireEvent.input(period, { target: { value: '65536' } });
  expect(deviceOf(draft)).toEqual({ driver: 'virtio-rng-pci', id: 'rng1' });
  const packed: HTMLInputElement = screen.getByTestId('property-packed');
  expect(packed.checked).toBe(false);
  await fireEvent.click(packed);
  expect(deviceOf(draft)).toMatchObject({ packed: 'on' });
});

test('units and bounds are shown, and what the app says is wrong is said at its field', async () => {
  const { draft, part } = form('virtio-net-pci');
  expect(screen.getByText('Mbit/s')).toBeTruthy();
  await fireEvent.input(screen.getByTestId('property-mac'), { target: { value: 'nonsense' } });
  draft.problems = [{ path: ['devices', 0, 'mac'], what: 'device net0', message: 'mac: "nonsense" is no MAC address' }];
  expect(draft.problemsOf(part)).toBe(1);
  const field = await screen.findByText('"nonsense" is no MAC address');
  expect(screen.getByTestId('property-mac').getAttribute('aria-invalid')).toBe('true');
  expect(screen.getByTestId('property-mac').getAttribute('aria-describedby')).toBe(field.id);
});

test('a device that needs something behind it gets it, and its form is inside the device’s', async () => {
  const { draft, part } = form('virtio-9p-pci');
  expect(part.properties['fsdev']).toBe('fsdev0');
  const nested = within(screen.getByTestId('part-fsdev0'));
  await fireEvent.change(nested.getByTestId('property-security_model'), { target: { value: 'none' } });
  await fireEvent.input(nested.getByTestId('property-path'), { target: { value: '/srv' } });
  expect(draft.settings!.fsdevs).toEqual([{ type: 'local', id: 'fsdev0', path: '/srv', security_model: 'none' }]);
  // A new name is followed by those who name it.
  await fireEvent.input(nested.getByTestId('part-id'), { target: { value: 'home' } });
  expect(deviceOf(draft)).toMatchObject({ fsdev: 'home' });
});

test('what a card is connected to is made where it is chosen', async () => {
  const { draft } = form('virtio-net-pci');
  await fireEvent.change(screen.getByTestId('property-netdev'), { target: { value: '+socket' } });
  expect(draft.settings!.netdevs).toEqual([{ type: 'socket', id: 'netdev0' }]);
  expect(deviceOf(draft)).toMatchObject({ netdev: 'netdev0' });
  expect(screen.getByTestId('part-netdev0')).toBeTruthy();
});

test('another bus is another type, with the same settings', async () => {
  const { draft } = form('virtio-rng-pci');
  await fireEvent.change(screen.getByTestId('part-transport'), { target: { value: 'virtio-rng-device' } });
  expect(deviceOf(draft)).toEqual({ driver: 'virtio-rng-device', id: 'rng1' });
});

test('types are found by what they are called and by what they are for; the keyboard chooses', async () => {
  const onchoose = vi.fn();
  render(AddDeviceDialog, { open: true, onchoose });
  const search = await screen.findByTestId('device-search');
  await fireEvent.input(search, { target: { value: 'entropy' } });
  expect(screen.getAllByRole('option').map((option) => option.dataset.testid)).toEqual(['device-type-virtio-rng']);
  await fireEvent.input(search, { target: { value: '' } });
  await fireEvent.keyDown(search, { key: 'ArrowDown' });
  const active = document.getElementById(search.getAttribute('aria-activedescendant') ?? '');
  expect([active?.dataset.at, active?.getAttribute('aria-selected')]).toEqual(['1', 'true']);
  await fireEvent.keyDown(search, { key: 'Enter' });
  expect(onchoose).toHaveBeenCalledOnce();
});

test('files that are dropped: as Electron says where they are, as a link says, or not at all', () => {
  const data = (files: unknown[], list = '') => ({ files, getData: () => list }) as unknown as DataTransfer;
  expect(droppedPaths(data([], 'file:///home/me/a%20b.raw\r\nhttps://example.org/x'))).toEqual({
    paths: ['/home/me/a b.raw'],
    unknown: 0,
  });
  expect(droppedPaths(data([{ name: 'disk.raw' }]))).toEqual({ paths: [], unknown: 1 });
  window.ringside = { pathOf: () => '/images/disk.raw' } as unknown as Window['ringside'];
  expect(droppedPaths(data([{ name: 'disk.raw' }]))).toEqual({ paths: ['/images/disk.raw'], unknown: 0 });
  delete window.ringside;
});
