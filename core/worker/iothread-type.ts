/** The type iothread (QEMU: iothread.c): an I/O worker for the queues of the devices that name it. */
import type { TypeInfo } from '../qom/object.ts';

export const IOTHREAD_TYPE: TypeInfo = {
  name: 'iothread',
  parent: 'user-creatable',
  description: 'an I/O worker, for the devices that name it',
  shared: true,
  realize(object, { workers }) {
    const worker = workers.add();
    object.onClose(() => worker.close());
    object.instance = worker;
  },
};
