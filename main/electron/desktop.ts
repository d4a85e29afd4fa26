/**
 * Ringside as a desktop app: one window on the app's contract. Electron is passed in, so that tests can look at every
 * setting.
 */
import { existsSync } from 'node:fs';
import { errorLine, RingsideError } from '../../core/errors.ts';
import type { App, AppOptions } from '../app/app.ts';
import { closeQuestion } from '../ipc/contract.ts';
import type { EventName, EventPayload, Params, UiRequest } from '../ipc/contract.ts';
import type { Session } from '../ipc/dispatcher.ts';
import { StaticFiles } from '../serve/static.ts';
import type { ElectronApi, Window, WindowOptions } from './api.ts';
import { installGuards, installPermissions } from './guards.ts';
import { installIpc } from './ipc.ts';
import { menuTemplate } from './menu.ts';
import { Notifier } from './notifier.ts';
import type { News } from './notifier.ts';
import { filesAmong, filesHandedOver } from './opened-files.ts';
import { APP_URL, registerScheme, serveRenderer } from './protocol.ts';
import { RecentItems } from './recent.ts';
import type { RecentItem } from './recent.ts';
import { MIN_HEIGHT, MIN_WIDTH, WindowStateFile } from './window-state.ts';

export interface DesktopOptions {
  createApp(options: Pick<AppOptions, 'version' | 'pick' | 'desktop' | 'quit'>): Promise<App>;
  /** File of the bundled preload; folder of the built renderer. */
  preload: string;
  renderer: string;
  platform: string;
  /** The command line, and the folder that it was typed in. */
  argv: readonly string[];
  directory: string;
  /** Errors that nobody caught arrive here. */
  process: UncaughtErrors;
}

/** What is used of node's process. */
export interface UncaughtErrors {
  on(event: 'uncaughtException' | 'unhandledRejection', listener: (error: unknown) => void): unknown;
}

/** electron-builder.yml's appId: Windows shows notifications of the program with this id only. */
const APP_ID = 'org.ringside.workstation';
/** Requests that wait for a page to listen. */
const MOST_WAITING = 32;
/** A page that crashes again this soon, ms, is not loaded again. */
const CRASH_LOOP_MS = 10_000;
/** Colours of the window before the page has painted: the renderer's own background, dark and light. */
const BACKGROUND = { dark: '#16181d', light: '#f6f7f9' };

/** Starts the desktop app; resolves when its window has been opened, or at once when another instance runs. */
export async function startDesktop(electron: ElectronApi, options: DesktopOptions): Promise<void> {
  const files = filesAmong(options.argv, options.directory);
  if (!electron.app.requestSingleInstanceLock({ files })) {
    electron.app.quit();
    return;
  }
  registerScheme(electron);
  installGuards(electron);
  const desktop = new Desktop(electron, options);
  for (const file of files) desktop.openFile(file);
  // macOS sends these before the app is ready.
  electron.app.on('open-file', (event, file) => {
    event.preventDefault();
    desktop.openFile(file);
  });
  await electron.app.whenReady();
  try {
    await desktop.open();
  } catch (error) {
    electron.dialog.showErrorBox('Ringside cannot start', errorLine(error));
    electron.app.exit(1);
  }
}

class Desktop {
  readonly #electron: ElectronApi;
  readonly #options: DesktopOptions;
  #app!: App;
  #states!: WindowStateFile;
  #recent: RecentItems | null = null;
  #window: Window | null = null;
  /** The session of the page, once it takes requests, and what waits for it. */
  #page: Session | null = null;
  #waiting: UiRequest[] = [];
  /** The VM that the page shows. */
  #shown: string | null = null;
  /** What the present menu was made from. */
  #menuKey = '';
  /** A window is on its way. */
  #opening = false;
  #quitting: 'no' | 'asking' | 'yes' = 'no';

  constructor(electron: ElectronApi, options: DesktopOptions) {
    this.#electron = electron;
    this.#options = options;
  }

  async open(): Promise<void> {
    const { app } = this.#electron;
    installPermissions(this.#electron);
    serveRenderer(this.#electron, await StaticFiles.open(this.#options.renderer));
    this.#app = await this.#options.createApp({
      version: app.getVersion(),
      pick: (request) => this.#pick(request),
      desktop: {
        context: (session, vm) => this.#listen(session, vm),
        reveal: (folder) => this.#reveal(folder),
        openLink: (url) => this.#openLink(url),
      },
      quit: () => this.#exit(),
    });
    this.#reportUncaught();
    this.#states = new WindowStateFile(this.#app.home);
    this.#recent = await RecentItems.load(this.#app.home, () => this.#updateMenu());
    for (const request of this.#waiting) this.#remember(request);
    installIpc(this.#electron, this.#app);
    this.#follow();
    this.#updateMenu();
    app.setAppUserModelId(APP_ID);
    app.on('second-instance', (_event, _argv, _directory, data) => {
      const files = filesHandedOver(data);
      for (const file of files) this.openFile(file);
      this.#show();
    });
    app.on('activate', () => this.#show());
    app.on('before-quit', (event) => {
      if (this.#quitting === 'yes') return;
      event.preventDefault();
      void this.#askToQuit();
    });
    app.on('window-all-closed', () => {
      // On macOS an app, and so its machines, outlives its windows.
      if (this.#options.platform !== 'darwin') app.quit();
    });
    await this.#openWindow();
  }

  /** A file was opened with the app: its page is told as soon as there is one. */
  openFile(file: string): void {
    this.#ask({ kind: 'open-file', path: file });
  }

  #ask(request: UiRequest): void {
    this.#remember(request);
    if (this.#page !== null) this.#page.emit('ui.request', request);
    else if (this.#waiting.length < MOST_WAITING) this.#waiting.push(request);
    if (this.#recent !== null) this.#show();
  }

  #remember(request: UiRequest): void {
    if (request.kind !== 'open-file' || this.#recent === null) return;
    this.#recent.add({ kind: 'file', path: request.path });
    this.#electron.app.addRecentDocument(request.path);
  }

  /** The page listens, and shows this VM. */
  #listen(session: Session, vm: string | null): void {
    if (this.#page !== session) {
      this.#page = session;
      session.onClose(() => {
        if (this.#page === session) this.#page = null;
      });
      const waiting = this.#waiting;
      this.#waiting = [];
      // After the answer to the page's call.
      setImmediate(() => waiting.forEach((request) => session.emit('ui.request', request)));
    }
    this.#shown = vm;
    this.#updateMenu();
  }

  /** Follows the app as a page does: for the menu, recent items and notifications. */
  #follow(): void {
    const notifier = new Notifier((news) => this.#notify(news));
    const seen: { [K in EventName]?: (payload: EventPayload<K>) => void } = {
      'vm.changed': (vm) => {
        notifier.vmChanged(vm);
        if (vm.state === 'starting') this.#recent?.add({ kind: 'vm', id: vm.id, name: vm.settings.name });
        this.#updateMenu();
      },
      'vm.removed': ({ id }) => {
        notifier.vmRemoved(id);
        this.#recent?.remove(id);
      },
      'guest.changed': (guest) => notifier.guestChanged(guest),
    };
    this.#app.dispatcher.open({
      host: 'desktop',
      send: (name, payload) => seen[name]?.(payload as never),
      congested: () => false,
    });
  }

  #notify({ title, body, vm }: News): void {
    const { Notification } = this.#electron;
    // Who looks at the window sees it there.
    if (this.#window?.isFocused() === true || !Notification.isSupported()) return;
    const notification = new Notification({ title, body });
    notification.on('click', () => {
      if (vm !== null) this.#ask({ kind: 'show-vm', id: vm });
      else this.#show();
    });
    notification.show();
  }

  #updateMenu(): void {
    const { app, Menu } = this.#electron;
    const recent = this.#recent?.items ?? [];
    const vm = this.#app.vms().find(({ id }) => id === this.#shown);
    const key = JSON.stringify([vm?.state, recent]);
    if (key === this.#menuKey) return;
    this.#menuKey = key;
    const template = menuTemplate(
      { name: app.name, platform: this.#options.platform, developer: !app.isPackaged, vm, recent },
      {
        run: (action) => this.#ask({ kind: 'action', action }),
        open: (item) => this.#openRecent(item),
        clearRecent: () => {
          this.#recent?.clear();
          app.clearRecentDocuments();
        },
        showLogs: () => {
          this.#reveal(this.#app.logs).catch((error: unknown) =>
            this.#electron.dialog.showErrorBox('The logs cannot be shown', errorLine(error)),
          );
        },
      },
    );
    Menu.setApplicationMenu(Menu.buildFromTemplate(template as never) as never);
  }

  #openRecent(item: RecentItem): void {
    if (item.kind === 'vm') this.#ask({ kind: 'show-vm', id: item.id });
    else if (existsSync(item.path)) this.openFile(item.path);
    else {
      this.#recent?.remove(item.path);
      this.#electron.dialog.showErrorBox('The file is gone', `${item.path}: it has been moved or deleted.`);
    }
  }

  async #reveal(folder: string): Promise<void> {
    const problem = await this.#electron.shell.openPath(folder);
    if (problem !== '') throw new RingsideError('io', `${folder}: ${problem}`);
  }

  async #openLink(url: string): Promise<void> {
    const { dialog, shell } = this.#electron;
    const { response } = await dialog.showMessageBox({
      type: 'question',
      title: 'Open this address?',
      message: 'Open this address in your browser?',
      // As the URL standard writes it: no blanks or line ends, host names in ASCII.
      detail: new URL(url).href,
      buttons: ['Open', 'Cancel'],
      defaultId: 1,
      cancelId: 1,
      noLink: true,
    });
    if (response === 0) await shell.openExternal(new URL(url).href);
  }

  /** Machines run in this process: an error that nobody caught is a bug to be reported, not a reason to end them all. */
  #reportUncaught(): void {
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
      this.#options.process.on(event, (error) => {
        this.#app.report(`an error that nobody caught: ${error instanceof Error ? error.stack : String(error)}`);
      });
    }
    this.#electron.app.on('child-process-gone', (_event, { type, reason, name }) => {
      if (reason !== 'clean-exit') this.#app.report(`the ${name ?? type} process ended (${reason})`);
    });
  }

  #show(): void {
    const window = this.#window;
    if (window === null || window.isDestroyed()) {
      if (this.#quitting !== 'yes' && !this.#opening) void this.#openWindow();
      return;
    }
    if (window.isMinimized()) window.restore();
    window.show();
    window.focus();
  }

  async #openWindow(): Promise<void> {
    const { BrowserWindow, screen, nativeTheme, app } = this.#electron;
    this.#opening = true;
    const { bounds, maximized } = await this.#states.load(screen.getAllDisplays());
    this.#opening = false;
    const background = nativeTheme.shouldUseDarkColors ? BACKGROUND.dark : BACKGROUND.light;
    const window = new BrowserWindow(windowOptions(bounds, background, this.#options.preload, !app.isPackaged));
    this.#window = window;
    window.once('ready-to-show', () => {
      if (maximized) window.maximize();
      window.show();
    });
    window.on('close', (event) => {
      void this.#rememberWindow();
      if (this.#quitting === 'yes' || this.#options.platform === 'darwin') return;
      event.preventDefault();
      void this.#askToQuit();
    });
    window.on('closed', () => {
      if (this.#window === window) this.#window = null;
    });
    this.#reviveAfterCrash(window);
    await window.loadURL(APP_URL);
  }

  /** The machines live here, not in the page: when the page dies it is loaded again and finds them running. */
  #reviveAfterCrash(window: Window): void {
    let last = -Infinity;
    window.webContents.on('render-process-gone', (_event, { reason }) => {
      if (reason === 'clean-exit' || window.isDestroyed()) return;
      this.#app.report(`the window's process ended (${reason})`);
      const now = Date.now();
      if (now - last < CRASH_LOOP_MS) {
        this.#electron.dialog.showErrorBox('The window keeps crashing', `${reason}. Virtual machines go on running.`);
        return;
      }
      last = now;
      window.webContents.reload();
    });
  }

  /** Asks when something runs; quits when nothing does or the person wants to. */
  async #askToQuit(): Promise<void> {
    if (this.#quitting !== 'no') return;
    this.#quitting = 'asking';
    const question = closeQuestion(this.#app.vms());
    if (question !== null) {
      const { title, message, detail, confirm, cancel } = question;
      const { response } = await this.#electron.dialog.showMessageBox({
        type: 'question',
        title,
        message,
        detail,
        buttons: [confirm, cancel],
        defaultId: 1,
        cancelId: 1,
        noLink: true,
      });
      if (response !== 0) {
        this.#quitting = 'no';
        return;
      }
    }
    await this.#rememberWindow();
    await this.#app.close();
    await this.#recent?.saved();
    this.#exit();
  }

  async #rememberWindow(): Promise<void> {
    const window = this.#window;
    if (window === null || window.isDestroyed()) return;
    await this.#states.save({ bounds: window.getNormalBounds(), maximized: window.isMaximized() });
  }

  #exit(): void {
    this.#quitting = 'yes';
    this.#electron.app.quit();
  }

  async #pick(request: Params<'files.pick'>): Promise<string | null> {
    const { dialog } = this.#electron;
    const { kind, title, path: defaultPath } = request;
    const window = this.#window;
    if (window === null) return null;
    if (kind === 'save') {
      const { canceled, filePath } = await dialog.showSaveDialog(window as never, {
        title,
        defaultPath,
        properties: ['showHiddenFiles', 'dontAddToRecent'],
      });
      return canceled ? null : filePath;
    }
    const { canceled, filePaths } = await dialog.showOpenDialog(window as never, {
      title,
      defaultPath,
      properties: [kind === 'folder' ? 'openDirectory' : 'openFile', 'showHiddenFiles', 'dontAddToRecent'],
    });
    return canceled ? null : (filePaths[0] ?? null);
  }
}

function windowOptions(
  bounds: Partial<WindowOptions>,
  background: string,
  preload: string,
  developer: boolean,
): WindowOptions {
  return {
    ...bounds,
    minWidth: MIN_WIDTH,
    minHeight: MIN_HEIGHT,
    title: 'Ringside',
    show: false,
    backgroundColor: background,
    webPreferences: {
      preload,
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
      nodeIntegrationInWorker: false,
      nodeIntegrationInSubFrames: false,
      webSecurity: true,
      allowRunningInsecureContent: false,
      webviewTag: false,
      navigateOnDragDrop: false,
      spellcheck: false,
      devTools: developer,
    },
  };
}
