/**
 * What the page gets of Electron: four functions, for the commands of the contract and nothing else. Bundled by
 * main/build.mjs, which puts in the contract's command names: a sandboxed preload can import nothing but Electron.
 */
import { contextBridge, ipcRenderer, webUtils } from 'electron';
import { CHANNEL_CALL, CHANNEL_EVENT, CHANNEL_STREAM, STREAM_MESSAGE } from '../ipc/contract/channels.ts';

declare const COMMAND_NAMES: readonly string[];

interface PageMessage {
  ringside: string;
  ticket: string;
}
declare const window: {
  readonly location: { readonly origin: string };
  postMessage(message: PageMessage, origin: string, transfer: unknown[]): void;
};

const allowed: ReadonlySet<string> = new Set(COMMAND_NAMES);

contextBridge.exposeInMainWorld('ringside', {
  call: (name: unknown, params: unknown): Promise<unknown> => {
    if (typeof name !== 'string' || !allowed.has(name)) return Promise.reject(new Error('no such command'));
    return ipcRenderer.invoke(CHANNEL_CALL, name, params);
  },
  onEvent: (listener: (name: string, payload: unknown) => void): void => {
    ipcRenderer.on(CHANNEL_EVENT, (_event, name: string, payload: unknown) => listener(name, payload));
  },
  pathOf: (file: never): string => webUtils.getPathForFile(file),
  openStream: (ticket: unknown): void => {
    if (typeof ticket !== 'string') return;
    const { port1, port2 } = new MessageChannel();
    ipcRenderer.postMessage(CHANNEL_STREAM, ticket, [port1 as never]);
    // A MessagePort cannot cross the context bridge; a message to the page's own window carries it.
    window.postMessage({ ringside: STREAM_MESSAGE, ticket }, window.location.origin, [port2]);
  },
});
