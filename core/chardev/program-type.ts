/** The back end of a character device whose other end is a program that runs the machine: a terminal, a window. */
import type { TypeInfo } from '../qom/object.ts';

export const PROGRAM_CHARDEV_TYPE: TypeInfo = {
  name: 'chardev-program',
  parent: 'chardev',
  description: 'connected by the program that runs the machine',
  realize(object, { chardevs }) {
    const id = object.id!;
    const chardev = chardevs.open(id);
    object.onClose(() => chardevs.close(chardev, id));
    object.instance = chardev;
  },
};
