/** The type iothread (QEMU: iothread.c): an I/O worker for the queues of the devices that name it. */
import type { OwnedWorker } from '../qom/environment.ts';
import type { TypeInfo } from '../qom/object.ts';
import type { NumberProperty } from '../qom/property.ts';
import { DEFAULT_TUNING } from './adaptive-poll.ts';
import type { IoThreadTuning } from './adaptive-poll.ts';

/** QEMU's properties by what they set. */
const PROPERTIES: readonly (Omit<NumberProperty, 'kind' | 'default' | 'live'> & { sets: keyof IoThreadTuning })[] = [
  {
    name: 'poll-max-ns',
    sets: 'pollMaxNs',
    max: 1e9,
    description: 'nanoseconds that it looks for work at most before it sleeps; 0: it sleeps at once',
  },
  {
    name: 'poll-grow',
    sets: 'pollGrow',
    max: 1000,
    description: 'by what the time is multiplied when it was too short; 0: 2',
  },
  {
    name: 'poll-shrink',
    sets: 'pollShrink',
    max: 1000,
    description: 'by what it is divided when polling does not pay; 0: it begins anew',
  },
  {
    name: 'aio-max-batch',
    sets: 'maxBatch',
    max: 1024,
    description: 'requests whose completion the driver is shown at once, at most; 0: what is best',
  },
];

export const IOTHREAD_TYPE: TypeInfo = {
  name: 'iothread',
  parent: 'user-creatable',
  description: 'an I/O worker, for the devices that name it',
  shared: true,
  properties: PROPERTIES.map(({ sets, ...spec }) => ({
    ...spec,
    kind: 'u32',
    default: DEFAULT_TUNING[sets],
    live: true,
  })),
  realize(object, { workers }) {
    const worker = workers.add();
    object.onClose(() => worker.close());
    worker.tune(Object.fromEntries(PROPERTIES.map(({ name, sets }) => [sets, object.value<number>(name)])));
    object.instance = worker;
  },
  changed(object, property, value) {
    const { sets } = PROPERTIES.find(({ name }) => name === property)!;
    (object.instance as OwnedWorker).tune({ [sets]: value as number });
  },
};
