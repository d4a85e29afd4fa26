/** What a machine shows of itself: to the app's pages, and as snapshots. */
import type { MachineConfig, MachineSnapshot, MachineState } from '../api/machine.ts';
import type { MachineView, ObjectView, RegistersView } from '../api/machine-view.ts';
import { RingsideError } from '../errors.ts';
import type { ObjectTree } from '../qom/tree.ts';
import type { JitStatistics } from '../worker/jit-stats.ts';
import type { ControlPage } from './control-page.ts';
import { hartRegisters } from './hart-registers.ts';
import { hartSnapshots } from './hart-snapshot.ts';
import { viewMachine, viewObject, viewRegisters } from './machine-view.ts';
import { machineAddressSpaces } from './monitor-memory.ts';

/** What is used of the machine. */
export interface ShownMachine {
  readonly config: MachineConfig;
  readonly control: ControlPage;
  state(): MachineState;
  /** For how long the guest has run, ms. */
  uptime(): number;
  tree(): ObjectTree;
  /** None when it has ended. */
  virtio(): MachineSnapshot['virtio'];
  jit(): JitStatistics | null;
  /** Runs `look` while no hart executes guest code. */
  halted<T>(look: () => T): Promise<T>;
}

export class MachineShown {
  readonly #machine: ShownMachine;

  constructor(machine: ShownMachine) {
    this.#machine = machine;
  }

  snapshot(): MachineSnapshot {
    const { config, control, state, uptime, virtio } = this.#machine;
    return { state: state(), uptime: uptime(), harts: hartSnapshots(control, config.harts), virtio: virtio() };
  }

  view(): MachineView {
    const { config, control, tree, jit } = this.#machine;
    return viewMachine({
      snapshot: this.snapshot(),
      tree: tree(),
      addressSpaces: machineAddressSpaces(config, tree()),
      control,
      aia: config.aia,
      jit: jit(),
    });
  }

  /** @throws RingsideError 'not-found' */
  object(path: string): ObjectView {
    return viewObject(this.#machine.tree(), path);
  }

  /** @throws RingsideError 'not-found' */
  registers(hart: number): Promise<RegistersView> {
    const { config, control, halted } = this.#machine;
    if (hart >= config.harts) throw new RingsideError('not-found', `there is no hart ${hart}`);
    return halted(() => viewRegisters(hartRegisters(control, hart)));
  }
}
