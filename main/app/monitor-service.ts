/** The monitor of a VM that is on: HMP as a terminal, QMP as a log of what is said. One for each machine. */
import { Monitor } from '../../core/monitor/monitor.ts';
import type { MonitorTarget } from '../../core/monitor/target.ts';
import { parseJson, stringifyJson } from '../../core/monitor/qmp/json.ts';
import { RingsideError } from '../../core/errors.ts';
import { commandLineOptions } from '../cli/options/command-line.ts';
import type { MonitorEntry } from '../ipc/contract.ts';
import { ConsolePort } from './console-port.ts';
import type { RunningMachine } from './machine.ts';

/** Entries that one answer has at most; who asks again gets the next. */
const ENTRIES_AT_ONCE = 500;

interface Served {
  machine: RunningMachine;
  monitor: Monitor;
}

export class MonitorService {
  readonly #version: string;
  /** @throws bad-state when it is off */
  readonly #machine: (id: string) => RunningMachine;
  readonly #target: (id: string) => MonitorTarget;
  readonly #served = new Map<string, Served>();
  /** They outlive the machine: what HMP has said can still be read. */
  readonly #terminals = new Map<string, ConsolePort>();

  constructor(version: string, machine: (id: string) => RunningMachine, target: (id: string) => MonitorTarget) {
    this.#version = version;
    this.#machine = machine;
    this.#target = target;
  }

  /** HMP's terminal. @throws bad-state when the VM is off */
  terminal(id: string): ConsolePort {
    this.#monitor(id);
    return this.#terminals.get(id)!;
  }

  /** What was said after the entry with this number, oldest first. @throws bad-state when the VM is off */
  entries(id: string, after: number): MonitorEntry[] {
    return this.#monitor(id)
      .traffic.entries.filter(({ number }) => number > after)
      .slice(0, ENTRIES_AT_ONCE);
  }

  /**
   * Executes a request of QMP; it and its answer are in the log.
   *
   * @param text JSON
   * @throws bad-option when it is none, bad-state when the VM is off
   */
  async execute(id: string, text: string): Promise<string> {
    const monitor = this.#monitor(id);
    let request;
    try {
      request = parseJson(text);
    } catch (error) {
      throw new RingsideError('bad-option', `this is not JSON: ${(error as Error).message}`);
    }
    return stringifyJson(await monitor.execute(request));
  }

  /** There is a machine: its log begins. @throws bad-state when there is none */
  on(id: string): void {
    this.#monitor(id);
  }

  /** The machine has gone. */
  off(id: string): void {
    const served = this.#served.get(id);
    if (served === undefined) return;
    this.#served.delete(id);
    this.#terminals.get(id)?.disconnect();
    served.monitor.close();
  }

  /** The VM has. */
  forget(id: string): void {
    this.off(id);
    this.#terminals.get(id)?.close();
    this.#terminals.delete(id);
  }

  #monitor(id: string): Monitor {
    const machine = this.#machine(id);
    const served = this.#served.get(id);
    if (served?.machine === machine) return served.monitor;
    this.off(id);
    const monitor = new Monitor({
      target: this.#target(id),
      version: { ringside: this.#version },
      commandLine: commandLineOptions(),
    });
    this.#served.set(id, { machine, monitor });
    let terminal = this.#terminals.get(id);
    if (terminal === undefined) this.#terminals.set(id, (terminal = new ConsolePort()));
    terminal.connect(monitor.session());
    return monitor;
  }
}
