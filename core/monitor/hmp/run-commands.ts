/** HMP: run state. */
import { MonitorError } from '../errors.ts';
import { takes } from './command.ts';
import type { HmpCommand } from './command.ts';

function plain(names: string[], qmp: string, help: string): HmpCommand {
  return {
    names,
    args: [],
    params: '',
    help,
    async run(context) {
      await context.qmp(qmp);
    },
  };
}

export const RUN_COMMANDS: readonly HmpCommand[] = [
  plain(['quit', 'q'], 'quit', 'quit the emulator'),
  plain(['stop', 's'], 'stop', 'stop emulation'),
  plain(['cont', 'c'], 'cont', 'resume emulation'),
  plain(['system_reset'], 'system_reset', 'reset the system'),
  plain(['system_powerdown'], 'system_powerdown', 'send system power down event'),
  {
    names: ['cpu'],
    args: [takes('index', 'int')],
    params: 'index',
    help: 'set the default CPU',
    run({ target, state }, { index }) {
      if (!target.cpus.some((cpu) => BigInt(cpu.index) === index)) throw new MonitorError('invalid CPU index');
      state.cpu = Number(index);
    },
    complete: (target) => target.cpus.map(({ index }) => String(index)),
  },
];
