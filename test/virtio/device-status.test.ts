/** The table of status transitions and feature negotiation (virtio 1.3, sections 2.1, 2.2 and 3.1.1). */
import { describe, expect, it } from 'vitest';

import { BLK_FEATURES, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO } from '../../core/virtio/spec/blk.ts';
import { VIRTIO_F_VERSION_1, featureMask } from '../../core/virtio/spec/features.ts';
import {
  STATUS_ACKNOWLEDGE as ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET as NEEDS_RESET,
  STATUS_DRIVER as DRIVER,
  STATUS_DRIVER_OK as DRIVER_OK,
  STATUS_FAILED as FAILED,
  STATUS_FEATURES_OK as FEATURES_OK,
  statusNames,
} from '../../core/virtio/spec/status.ts';
import { writeStatus } from '../../core/virtio/transport/device-status.ts';
import { featureProblem } from '../../core/virtio/transport/feature-negotiation.ts';

const LIVE = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;

describe('device status', () => {
  it.each([
    ['ACKNOWLEDGE', 0, ACKNOWLEDGE, ACKNOWLEDGE],
    ['DRIVER', ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, DRIVER],
    ['FEATURES_OK', ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER | FEATURES_OK, FEATURES_OK],
    ['DRIVER_OK', ACKNOWLEDGE | DRIVER | FEATURES_OK, LIVE, DRIVER_OK],
    ['FAILED at any time', LIVE, LIVE | FAILED, FAILED],
    ['FAILED from nothing', 0, FAILED, FAILED],
    ['all at once', 0, LIVE, LIVE],
    ['nothing new', LIVE, LIVE, 0],
    ['what it read, DEVICE_NEEDS_RESET with it', LIVE | NEEDS_RESET, LIVE | NEEDS_RESET | FAILED, FAILED],
  ])('a driver may set %s', (_what, current, value, added) => {
    expect(writeStatus(current, value, false)).toEqual({ added, notes: [] });
  });

  it.each([
    ['DRIVER first', 0, DRIVER, DRIVER, /DRIVER set before ACKNOWLEDGE \(3\.1\.1\)$/],
    ['DRIVER_OK without FEATURES_OK', 3, 3 | DRIVER_OK, DRIVER_OK, /DRIVER_OK set before FEATURES_OK \(3\.1\.1\)$/],
    ['only the new bit', ACKNOWLEDGE, DRIVER, DRIVER, /must not clear ACKNOWLEDGE \(2\.1\.1\); kept$/],
  ])('a sloppy driver is taken as QEMU takes it, and noted: %s', (_what, current, value, added, note) => {
    const write = writeStatus(current, value, false);
    expect(write.added).toBe(added);
    expect(write.notes).toEqual([expect.stringMatching(note)]);
  });

  it.each([
    ['DRIVER_OK after FAILED', 3 | FAILED, 3 | FAILED | DRIVER_OK | FEATURES_OK, /after FAILED \(3\.1\.1\); refused$/],
    ['DRIVER_OK when a reset is needed', 11 | NEEDS_RESET, 11 | NEEDS_RESET | DRIVER_OK, /; refused$/],
    ['FEATURES_OK once live', 3 | DRIVER_OK, 3 | DRIVER_OK | FEATURES_OK, /after DRIVER_OK \(3\.1\.1\); refused$/],
    [
      'DEVICE_NEEDS_RESET',
      LIVE,
      LIVE | NEEDS_RESET,
      /DEVICE_NEEDS_RESET is not the driver's to set \(2\.1\); ignored$/,
    ],
    ['bits that do not exist', LIVE, LIVE | 0x30, /0x30 is not the driver's to set/],
  ])('a driver may not set %s', (_what, current, value, note) => {
    const write = writeStatus(current, value, false);
    expect(write.added).toBe(0);
    expect(write.notes).toContainEqual(expect.stringMatching(note));
  });

  it('has no FEATURES_OK for legacy drivers, and no order (3.1.2)', () => {
    expect(writeStatus(0, DRIVER_OK, true)).toEqual({ added: DRIVER_OK, notes: [] });
    expect(writeStatus(0, FEATURES_OK, true)).toEqual({ added: 0, notes: [expect.stringMatching(/ignored$/)] });
  });

  it('has names', () => {
    expect(statusNames(0)).toBe('0');
    expect(statusNames(ACKNOWLEDGE | FAILED | 0x10)).toBe('ACKNOWLEDGE | FAILED | 0x10');
  });
});

describe('feature negotiation', () => {
  const known = [...BLK_FEATURES, { bit: 20, name: 'VIRTIO_X_F_MORE', help: '', requires: [12, 5] }];
  const offered = featureMask(VIRTIO_BLK_F_RO, VIRTIO_BLK_F_MQ, 20, VIRTIO_F_VERSION_1);

  it('accepts any subset, also without VIRTIO_F_VERSION_1 (6.2), as small kernels do', () => {
    for (const subset of [offered, 0n, featureMask(VIRTIO_BLK_F_RO), featureMask(VIRTIO_F_VERSION_1)]) {
      expect(featureProblem(offered, subset, known)).toBeNull();
    }
  });

  it('says which bits were not offered', () => {
    expect(featureProblem(offered, offered | featureMask(9, 60), known)).toBe(
      'the driver accepted VIRTIO_BLK_F_FLUSH (bit 9), bit 60, which the device did not offer (2.2.1)',
    );
  });

  it('says which bits are missing', () => {
    expect(featureProblem(offered, featureMask(20, VIRTIO_BLK_F_MQ), known)).toBe(
      'the driver accepted VIRTIO_X_F_MORE (bit 20) without VIRTIO_BLK_F_RO (bit 5), which it requires (2.2.1)',
    );
  });
});
