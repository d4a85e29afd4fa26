/** What a person can do with a VM's consoles beside watching them: give one a terminal of the host, keep one in a file. */
import { errorLine, RingsideError } from '../../core/errors.ts';
import type { ConsoleInfo } from '../ipc/contract.ts';
import { bytePair } from './byte-pair.ts';
import { ConsoleLog } from './console-log.ts';
import type { ConsolePort } from './console-port.ts';
import { HostPty } from './host-pty.ts';
import type { PtyOpener } from './host-pty.ts';
import { userPath } from './paths.ts';

/** What is needed of the VMs. */
export interface ConsoleSource {
  /** Ports of a VM by name. @throws not-found */
  consoles(id: string): ReadonlyMap<string, ConsolePort>;
  /** @throws not-found when the VM or the port is not there */
  console(id: string, port: string): ConsolePort;
}

export interface ConsolesOptions {
  source: ConsoleSource;
  /** What opens terminals of the host, or null where nothing can. */
  opener: PtyOpener | null;
  changed(id: string, ports: ConsoleInfo[]): void;
  /** Something ended by itself. */
  problem(id: string, text: string): void;
}

interface Extras {
  pty: HostPty | null;
  log: ConsoleLog | null;
}

export class Consoles {
  readonly #options: ConsolesOptions;
  /** By VM, then by port. */
  readonly #extras = new Map<string, Map<string, Extras>>();

  constructor(options: ConsolesOptions) {
    this.#options = options;
  }

  list(id: string): ConsoleInfo[] {
    return [...this.#options.source.consoles(id)].map(([port, console]) => {
      const extras = this.#extras.get(id)?.get(port);
      return {
        port,
        resizable: console.resizable,
        pty: extras?.pty?.path ?? null,
        log: extras?.log?.file ?? null,
      };
    });
  }

  /** @throws unsupported where there are no such terminals, io */
  openPty(id: string, port: string): ConsoleInfo[] {
    const { opener, source } = this.#options;
    if (opener === null)
      throw new RingsideError('unsupported', 'terminals of the host need Linux and the native addon');
    const console = source.console(id, port);
    const extras = this.#of(id, port);
    if (extras.pty === null) {
      const [ours, theirs] = bytePair();
      const pty = new HostPty(opener, theirs, () => {
        if (extras.pty !== pty) return;
        extras.pty = null;
        this.#changed(id);
      });
      extras.pty = pty;
      console.watch(ours);
    }
    return this.#changed(id);
  }

  closePty(id: string, port: string): ConsoleInfo[] {
    const extras = this.#of(id, port);
    extras.pty?.close();
    extras.pty = null;
    return this.#changed(id);
  }

  /**
   * @param append whether to go on with a file that is there
   * @throws in-use when the console is logged already, or the file is there; what opening the file can end in
   */
  async startLog(id: string, port: string, file: string, append: boolean): Promise<ConsoleInfo[]> {
    const console = this.#options.source.console(id, port);
    const extras = this.#of(id, port);
    const [ours, theirs] = bytePair();
    const log = await ConsoleLog.open(userPath(file), append, theirs, (error) => {
      if (extras.log === log) extras.log = null;
      if (error !== null) this.#options.problem(id, `the console ${port} is logged no more: ${errorLine(error)}`);
      this.#changed(id);
    });
    if (extras.log !== null) {
      await log.close();
      throw new RingsideError('in-use', `${port} is logged to ${extras.log.file} already`);
    }
    extras.log = log;
    console.watch(ours);
    return this.#changed(id);
  }

  async stopLog(id: string, port: string): Promise<ConsoleInfo[]> {
    const extras = this.#of(id, port);
    const { log } = extras;
    extras.log = null;
    await log?.close();
    return this.#changed(id);
  }

  /** The machine is off: its terminals of the host go. Logs wait for the next one. */
  off(id: string): void {
    let any = false;
    for (const extras of this.#extras.get(id)?.values() ?? []) {
      any ||= extras.pty !== null;
      extras.pty?.close();
      extras.pty = null;
    }
    if (any) this.#changed(id);
  }

  /** The VM is no more. */
  async forget(id: string): Promise<void> {
    const all = [...(this.#extras.get(id)?.values() ?? [])];
    this.#extras.delete(id);
    for (const { pty } of all) pty?.close();
    await Promise.all(all.map(async ({ log }) => log?.close()));
  }

  /** Resolves when all logs are on disk. */
  async close(): Promise<void> {
    await Promise.all([...this.#extras.keys()].map((id) => this.forget(id)));
  }

  #of(id: string, port: string): Extras {
    this.#options.source.console(id, port);
    let ports = this.#extras.get(id);
    if (ports === undefined) this.#extras.set(id, (ports = new Map<string, Extras>()));
    let extras = ports.get(port);
    if (extras === undefined) ports.set(port, (extras = { pty: null, log: null }));
    return extras;
  }

  #changed(id: string): ConsoleInfo[] {
    // What ended with its VM has nobody to be told.
    if (!this.#extras.has(id)) return [];
    const ports = this.list(id);
    this.#options.changed(id, ports);
    return ports;
  }
}
