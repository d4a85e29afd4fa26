/** Types and objects: inheritance, the tree and its paths, and that whatever fails leaves nothing behind. */
import { beforeEach, describe, expect, test } from 'vitest';

import { RingsideError } from '../../core/errors.ts';
import { BASE_TYPES } from '../../core/qom/base-types.ts';
import { QomBus, QomObject } from '../../core/qom/object.ts';
import type { TypeInfo } from '../../core/qom/object.ts';
import { TypeRegistry } from '../../core/qom/registry.ts';
import { ObjectTree } from '../../core/qom/tree.ts';
import { testEnvironment } from './environment.ts';

let log: string[];
let failing: string | null;
let types: TypeRegistry;
let tree: ObjectTree;

/** Its hooks write down that they ran; the one named by `failing` fails. */
function traced(info: Omit<TypeInfo, 'realize'>): TypeInfo {
  const { name } = info;
  const step = (what: string): void => {
    log.push(`${what} ${name}`);
    if (failing === `${what} ${name}`) throw new RingsideError('io', `${what} of ${name} failed`);
  };
  return {
    instanceInit: () => step('init'),
    async realize(object) {
      object.onClose(() => step('close'));
      await Promise.resolve();
      step('realize');
    },
    unrealize: () => step('unrealize'),
    reset: () => step('reset'),
    finalize: () => step('finalize'),
    ...info,
  };
}

beforeEach(() => {
  log = [];
  failing = null;
  types = new TypeRegistry().register(
    ...BASE_TYPES,
    { name: 'test-bus', parent: 'bus', internal: true },
    traced({
      name: 'animal',
      parent: 'device',
      abstract: true,
      bus: 'test-bus',
      category: 'misc',
      properties: [
        { name: 'legs', kind: 'u8', default: 4, max: 100, description: 'how many legs', aliases: ['feet'] },
        { name: 'sound', kind: 'string', default: null, description: 'what it says', live: true },
      ],
    }),
    traced({
      name: 'bird',
      parent: 'animal',
      defaults: { legs: 2 },
      aliases: ['fowl'],
      properties: [{ name: 'wings', kind: 'bool', default: true, description: 'whether it flies' }],
      changed(_object, _property, value) {
        if (value === 'miaow') throw new RingsideError('bad-option', 'sound: a bird does not say that');
      },
    }),
    traced({
      name: 'cage',
      parent: 'animal',
      child: { name: 'inmate', type: 'bird' },
      properties: [{ name: 'legs', kind: 'u16', default: 300, description: 'a property of the same name' }],
    }),
    {
      name: 'leash',
      parent: 'device',
      properties: [
        { name: 'drive', kind: 'link', target: 'drive', default: null, required: true, description: 'what it holds' },
      ],
    },
  );
  tree = new ObjectTree(types);
});

const make = (type: string, id: string | null = null): QomObject => new QomObject(types.get(type), id);

describe('types', () => {
  test('inherit properties, with defaults of their own, and replace them', () => {
    expect(make('bird').value('legs')).toBe(2);
    expect(make('bird').value('wings')).toBe(true);
    expect(make('cage').value('legs')).toBe(300);
    expect(types.get('cage').property('legs').kind).toBe('u16');
    expect(types.get('bird').isA('animal')).toBe(true);
    expect(types.get('animal').isA('bird')).toBe(false);
    expect(types.get('bird').bus).toBe('test-bus');
  });

  test('are found by name and alias, their properties too', () => {
    expect(types.find('fowl')).toBe(types.get('bird'));
    const bird = make('bird');
    bird.set('feet', '3');
    expect(bird.get('legs')).toBe(3);
    expect(types.creatables('device').map(({ name }) => name)).toEqual(['bird', 'cage', 'leash']);
  });

  test('say what was probably meant', () => {
    expect(() => types.creatable('brid', 'device', 'device')).toThrow(
      'unknown device "brid" (did you mean bird?); "help" lists those that there are',
    );
    expect(() => types.creatable('animal', 'device', 'device')).toThrow('device "animal" cannot be made by itself');
    expect(() => make('bird').set('leg', '1')).toThrow('unknown "leg" (did you mean legs?); "bird,help"');
  });

  test('cannot be registered twice, without their parent, or with a default for nothing', () => {
    expect(() => types.register({ name: 'fowl', parent: 'object' })).toThrow('twice');
    expect(() => types.register({ name: 'x', parent: 'y' })).toThrow('no type y');
    expect(() => types.register({ name: 'x', parent: 'bird', defaults: { fins: 1 } })).toThrow('not inherited');
    expect(() => make('animal')).toThrow('abstract');
  });
});

describe('a life', () => {
  test('goes from base to derived, and back', async () => {
    const environment = testEnvironment();
    const bird = tree.container('/machine').addChild('b', make('bird'));
    await bird.realize(environment);
    expect(bird.realized).toBe(true);
    await bird.reset();
    await bird.unrealize(environment);
    bird.remove();
    expect(log).toEqual([
      ...['init animal', 'init bird', 'realize animal', 'realize bird', 'reset animal', 'reset bird'],
      ...['unrealize bird', 'unrealize animal', 'close bird', 'close animal', 'finalize bird', 'finalize animal'],
    ]);
    expect(tree.find('/machine/b')).toBe(null);
  });

  test('that fails to begin is undone as far as it came', async () => {
    failing = 'realize bird';
    const bird = make('bird');
    log.length = 0;
    await expect(bird.realize(testEnvironment())).rejects.toMatchObject({ message: 'realize of bird failed' });
    expect(bird.realized).toBe(false);
    expect(log).toEqual(['realize animal', 'realize bird', 'unrealize animal', 'close bird', 'close animal']);
    // And may be tried again.
    failing = null;
    await bird.realize(testEnvironment());
    expect(bird.realized).toBe(true);
  });

  test('ends whatever fails at the end, and says so', async () => {
    const warnings: string[] = [];
    const bird = make('bird', 'tweety');
    await bird.realize(testEnvironment());
    failing = 'unrealize bird';
    log.length = 0;
    await bird.unrealize(testEnvironment(warnings));
    expect(log).toEqual(['unrealize bird', 'unrealize animal', 'close bird', 'close animal']);
    expect(warnings).toEqual(['tweety: unrealize of bird failed']);
  });

  test('needs what its links need', async () => {
    await expect(make('leash').realize(testEnvironment())).rejects.toMatchObject({
      kind: 'bad-option',
      message: 'which drive? Give drive=ID',
    });
  });
});

describe('properties of an object', () => {
  test('are fixed once it is realized, but for live ones, which may be refused', async () => {
    const bird = make('bird');
    bird.set('legs', 1);
    await bird.realize(testEnvironment());
    expect(() => bird.set('legs', 2)).toThrow('legs: it is fixed once the object is there');
    bird.set('sound', 'tweet');
    expect(() => bird.set('sound', 'miaow')).toThrow('a bird does not say that');
    expect(bird.get('sound')).toBe('tweet');
  });

  test('are listed with what every device has', () => {
    const bird = tree.container('/machine').addChild('b', make('bird'));
    expect(bird.get('type')).toBe('bird');
    expect(bird.get('realized')).toBe(false);
    expect(() => bird.set('type', 'cat')).toThrow('type: it can only be read');
    expect(() => bird.set('realized', true)).toThrow('realized: it can only be read');
    expect(bird.list().map(({ name, type }) => `${name}=${type}`)).toEqual([
      ...['type=string', 'parent_bus=link<bus>', 'realized=bool', 'hotplugged=bool', 'hotpluggable=bool'],
      ...['wings=bool', 'legs=uint8', 'sound=str'],
    ]);
    expect(tree.root.list()).toEqual([
      { name: 'type', type: 'string' },
      { name: 'machine', type: 'child<container>' },
    ]);
  });

  test('may be computed', () => {
    const bird = make('bird');
    let weight = 5;
    bird.define('weight', { type: 'int', get: () => weight, set: (value) => (weight = value as number) });
    bird.define('eggs', { type: 'list', get: () => [1, 2] });
    bird.set('weight', 7);
    expect(bird.get('weight')).toBe(7);
    expect(bird.get('eggs')).toEqual([1, 2]);
    expect(() => bird.set('eggs', [])).toThrow('can only be read');
  });

  test("of a child are the object's too, unless it has its own", () => {
    const cage = tree.container('/machine').addChild('c', make('cage'));
    const inmate = cage.children.get('inmate')!;
    expect(inmate.path).toBe('/machine/c/inmate');
    cage.set('wings', 'off');
    expect(inmate.value('wings')).toBe(false);
    cage.set('legs', '200');
    expect(inmate.value('legs')).toBe(2);
    expect(cage.values).toEqual({ legs: 200, sound: null, wings: false });
  });
});

describe('the tree', () => {
  test('finds by path, and by the end of one that only one object has', () => {
    const bird = tree.container('/machine/peripheral').addChild('b', make('bird'));
    const cage = tree.container('/machine/peripheral').addChild('c', make('cage'));
    expect(bird.path).toBe('/machine/peripheral/b');
    expect(tree.root.path).toBe('/');
    expect(tree.find('/machine/peripheral/b')).toBe(bird);
    expect(tree.find('peripheral/b')).toBe(bird);
    expect(tree.find('inmate')).toBe(cage.children.get('inmate'));
    tree.container('/machine/peripheral').addChild('d', make('cage'));
    expect(tree.find('inmate')).toBe(null);
    expect(tree.find('/machine/nowhere')).toBe(null);
    expect(() => tree.get('/machine/peripheral/x')).toThrow('there is no object "/machine/peripheral/x" (did you mean');
  });

  test('numbers what has no name, the lowest free number first', () => {
    const container = tree.container('/machine/peripheral-anon');
    const birds = [make('bird'), make('bird'), make('bird')];
    for (const bird of birds) tree.addNumbered(container, bird);
    expect(birds.map(({ name }) => name)).toEqual(['device[0]', 'device[1]', 'device[2]']);
    birds[1].remove();
    const another = make('bird');
    tree.addNumbered(container, another);
    expect(another.path).toBe('/machine/peripheral-anon/device[1]');
  });

  test('has buses, whose devices hang elsewhere', () => {
    const owner = tree.container('/machine/unattached').addChild('owner', make('bird'));
    const bus = owner.addChild('perch', new QomBus(types.get('test-bus'), { capacity: 1 }));
    const bird = tree.container('/machine/peripheral').addChild('b', make('bird'));
    bus.put(bird);
    expect(bus.full).toBe(true);
    expect(owner.buses).toEqual([bus]);
    expect(bird.get('parent_bus')).toBe('/machine/unattached/owner/perch');
    expect(bird.get('hotpluggable')).toBe(false);
    bird.remove();
    expect(bus.devices).toEqual([]);
  });
});
