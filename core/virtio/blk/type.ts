/** The type virtio-blk (QEMU: hw/block/virtio-blk.c). */
import type { Drive } from '../../block/drive-type.ts';
import type { VirtioDeviceType } from '../device-type.ts';
import { QUEUE_MAPPING } from '../queue-mapping.ts';
import { VIRTIO_ID_BLOCK } from '../spec/device-ids.ts';
import { REQUEST_SECTORS_MAX } from './request.ts';
import { BlkDevice, QUEUES_MAX, QUEUE_SIZE } from './device.ts';
import type { ReadPolicy, WritePolicy } from './error-policy.ts';

/** QEMU: VIRTIO_BLK_AUTO_NUM_QUEUES. */
const AUTO_QUEUES = 65535;
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
      default: AUTO_QUEUES,
      min: 1,
      description: `request queues, at most ${QUEUES_MAX}; ${AUTO_QUEUES}: on PCI one for each hart, else 1`,
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
    QUEUE_MAPPING,
    { name: 'config-wce', kind: 'bit', default: true, description: 'the driver may switch the write cache' },
    { name: 'discard', kind: 'bit', default: true, description: 'the driver may discard sectors' },
    {
      name: 'write-zeroes',
      kind: 'bit',
      default: true,
      description: 'the driver may write zeroes without sending them',
    },
    { name: 'secure-erase', kind: 'bit', default: true, description: 'the driver may erase sectors for good' },
    {
      name: 'lifetime',
      kind: 'array',
      element: 'u16',
      maxLength: 3,
      default: [],
      description: 'what the driver learns of wear: pre_eol_info, and estimates for memory of types A and B',
    },
    {
      name: 'logical_block_size',
      kind: 'u32',
      default: 0,
      unit: 'bytes',
      description: 'bytes of a logical block; 0: as the disk',
    },
    {
      name: 'physical_block_size',
      kind: 'u32',
      default: 0,
      unit: 'bytes',
      description: 'bytes of a physical block; 0: a logical one',
    },
    {
      name: 'min_io_size',
      kind: 'u32',
      default: 0,
      unit: 'bytes',
      description: 'bytes of the smallest request that is quick',
    },
    { name: 'opt_io_size', kind: 'u32', default: 0, unit: 'bytes', description: 'bytes of the best request' },
    {
      name: 'max-discard-sectors',
      kind: 'u32',
      default: REQUEST_SECTORS_MAX,
      min: 1,
      max: REQUEST_SECTORS_MAX,
      description: 'sectors that one request can discard',
    },
    {
      name: 'max-write-zeroes-sectors',
      kind: 'u32',
      default: REQUEST_SECTORS_MAX,
      min: 1,
      max: REQUEST_SECTORS_MAX,
      description: 'sectors that one request can write zeroes to',
    },
  ],
  create(id, values, context) {
    const drive = context.backend<Drive>('drive', values.drive as string);
    const policy = <T>(own: unknown, otherwise: T): T => (own === 'auto' ? otherwise : (own as T));
    const size = (name: string) => (values[name] as number) || undefined;
    const lifetime = values.lifetime as number[];
    let queues = values['num-queues'] as number;
    if (queues === AUTO_QUEUES) {
      queues = Math.min(context.optimalQueues, QUEUES_MAX);
      context.choose('num-queues', queues);
    }
    return new BlkDevice({
      id,
      disk: drive.disk,
      serial: (values.serial as string | null) ?? drive.serial ?? '',
      werror: policy<WritePolicy>(values.werror, drive.werror),
      rerror: policy<ReadPolicy>(values.rerror, drive.rerror),
      queues,
      queueSize: values['queue-size'] as number,
      configWce: values['config-wce'] as boolean,
      discard: values.discard as boolean,
      writeZeroes: values['write-zeroes'] as boolean,
      secureErase: values['secure-erase'] as boolean,
      lifetime:
        lifetime.length === 0 ? null : { preEol: lifetime[0], typeA: lifetime[1] ?? 0, typeB: lifetime[2] ?? 0 },
      logicalBlockSize: size('logical_block_size'),
      physicalBlockSize: size('physical_block_size'),
      minIoSize: size('min_io_size'),
      optIoSize: size('opt_io_size'),
      maxDiscardSectors: values['max-discard-sectors'] as number,
      maxWriteZeroesSectors: values['max-write-zeroes-sectors'] as number,
    });
  },
};
