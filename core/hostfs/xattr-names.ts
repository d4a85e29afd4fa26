/**
 * Which extended attributes a guest may have, and under which names they are kept: as in QEMU user attributes and POSIX
 * ACLs. A mapped model keeps ACLs as user attributes, for they speak of the guest's users, and hides its own.
 */
import { ENODATA, EOPNOTSUPP, LinuxError } from './errors.ts';
import type { SecurityModel } from './ownership.ts';

const OWN = 'user.virtfs.';
const ACLS = ['system.posix_acl_access', 'system.posix_acl_default'];
const NAME_MAX = 255;

export class XattrNames {
  readonly #model: SecurityModel;

  constructor(model: SecurityModel) {
    this.#model = model;
  }

  /** @throws LinuxError */
  toHost(name: string): string {
    if (name.length > NAME_MAX - OWN.length || name.includes('\0')) throw new LinuxError(ENODATA);
    if (name.startsWith(OWN)) throw new LinuxError(ENODATA);
    if (name.startsWith('user.')) return name;
    if (!ACLS.includes(name) || this.#model === 'none') throw new LinuxError(EOPNOTSUPP);
    return this.#model === 'passthrough' ? name : OWN + name;
  }

  /** Of a list of names as listxattr gives it, what the guest may see. */
  listToGuest(list: Uint8Array): Uint8Array {
    const names = Buffer.from(list.buffer, list.byteOffset, list.length).toString('latin1').split('\0');
    const shown = names.flatMap((name) => {
      if (name.startsWith(OWN)) {
        const acl = name.slice(OWN.length);
        return ACLS.includes(acl) && this.#model.startsWith('mapped') ? [acl] : [];
      }
      return name.startsWith('user.') || (this.#model === 'passthrough' && ACLS.includes(name)) ? [name] : [];
    });
    return Buffer.from(shown.map((name) => `${name}\0`).join(''), 'latin1');
  }
}
