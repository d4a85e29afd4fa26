/** The types that there are, by name. */
import { didYouMean } from '../did-you-mean.ts';
import { RingsideError } from '../errors.ts';
import { QomType } from './object.ts';
import type { TypeInfo } from './object.ts';

export class TypeRegistry {
  readonly #types = new Map<string, QomType>();
  readonly #aliases = new Map<string, QomType>();

  /** Parents and children first. */
  register(...infos: readonly TypeInfo[]): this {
    for (const info of infos) this.#register(info);
    return this;
  }

  #register(info: TypeInfo): void {
    for (const name of [info.name, ...(info.aliases ?? [])]) {
      if (this.#types.has(name) || this.#aliases.has(name)) throw new Error(`type ${name} is registered twice`);
    }
    const type = new QomType(info, (name) => this.get(name));
    this.#types.set(info.name, type);
    for (const alias of info.aliases ?? []) this.#aliases.set(alias, type);
  }

  /** By name or alias. */
  find(name: string): QomType | undefined {
    return this.#types.get(name) ?? this.#aliases.get(name);
  }

  /** A type that must be there. */
  get(name: string): QomType {
    const type = this.find(name);
    if (!type) throw new Error(`there is no type ${name}`);
    return type;
  }

  /** All types that are `base` or derived from it, by name. */
  all(base: string, { abstract = true } = {}): QomType[] {
    return [...this.#types.values()]
      .filter((type) => type.isA(base) && (abstract || !type.info.abstract))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * A type that users may make objects of.
   *
   * @param base what it must be derived from: "device", "user-creatable", ...
   * @param what how to call such types in the message, e.g. "device"
   * @param prefix of the types' names, which users leave out
   * @throws RingsideError 'bad-option'
   */
  creatable(name: string, base: string, what: string, prefix = ''): QomType {
    const type = this.find(prefix + name);
    if (type && isCreatable(type) && type.isA(base)) return type;
    const names = this.creatables(base).flatMap(({ info }) =>
      [info.name, ...(info.aliases ?? [])].map((known) => known.slice(prefix.length)),
    );
    const why = type?.isA(base) ? `${what} "${name}" cannot be made by itself` : `unknown ${what} "${name}"`;
    throw new RingsideError('bad-option', `${why}${didYouMean(name, names)}; "help" lists those that there are`);
  }

  creatables(base: string): QomType[] {
    return this.all(base).filter(isCreatable);
  }
}

function isCreatable({ info }: QomType): boolean {
  return !info.abstract && !info.internal;
}
