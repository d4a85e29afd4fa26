/** Where in the inspector a person is: the last part of the address, so that reload, back and links work. */

export const DEVICE_VIEWS = ['device', 'queue', 'timeline', 'control', 'capture'] as const;
export type DeviceView = (typeof DEVICE_VIEWS)[number];
export const MACHINE_VIEWS = ['objects', 'memory', 'interrupts', 'harts'] as const;
export type MachineViewName = (typeof MACHINE_VIEWS)[number];

export type Place =
  /** device null: the first there is. `head`: the chain to be shown, by its first descriptor. */
  | { view: DeviceView; device: string | null; queue: number; head: number | null }
  | { view: MachineViewName }
  | { view: 'linter' };

export const FIRST_PLACE: Place = { view: 'device', device: null, queue: 0, head: null };

const isOneOf = <T extends string>(names: readonly T[], name: string): name is T =>
  (names as readonly string[]).includes(name);

/** An address that leads nowhere leads to the first device. */
export function parsePlace(text: string): Place {
  const [kind = '', name = '', view = '', queue = '', head = ''] = text.split('/');
  if (kind === 'machine' && isOneOf(MACHINE_VIEWS, name)) return { view: name };
  if (kind === 'linter') return { view: kind };
  if (kind !== 'virtio' || name === '') return FIRST_PLACE;
  return {
    view: isOneOf(DEVICE_VIEWS, view) ? view : 'device',
    device: decode(name),
    queue: number(queue) ?? 0,
    head: number(head),
  };
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function number(text: string): number | null {
  return /^\d{1,5}$/.test(text) ? Number(text) : null;
}

export function placeText(place: Place): string {
  switch (place.view) {
    case 'objects':
    case 'memory':
    case 'interrupts':
    case 'harts':
      return `machine/${place.view}`;
    case 'linter':
      return place.view;
    case 'device':
    case 'queue':
    case 'timeline':
    case 'control':
    case 'capture': {
      if (place.device === null) return '';
      const base = `virtio/${encodeURIComponent(place.device)}/${place.view}`;
      if (place.view === 'device') return base;
      return `${base}/${place.queue}${place.head === null ? '' : `/${place.head}`}`;
    }
  }
}
