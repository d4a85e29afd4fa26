/**
 * Ringside as a desktop app: one window on the app's contract. Electron is passed in, so that tests can look at every
 * setting.
 */
import { errorLine } from '../../core/errors.ts';
import type { App, AppOptions } from '../app/app.ts';
import { closeQuestion } from '../ipc/contract.ts';
import { StaticFiles } from '../serve/static.ts';
import type { ElectronApi, Window, WindowOptions } from './api.ts';
import { installGuards, installPermissions } from './guards.ts';
import { installIpc } from './ipc.ts';
import { menuTemplate } from './menu.ts';
import { APP_URL, registerScheme, serveRenderer } from './protocol.ts';
import { MIN_HEIGHT, MIN_WIDTH, WindowStateFile } from './window-state.ts';

export interface DesktopOptions {
  createApp(options: Pick<AppOptions, 'version' | 'pick' | 'quit'>): Promise<App>;
  /** File of the bundled preload; folder of the built renderer. */
  preload: string;
  renderer: string;
  platform: string;
}

/** A page that crashes again this soon, ms, is not loaded again. */
const CRASH_LOOP_MS = 10_000;
/** Colours of the window before the page has painted: the renderer's own background, dark and light. */
const BACKGROUND = { dark: '#16181d', light: '#f6f7f9' };

/** Starts the desktop app; resolves when its window has been opened, or at once when another instance runs. */
export async function startDesktop(electron: ElectronApi, options: DesktopOptions): Promise<void> {
  if (!electron.app.requestSingleInstanceLock()) {
    electron.app.quit();
    return;
  }
  registerScheme(electron);
  installGuards(electron);
  await electron.app.whenReady();
  try {
    await new Desktop(electron, options).open();
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
  #window: Window | null = null;
  /** A window is on its way. */
  #opening = false;
  #quitting: 'no' | 'asking' | 'yes' = 'no';

  constructor(electron: ElectronApi, options: DesktopOptions) {
    this.#electron = electron;
    this.#options = options;
  }

  async open(): Promise<void> {
    const { app, Menu } = this.#electron;
    installPermissions(this.#electron);
    serveRenderer(this.#electron, await StaticFiles.open(this.#options.renderer));
    this.#app = await this.#options.createApp({
      version: app.getVersion(),
      pick: (request) => this.#pick(request),
      quit: () => this.#exit(),
    });
    this.#states = new WindowStateFile(this.#app.home);
    installIpc(this.#electron, this.#app);
    const template = menuTemplate(app.name, this.#options.platform, !app.isPackaged);
    Menu.setApplicationMenu(Menu.buildFromTemplate(template as never) as never);
    app.on('second-instance', () => this.#show());
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
      void this.#states.save({ bounds: window.getNormalBounds(), maximized: window.isMaximized() });
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
    await this.#app.close();
    this.#exit();
  }

  #exit(): void {
    this.#quitting = 'yes';
    this.#electron.app.quit();
  }

  async #pick(request: { kind: 'open' | 'save'; title: string; path?: string }): Promise<string | null> {
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
      properties: ['openFile', 'showHiddenFiles', 'dontAddToRecent'],
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
