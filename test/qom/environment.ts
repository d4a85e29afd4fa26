/** An environment for objects that need little of one. */
import type { Environment } from '../../core/qom/environment.ts';

/** What is asked of it beyond saying something fails. */
export function testEnvironment(warnings: string[] = []): Environment {
  const known: Partial<Environment> = {
    harts: 1,
    warn: (message) => void warnings.push(message),
    note: (device, message) => void warnings.push(`${device}: ${message}`),
  };
  return new Proxy(known as Environment, {
    get(target, name: string) {
      if (name in target) return target[name as keyof Environment];
      throw new Error(`this environment has no ${name}`);
    },
  });
}
