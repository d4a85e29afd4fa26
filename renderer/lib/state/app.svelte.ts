/** What the window knows of the app: kept true by events, read anew after every reconnection. */
import { SvelteMap } from 'svelte/reactivity';
import { Client } from '../../../main/ipc/contract/client.ts';
import type { Transport } from '../../../main/ipc/contract/client.ts';
import { closeQuestion } from '../../../main/ipc/contract.ts';
import type { AppInfo, GuestInfo, LibraryProblem, LogEntry, VmInfo } from '../../../main/ipc/contract.ts';
import { electronTransport } from '../transport/electron.ts';
import type { Preload } from '../transport/electron.ts';
import { WebSocketTransport } from '../transport/web-socket.ts';
import type { LinkState } from '../transport/web-socket.ts';
import { act, lineOf, toasts } from './toasts.svelte.ts';

declare global {
  interface Window {
    ringside?: Preload;
  }
}

const LOG_KEPT = 500;

class AppState {
  link = $state<LinkState | 'quit'>('connecting');
  info = $state.raw<AppInfo | null>(null);
  readonly vms = new SvelteMap<string, VmInfo>();
  readonly guests = new SvelteMap<string, GuestInfo>();
  problems = $state.raw<LibraryProblem[]>([]);
  log = $state.raw<LogEntry[]>([]);
  /** The library has been read at least once. */
  loaded = $state(false);
  /** So has the catalogue. */
  guestsRead = $state(false);
  /** Counts connections: what is tied to one (watches, consoles) begins anew with the next. */
  generation = $state(0);
  /** VMs to be started as soon as their guest is downloaded. */
  readonly startWhenReady = new SvelteMap<string, string>();

  readonly client: Client;
  readonly #webSocket: WebSocketTransport | null = null;

  constructor() {
    let transport: Transport;
    if (window.ringside !== undefined) {
      transport = electronTransport(window.ringside);
    } else {
      this.#webSocket = new WebSocketTransport((state) => this.#linkChanged(state));
      transport = this.#webSocket;
    }
    this.client = new Client(transport, (text) => console.error(text));
    this.#follow();
  }

  readonly sortedVms = $derived([...this.vms.values()].sort((a, b) => a.created - b.created));
  readonly liveVms = $derived(this.sortedVms.filter(isLive));

  start(): void {
    if (this.#webSocket !== null) void this.#webSocket.start();
    else this.#linkChanged('open');
  }

  signIn(token: string): Promise<void> {
    if (this.#webSocket === null) return Promise.resolve();
    return this.#webSocket.signIn(token);
  }

  /** Ends the app, after the question has been answered. */
  async quit(): Promise<void> {
    const quit = await act(() => this.client.call('app.quit', { force: closeQuestion(this.liveVms) !== null }));
    if (!quit) return;
    this.#webSocket?.stop();
    this.link = 'quit';
  }

  /** Reads the library again. */
  async refresh(): Promise<void> {
    const { vms, problems } = await this.client.call('vm.list', {});
    const present = new Set(vms.map((vm) => vm.id));
    for (const id of this.vms.keys()) if (!present.has(id)) this.vms.delete(id);
    for (const vm of vms) this.vms.set(vm.id, vm);
    this.problems = problems;
    this.loaded = true;
  }

  async refreshGuests(): Promise<void> {
    const { guests } = await this.client.call('guests.list', {});
    this.guests.clear();
    for (const guest of guests) this.guests.set(guest.id, guest);
    this.guestsRead = true;
  }

  #linkChanged(state: LinkState): void {
    this.link = state;
    if (state === 'open') void this.#load();
  }

  async #load(): Promise<void> {
    try {
      this.generation++;
      this.info = await this.client.call('app.info', {});
      this.log = (await this.client.call('log.list', {})).entries;
      await this.refresh();
    } catch (error) {
      toasts.show('error', lineOf(error));
    }
    // The catalogue may be unreadable while all else works.
    await act(() => this.refreshGuests());
  }

  #follow(): void {
    this.client.on('vm.changed', (vm) => this.vms.set(vm.id, vm));
    this.client.on('vm.removed', ({ id }) => {
      this.vms.delete(id);
      this.startWhenReady.delete(id);
    });
    this.client.on('guest.changed', (guest) => {
      this.guests.set(guest.id, guest);
      this.#startWaiting(guest);
    });
    this.client.on('log', (entry) => {
      this.log = [...this.log.slice(1 - LOG_KEPT), entry];
    });
  }

  #startWaiting(guest: GuestInfo): void {
    // Who pauses a download means to go on with it.
    if (guest.state === 'fetching' || (guest.state === 'paused' && guest.error === null)) return;
    for (const [vm, waitsFor] of this.startWhenReady) {
      if (waitsFor !== guest.id) continue;
      this.startWhenReady.delete(vm);
      if (guest.state === 'ready') void act(() => this.client.call('vm.start', { id: vm }));
      else if (guest.error !== null) toasts.show('error', `${guest.name}: ${guest.error}`);
    }
  }
}

export function isLive(vm: VmInfo): boolean {
  return vm.state !== 'stopped' && vm.state !== 'crashed';
}

export const app = new AppState();
