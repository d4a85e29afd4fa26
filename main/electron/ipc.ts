/** The contract over Electron's IPC. A message counts only when it comes from the main frame of a page of ours. */
import type { App } from '../app/app.ts';
import type { BytePort, Reply } from '../ipc/contract.ts';
import { MAX_FRAME } from '../ipc/contract/console-frames.ts';
import type { OpenSession } from '../ipc/dispatcher.ts';
import type { ElectronApi, IpcEvent, MessagePortMain, WebContents } from './api.ts';
import { CHANNEL_CALL, CHANNEL_EVENT, CHANNEL_STREAM } from '../ipc/contract/channels.ts';
import { isOurs } from './protocol.ts';

const REFUSED: Reply = { ok: false, error: { kind: 'permission', message: 'not from a page of this app' } };

export function installIpc(electron: Pick<ElectronApi, 'ipcMain'>, app: App): void {
  const sessions = new Map<number, OpenSession>();

  /** A session lives as long as the page: a reload begins a new one. */
  const sessionOf = (contents: WebContents): OpenSession => {
    const known = sessions.get(contents.id);
    if (known !== undefined) return known;
    const session = app.dispatcher.open({
      host: 'desktop',
      send: (name, payload) => {
        if (!contents.isDestroyed()) contents.send(CHANNEL_EVENT, name, payload);
      },
      congested: () => false,
    });
    sessions.set(contents.id, session);
    const end = () => {
      session.close();
      if (sessions.get(contents.id) === session) sessions.delete(contents.id);
    };
    contents.on('did-start-navigation', ({ isMainFrame, isSameDocument }) => {
      if (isMainFrame && !isSameDocument) end();
    });
    contents.once('destroyed', end);
    return session;
  };

  electron.ipcMain.handle(CHANNEL_CALL, async (event, name, params) => {
    if (!trusted(event)) return REFUSED;
    return app.dispatcher.call(sessionOf(event.sender), name, params);
  });

  electron.ipcMain.on(CHANNEL_STREAM, (event, ticket) => {
    const [port] = event.ports;
    if (port === undefined) return;
    const good = trusted(event) && typeof ticket === 'string' && event.ports.length === 1;
    const bytes = bytePort(port);
    if (good && app.streams.redeem(sessionOf(event.sender).id, ticket, bytes)) port.start();
    else for (const each of event.ports) each.close();
  });
}

function trusted({ senderFrame }: IpcEvent): boolean {
  return senderFrame !== null && senderFrame.parent === null && isOurs(senderFrame.url);
}

function bytePort(port: MessagePortMain): BytePort {
  let closed = false;
  const closing: (() => void)[] = [];
  const end = () => {
    if (closed) return;
    closed = true;
    for (const listener of closing) listener();
  };
  port.on('close', end);
  return {
    send: (bytes) => {
      if (!closed) port.postMessage(bytes);
    },
    close: () => {
      port.close();
      end();
    },
    buffered: 0,
    onMessage: (listener) =>
      port.on('message', ({ data }) => {
        if (data instanceof Uint8Array && data.length <= MAX_FRAME) listener(data);
        else {
          port.close();
          end();
        }
      }),
    onClose: (listener) => closing.push(listener),
  };
}
