/**
 * The one error type that reaches people. `kind` is stable and short (tests and programs match on it); the message is one
 * line, says what is wrong and what to do; `cause` keeps the origin.
 */
export type ErrorKind =
  | 'bad-option'
  | 'not-found'
  | 'not-a-file'
  | 'permission'
  | 'in-use'
  | 'bad-image'
  | 'bad-kernel'
  | 'too-large'
  | 'no-space'
  | 'io'
  | 'unsupported'
  | 'bad-state'
  | 'network'
  | 'bad-signature'
  | 'internal';

export class RingsideError extends Error {
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, message: string, options?: { cause?: unknown }) {
    // The name of a file in it may have line ends.
    super(oneLine(message), options);
    this.name = 'RingsideError';
    this.kind = kind;
  }
}

/** One line for a person, whatever was thrown. */
export function errorLine(error: unknown): string {
  return oneLine(error instanceof Error ? error.message : String(error));
}

function oneLine(text: string): string {
  return text.replace(/\s*[\n\r]\s*/g, ' ');
}
