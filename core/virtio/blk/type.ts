/** The type virtio-blk (QEMU: hw/block/virtio-blk.c). */
import type { Drive } from '../../block/drive-type.ts';
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_BLOCK } from '../spec/device-ids.ts';
import { BlkDevice, QUEUES_MAX, QUEUE_SIZE } from './device.ts';
import type { ReadPolicy, WritePolicy } from './error-policy.ts';

const POLICIES = ['report', 'ignore', 'enospc', 'stop', 'auto'];

export const BLK_TYPE: VirtioDeviceType = {
  base: 'virtio-blk',
  virtioId: VIRTIO_ID_BLOCK,
  description: 'a disk',
  category: 'storage',
  pciClass: 0x0100,
  transitionalId: 0x1001,
  vectors: (queues) => queues + 1,
  properties: [
    {
      name: 'drive',
      kind: 'link',
      target: 'drive',
      default: null,
      required: true,
      description: 'ID of the -drive (with if=none) that it is',
    },
    {
      name: 'serial',
      kind: 'string',
      default: null,
      maxBytes: 20,
      description: 'serial number that the guest sees, at most 20 bytes',
    },
    {
      name: 'werror',
      kind: 'enum',
      typeName: 'BlockdevOnError',
      values: POLICIES,
      default: 'auto',
      description: 'what a failed write does, report/ignore/enospc/stop/auto',
    },
    {
      name: 'rerror',
      kind: 'enum',
      typeName: 'BlockdevOnError',
      values: POLICIES.filter((policy) => policy !== 'enospc'),
      default: 'auto',
      description: 'what a failed read does, report/ignore/stop/auto',
    },
    {
      name: 'num-queues',
      kind: 'u16',
      default: 1,
      min: 1,
      max: QUEUES_MAX,
      description: 'request queues',
    },
    {
      name: 'queue-size',
      kind: 'u16',
      default: QUEUE_SIZE,
      min: 4,
      max: QUEUE_SIZE,
      powerOf2: true,
      description: 'entries of each queue at most, a power of 2',
    },
    { name: 'config-wce', kind: 'bit', default: true, description: 'the driver may switch the write cache' },
    { name: 'discard', kind: 'bit', default: true, description: 'the driver may discard sectors' },
    {
      name: 'write-zeroes',
      kind: 'bit',
      default: true,
      description: 'the driver may write zeroes without sending them',
    },
  ],
  create(id, values, context) {
    const drive = context.backend<Drive>('drive', values.drive as string);
    const policy = <T>(own: unknown, otherwise: T): T => (own === 'auto' ? otherwise : (own as T));
    return new BlkDevice({
      id,
      disk: drive.disk,
      serial: (values.serial as string | null) ?? drive.serial ?? '',
      werror: policy<WritePolicy>(values.werror, drive.werror),
      rerror: policy<ReadPolicy>(values.rerror, drive.rerror),
      queues: values['num-queues'] as number,
      queueSize: values['queue-size'] as number,
      configWce: values['config-wce'] as boolean,
      discard: values.discard as boolean,
      writeZeroes: values['write-zeroes'] as boolean,
    });
  },
};
