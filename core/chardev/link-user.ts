/** What a link of the host (host-link.ts) and who is at its other end know of one another. */

/** What the other side is told. */
export interface LinkUser {
  /** Bytes from the host; they are its to keep. */
  data(bytes: Uint8Array): void;
  /** Somebody is there now, or nobody any more. */
  opened(open: boolean): void;
  /** There is room again after a write() that was told false. */
  drained(): void;
  /** A break came (telnet). */
  break(): void;
}

/** A link, as who uses it sees it: see HostLink. */
export interface UsedLink {
  attach(user: LinkUser): void;
  hold(): void;
  release(): void;
  hangUp(): void;
  write(bytes: Uint8Array): boolean;
}
