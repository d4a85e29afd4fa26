/** Parts of the inspector's pages, without a machine. */
import { fireEvent, render, screen, within } from '@testing-library/svelte';
import { describe, expect, test, vi } from 'vitest';
import type { QueueProfile, VirtioDeviceSnapshot } from '../../main/ipc/contract.ts';
import { NO_CODE } from '../../main/ipc/contract.ts';
import { breakpointText, injectionText, matchOf } from '../../renderer/inspector/control/rules.ts';
import { configBytes } from '../../renderer/inspector/device/about.ts';
import FeatureTable from '../../renderer/inspector/device/FeatureTable.svelte';
import StatusSteps from '../../renderer/inspector/device/StatusSteps.svelte';
import { parsePlace, placeText } from '../../renderer/inspector/place.ts';
import { ringsAt, sizeOf } from '../../renderer/inspector/capture/rings-at.ts';
import Messages from '../../renderer/inspector/machine/Messages.svelte';
import HexView from '../../renderer/inspector/queue/HexView.svelte';
import { EVERYTHING, TimelineModel } from '../../renderer/inspector/timeline/model.ts';
import QueuePicker from '../../renderer/inspector/QueuePicker.svelte';
import { batch } from './batches.ts';

const device = (change: Partial<VirtioDeviceSnapshot> = {}): VirtioDeviceSnapshot => ({
  id: 'drive0',
  type: 'virtio-blk',
  virtioId: 2,
  transport: { name: 'virtio-mmio', version: 2, slot: 7, base: '0x10008000', irq: 8 },
  status: 3,
  statusBits: [
    { bit: 0, name: 'ACKNOWLEDGE', set: true, help: 'found', at: Date.UTC(2026, 0, 1) },
    { bit: 1, name: 'DRIVER', set: true, help: 'has a driver', at: Date.UTC(2026, 0, 1) },
    { bit: 3, name: 'FEATURES_OK', set: false, help: 'agreed', at: null },
    { bit: 2, name: 'DRIVER_OK', set: false, help: 'live', at: null },
    { bit: 7, name: 'FAILED', set: false, help: 'given up', at: null },
  ],
  interruptStatus: 0,
  offeredFeatures: '0x100000200',
  driverFeatures: '0x100000400',
  negotiatedFeatures: '0x0',
  features: [
    { bit: 9, name: 'VIRTIO_BLK_F_FLUSH', help: 'flush', offered: true, negotiated: false },
    { bit: 10, name: 'VIRTIO_BLK_F_TOPOLOGY', help: 'topology', offered: false, negotiated: false },
    { bit: 32, name: 'VIRTIO_F_VERSION_1', help: 'virtio 1', offered: true, negotiated: false },
  ],
  config: [
    { name: 'capacity', offset: 0, size: 8, value: '131072' },
    { name: 'seg_max', offset: 12, size: 4, value: '254' },
  ],
  queues: [],
  error: null,
  ...change,
});

describe('a place in the inspector', () => {
  test.each(['virtio/drive0/device', 'virtio/net%2F0/queue/2', 'virtio/drive0/queue/0/17', 'machine/memory', 'linter'])(
    '%s is its own address',
    (text) => expect(placeText(parsePlace(text))).toBe(text),
  );

  test.each(['', 'nonsense', 'virtio', 'machine/attic', 'virtio/%E0%A4%A'])('%s leads to a first device', (text) => {
    expect(parsePlace(text)).toMatchObject({ view: 'device', device: null });
  });
});

describe('the driver status', () => {
  test('says what is set, when, and which step is next', () => {
    render(StatusSteps, { device: device() });
    expect(screen.getByTestId('status-DRIVER').textContent).toContain('set at');
    expect(screen.getByTestId('status-FEATURES_OK').dataset.set).toBe('false');
    expect(screen.getByTestId('status-FEATURES_OK').textContent).toContain('the next step');
    expect(screen.getByTestId('status-DRIVER_OK').textContent).not.toContain('the next step');
  });

  test('does not wait for a step that legacy drivers do not have', () => {
    const legacy = device({ transport: { name: 'virtio-mmio', version: 1, slot: 7, base: '0x10008000', irq: 8 } });
    render(StatusSteps, { device: legacy });
    expect(screen.getByTestId('status-FEATURES_OK').textContent).toContain('legacy drivers have no such step');
    expect(screen.getByTestId('status-DRIVER_OK').textContent).toContain('the next step');
  });
});

describe('the features', () => {
  test('show what each side says, and what cannot be', () => {
    render(FeatureTable, { device: device() });
    expect(screen.getByTestId('feature-VIRTIO_BLK_F_FLUSH').dataset.state).toBe('open');
    expect(screen.getByTestId('feature-VIRTIO_BLK_F_TOPOLOGY').dataset.state).toBe('unoffered');
    expect(within(screen.getByTestId('feature-VIRTIO_F_VERSION_1')).getByText('taken by the driver: yes')).toBeTruthy();
  });

  test('are refused once the two have agreed on others', () => {
    const settled = device();
    settled.statusBits[2].set = true;
    render(FeatureTable, { device: settled });
    expect(screen.getByTestId('feature-VIRTIO_BLK_F_FLUSH').textContent).toContain('the driver did not take it');
  });
});

test('configuration space as bytes is little-endian, with gaps', () => {
  expect(configBytes(device().config)).toEqual([0, 0, 2, 0, 0, 0, 0, 0, null, null, null, null, 254, 0, 0, 0]);
});

describe('bytes', () => {
  test('are shown in lines of 16, with text', () => {
    render(HexView, { bytes: new TextEncoder().encode('ringside bytes 0123'), label: 'bytes' });
    expect(screen.getByTestId('hex').textContent).toContain('72 69 6e 67');
    expect(screen.getByTestId('hex').textContent).toContain('ringside bytes 0');
  });

  test('are all there when asked for', async () => {
    render(HexView, { bytes: new Uint8Array(1024), label: 'bytes', lines: 4 });
    expect(screen.getByTestId('hex').textContent).not.toContain('03f0');
    await fireEvent.click(screen.getByText('Show all 1024 bytes'));
    expect(screen.getByTestId('hex').textContent).toContain('03f0');
  });
});

test('one of many queues is chosen from a list', async () => {
  const queues = Array.from({ length: 9 }, (_, index) => ({ index, name: `q${index}`, enabled: index < 2 }));
  const onqueue = vi.fn();
  render(QueuePicker, { device: 'net0', queues: queues as never, queue: 0, onqueue });
  const list = screen.getByLabelText('Queue') as HTMLSelectElement;
  expect(list.options[5].text).toBe('5 q5 (off)');
  await fireEvent.change(list, { target: { value: '1' } });
  expect(onqueue).toHaveBeenCalledWith(1);
});

describe('messages of an IMSIC', () => {
  test('say whose they are, and lead to who sends them', async () => {
    const ondevice = vi.fn();
    const one = { hart: 1, mode: 'S', identity: 9, raised: 12, pending: false, enabled: true } as const;
    render(Messages, { messages: [{ ...one, from: [{ device: 'disk1', vector: 1 }] }], ondevice });
    const row = within(screen.getByTestId('messages')).getAllByRole('row')[1];
    expect(row.textContent).toMatch(/hart 1, S mode\s*9\s*disk1 vector 1\s*12/);
    await fireEvent.click(within(row).getByRole('button', { name: 'disk1' }));
    expect(ondevice).toHaveBeenCalledWith('disk1');
  });
});

describe('rings of a capture', () => {
  test('show who had a slot when a request was taken, and never a stale one as live', () => {
    const model = new TimelineModel(1024);
    // One each 50 ns, each 100 ns long: taken 10 ns after it was seen.
    model.add(batch(0, 0, 8));
    const { heads, slots, live } = ringsAt(model, { format: 'split', size: 4 }, 4, model.request(5).popped);
    expect(live.map((index) => model.request(index).head)).toEqual([4, 5]);
    expect(slots!.map(({ state }) => state)).toEqual(['in-flight', 'in-flight', 'stale', 'stale']);
    // Heads beyond the queue cannot have been: they are not drawn.
    expect(heads.map(({ state }) => state)).toEqual(['used', 'used', 'used', 'used']);
    expect(sizeOf(null, model)).toBe(8);
  });
});

describe('rules in words', () => {
  const profile: QueueProfile = {
    purpose: 'requests',
    types: [{ code: 1, name: 'VIRTIO_BLK_T_OUT' }],
    statuses: [{ code: 1, name: 'VIRTIO_BLK_S_IOERR' }],
    detail: 'sector',
  };
  const match = matchOf({ type: '1', from: 2048, to: null, min: null, max: null });

  test('a breakpoint', () => {
    expect(breakpointText({ id: 'a', match }, profile)).toBe('Stop before OUT, sector 2048');
    expect(breakpointText({ id: 'a', match: {}, latency: 500 }, profile)).toBe(
      'Stop after any request that took longer than 500 µs',
    );
  });

  test('an injection', () => {
    const base = { id: 'a', count: 1, probability: 0.5, match };
    expect(injectionText({ ...base, kind: 'error', status: 1 }, profile)).toBe(
      'Answer OUT, sector 2048 with IOERR, 50 % of the time',
    );
  });
});

describe('the timeline', () => {
  const indices = (model: TimelineModel, from: number, to: number, filter = EVERYTHING): number[] => {
    const found: number[] = [];
    model.visit(from, to, filter, (_, index) => found.push(index));
    return found;
  };

  test('puts requests that overlap into rows of their own', () => {
    const model = new TimelineModel();
    model.add(batch(0, 1000, 10));
    expect(model.laneCount).toBe(2);
    expect([0, 1, 2, 3].map((index) => model.request(index).lane)).toEqual([0, 1, 0, 1]);
  });

  test('finds what is between two times, also what began before', () => {
    const model = new TimelineModel();
    model.add(batch(0, 0, 100));
    expect(indices(model, 1000, 1010)).toEqual([18, 19, 20]);
    expect(indices(model, 1000, 1010, { ...EVERYTHING, hidden: [0] })).toEqual([19]);
    expect(indices(model, 0, 1e6, { ...EVERYTHING, errorsOnly: true })).toHaveLength(10);
    expect(indices(model, 0, 1e6, { ...EVERYTHING, detail: { from: 5, to: 7 } })).toEqual([5, 6, 7]);
    expect(indices(model, 0, 1e6, { ...EVERYTHING, slowerThan: 101 })).toEqual([]);
  });

  test('keeps as much as there is room for, however long it runs', () => {
    const model = new TimelineModel();
    const bytes = model.times.byteLength + model.words.byteLength;
    for (let seq = 0; seq < 100; seq++) model.add(batch(seq, seq * 204_800, 4096));
    expect(model.count - model.first).toBe(2 ** 18);
    expect(model.times.byteLength + model.words.byteLength).toBe(bytes);
    expect(indices(model, 0, 1000)).toEqual([]);
    expect(indices(model, 99 * 204_800, 99 * 204_800 + 60).length).toBeGreaterThan(0);
  });

  test('counts batches that it missed, and rates over the ones it has', () => {
    const model = new TimelineModel();
    model.add(batch(0, 0, 20));
    model.add(batch(3, 3000, 20));
    expect(model.missed).toBe(2);
    expect(model.rates(0, 4000)!.used).toBeCloseTo(60 / 3e-6);
  });

  test('a request without type or status has none', () => {
    const model = new TimelineModel();
    const one = batch(0, 0, 1);
    one.done.words.set([NO_CODE, NO_CODE], 4);
    model.add(one);
    expect(model.request(0)).toMatchObject({ type: null, status: null, length: 512 });
  });
});
