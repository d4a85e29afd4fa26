/** Which I/O worker serves which queue of a device: QEMU's property iothread-vq-mapping. */
import { RingsideError } from '../errors.ts';
import type { StructListProperty } from '../qom/property.ts';

/** One worker and its queues; without `vqs` queues go round. */
export type QueueMapping = readonly { readonly iothread: string; readonly vqs?: readonly number[] }[];

export const QUEUE_MAPPING: StructListProperty = {
  name: 'iothread-vq-mapping',
  kind: 'struct-list',
  typeName: 'IOThreadVirtQueueMappingList',
  fields: [
    { name: 'iothread', kind: 'string', default: null, description: 'ID of the -object iothread', required: true },
    { name: 'vqs', kind: 'array', element: 'u16', default: [], description: 'the queues that it serves' },
  ],
  default: [],
  description: 'I/O workers that share its queues, as JSON: [{"iothread":"ID","vqs":[0,2]},...]; without vqs in turn',
};

/**
 * The id of the worker of each queue. The rules are QEMU's (iothread_vq_mapping_apply).
 *
 * @param mapping not empty
 * @throws RingsideError 'bad-option'
 */
export function iothreadsOfQueues(mapping: QueueMapping, queues: number): string[] {
  const refuse = (problem: string): never => {
    throw new RingsideError('bad-option', `${QUEUE_MAPPING.name}: ${problem}`);
  };
  const names = mapping.map(({ iothread }) => iothread);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) refuse(`iothread "${twice}" is there twice`);
  const listed = mapping.filter(({ vqs }) => vqs !== undefined).length;
  if (listed === 0) return Array.from({ length: queues }, (_, queue) => names[queue % names.length]);
  if (listed < mapping.length) refuse('either all items must have vqs or none');
  const assigned: string[] = [];
  for (const { iothread, vqs = [] } of mapping) {
    for (const queue of vqs) {
      if (queue >= queues) refuse(`iothread "${iothread}": there is no queue ${queue}: the device has ${queues}`);
      if (queue in assigned) refuse(`queue ${queue} is given to "${assigned[queue]}" and to "${iothread}"`);
      assigned[queue] = iothread;
    }
  }
  for (let queue = 0; queue < queues; queue++) if (!(queue in assigned)) refuse(`queue ${queue} has no iothread`);
  return assigned;
}
