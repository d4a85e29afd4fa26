/**
 * The app without windows: the library, its machines, the catalogue, the host's files, and the commands over them. An
 * Electron window (main/electron) and a browser (main/serve) are two ways to open a session to it.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { errorLine, RingsideError } from '../../core/errors.ts';
import { configProblems } from '../../core/machine/check-config.ts';
import { closeQuestion } from '../ipc/contract.ts';
import type { AppInfo, Params, VmInfo } from '../ipc/contract.ts';
import { Dispatcher } from '../ipc/dispatcher.ts';
import type { Handlers, Session } from '../ipc/dispatcher.ts';
import { Consoles } from './consoles.ts';
import { HostFiles } from './files.ts';
import { hardwareTypes } from './hardware-types.ts';
import { GuestService } from './guest-service.ts';
import type { GuestCatalogue } from './guest-service.ts';
import { exportVm, importVm } from './interchange/index.ts';
import { MAX_TEXT } from './interchange/model.ts';
import { InspectService } from './inspect-service.ts';
import { LiveHardware } from './live-hardware.ts';
import { Log } from './log.ts';
import { LogFile } from './log-file.ts';
import type { MachineFactory } from './machine.ts';
import type { PtyOpener } from './host-pty.ts';
import { dataHome } from './paths.ts';
import { MonitorService } from './monitor-service.ts';
import { SnapshotFeed } from './snapshot-feed.ts';
import { Streams } from './streams.ts';
import { VmManager } from './vm-manager.ts';
import { VmStore } from './vm-store.ts';

export interface AppOptions {
  version: string;
  machines: MachineFactory;
  guests: GuestCatalogue;
  /** Largest guest RAM the machine can have, bytes. */
  maxMemory: number;
  /** The library's folder; dataHome() unless told otherwise. */
  home?: string;
  /** The native file dialog, where there is one: an absolute path, or null when the person cancels. */
  pick?: (request: Params<'files.pick'>) => Promise<string | null>;
  /** What opens terminals of the host, where it can. */
  ptys?: PtyOpener | null;
  /** The desktop around the windows, where there is one. */
  desktop?: DesktopLink;
  /** Ends the process, after everything has been shut down. */
  quit?: () => void;
}

/** What a session can tell the desktop that it is on. */
export interface DesktopLink {
  /** The page shows this VM, or none, and takes `ui.request`s. */
  context(session: Session, vm: string | null): void;
  /** Shows a folder of the host. @throws when it cannot */
  reveal(folder: string): Promise<void>;
  /** Asks the person, then opens a web address that a guest may have chosen. */
  openLink(url: string): Promise<void>;
}

export interface App {
  readonly dispatcher: Dispatcher;
  readonly streams: Streams;
  readonly home: string;
  /** The folder with the log files. */
  readonly logs: string;
  /** Something that should not have happened, for the log. */
  report(text: string): void;
  /** What is known of every VM now. */
  vms(): VmInfo[];
  /** Powers everything off, disks flushed. */
  close(): Promise<void>;
}

const MIN_MEMORY = 16 * 2 ** 20;
const MAX_HARTS = 8;

export async function createApp(options: AppOptions): Promise<App> {
  const home = options.home ?? dataHome();
  const disks = path.join(home, 'disks');
  const captures = path.join(home, 'captures');
  await mkdir(home, { recursive: true, mode: 0o700 });

  const report = (text: string) => log.add('error', null, text);
  const logFile = new LogFile(path.join(home, 'logs'));
  const log = new Log((entry) => {
    logFile.add(entry);
    dispatcher.broadcast('log', entry);
  });
  const manager: VmManager = new VmManager({
    store: new VmStore(home),
    machines: options.machines,
    guestBoot: (guest) => guests.boot(guest),
    events: {
      changed: (vm) => {
        if (vm.state === 'stopped' || vm.state === 'crashed') {
          consoles.off(vm.id);
          monitors.off(vm.id);
        }
        dispatcher.broadcast('vm.changed', vm);
      },
      removed: (id) => {
        void consoles.forget(id);
        monitors.forget(id);
        dispatcher.broadcast('vm.removed', { id });
      },
      booted: (id, machine) => {
        hardware.follow(id, machine);
        monitors.on(id);
      },
      log: (level, vm, text) => log.add(level, vm, text),
    },
  });
  const hardware: LiveHardware = new LiveHardware(
    {
      machine: (id) => manager.machine(id),
      target: (id) => manager.target(id),
      booted: (id) => manager.booted(id),
      exclusive: (id, act) => manager.live(id, act),
      release: (id, drive) => manager.release(id, drive),
    },
    (id, error) => log.add('error', id, errorLine(error)),
  );
  const guests: GuestService = new GuestService(
    options.guests,
    (guest) => dispatcher.broadcast('guest.changed', guest),
    (guest) => manager.usesGuest(guest),
  );
  const consoles: Consoles = new Consoles({
    source: manager,
    opener: options.ptys ?? null,
    changed: (id, ports) => dispatcher.broadcast('console.changed', { id, ports }),
    problem: (id, text) => log.add('error', id, `“${manager.info(id).settings.name}”: ${text}`),
  });
  const monitors: MonitorService = new MonitorService(
    options.version,
    (id) => manager.machine(id),
    (id) => manager.target(id),
  );
  const files = new HostFiles(disks);
  const feed = new SnapshotFeed((id) => manager.snapshot(id));
  const streams = new Streams();
  const inspect = new InspectService(streams, captures, (id) => manager.machine(id).inspector);

  const info = (host: AppInfo['host']): AppInfo => ({
    version: options.version,
    host,
    platform: process.platform,
    arch: process.arch,
    runtime: process.versions.electron ? `Electron ${process.versions.electron}` : `Node ${process.versions.node}`,
    nativeDialogs: options.pick !== undefined,
    hostTerminals: Boolean(options.ptys),
    home,
    disks,
    captures,
    logs: logFile.folder,
    limits: { memory: { min: MIN_MEMORY, max: options.maxMemory }, harts: MAX_HARTS },
  });

  const handlers: Handlers = {
    'app.info': (_, session) => info(session.host),
    'app.quit': async ({ force }) => {
      const question = closeQuestion(manager.infos());
      if (question !== null && !force) throw new RingsideError('bad-state', `${question.message} Power it off first`);
      await close();
      // After the answer has gone out.
      setTimeout(() => options.quit?.(), 50);
      return {};
    },
    'log.list': () => ({ entries: log.entries }),
    'log.reveal': async () => {
      if (options.desktop === undefined) throw new RingsideError('unsupported', `the logs are in ${logFile.folder}`);
      await options.desktop.reveal(logFile.folder);
      return {};
    },
    'ui.openLink': async ({ url }) => {
      if (options.desktop === undefined) throw new RingsideError('unsupported', 'open it in this browser');
      await options.desktop.openLink(url);
      return {};
    },
    'ui.context': ({ vm }, session) => {
      options.desktop?.context(session, vm);
      return {};
    },

    'vm.list': () => manager.list(),
    'vm.create': ({ settings }) => manager.create(settings),
    'vm.update': ({ id, settings }) => manager.update(id, settings),
    'vm.delete': async ({ id, disks }) => {
      await manager.remove(id, disks);
      return {};
    },
    'vm.clone': ({ id, name, disks: how }) => manager.clone(id, name, how === 'copy' ? disks : null),
    'vm.cancelClone': ({ id }) => {
      manager.cancelClone(id);
      return {};
    },
    'vm.screen': ({ id }) => ({ lines: manager.screen(id) }),
    'vm.check': ({ settings }) => ({
      problems: configProblems(settings).map((problem) => ({ ...problem, path: [...problem.path] })),
    }),
    'vm.import': ({ text }) => importVm(text),
    'vm.importFile': async ({ path: where }) => importVm(await files.readText(where, MAX_TEXT)),
    'vm.export': async ({ settings, format }) => {
      const { boot, notes } = await manager.bootFiles(settings);
      const exported = exportVm(settings, boot, format);
      return { text: exported.text, notes: [...notes, ...exported.notes] };
    },
    'hardware.types': () => hardwareTypes(),
    'vm.start': ({ id }) => manager.start(id),
    'vm.pause': ({ id }) => manager.pause(id),
    'vm.resume': ({ id }) => manager.resume(id),
    'vm.reset': ({ id }) => manager.reset(id),
    'vm.powerOff': ({ id }) => manager.powerOff(id),
    'vm.snapshot': ({ id }) => ({ snapshot: manager.snapshot(id) }),
    'vm.watch': ({ id }, session) => {
      manager.info(id);
      return feed.watch(id, session);
    },
    'vm.unwatch': ({ id }, session) => {
      feed.unwatch(id, session.id);
      return {};
    },

    'machine.hardware': ({ id }) => hardware.view(id),
    'machine.settings': ({ id }) => ({ settings: hardware.settings(id) }),
    'vm.plug': ({ id, parts, keep }) => hardware.plug(id, parts, keep),
    'vm.unplug': async ({ id, device, forget }) => {
      await hardware.unplug(id, device, forget);
      return {};
    },
    'vm.resizeDisk': async ({ id, drive, size }) => {
      await hardware.resizeDisk(id, drive, size);
      return {};
    },
    'vm.setLink': async ({ id, device, up }) => {
      await hardware.setLink(id, device, up);
      return {};
    },
    'vm.setBalloon': async ({ id, bytes }) => {
      await hardware.setBalloon(id, bytes);
      return {};
    },
    'vm.setProperty': async ({ id, object, property, value }) => {
      await hardware.setProperty(id, object, property, value);
      return {};
    },

    'machine.view': ({ id }) => manager.machine(id).view(),
    'machine.object': ({ id, path: where }) => manager.machine(id).viewObject(where),
    'machine.registers': ({ id, hart }) => manager.machine(id).viewRegisters(hart),

    'console.attach': ({ id, port }, session) => {
      const console = manager.console(id, port);
      const stream = streams.offer(session, (bytes) => console.watch(bytes));
      if (stream === null) throw new RingsideError('bad-state', 'too many consoles are open: close some');
      return { stream };
    },

    'inspect.watch': (params, session) => inspect.watch(params, session),
    'inspect.queue': (params) => inspect.queue(params),
    'inspect.findings': (params) => inspect.findings(params),
    'inspect.rules': () => inspect.rules(),
    'inspect.capture': (params) => inspect.capture(params),
    'inspect.packets': (params) => inspect.packets(params),
    'inspect.openCapture': (params, session) => inspect.openCapture(params, session),
    'inspect.capturedRequest': (params) => inspect.capturedRequest(params),
    'inspect.replay': (params, session) => inspect.replay(params, session),
    'inspect.profile': (params) => inspect.profile(params),
    'inspect.active': (params) => inspect.active(params),
    'inspect.clearAll': (params) => inspect.clearAll(params),
    'inspect.bytes': (params) => inspect.bytes(params),
    'inspect.control': (params) => inspect.control(params),
    'monitor.attach': ({ id }, session) => {
      const terminal = monitors.terminal(id);
      const stream = streams.offer(session, (bytes) => terminal.watch(bytes));
      if (stream === null) throw new RingsideError('bad-state', 'too many consoles are open: close some');
      return { stream };
    },
    'monitor.log': ({ id, after }) => ({ entries: monitors.entries(id, after) }),
    'monitor.execute': async ({ id, request }) => ({ reply: await monitors.execute(id, request) }),
    'console.list': ({ id }) => ({ ports: consoles.list(id) }),
    'console.openPty': ({ id, port }) => ({ ports: consoles.openPty(id, port) }),
    'console.closePty': ({ id, port }) => ({ ports: consoles.closePty(id, port) }),
    'console.startLog': async ({ id, port, file, append }) => ({
      ports: await consoles.startLog(id, port, file, append),
    }),
    'console.stopLog': async ({ id, port }) => ({ ports: await consoles.stopLog(id, port) }),

    'guests.list': async () => ({ guests: await guests.list() }),
    'guests.fetch': ({ id }) => guests.fetch(id),
    'guests.pause': ({ id }) => guests.pause(id),
    'guests.cancel': ({ id }) => guests.cancel(id),
    'guests.remove': ({ id }) => guests.remove(id),

    'files.browse': ({ path: where }) => files.browse(where),
    'files.stat': ({ path: where }) => files.status(where),
    'files.pick': async (request) => {
      if (options.pick === undefined) throw new RingsideError('unsupported', 'no native dialogs here: browse instead');
      return { path: await options.pick(request) };
    },
    'files.saveText': async ({ title, name, text }) => {
      if (options.pick === undefined) throw new RingsideError('unsupported', 'no native dialogs here: download it');
      const where = await options.pick({ kind: 'save', title, path: name });
      if (where !== null) await files.writeText(where, text);
      return { path: where };
    },
    'disks.create': ({ path: where, size }) => files.createDisk(where, size),
    'disks.grow': ({ path: where, size }) => files.growDisk(where, size),
  };
  const dispatcher = new Dispatcher(handlers, report);
  log.add('info', null, `Ringside ${options.version} on ${process.platform} ${process.arch}`);

  let closing: Promise<void> | null = null;
  const close = () => {
    closing ??= (async () => {
      guests.close();
      feed.close();
      await manager.close();
      await consoles.close();
      await logFile.flush();
    })();
    return closing;
  };

  return { dispatcher, streams, home, logs: logFile.folder, report, vms: () => manager.infos(), close };
}
