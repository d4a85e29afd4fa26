/**
 * The bytes of a console on a BytePort. Every message is one frame: a type byte, then its body (integers little-endian).
 *
 * The app sends HELLO, then DATA: first what its scrollback holds (HELLO says how many bytes of that there are), then
 * what the guest writes. It keeps at most OUTPUT_WINDOW bytes unacknowledged; a client acknowledges what it has shown.
 * Who falls further behind than the scrollback is long gets a GAP with the number of bytes skipped: a flooding guest
 * costs neither memory nor is it slowed by who watches. Input is the mirror: a client keeps at most INPUT_WINDOW bytes
 * without CREDIT, which comes when the guest's port has taken them.
 */

/** App to client. */
export const FRAME_HELLO = 1;
export const FRAME_DATA = 2;
export const FRAME_GAP = 3;
/** The machine was powered on: what follows belongs to a new session, clear the screen. */
export const FRAME_RESET = 4;
export const FRAME_CREDIT = 5;
/** Client to app. */
export const FRAME_ACK = 16;
export const FRAME_INPUT = 17;
/** The size of the watcher's terminal in characters: two u16, columns and rows. The last one counts. */
export const FRAME_RESIZE = 18;

export const OUTPUT_WINDOW = 128 * 1024;
export const INPUT_WINDOW = 32 * 1024;
/** Longest body of a DATA or INPUT frame. */
export const MAX_BODY = 16 * 1024;
export const MAX_FRAME = MAX_BODY + 1;

/** A frame whose body is bytes. */
export function bytesFrame(type: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(1 + body.length);
  frame[0] = type;
  frame.set(body, 1);
  return frame;
}

/** A frame whose body is one u32. */
export function countFrame(type: number, count: number): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(5);
  frame[0] = type;
  new DataView(frame.buffer).setUint32(1, count, true);
  return frame;
}

/** @param cols 1..65535, as `rows` */
export function resizeFrame(cols: number, rows: number): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(5);
  frame[0] = FRAME_RESIZE;
  const view = new DataView(frame.buffer);
  view.setUint16(1, cols, true);
  view.setUint16(3, rows, true);
  return frame;
}

/** Columns and rows of a frame made by resizeFrame, or null when it is not one. */
export function frameSize(frame: Uint8Array): { cols: number; rows: number } | null {
  if (frame.length !== 5) return null;
  const view = new DataView(frame.buffer, frame.byteOffset, 5);
  const [cols, rows] = [view.getUint16(1, true), view.getUint16(3, true)];
  return cols > 0 && rows > 0 ? { cols, rows } : null;
}

/** The u32 of a frame made by countFrame. @throws when it is not one. */
export function frameCount(frame: Uint8Array): number {
  if (frame.length !== 5) throw new Error('bad console frame');
  return new DataView(frame.buffer, frame.byteOffset, 5).getUint32(1, true);
}
