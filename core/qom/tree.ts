/** The tree of a machine's objects, by path. */
import { didYouMean } from '../did-you-mean.ts';
import { RingsideError } from '../errors.ts';
import { QomBus, QomObject } from './object.ts';
import type { TypeRegistry } from './registry.ts';

export class ObjectTree {
  readonly root: QomObject;
  readonly types: TypeRegistry;

  constructor(types: TypeRegistry) {
    this.types = types;
    this.root = new QomObject(types.get('container'));
  }

  /** The container at an absolute path, made if it is not there. */
  container(path: string): QomObject {
    let at = this.root;
    for (const name of segments(path)) {
      at = at.children.get(name) ?? at.addChild(name, new QomObject(this.types.get('container')));
    }
    return at;
  }

  /** Puts an object into a container as "device[n]" with the next n, or any other name. */
  addNumbered(container: QomObject, object: QomObject, name = 'device'): void {
    let n = 0;
    while (container.children.has(`${name}[${n}]`)) n++;
    container.addChild(`${name}[${n}]`, object);
  }

  /** By absolute path, or, as in QEMU, by the end of a path if only one object has it. */
  find(path: string): QomObject | null {
    const names = segments(path);
    if (path.startsWith('/')) return descend(this.root, names);
    if (names.length === 0) return null;
    const found = [...this.root.walk()].map((object) => descend(object, names)).filter((object) => object !== null);
    return found.length === 1 ? found[0] : null;
  }

  /** @throws RingsideError 'not-found' when there is none, or more than one */
  get(path: string): QomObject {
    const object = this.find(path);
    if (object) return object;
    const names = [...this.root.walk()].map((known) => (path.startsWith('/') ? known.path : known.name));
    throw new RingsideError('not-found', `there is no object "${path}"${didYouMean(path, names)}`);
  }

  buses(): QomBus[] {
    return [...this.root.walk()].filter((object) => object instanceof QomBus);
  }
}

function segments(path: string): string[] {
  return path.split('/').filter((name) => name !== '');
}

function descend(from: QomObject, names: readonly string[]): QomObject | null {
  let at: QomObject | undefined = from;
  for (const name of names) at = at?.children.get(name);
  return at ?? null;
}
