/** x-query-irq (qapi/machine.json). */
import { nothing, object, str } from '../schema.ts';
import type { MonitorTarget } from '../target.ts';
import { query } from './command.ts';

export const humanReadable = object('HumanReadableText', { 'human-readable-text': str });

/** As QEMU counts, and who sends each. */
export function interruptCounts({ interrupts }: MonitorTarget): string {
  return interrupts
    .map(({ name, inputs }) => {
      const rows = inputs
        .filter(({ count }) => count > 0)
        .map(({ number, count, from }) => {
          const whose = from.length === 0 ? '' : ` (${from.join(', ')})`;
          return `${String(number).padStart(2)}: ${count}${whose}\n`;
        });
      return `IRQ statistics for ${name}:\n${rows.join('')}`;
    })
    .join('');
}

export const INTERRUPT_COMMANDS = [
  query('x-query-irq', {
    help: 'how often each interrupt has come, as text',
    args: nothing,
    returns: humanReadable,
    run: ({ target }) => ({ 'human-readable-text': interruptCounts(target) }),
  }),
];
