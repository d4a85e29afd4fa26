/** Lists of buffers that are read or written one behind the other. */

/** Bytes of all of them. */
export function totalLength(views: readonly Uint8Array[]): number {
  let total = 0;
  for (const view of views) total += view.length;
  return total;
}

/** The part of `views` that begins `skip` bytes in and is at most `max` bytes long. */
export function window(views: readonly Uint8Array[], skip: number, max: number): Uint8Array[] {
  const part = [];
  let room = max;
  for (const view of views) {
    if (room === 0) break;
    if (skip >= view.length) {
      skip -= view.length;
      continue;
    }
    const piece = view.subarray(skip, skip + room);
    part.push(piece);
    room -= piece.length;
    skip = 0;
  }
  return part;
}

/** Copies `source` into `views`, from `skip` bytes in; what does not fit is left out. */
export function scatter(source: Uint8Array, views: readonly Uint8Array[], skip: number): void {
  let done = 0;
  for (const view of window(views, skip, source.length)) {
    view.set(source.subarray(done, done + view.length));
    done += view.length;
  }
}

/** Zeroes `length` bytes of `views`, from `skip` bytes in. */
export function zero(views: readonly Uint8Array[], skip: number, length: number): void {
  for (const view of window(views, skip, length)) view.fill(0);
}
