/** What a device type gives to the conformance suite (../conformance.test.ts) and to the fuzzer. */
import type { VirtioDevice } from '../../../core/virtio/device.ts';
import type { IoThreadHandle } from '../../../core/worker/iothread-handle.ts';
import type { MemoryBoard, VirtioDriver } from '../../harness/virtio-driver.ts';

/** VirtioBench or PciBench. */
export interface ExerciseBench extends MemoryBoard {
  /** Serves the queues. */
  readonly iothread: IoThreadHandle;
}

export interface Exercised {
  readonly device: VirtioDevice;
  /**
   * Real work on every queue, checked with expect(). Called again after resets of the device and of single queues, so
   * it leaves no buffer with the device that it wants to see again. Buffers go through driver.submit() and driver.add(),
   * which make indirect tables where the suite wants them.
   */
  work(driver: VirtioDriver): Promise<void>;
  /** After the device is gone. */
  close?(): void | Promise<void>;
}

export interface Exercise {
  /** The base of the device type, e.g. "virtio-rng". */
  readonly base: string;
  /** False: no legacy interface. Default true. */
  readonly legacy?: boolean;
  /** It needs the native addon. Default false. */
  readonly addon?: boolean;
  make(bench: ExerciseBench): Exercised | Promise<Exercised>;
}
