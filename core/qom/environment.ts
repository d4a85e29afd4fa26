/** What objects of a machine may use when they are realized. */
import type { Chardev } from '../chardev/chardev.ts';
import type { HostLink } from '../chardev/host-link.ts';
import type { Host } from '../host/host.ts';
import type { FileRegions } from '../memory/file-region.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Network } from '../net/network.ts';
import type { QueueServer } from '../virtio/backend/queue-server.ts';
import type { IoErrorEvent } from '../virtio/backend/backend.ts';
import type { BackendKinds } from '../virtio/device-type.ts';
import type { IoThreadTuning } from '../worker/adaptive-poll.ts';

/** An I/O worker that an object owns. */
export interface OwnedWorker extends QueueServer {
  /** What is not given stays as it is. */
  tune(tuning: Partial<IoThreadTuning>): void;
  close(): Promise<void>;
}

/** Who uses a back end: until it is closed. */
export interface BackendUser {
  onClose(close: () => void): void;
}

/** What is told about devices, by their ids. */
export interface DeviceListener {
  /** A driver broke a rule of the spec. */
  note(device: string, message: string): void;
  /** A request of a disk has failed. */
  ioError(device: string, event: IoErrorEvent): void;
}

export interface Environment extends DeviceListener {
  readonly host: Host;
  /** Of the machine. */
  readonly harts: number;
  readonly memory: GuestMemory;
  /** Files as guest memory. */
  readonly regions: FileRegions;
  readonly workers: {
    /** Serves what no iothread is said for. */
    readonly main: QueueServer;
    /** @throws RingsideError 'too-large' when there are MAX_IOTHREADS */
    add(): OwnedWorker;
  };
  readonly chardevs: {
    /**
     * A character device of this id. Without a link programs find its other end by the id; one that has a link already gets
     * the new one when the old one is closed.
     *
     * @throws RingsideError 'bad-option', 'too-large'
     */
    open(id: string, link?: HostLink): Chardev;
    close(chardev: Chardev, id: string, link?: HostLink): Promise<void>;
  };
  /** What -netdev makes lives in it. */
  readonly network: Network;
  /**
   * What the back end with an id is realized to. `user` has it to itself until it is unrealized, unless its type is shared.
   *
   * @param type for objects: what it must be
   * @throws RingsideError 'bad-option' when there is none, or another has it
   */
  backend<T>(user: BackendUser, kind: keyof BackendKinds, id: string, type?: string): T;
  /** Something the user should know, one line. */
  warn(message: string): void;
}
