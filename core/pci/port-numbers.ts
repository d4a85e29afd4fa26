/** What ports may not share: their place in the chassis, and their inputs of the INTx lines. */
import { RingsideError } from '../errors.ts';
import { MAX_VIRTIO } from '../worker/layout.ts';
import { INTX_LINE_INPUTS } from './intx.ts';

const PORTS_MAX = INTX_LINE_INPUTS - MAX_VIRTIO;

export interface SlotPlace {
  readonly chassis: number;
  readonly slot: number;
}

export class PortNumbers {
  /** By input; null: free. */
  readonly #ports: ({ readonly name: string; readonly place: SlotPlace } | null)[] = new Array<null>(PORTS_MAX).fill(
    null,
  );

  /**
   * @returns the port's input of an INTx line (intx.ts)
   * @throws RingsideError 'bad-option' when another port has the slot number, 'too-large' when there are PORTS_MAX
   */
  take(name: string, place: SlotPlace): number {
    const { chassis, slot } = place;
    const other = this.#ports.find((port) => port?.place.chassis === chassis && port.place.slot === slot);
    if (other) {
      const message = `${other.name} has chassis ${chassis}, slot ${slot} already: give ${name} another chassis=N or slot=N`;
      throw new RingsideError('bad-option', message);
    }
    const index = this.#ports.indexOf(null);
    if (index < 0)
      throw new RingsideError('too-large', `A machine has at most ${PORTS_MAX} root ports: leave out ${name}.`);
    this.#ports[index] = { name, place };
    return MAX_VIRTIO + index;
  }

  release(input: number): void {
    this.#ports[input - MAX_VIRTIO] = null;
  }
}
