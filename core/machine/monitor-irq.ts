/** Interrupt controllers for "info irq" and "info pic": wires and messages, how often they have come, and who sends them. */
import type { AiaKind, MachineSnapshot } from '../api/machine.ts';
import type { InterruptController, InterruptInput } from '../monitor/target.ts';
import type { ObjectTree } from '../qom/tree.ts';
import type { ControlPage } from './control-page.ts';
import { interruptSources } from './machine-view.ts';
import { seenMessages } from './message-view.ts';

export function interruptControllers(
  control: ControlPage,
  aia: AiaKind,
  snapshot: MachineSnapshot,
  tree: ObjectTree,
): InterruptController[] {
  const inputs = interruptSources(control, aia, snapshot)
    .filter(({ raised, enabledFor }) => raised > 0 || enabledFor.length > 0)
    .map(({ number, raised, level, pending, claimed, priority, enabledFor, wire, devices }) => {
      const from = [...(wire === null ? [] : [wire]), ...devices];
      return { number, count: raised, level, pending, claimed, priority, enabledFor, from };
    });
  const wired = { name: aia === 'none' ? 'riscv.sifive.plic' : 'riscv.aplic', inputs };
  return aia === 'aplic-imsic' ? [wired, ...messages(control, snapshot.harts.length, tree)] : [wired];
}

function messages(control: ControlPage, harts: number, tree: ObjectTree): InterruptController[] {
  const files = new Map<string, InterruptInput[]>();
  for (const one of seenMessages(control, harts, tree)) {
    const file = `hart ${one.hart} ${one.mode}`;
    const inputs = files.get(file) ?? [];
    files.set(file, inputs);
    inputs.push({
      number: one.identity,
      count: one.raised,
      level: null,
      pending: one.pending,
      claimed: false,
      priority: null,
      enabledFor: one.enabled ? [file] : [],
      from: one.from.map(({ device, vector }) => `${device} vector ${vector}`),
    });
  }
  return [...files].map(([file, inputs]) => ({ name: `riscv.imsic (${file})`, inputs }));
}
