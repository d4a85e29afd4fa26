/** What ends a vhost-user connection. */
export type VhostUserErrorKind =
  /** The other side has gone. */
  | 'closed'
  /** The other side has broken a rule of the protocol, or says what cannot be. */
  | 'protocol'
  /** The other side has not answered in time. */
  | 'timeout'
  /** It is all right, but more than we can. */
  | 'unsupported';

export class VhostUserError extends Error {
  readonly kind: VhostUserErrorKind;

  constructor(kind: VhostUserErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'VhostUserError';
    this.kind = kind;
  }
}
