/** Names of the IPC channels: all there are. Shared with the preload, so it imports nothing. */

/** invoke(name, params) -> Reply. */
export const CHANNEL_CALL = 'ringside:call';
/** send(event, payload) to the page. */
export const CHANNEL_EVENT = 'ringside:event';
/** postMessage(ticket, [port]) by the page, to open a byte stream. */
export const CHANNEL_STREAM = 'ringside:stream';
/** What the preload posts to the page with the other end of a stream's channel. */
export const STREAM_MESSAGE = 'ringside-stream';
