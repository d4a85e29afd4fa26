/** The machine's virtio devices, the workers that serve them and the disks behind them. */
import type { MachineConfig, VirtioDeviceSnapshot } from '../api/machine.ts';
import type { Chardev } from '../chardev/chardev.ts';
import type { Engine } from '../engine.ts';
import type { HostSpec } from '../host/host.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';

export interface PeripheralsOptions {
  config: MachineConfig;
  guest: GuestMemory;
  module: WebAssembly.Module;
  host: HostSpec;
  engine: Engine;
  chardev: Chardev | null;
  onMessage: (text: string) => void;
  onStop: (reason: string) => void;
}

export class Peripherals {
  readonly warnings: string[] = [];
  static async create(_o: PeripheralsOptions): Promise<Peripherals> {
    return new Peripherals();
  }
  read(address: number, _size: number): number {
    return (address & 0xfff) === 0 ? 0x74726976 : (address & 0xfff) === 4 ? 2 : 0;
  }
  write(_address: number, _size: number, _value: bigint): void {}
  async reset(): Promise<void> {}
  async pause(): Promise<void> {}
  async resume(): Promise<void> {}
  async close(): Promise<void> {}
  snapshot(): VirtioDeviceSnapshot[] {
    return [];
  }
}
