/** The hardware of a VM that is on: what is in the machine now, beside what its settings say. */
import type { HotplugPort, LiveDevice, LiveHardware, ParamsInput, VmInfo } from '../../main/ipc/contract.ts';
import type { PartDraft, VmDraft } from '../forms/draft.svelte.ts';
import { Poll } from '../inspector/poll.svelte.ts';
import { app } from '../lib/state/app.svelte.ts';
import { act, toasts } from '../lib/state/toasts.svelte.ts';
import { LIST_OF, types } from './types.svelte.ts';

/** From one look to the next, ms: what changes is done by people, here or in the guest. */
const LOOK_MS = 700;
type Parts = ParamsInput<'vm.plug'>['parts'];

export class Live {
  readonly id: string;
  readonly #poll: Poll<'machine.hardware'>;
  /** Devices that somebody here has asked for, to say when they are gone. */
  #asked: readonly string[] = [];

  constructor(vm: VmInfo) {
    this.id = vm.id;
    this.#poll = new Poll('machine.hardware', { id: vm.id }, LOOK_MS);
  }

  get now(): LiveHardware | null {
    return this.#poll.value;
  }

  device(id: string): LiveDevice | undefined {
    return this.now?.devices.find((device) => device.id === id);
  }

  portOf(device: LiveDevice): HotplugPort | undefined {
    return this.now?.ports.find(({ bus }) => bus === device.bus);
  }

  /** Whether another card finds room, or why not. */
  get room(): { free: number; why: string | null } {
    const ports = this.now?.ports ?? [];
    const free = ports.filter(({ devices }) => devices.length === 0).length;
    if (this.now === null || free > 0) return { free, why: null };
    return {
      free,
      why:
        ports.length === 0
          ? 'This VM was started without hotplug ports, so nothing can be attached while it is on.'
          : 'All hotplug ports are taken: detach something first.',
    };
  }

  /** Says what is gone since it was asked for. To be called whenever `now` has changed. */
  announce(): void {
    if (this.now === null) return;
    const gone = this.#asked.filter((id) => this.device(id) === undefined);
    this.#asked = this.#asked.filter((id) => !gone.includes(id));
    for (const id of gone) toasts.show('info', `${id} is detached.`);
  }

  /** @returns the bus that it is on; null when it could not be attached, which has been said then */
  async plug(parts: Parts, keep: boolean): Promise<{ bus: string | null } | null> {
    let plugged: { bus: string | null } | null = null;
    await act(async () => {
      plugged = await app.client.call('vm.plug', { id: this.id, parts, keep });
    });
    await this.#poll.now();
    return plugged;
  }

  async unplug(device: string, forget: boolean): Promise<void> {
    if (await act(() => app.client.call('vm.unplug', { id: this.id, device, forget })))
      this.#asked = [...this.#asked, device];
    await this.#poll.now();
  }

  /** @throws RemoteError */
  async resize(drive: string, size: number): Promise<void> {
    await app.client.call('vm.resizeDisk', { id: this.id, drive, size });
    await this.#poll.now();
  }

  async setLink(device: string, up: boolean): Promise<void> {
    await act(() => app.client.call('vm.setLink', { id: this.id, device, up }));
    await this.#poll.now();
  }

  async setBalloon(bytes: number): Promise<void> {
    await act(() => app.client.call('vm.setBalloon', { id: this.id, bytes }));
    await this.#poll.now();
  }

  async setProperty(object: string, property: string, value: string): Promise<void> {
    const done = await act(() => app.client.call('vm.setProperty', { id: this.id, object, property, value }));
    if (done) toasts.show('info', `${property} of ${object} is ${value} now.`);
  }

  stop(): void {
    this.#poll.stop();
  }
}

/** Whether a device can be attached to a machine that is on, and else why not. */
export function whyNotPluggable(part: PartDraft): string | null {
  const type = types.device(part.type);
  if (type === undefined) return `There is no type “${part.type}”.`;
  if (part.type === 'pcie-root-port') return 'Hotplug ports are part of the board: they come with the next start.';
  if (type.bus === 'virtio-bus') {
    return 'A virtio-mmio slot cannot tell a guest that something has come. Choose “PCI” under “Connected by” to attach it now, or save it for the next start.';
  }
  return null;
}

/** A device of a draft with what is behind it, as vm.plug takes it. */
export function plugParts(draft: VmDraft, part: PartDraft): Parts | null {
  const { devices = [], drives = [] } = draft.input;
  const device = devices.find(({ id }) => id === part.id.trim());
  if (device === undefined || part.id.trim() === '') return null;
  const parts: Parts = { device: { ...device, id: part.id.trim() } };
  for (const property of types.of(part)?.properties ?? []) {
    const id = part.properties[property.name];
    if (property.kind !== 'link' || id === undefined) continue;
    if (property.target === 'drive') {
      const drive = drives.find((each) => each.id === id);
      if (drive !== undefined) parts.drive = { ...drive, if: 'none' };
      continue;
    }
    const list = LIST_OF[(property.target ?? 'object') as keyof typeof LIST_OF] ?? 'objects';
    const backend = draft.input[list]?.find((each) => each.id === id);
    if (backend !== undefined) parts[list] = [...(parts[list] ?? []), backend];
  }
  return parts;
}

/** New ports, without which nothing comes while the VM is on. */
export function addPorts(draft: VmDraft, count: number): PartDraft[] {
  const taken = draft.parts.filter(({ type }) => type === 'pcie-root-port').map(({ properties }) => properties.chassis);
  const made: PartDraft[] = [];
  for (let chassis = 1; made.length < count && chassis <= 255; chassis++) {
    if (taken.includes(String(chassis))) continue;
    made.push(draft.addPart('devices', 'pcie-root-port', 'rp', { chassis: String(chassis) }));
  }
  return made;
}
