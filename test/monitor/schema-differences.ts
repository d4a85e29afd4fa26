/** Compares two answers to query-qmp-schema (docs/devel/qapi-code-gen of QEMU, "Client JSON Protocol introspection"). */

export interface SchemaEntry {
  readonly name: string;
  readonly 'meta-type': 'builtin' | 'enum' | 'array' | 'object' | 'alternate' | 'command' | 'event';
  readonly 'json-type'?: string;
  readonly values?: readonly string[];
  readonly 'element-type'?: string;
  readonly members?: readonly SchemaMember[];
  readonly tag?: string;
  readonly variants?: readonly { readonly case: string; readonly type: string }[];
  readonly 'arg-type'?: string;
  readonly 'ret-type'?: string;
}
interface SchemaMember {
  readonly name: string;
  readonly type: string;
  readonly default?: null;
}

type Schema = ReadonlyMap<string, SchemaEntry>;

/**
 * What a client that knows QEMU's schema would miss in ours: each command and event of ours, its arguments and what it
 * returns, member by member. What is returned may lack optional members; what is taken must have all.
 */
export function schemaDifferences(theirs: readonly SchemaEntry[], ours: readonly SchemaEntry[]): string[] {
  const [there, here] = [theirs, ours].map((all) => new Map(all.map((entry) => [entry.name, entry])));
  const found: string[] = [];
  for (const entry of ours) {
    if (entry['meta-type'] !== 'command' && entry['meta-type'] !== 'event') continue;
    const other = there.get(entry.name);
    if (other === undefined) {
      found.push(`${entry.name}: not in QEMU`);
      continue;
    }
    const compare = new Comparison(there, here);
    // The data of events are returned.
    compare.types(`${entry.name} arg`, other['arg-type']!, entry['arg-type']!, entry['meta-type'] === 'event');
    if (entry['meta-type'] === 'command') {
      compare.types(`${entry.name} ret`, other['ret-type']!, entry['ret-type']!, true);
    }
    found.push(...compare.found);
  }
  return found;
}

class Comparison {
  readonly found: string[] = [];
  readonly #there: Schema;
  readonly #here: Schema;
  /** Pairs of types that have been compared, or are being. */
  readonly #seen: Set<string>;

  constructor(there: Schema, here: Schema, seen: ReadonlySet<string> = new Set()) {
    this.#there = there;
    this.#here = here;
    this.#seen = new Set(seen);
  }

  types(path: string, theirName: string, ourName: string, returned: boolean): void {
    const pair = `${theirName} ${ourName}`;
    if (this.#seen.has(pair)) return;
    this.#seen.add(pair);
    const [theirs, ours] = [this.#there.get(theirName)!, this.#here.get(ourName)!];
    const [their, our] = [kind(theirs), kind(ours)];
    // Any JSON.
    if (our === 'value' || their === 'alternate') return;
    if (their !== our) this.found.push(`${path}: QEMU ${their}, here ${our}`);
    else if (our === 'array') this.types(`${path}[]`, theirs['element-type']!, ours['element-type']!, returned);
    else if (our === 'enum') this.#enums(path, theirs, ours);
    else if (our === 'object') this.#objects(path, theirs, ours, returned);
  }

  #enums(path: string, theirs: SchemaEntry, ours: SchemaEntry): void {
    const extra = ours.values!.filter((value) => !theirs.values!.includes(value));
    if (extra.length > 0) this.found.push(`${path}: ${extra.join(', ')} not in QEMU`);
  }

  #objects(path: string, theirs: SchemaEntry, ours: SchemaEntry, returned: boolean): void {
    const variants = (theirs.variants ?? []).map(({ type }) => this.#there.get(type)!.members ?? []);
    for (const member of ours.members!) {
      const own = theirs.members!.find(({ name }) => name === member.name);
      const types = own
        ? [own.type]
        : variants.flatMap((members) => members.filter(({ name }) => name === member.name).map(({ type }) => type));
      const at = `${path}.${member.name}`;
      if (types.length === 0) this.found.push(`${at}: not in QEMU`);
      else this.#oneOf(at, types, member.type, returned);
      if (own && !returned && 'default' in own && !('default' in member)) this.found.push(`${at}: optional in QEMU`);
      if (own && returned && !('default' in own) && 'default' in member) this.found.push(`${at}: always there in QEMU`);
    }
    for (const { name, ...member } of theirs.members!) {
      if (ours.members!.some((own) => own.name === name) || (returned && 'default' in member)) continue;
      this.found.push(`${path}.${name}: only in QEMU`);
    }
    for (const { case: value, type } of ours.variants ?? []) {
      const variant = theirs.variants?.find((candidate) => candidate.case === value);
      if (variant === undefined) this.found.push(`${path}: variant ${value} not in QEMU`);
      else this.types(`${path}<${value}>`, variant.type, type, returned);
    }
  }

  /** As one of QEMU's. */
  #oneOf(path: string, theirs: readonly string[], ours: string, returned: boolean): void {
    const tries = theirs.map((type) => {
      const compare = new Comparison(this.#there, this.#here, this.#seen);
      compare.types(path, type, ours, returned);
      return compare.found;
    });
    this.found.push(...tries.reduce((best, found) => (found.length < best.length ? found : best)));
  }
}

function kind(entry: SchemaEntry): string {
  return entry['meta-type'] === 'builtin' ? entry['json-type']! : entry['meta-type'];
}
