/** The types virtio-keyboard, virtio-mouse and virtio-tablet (QEMU: hw/input/virtio-input-hid.c). */
import type { PropertySpec } from '../../qom/property.ts';
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_INPUT } from '../spec/device-ids.ts';
import { INPUT_CONFIG_UNION_BYTES } from '../spec/input.ts';
import { InputDevice } from './device.ts';
import type { InputKind } from './models.ts';

const SERIAL: PropertySpec = {
  name: 'serial',
  kind: 'string',
  default: null,
  maxBytes: INPUT_CONFIG_UNION_BYTES,
  description: 'serial number',
};
const WHEEL_AXIS: PropertySpec = {
  name: 'wheel-axis',
  kind: 'bool',
  default: true,
  description: 'the wheel turns an axis instead of pressing buttons',
};

function inputType(
  kind: InputKind,
  description: string,
  pciClass: number,
  properties: readonly PropertySpec[],
): VirtioDeviceType {
  return {
    base: `virtio-${kind}`,
    virtioId: VIRTIO_ID_INPUT,
    description,
    category: 'input',
    pciClass,
    transitionalId: null,
    vectors: () => 2,
    properties,
    create(id, values) {
      const serial = values['serial'] as string | null;
      return new InputDevice({
        id,
        kind,
        ...(serial === null ? {} : { serial }),
        ...('wheel-axis' in values ? { wheelAxis: values['wheel-axis'] as boolean } : {}),
      });
    },
  };
}

export const INPUT_TYPES: readonly VirtioDeviceType[] = [
  inputType('keyboard', 'a keyboard', 0x0900, [SERIAL]),
  inputType('mouse', 'a mouse', 0x0902, [SERIAL, WHEEL_AXIS]),
  inputType('tablet', 'a pointer that says where on the screen it is', 0x0980, [SERIAL, WHEEL_AXIS]),
];
