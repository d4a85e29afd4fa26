/** An environment for objects that need little of one. */
import type { Environment } from '../../core/qom/environment.ts';

/** What is asked of it beyond warnings fails. */
export function testEnvironment(warnings: string[] = []): Environment {
  const nothing = (): never => {
    throw new Error('the test has none');
  };
  return {
    get host() {
      return nothing();
    },
    get memory() {
      return nothing();
    },
    workers: {
      get main() {
        return nothing();
      },
      add: nothing,
    },
    chardevs: { open: nothing, close: nothing },
    get network() {
      return nothing();
    },
    backend: nothing,
    warn: (message) => void warnings.push(message),
    note: (device, message) => void warnings.push(`${device}: ${message}`),
    ioError: nothing,
  };
}
