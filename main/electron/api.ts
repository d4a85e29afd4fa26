/**
 * The part of Electron that the app uses. Electron itself satisfies it (main/index.ts passes it in, the type checker
 * looks); tests bring a double.
 */

export interface Bounds {
  x: number;
  y: number;
  width: number;
  height: number;
}

interface Cancellable {
  preventDefault(): void;
}

export interface MessagePortMain {
  postMessage(message: unknown): void;
  on(event: 'message', listener: (event: { data: unknown }) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  start(): void;
  close(): void;
}

export interface WebFrame {
  readonly url: string;
  /** null for a main frame. */
  readonly parent: WebFrame | null;
}

export interface IpcEvent {
  readonly sender: WebContents;
  readonly senderFrame: WebFrame | null;
}

export interface NavigationDetails {
  readonly isMainFrame: boolean;
  readonly isSameDocument: boolean;
}

export interface WebContents {
  readonly id: number;
  isDestroyed(): boolean;
  send(channel: string, ...args: unknown[]): void;
  reload(): void;
  setWindowOpenHandler(handler: () => { action: 'deny' }): void;
  on(event: 'will-navigate' | 'will-redirect', listener: (event: Cancellable & { url: string }) => void): unknown;
  on(event: 'will-attach-webview', listener: (event: Cancellable) => void): unknown;
  on(event: 'did-start-navigation', listener: (details: NavigationDetails) => void): unknown;
  on(event: 'render-process-gone', listener: (event: unknown, details: { reason: string }) => void): unknown;
  once(event: 'destroyed', listener: () => void): unknown;
}

export interface WindowOptions extends Partial<Bounds> {
  minWidth: number;
  minHeight: number;
  title: string;
  show: boolean;
  backgroundColor: string;
  webPreferences: {
    preload: string;
    contextIsolation: boolean;
    sandbox: boolean;
    nodeIntegration: boolean;
    nodeIntegrationInWorker: boolean;
    nodeIntegrationInSubFrames: boolean;
    webSecurity: boolean;
    allowRunningInsecureContent: boolean;
    webviewTag: boolean;
    navigateOnDragDrop: boolean;
    spellcheck: boolean;
    devTools: boolean;
  };
}

export interface Window {
  readonly webContents: WebContents;
  loadURL(url: string): Promise<void>;
  show(): void;
  focus(): void;
  restore(): void;
  maximize(): void;
  isMinimized(): boolean;
  isMaximized(): boolean;
  isDestroyed(): boolean;
  isFocused(): boolean;
  getNormalBounds(): Bounds;
  on(event: 'close', listener: (event: Cancellable) => void): unknown;
  on(event: 'closed', listener: () => void): unknown;
  once(event: 'ready-to-show', listener: () => void): unknown;
}

export interface MenuItem {
  role?: string;
  label?: string;
  type?: 'separator';
  accelerator?: string;
  enabled?: boolean;
  click?: () => void;
  submenu?: MenuItem[];
}

export interface Notification {
  on(event: 'click', listener: () => void): unknown;
  show(): void;
}

export interface ElectronApi {
  readonly app: {
    readonly name: string;
    readonly isPackaged: boolean;
    getVersion(): string;
    /** `data` is given to the first instance's second-instance listeners. */
    requestSingleInstanceLock(data: Record<string, unknown>): boolean;
    setAppUserModelId(id: string): void;
    addRecentDocument(path: string): void;
    clearRecentDocuments(): void;
    whenReady(): Promise<void>;
    quit(): void;
    exit(code?: number): void;
    on(event: 'activate' | 'window-all-closed', listener: () => void): unknown;
    on(
      event: 'second-instance',
      listener: (event: unknown, argv: string[], directory: string, data: unknown) => void,
    ): unknown;
    /** macOS: a file was opened with the app, perhaps before it is ready. */
    on(event: 'open-file', listener: (event: Cancellable, path: string) => void): unknown;
    on(
      event: 'child-process-gone',
      listener: (event: unknown, details: { type: string; reason: string; name?: string }) => void,
    ): unknown;
    on(event: 'before-quit', listener: (event: Cancellable) => void): unknown;
    on(event: 'web-contents-created', listener: (event: unknown, contents: WebContents) => void): unknown;
  };
  readonly BrowserWindow: {
    new (options: WindowOptions): Window;
    fromWebContents(contents: WebContents): Window | null;
  };
  readonly protocol: {
    registerSchemesAsPrivileged(
      schemes: { scheme: string; privileges: { standard: boolean; secure: boolean; supportFetchAPI: boolean } }[],
    ): void;
    handle(scheme: string, handler: (request: { url: string; method: string }) => Promise<Response>): void;
  };
  readonly ipcMain: {
    handle(channel: string, listener: (event: IpcEvent, ...args: unknown[]) => Promise<unknown>): void;
    on(
      channel: string,
      listener: (event: IpcEvent & { ports: MessagePortMain[] }, ...args: unknown[]) => void,
    ): unknown;
  };
  readonly dialog: {
    showMessageBox(options: {
      type: 'question' | 'error';
      title: string;
      message: string;
      detail?: string;
      buttons: string[];
      defaultId: number;
      cancelId: number;
      noLink: boolean;
    }): Promise<{ response: number }>;
    /** `never`: Electron takes its own BrowserWindow only, which is what a Window is there. */
    showOpenDialog(
      window: never,
      options: {
        title: string;
        defaultPath?: string;
        properties: ('openFile' | 'openDirectory' | 'showHiddenFiles' | 'dontAddToRecent')[];
      },
    ): Promise<{ canceled: boolean; filePaths: string[] }>;
    showSaveDialog(
      window: never,
      options: { title: string; defaultPath?: string; properties: ('showHiddenFiles' | 'dontAddToRecent')[] },
    ): Promise<{ canceled: boolean; filePath: string }>;
    showErrorBox(title: string, content: string): void;
  };
  readonly session: {
    readonly defaultSession: {
      setPermissionRequestHandler(
        handler: (
          contents: WebContents,
          permission: string,
          callback: (granted: boolean) => void,
          details: { requestingUrl: string },
        ) => void,
      ): void;
      setPermissionCheckHandler(
        handler: (contents: WebContents | null, permission: string, requestingOrigin: string) => boolean,
      ): void;
    };
  };
  readonly shell: {
    /** Resolves with what went wrong, or ''. */
    openPath(path: string): Promise<string>;
    openExternal(url: string): Promise<void>;
  };
  readonly Notification: {
    new (options: { title: string; body: string }): Notification;
    isSupported(): boolean;
  };
  readonly screen: { getAllDisplays(): { workArea: Bounds }[] };
  readonly nativeTheme: { readonly shouldUseDarkColors: boolean };
  readonly Menu: {
    buildFromTemplate(template: never): unknown;
    setApplicationMenu(menu: never): void;
  };
}
