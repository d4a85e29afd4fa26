import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';

import * as spec from '../../../core/virtio/spec/vsock.ts';
import { VsockDevice } from '../../../core/virtio/vsock/device.ts';
import { parseHeader, writeHeader } from '../../../core/virtio/vsock/packet.ts';
import type { VsockPacket } from '../../../core/virtio/vsock/packet.ts';
import { SocketService } from '../../../core/virtio/vsock/socket-service.ts';
import { until } from '../../harness/virtio-bench.ts';
import type { Exercise } from './exercise.ts';

const CID = 3n;
const PORT = 80;
const BUFFER = 1024;

/** A program of the host calls the guest; bytes both ways; the guest hangs up. */
export const vsock: Exercise = {
  base: 'virtio-vsock',
  legacy: false,
  async make(bench) {
    const folder = mkdtempSync(join(tmpdir(), 'ringside-exercise-'));
    const path = join(folder, 's');
    const service = await SocketService.start('vsock0', path, bench.memory.memory);
    return {
      device: new VsockDevice({ id: 'vsock0', guestCid: CID, shared: service.shared }),
      async work(driver) {
        const [rx, tx] = driver.queues;
        const next = async (op: number): Promise<VsockPacket & { data: Buffer }> => {
          for (;;) {
            const address = bench.allocator.alloc(BUFFER);
            const { length } = await driver.submit(rx, [
              { address, length: spec.VSOCK_HDR_BYTES, writable: true },
              { address: address + spec.VSOCK_HDR_BYTES, length: BUFFER - spec.VSOCK_HDR_BYTES, writable: true },
            ]);
            const bytes = Buffer.from(bench.memory.read(address, length));
            const packet = parseHeader(bytes);
            if (packet.op === op) return { ...packet, data: bytes.subarray(spec.VSOCK_HDR_BYTES) };
            expect(packet.op).toBe(spec.VIRTIO_VSOCK_OP_CREDIT_UPDATE);
          }
        };
        const send = async (dstPort: number, op: number, flags: number, text = ''): Promise<void> => {
          const bytes = Buffer.alloc(spec.VSOCK_HDR_BYTES + text.length);
          const ports = { srcCid: CID, dstCid: spec.VSOCK_HOST_CID, srcPort: PORT, dstPort };
          const credit = { bufAlloc: 1 << 20, fwdCnt: 0 };
          const type = spec.VIRTIO_VSOCK_TYPE_STREAM;
          writeHeader(bytes, { ...ports, ...credit, type, length: text.length, op, flags });
          bytes.write(text, spec.VSOCK_HDR_BYTES);
          await driver.submit(tx, [{ address: bench.allocator.put(bytes), length: bytes.length }]);
        };

        let output = '';
        const program = connect(path);
        program.on('data', (bytes: Buffer) => (output += bytes.toString()));
        program.write(`CONNECT ${PORT}\nquestion`);
        const { srcPort } = await next(spec.VIRTIO_VSOCK_OP_REQUEST);
        await send(srcPort, spec.VIRTIO_VSOCK_OP_RESPONSE, 0);
        expect((await next(spec.VIRTIO_VSOCK_OP_RW)).data.toString()).toBe('question');
        await send(srcPort, spec.VIRTIO_VSOCK_OP_RW, 0, 'answer');
        await until(() => output === `OK ${srcPort}\nanswer`, 'the answer');
        await send(srcPort, spec.VIRTIO_VSOCK_OP_SHUTDOWN, 3);
        await next(spec.VIRTIO_VSOCK_OP_RST);
        await until(() => program.closed, 'the end');
      },
      async close() {
        await service.close();
        rmSync(folder, { recursive: true });
      },
    };
  },
};
