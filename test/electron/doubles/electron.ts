/** The few Electron APIs that the app uses, typed as the app's own view of them; they remember what they were told. */
import { EventEmitter } from 'node:events';
import type {
  Bounds,
  ElectronApi,
  IpcEvent,
  MenuItem,
  MessagePortMain,
  WebContents,
  WebFrame,
  Window,
  WindowOptions,
} from '../../../main/electron/api.ts';
import { APP_URL } from '../../../main/electron/protocol.ts';

type Listener = (...args: never[]) => void;

/** An event that can be cancelled, and whether it was. */
export class CancellableEvent {
  prevented = false;
  readonly url: string;

  constructor(url = '') {
    this.url = url;
  }

  preventDefault(): void {
    this.prevented = true;
  }
}

export class FakeContents extends EventEmitter implements WebContents {
  static #next = 1;
  readonly id = FakeContents.#next++;
  readonly sent: unknown[][] = [];
  reloads = 0;
  destroyed = false;
  windowOpenHandler: (() => { action: 'deny' }) | null = null;

  isDestroyed(): boolean {
    return this.destroyed;
  }

  send(channel: string, ...args: unknown[]): void {
    this.sent.push([channel, ...args]);
  }

  reload(): void {
    this.reloads++;
  }

  setWindowOpenHandler(handler: () => { action: 'deny' }): void {
    this.windowOpenHandler = handler;
  }
}

export class FakeWindow extends EventEmitter implements Window {
  readonly webContents = new FakeContents();
  readonly options: WindowOptions;
  url = '';
  shown = false;
  focused = 0;
  minimized = false;
  /** Whether the person looks at it. */
  inFront = true;
  maximized = false;
  destroyed = false;
  bounds: Bounds;

  constructor(options: WindowOptions) {
    super();
    this.options = options;
    this.bounds = { x: 0, y: 0, width: 0, height: 0, ...options };
  }

  async loadURL(url: string): Promise<void> {
    this.url = url;
    this.emit('ready-to-show');
  }

  show(): void {
    this.shown = true;
  }

  focus(): void {
    this.focused++;
  }

  restore(): void {
    this.minimized = false;
  }

  maximize(): void {
    this.maximized = true;
  }

  isMinimized(): boolean {
    return this.minimized;
  }

  isMaximized(): boolean {
    return this.maximized;
  }

  isDestroyed(): boolean {
    return this.destroyed;
  }

  isFocused(): boolean {
    return this.inFront;
  }

  getNormalBounds(): Bounds {
    const { x, y, width, height } = this.bounds;
    return { x, y, width, height };
  }

  /** As when the person clicks the window's close button. */
  closeByPerson(): CancellableEvent {
    const event = new CancellableEvent();
    this.emit('close', event);
    if (!event.prevented) {
      this.destroyed = true;
      this.emit('closed');
    }
    return event;
  }
}

export class FakeNotification extends EventEmitter {
  readonly options: { title: string; body: string };
  shown = false;

  constructor(options: { title: string; body: string }) {
    super();
    this.options = options;
  }

  show(): void {
    this.shown = true;
  }
}

export class FakePort extends EventEmitter implements MessagePortMain {
  readonly posted: unknown[] = [];
  started = false;
  closed = false;

  postMessage(message: unknown): void {
    this.posted.push(message);
  }

  start(): void {
    this.started = true;
  }

  close(): void {
    this.closed = true;
  }
}

export class FakeElectron {
  readonly appEvents = new EventEmitter();
  readonly windows: FakeWindow[] = [];
  readonly schemes: unknown[] = [];
  protocolHandler: ((request: { url: string; method: string }) => Promise<Response>) | null = null;
  readonly invocable = new Map<string, (event: IpcEvent, ...args: unknown[]) => Promise<unknown>>();
  readonly received = new Map<string, (event: IpcEvent & { ports: MessagePortMain[] }, ...args: unknown[]) => void>();
  permissionRequest: Parameters<ElectronApi['session']['defaultSession']['setPermissionRequestHandler']>[0] | null =
    null;
  permissionCheck: Parameters<ElectronApi['session']['defaultSession']['setPermissionCheckHandler']>[0] | null = null;
  readonly questions: { message: string; buttons: string[] }[] = [];
  readonly errors: string[] = [];
  readonly dialogs: unknown[] = [];
  menu: MenuItem[] = [];
  /** How often the menu was set. */
  menus = 0;
  readonly notifications: FakeNotification[] = [];
  readonly recentDocuments: string[] = [];
  readonly openedPaths: string[] = [];
  readonly openedLinks: string[] = [];
  /** What the platform answers when a path is to be opened; '' is well. */
  openProblem = '';
  /** What was given to the first instance with the request for the lock. */
  handedOver: unknown = null;
  /** Which button the person presses, and which file they choose. */
  answer = 1;
  chosen: string | null = '/chosen.raw';
  displays: { workArea: Bounds }[] = [{ workArea: { x: 0, y: 0, width: 1920, height: 1080 } }];
  firstInstance = true;
  packaged = true;
  quits = 0;
  exitCode: number | null = null;
  /** What was called, in order: some things must be done before the app is ready. */
  readonly calls: string[] = [];

  readonly api: ElectronApi = this.#api();

  get window(): FakeWindow {
    const window = this.windows.at(-1);
    if (window === undefined) throw new Error('no window was opened');
    return window;
  }

  /** As app.quit() does: asks everybody, and says whether the app would end. */
  quit(): boolean {
    const event = new CancellableEvent();
    this.appEvents.emit('before-quit', event);
    return !event.prevented;
  }

  /** Calls a channel as a page does. */
  invoke(
    name: unknown,
    params: unknown,
    from: Partial<WebFrame> | null = {},
    sender: FakeContents = this.window.webContents,
  ): Promise<unknown> {
    const frame = from === null ? null : { url: APP_URL, parent: null, ...from };
    return this.invocable.get('ringside:call')!({ sender, senderFrame: frame }, name, params);
  }

  /** The entry of the menu at these labels or roles, from the bar down. */
  menuItem(...names: string[]): MenuItem {
    let items = this.menu;
    let found: MenuItem | undefined;
    for (const name of names) {
      found = items.find(({ label, role }) => label === name || role === name);
      if (found === undefined) throw new Error(`the menu has no ${names.join(' > ')}`);
      items = found.submenu ?? [];
    }
    return found!;
  }

  postStream(
    ticket: unknown,
    ports: FakePort[],
    from: Partial<WebFrame> = {},
    sender: FakeContents = this.window.webContents,
  ): void {
    const senderFrame = { url: APP_URL, parent: null, ...from };
    this.received.get('ringside:stream')!({ sender, senderFrame, ports }, ticket);
  }

  #api(): ElectronApi {
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- the constructor below is called with new
    const fake = this;
    const on = (event: string, listener: Listener) =>
      fake.appEvents.on(event, listener as (...args: unknown[]) => void);
    return {
      app: {
        name: 'Ringside',
        get isPackaged() {
          return fake.packaged;
        },
        getVersion: () => '4.5.6',
        requestSingleInstanceLock: (data) => {
          fake.handedOver = data;
          return fake.firstInstance;
        },
        setAppUserModelId: () => {},
        addRecentDocument: (file) => fake.recentDocuments.push(file),
        clearRecentDocuments: () => {
          fake.recentDocuments.length = 0;
        },
        whenReady: async () => {
          fake.calls.push('ready');
        },
        quit: () => {
          fake.quits++;
        },
        exit: (code) => {
          fake.exitCode = code ?? 0;
        },
        on: on as ElectronApi['app']['on'],
      },
      BrowserWindow: class extends FakeWindow {
        constructor(options: WindowOptions) {
          super(options);
          fake.windows.push(this);
          fake.appEvents.emit('web-contents-created', {}, this.webContents);
        }

        static fromWebContents(contents: WebContents): Window | null {
          return fake.windows.find((window) => window.webContents === contents) ?? null;
        }
      },
      protocol: {
        registerSchemesAsPrivileged: (schemes) => {
          fake.calls.push('schemes');
          fake.schemes.push(...schemes);
        },
        handle: (_, handler) => {
          fake.protocolHandler = handler;
        },
      },
      ipcMain: {
        handle: (channel, listener) => fake.invocable.set(channel, listener),
        on: (channel, listener) => fake.received.set(channel, listener),
      },
      dialog: {
        showMessageBox: async (options) => {
          fake.questions.push(options);
          return { response: fake.answer };
        },
        showOpenDialog: async (_, options) => {
          fake.dialogs.push(options);
          return fake.chosen === null
            ? { canceled: true, filePaths: [] }
            : { canceled: false, filePaths: [fake.chosen] };
        },
        showSaveDialog: async (_, options) => {
          fake.dialogs.push(options);
          return { canceled: fake.chosen === null, filePath: fake.chosen ?? '' };
        },
        showErrorBox: (_, content) => fake.errors.push(content),
      },
      session: {
        defaultSession: {
          setPermissionRequestHandler: (handler) => {
            fake.permissionRequest = handler;
          },
          setPermissionCheckHandler: (handler) => {
            fake.permissionCheck = handler;
          },
        },
      },
      shell: {
        openPath: async (file) => {
          fake.openedPaths.push(file);
          return fake.openProblem;
        },
        openExternal: async (url) => void fake.openedLinks.push(url),
      },
      Notification: class extends FakeNotification {
        constructor(options: { title: string; body: string }) {
          super(options);
          fake.notifications.push(this);
        }

        static isSupported(): boolean {
          return true;
        }
      },
      screen: { getAllDisplays: () => fake.displays },
      nativeTheme: { shouldUseDarkColors: true },
      Menu: {
        buildFromTemplate: (template) => template,
        setApplicationMenu: (menu) => {
          fake.menu = menu;
          fake.menus++;
        },
      },
    };
  }
}
