/** Looks at what a driver does with a device's registers. Always on: it is the control path. */
import { VIRTIO_F_VERSION_1, hasFeature } from '../spec/features.ts';
import { STATUS_DRIVER_OK, STATUS_FEATURES_OK } from '../spec/status.ts';
import { LintFindings } from './findings.ts';
import type { LintRule } from './rules.ts';

export class DriverLinter {
  readonly findings = new LintFindings();
  /** FEATURES_OK was set, and the status has not been read since. */
  #unread = false;
  /** Notifications of all queues at the last reset; null: since then the device has been live, or has a legacy driver. */
  #doorbells: number | null = null;
  /** The last part of the configuration that was read; and one that was read before and after a change. */
  #config: { offset: number; size: number; generation: number } | null = null;
  #torn: { offset: number; detail: string } | null = null;

  found(rule: LintRule, queue: number | null, detail: () => string): void {
    this.findings.add(rule, queue, detail);
  }

  /** @param doorbells notifications of all queues until now */
  reset(doorbells: number): void {
    this.#early(doorbells);
    this.#unread = false;
    this.#doorbells = doorbells;
    this.#config = this.#torn = null;
  }

  statusRead(): void {
    this.#unread = false;
  }

  /** The driver writes `value`, not 0, over `before`. */
  statusWritten(before: number, value: number, legacy: boolean, doorbells: () => number): void {
    if (legacy) {
      this.#doorbells = null;
      return;
    }
    const added = value & ~before;
    if (added & STATUS_DRIVER_OK) {
      // Section 3.1.1, step 6: it must see whether the device took its features.
      if (this.#unread || added & STATUS_FEATURES_OK) {
        this.found('features-ok-unread', null, () => 'DRIVER_OK set, and FEATURES_OK not read back before');
      }
      this.#early(doorbells());
      this.#doorbells = null;
    }
    if (added & STATUS_FEATURES_OK) this.#unread = true;
  }

  /** Also of a driver that never comes to DRIVER_OK. */
  #early(doorbells: number): void {
    if (this.#doorbells === null) return;
    const early = (doorbells - this.#doorbells) >>> 0;
    if (early > 0) this.found('early-notify', null, () => `${early} notifications before DRIVER_OK`);
  }

  featuresAccepted(offered: bigint, driver: bigint): void {
    if (hasFeature(offered, VIRTIO_F_VERSION_1) && !hasFeature(driver, VIRTIO_F_VERSION_1)) {
      this.found('version-1', null, () => `features 0x${driver.toString(16)} accepted`);
    }
  }

  /**
   * A field of 64 bits is read in two parts; if the configuration changes between them, the first must be read again
   * (section 2.5.1). What a driver does instead of that says that it did not look.
   */
  configRead(offset: number, size: number, generation: number): void {
    const torn = this.#torn;
    if (torn !== null) {
      this.#torn = null;
      if (offset !== torn.offset) this.found('config-torn', null, () => torn.detail);
    }
    const last = this.#config;
    if (last !== null && last.size === 4 && size === 4 && last.offset % 8 === 0 && offset === last.offset + 4) {
      if (generation !== last.generation) {
        const detail = `offsets ${last.offset} and ${offset} read in generations ${last.generation} and ${generation}`;
        this.#torn = { offset: last.offset, detail };
      }
    }
    this.#config = { offset, size, generation };
  }
}
