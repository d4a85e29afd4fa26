/** The control thread's half of virtio-input: keyboard, mouse or tablet (virtio 1.3, section 5.8). */
import { RingsideError } from '../../errors.ts';
import { ConfigSpace } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import { VIRTIO_ID_INPUT } from '../spec/device-ids.ts';
import type { FeatureInfo } from '../spec/features.ts';
import {
  EV_KEY,
  EV_LED,
  EV_SYN,
  INPUT_CONFIG_BYTES,
  INPUT_CONFIG_SELECT,
  INPUT_CONFIG_SIZE,
  INPUT_CONFIG_SUBSEL,
  INPUT_CONFIG_UNION,
  INPUT_CONFIG_UNION_BYTES,
  INPUT_EVENT_CODE,
  INPUT_EVENT_SIZE,
  INPUT_EVENT_TYPE,
  INPUT_EVENT_VALUE,
  SYN_REPORT,
  VIRTIO_INPUT_CFG_UNSET,
} from '../spec/input.ts';
import type { InputChange, InputReport } from './backend.ts';
import { inputConfig } from './config.ts';
import { inputModel } from './models.ts';
import type { InputKind, InputModel } from './models.ts';

/** As QEMU's. */
const QUEUE_SIZE = 64;
/** Events between two SYN_REPORTs at most, the second included. */
const GROUP_MAX = 32;

export interface InputDeviceOptions {
  id: string;
  kind: InputKind;
  /** At most 128 bytes of UTF-8. Default: empty. */
  serial?: string;
  /** Mouse and tablet: the wheel turns an axis instead of pressing buttons. Default true. */
  wheelAxis?: boolean;
}

/** As in Linux's input-event-codes.h; core/virtio/spec/input.ts has those that are used most. */
export interface InputEvent {
  readonly type: number;
  readonly code: number;
  /** EV_KEY: 1 pressed, 0 released, 2 repeated. -2^31..2^31-1 */
  readonly value: number;
}

export class InputDevice extends VirtioDevice {
  readonly type = 'virtio-input';
  readonly virtioId = VIRTIO_ID_INPUT;
  readonly featureInfo: readonly FeatureInfo[] = [];
  readonly features = 0n;
  readonly queues: readonly QueueSpec[] = [
    { name: 'eventq', maxSize: QUEUE_SIZE },
    { name: 'statusq', maxSize: QUEUE_SIZE },
  ];
  readonly config = new ConfigSpace(INPUT_CONFIG_BYTES, [
    { name: 'select', offset: INPUT_CONFIG_SELECT, size: 1, writable: true },
    { name: 'subsel', offset: INPUT_CONFIG_SUBSEL, size: 1, writable: true },
    { name: 'size', offset: INPUT_CONFIG_SIZE, size: 1 },
  ]);
  readonly backend: BackendInit = { type: this.type, options: null };
  readonly kind: InputKind;
  /** The guest has switched an LED or a sound (EV_LED, EV_SND). */
  onStatus: (event: InputEvent) => void = () => {};

  readonly #model: InputModel;
  readonly #serial: string;
  readonly #leds = new Set<number>();

  /** @throws RingsideError 'bad-option' */
  constructor({ id, kind, serial = '', wheelAxis = true }: InputDeviceOptions) {
    super(id);
    if (Buffer.byteLength(serial) > INPUT_CONFIG_UNION_BYTES) {
      const message = `The serial of ${id} is longer than ${INPUT_CONFIG_UNION_BYTES} bytes. Give it a shorter one.`;
      throw new RingsideError('bad-option', message);
    }
    this.kind = kind;
    this.#model = inputModel(kind, wheelAxis);
    this.#serial = serial;
  }

  /** Whether it has an event: EV_*, and KEY_*, REL_* and so on. */
  has(type: number, code: number): boolean {
    return this.#model.codes.get(type)?.includes(code) ?? false;
  }

  /** What the guest calls it. */
  get name(): string {
    return this.#model.name;
  }

  /** LED_* that the guest has switched on. */
  get leds(): ReadonlySet<number> {
    return this.#leds;
  }

  /**
   * Sends events to the guest. They arrive in groups, each ended by SYN_REPORT; the last one is ended here if it is not.
   * Groups for which a slow guest has no room, and all while there is no driver, are dropped whole.
   *
   * @throws RingsideError 'bad-option' for an event that this device does not have; nothing is sent then
   */
  send(events: readonly InputEvent[]): void {
    for (const event of events) this.#check(event);
    const groups = this.#group(events);
    const host = this.host;
    if (!host || groups.length === 0) return;
    const change: InputChange = { groups };
    // A worker that is gone delivers nothing; the machine says so itself.
    host.configureBackend(change).catch(() => {});
  }

  /** Presses and releases keys or buttons (KEY_*, BTN_*) one after the other, each in a group of its own. */
  press(...codes: number[]): void {
    const key = (code: number, value: number) => [
      { type: EV_KEY, code, value },
      { type: EV_SYN, code: SYN_REPORT, value: 0 },
    ];
    this.send([...codes.flatMap((code) => key(code, 1)), ...codes.toReversed().flatMap((code) => key(code, 0))]);
  }

  #check({ type, code, value }: InputEvent): void {
    const known = type === EV_SYN ? code === SYN_REPORT : this.has(type, code);
    // What goes to the LEDs comes from the guest.
    if (!known || type === EV_LED) {
      throw new RingsideError(
        'bad-option',
        `${this.id}, a ${this.kind}, has no event of type ${type} and code ${code}.`,
      );
    }
    if (!Number.isInteger(value) || value !== (value | 0)) {
      throw new RingsideError('bad-option', `${value} is no value of an input event: it is a 32-bit number.`);
    }
  }

  #group(events: readonly InputEvent[]): Uint8Array[] {
    const groups: Uint8Array[] = [];
    let group: InputEvent[] = [];
    const end = () => {
      if (group.length >= GROUP_MAX) {
        throw new RingsideError(
          'bad-option',
          `More than ${GROUP_MAX} input events before a SYN_REPORT. Send fewer at once.`,
        );
      }
      if (group.length > 0) groups.push(encode([...group, { type: EV_SYN, code: SYN_REPORT, value: 0 }]));
      group = [];
    };
    for (const event of events) {
      if (event.type === EV_SYN) end();
      else group.push(event);
    }
    end();
    return groups;
  }

  override configWritten(): void {
    const { config } = this;
    const select = Number(config.get(INPUT_CONFIG_SELECT));
    const subsel = Number(config.get(INPUT_CONFIG_SUBSEL));
    const bytes = inputConfig(this.#model, this.#serial, select, subsel);
    config.set(INPUT_CONFIG_SIZE, bytes.length);
    config.setBytes(INPUT_CONFIG_UNION, INPUT_CONFIG_UNION_BYTES, bytes);
  }

  override backendEvent(detail: unknown): void {
    for (const [type, code, value] of (detail as InputReport).status) {
      if (type === EV_LED) this.#leds[value !== 0 ? 'add' : 'delete'](code);
      this.onStatus({ type, code, value });
    }
  }

  override reset(): void {
    this.config.set(INPUT_CONFIG_SELECT, VIRTIO_INPUT_CFG_UNSET);
    this.config.set(INPUT_CONFIG_SUBSEL, 0);
    this.configWritten();
    this.#leds.clear();
  }
}

function encode(events: readonly InputEvent[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(events.length * INPUT_EVENT_SIZE));
  for (const [i, { type, code, value }] of events.entries()) {
    view.setUint16(i * INPUT_EVENT_SIZE + INPUT_EVENT_TYPE, type, true);
    view.setUint16(i * INPUT_EVENT_SIZE + INPUT_EVENT_CODE, code, true);
    view.setInt32(i * INPUT_EVENT_SIZE + INPUT_EVENT_VALUE, value, true);
  }
  return new Uint8Array(view.buffer);
}
