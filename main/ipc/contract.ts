/**
 * The one contract between the app and whatever shows it. The Electron preload and main handlers, the browser server,
 * the renderer's client and the test doubles are all derived from `commands` and `events`; both ends check every message
 * against these schemas. Console bytes never come this way: see contract/console-frames.ts.
 */
import { z } from 'zod';
import { machineSnapshot } from '../../core/api/machine.ts';
import { machineView, objectView, registersView } from '../../core/api/machine-view.ts';
import type { ErrorKind } from '../../core/errors.ts';
import { actionNames } from './contract/actions.ts';
import { deltaOp } from './contract/delta.ts';
import { hardwareProblem, hardwareTypes } from './contract/hardware.ts';
import { inspectCommands } from './contract/inspect-commands.ts';
import { liveCommands } from './contract/live-hardware.ts';
import {
  appInfo,
  exportFormat,
  consoleInfo,
  fileListing,
  fileStatus,
  guestId,
  guestInfo,
  hostPath,
  imageBytes,
  libraryProblem,
  logEntry,
  monitorEntry,
  portName,
  vmId,
  vmInfo,
  vmName,
  vmSettings,
  vmSettingsDraft,
} from './contract/schemas.ts';

const nothing = z.strictObject({});
const oneVm = z.strictObject({ id: vmId });
const onePort = z.strictObject({ id: vmId, port: portName });
const consoles = z.object({ ports: z.array(consoleInfo) });
const oneGuest = z.strictObject({ id: guestId });

const done = z.object({});
const imageSize = z.strictObject({
  path: hostPath,
  size: imageBytes,
});

const webAddress = z
  .string()
  .max(2048)
  .refine((text) => URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol), 'not a web address');

/** What the desktop around a window asks of its page. */
const uiRequest = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('action'), action: z.enum(actionNames) }),
  z.strictObject({ kind: z.literal('show-vm'), id: vmId }),
  /** A file that was opened with the app. */
  z.strictObject({ kind: z.literal('open-file'), path: hostPath }),
]);
export type UiRequest = z.infer<typeof uiRequest>;

/** Every command: what it takes, what it gives. */
export const commands = {
  'app.info': { params: nothing, result: appInfo },
  /** Ends the app. With VMs running it is refused (bad-state) unless `force`, which powers them off, disks flushed. */
  'app.quit': { params: z.strictObject({ force: z.boolean() }), result: done },
  /** The last few hundred log entries, oldest first. */
  'log.list': { params: nothing, result: z.object({ entries: z.array(logEntry) }) },
  /** Opens the folder with the log files on the person's desktop; `unsupported` where there is none. */
  'log.reveal': { params: nothing, result: done },
  /** Tells the desktop which VM the page shows, for its menus; from the first time on the page gets `ui.request`s. */
  /** Opens an address in the person's browser, once they have agreed to; `unsupported` where there is no desktop. */
  'ui.openLink': { params: z.strictObject({ url: webAddress }), result: done },
  'ui.context': { params: z.strictObject({ vm: vmId.nullable() }), result: done },

  'vm.list': { params: nothing, result: z.object({ vms: z.array(vmInfo), problems: z.array(libraryProblem) }) },
  'vm.create': { params: z.strictObject({ settings: vmSettings }), result: vmInfo },
  /** Of a VM that is on, all but the name applies at its next start (`pending`). */
  'vm.update': { params: z.strictObject({ id: vmId, settings: vmSettings }), result: vmInfo },
  /** Removes the VM from the library, and of its disk images the named ones, which no other VM may have. */
  'vm.delete': { params: z.strictObject({ id: vmId, disks: z.array(hostPath).default([]) }), result: done },
  /** A VM like one that is off; `copy`: with copies of the disks it writes to, else with none of those. */
  'vm.clone': {
    params: z.strictObject({ id: vmId, name: vmName, disks: z.enum(['copy', 'leave-out']) }),
    result: vmInfo,
  },
  /** Ends the clone that is being made of this VM; nothing of it stays. */
  'vm.cancelClone': { params: oneVm, result: done },
  /** What its console shows, as text; the last screen of a VM that is off. */
  'vm.screen': { params: oneVm, result: z.object({ lines: z.array(z.string()) }) },
  /** What the types of its devices and back ends do not allow; empty: nothing. */
  'vm.check': {
    params: z.strictObject({ settings: vmSettings }),
    result: z.object({ problems: z.array(hardwareProblem) }),
  },
  /** From a command line of QEMU, a libvirt domain or the text of a .ringside file. Nothing is made of it yet; `notes`: what was not taken over. */
  'vm.import': {
    params: z.strictObject({ text: z.string().max(2 ** 20, 'far too long for the description of a VM') }),
    result: z.object({ settings: vmSettingsDraft, notes: z.array(z.string()) }),
  },
  /** As vm.import, from a file of the host. */
  'vm.importFile': {
    params: z.strictObject({ path: hostPath }),
    result: z.object({ settings: vmSettingsDraft, notes: z.array(z.string()) }),
  },
  /** `notes`: what the form cannot say, and what is to be done by hand. */
  'vm.export': {
    params: z.strictObject({ settings: vmSettings, format: exportFormat }),
    result: z.object({ text: z.string(), notes: z.array(z.string()) }),
  },
  /** What a VM can be made of. Does not change while the app runs. */
  'hardware.types': { params: nothing, result: hardwareTypes },
  'vm.start': { params: oneVm, result: vmInfo },
  'vm.pause': { params: oneVm, result: vmInfo },
  'vm.resume': { params: oneVm, result: vmInfo },
  'vm.reset': { params: oneVm, result: vmInfo },
  /** Pulls the plug; what the guest wrote to its disks is flushed. */
  'vm.powerOff': { params: oneVm, result: vmInfo },
  /** null while no machine exists. */
  'vm.snapshot': { params: oneVm, result: z.object({ snapshot: machineSnapshot.nullable() }) },
  /** As vm.snapshot, and from now on `machine.delta` events follow to this client, at most 10 a second. */
  'vm.watch': { params: oneVm, result: z.object({ snapshot: machineSnapshot.nullable(), seq: z.number().int() }) },
  'vm.unwatch': { params: oneVm, result: done },

  ...liveCommands,

  /** What a machine that is on is made of, now. */
  'machine.view': { params: oneVm, result: machineView },
  'machine.object': { params: z.strictObject({ id: vmId, path: z.string().max(1000) }), result: objectView },
  /** All harts stand still for a moment. */
  'machine.registers': {
    params: z.strictObject({ id: vmId, hart: z.number().int().min(0).max(7) }),
    result: registersView,
  },

  /** A one-time ticket with which the transport opens a byte stream to a console port (contract/console-frames.ts). */
  'console.attach': { params: onePort, result: z.object({ stream: z.string() }) },
  /** As console.attach, for HMP of a VM that is on. */
  'monitor.attach': { params: oneVm, result: z.object({ stream: z.string() }) },
  /** What was said after the entry with this number, oldest first. */
  'monitor.log': {
    params: z.strictObject({ id: vmId, after: z.number().int().min(0) }),
    result: z.object({ entries: z.array(monitorEntry) }),
  },
  /** Executes a request of QMP, JSON; so is the reply. */
  'monitor.execute': {
    params: z.strictObject({ id: vmId, request: z.string().max(65_536) }),
    result: z.object({ reply: z.string() }),
  },
  'console.list': { params: oneVm, result: consoles },
  /** Gives a console a pseudo-terminal of the host, until closePty or until the VM goes off. */
  'console.openPty': { params: onePort, result: consoles },
  'console.closePty': { params: onePort, result: consoles },
  /** Keeps what a console shows in a file, the scrollback first; a file that is there only with `append` (else in-use). */
  'console.startLog': { params: onePort.extend({ file: hostPath, append: z.boolean() }), result: consoles },
  'console.stopLog': { params: onePort, result: consoles },

  ...inspectCommands,

  'guests.list': { params: nothing, result: z.object({ guests: z.array(guestInfo) }) },
  /** Begins the download, or goes on with one that was paused; `guest.changed` events tell the rest. */
  'guests.fetch': { params: oneGuest, result: guestInfo },
  /** What has come is kept. */
  'guests.pause': { params: oneGuest, result: guestInfo },
  /** Ends a download, paused or not; what has come of it is removed. */
  'guests.cancel': { params: oneGuest, result: guestInfo },
  'guests.remove': { params: oneGuest, result: guestInfo },

  /** A directory of the host; home when no path is given. */
  'files.browse': { params: z.strictObject({ path: hostPath.optional() }), result: fileListing },
  'files.stat': { params: z.strictObject({ path: hostPath }), result: fileStatus },
  /** The native dialog; `unsupported` where there is none. path is null when the person cancels. */
  'files.pick': {
    params: z.strictObject({
      kind: z.enum(['open', 'save', 'folder']),
      title: z.string().max(200),
      path: hostPath.optional(),
    }),
    result: z.object({ path: z.string().nullable() }),
  },
  /** Text into a file that the person chooses in the native dialog; null when they cancel. `unsupported` without dialogs. */
  'files.saveText': {
    params: z.strictObject({
      title: z.string().max(200),
      /** What the file is to be called unless they say otherwise. */
      name: z.string().regex(/^[^/\\\0]{1,200}$/, 'not the name of a file'),
      text: z.string().max(2 ** 20),
    }),
    result: z.object({ path: z.string().nullable() }),
  },
  /** A new raw image, sparse. Never overwrites. */
  'disks.create': { params: imageSize, result: fileStatus },
  /** Makes a raw image larger, never smaller. For a VM that is on there is vm.resizeDisk. */
  'disks.grow': { params: imageSize, result: fileStatus },
} as const satisfies Record<string, { params: z.ZodType; result: z.ZodType }>;

/** Every event that the app sends by itself. */
export const events = {
  'vm.changed': vmInfo,
  'vm.removed': oneVm,
  'console.changed': consoles.extend({ id: vmId }),
  'guest.changed': guestInfo,
  /** Turns the watcher's last snapshot into the present one. `seq` counts up by one; a gap means: watch again. */
  'machine.delta': z.strictObject({ id: vmId, seq: z.number().int(), ops: z.array(deltaOp) }),
  log: logEntry,
  'ui.request': uiRequest,
} as const satisfies Record<string, z.ZodType>;

export type CommandName = keyof typeof commands;
export type Params<K extends CommandName> = z.infer<(typeof commands)[K]['params']>;
/** What a caller may pass: defaults may be left out. */
export type ParamsInput<K extends CommandName> = z.input<(typeof commands)[K]['params']>;
export type Result<K extends CommandName> = z.infer<(typeof commands)[K]['result']>;
export type EventName = keyof typeof events;
export type EventPayload<K extends EventName> = z.infer<(typeof events)[K]>;

export const commandNames = Object.keys(commands) as CommandName[];
export const eventNames = Object.keys(events) as EventName[];

export function isCommand(name: unknown): name is CommandName {
  return typeof name === 'string' && Object.hasOwn(commands, name);
}

export function isEvent(name: unknown): name is EventName {
  return typeof name === 'string' && Object.hasOwn(events, name);
}

/** One line from what a schema found: "drives.0.file: choose a file". */
export function issueLine(issues: readonly { path: readonly PropertyKey[]; message: string }[]): string {
  const first = issues[0];
  if (first === undefined) return 'not as agreed';
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  const path = first.path.map(String).join('.');
  return `${path === '' ? '' : `${path}: `}${first.message}${more}`;
}

/** How an error crosses. */
export const wireError = z.object({ kind: z.string(), message: z.string() });
export type WireError = { kind: ErrorKind; message: string };

export const reply = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), result: z.unknown() }),
  z.object({ ok: z.literal(false), error: wireError }),
]);
export type Reply = { ok: true; result: unknown } | { ok: false; error: WireError };

/** Messages of the browser's control WebSocket (text frames). */
export const wireCall = z.strictObject({ id: z.number().int().min(0), name: z.string().max(64), params: z.unknown() });
export const wireMessage = z.union([
  z.object({ id: z.number().int(), reply }),
  z.object({ event: z.string(), payload: z.unknown() }),
]);

/** Two-way byte messages: a MessagePort in Electron, a WebSocket with binary frames in the browser, a pair in tests. */
export interface BytePort {
  send(bytes: Uint8Array): void;
  close(): void;
  /** Bytes handed to send() that have not left yet, where that is known. */
  readonly buffered: number;
  onMessage(listener: (bytes: Uint8Array) => void): void;
  onClose(listener: () => void): void;
}

/** What the question is when the app is asked to close, or null when nothing runs and none is needed. */
export function closeQuestion(vms: readonly { settings: { name: string }; state: string }[]) {
  const live = vms.filter((vm) => ['starting', 'running', 'paused', 'stopping'].includes(vm.state));
  if (live.length === 0) return null;
  const names = live.map((vm) => `“${vm.settings.name}”`);
  const shown = names.length > 3 ? [...names.slice(0, 2), `${names.length - 2} more`] : names;
  const list = shown.length === 1 ? shown[0] : `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}`;
  return {
    title: 'Quit Ringside?',
    message: live.length === 1 ? `${list} is still running.` : `${list} are still running.`,
    detail:
      'Quitting pulls the plug: disks are flushed, but the guest gets no chance to shut down. ' +
      'Shut it down inside the guest first if it has work to save.',
    confirm: live.length === 1 ? 'Power off and quit' : 'Power all off and quit',
    cancel: 'Keep running',
  };
}

export * from './contract/hardware.ts';
export * from './contract/live-hardware.ts';
export * from './contract/actions.ts';
export * from '../../core/api/live.ts';
export * from './contract/schemas.ts';
export * from '../../core/api/capture.ts';
export * from '../../core/api/inspect.ts';
export * from '../../core/api/latency.ts';
export * from '../../core/api/lint.ts';
export * from '../../core/api/queue-view.ts';
export * from '../../core/api/machine.ts';
export * from '../../core/api/machine-view.ts';
