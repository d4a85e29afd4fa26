/**
 * An export that is killed under load, at any instant: with INFLIGHT_SHMFD the next one takes what was in flight, and each request is
 * answered once. RINGSIDE_KILLS says how often (in CI a few times).
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { VIRTIO_BLK_HEADER_SIZE, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_OUT } from '../../core/virtio/spec/blk.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1, featureMask } from '../../core/virtio/spec/features.ts';
import { ExportProcess } from '../harness/export-process.ts';
import { VhostFrontend } from '../harness/vhost-frontend.ts';
import type { Inflight } from '../harness/vhost-frontend.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';

const KILLS = Number(process.env.RINGSIDE_KILLS ?? 6);
const DEPTH = 16;
const QUEUE_SIZE = 64;
const BLOCK = 4096;
const BLOCKS = 512;
/** Requests between two kills, at least and at most. */
const LEAST = 20;
const MOST = 1500;

const folder = mkdtempSync(path.join(tmpdir(), 'ringside-export-crash-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(whyNoAddon)(`an export that is killed${whyNoAddon ? ` (skipped: ${whyNoAddon})` : ''}`, () => {
  it(
    'loses no request and answers none twice',
    async () => {
      const image = path.join(folder, 'disk.raw');
      const socket = path.join(folder, 's');
      writeFileSync(image, new Uint8Array(BLOCK * BLOCKS));
      const frontend = new VhostFrontend({ spec: hostSpec });
      const { memory, allocator } = frontend;
      const slots = Array.from({ length: DEPTH }, () => ({
        header: allocator.alloc(64),
        data: allocator.alloc(BLOCK, 4096),
      }));
      const free = slots.map((_, i) => i);
      /** What is out, by its head. */
      const out = new Map<number, { slot: number; block: number; stamp: number }>();
      /** The last stamp that is known to be in each block. */
      const stamps = new Uint32Array(BLOCKS);
      let next = 1;
      let answered = 0;
      let inflight: Inflight | null = null;

      const submit = (slot: number): void => {
        const { header, data } = slots[slot];
        // No two requests for one block are out at once: which came last would not be known.
        const busy = new Set([...out.values()].map(({ block }) => block));
        const stamp = next++;
        let block = (stamp * 37) % BLOCKS;
        while (busy.has(block)) block = (block + 1) % BLOCKS;
        memory.writeU32(header, VIRTIO_BLK_T_OUT);
        memory.writeU64(header + 8, BigInt((block * BLOCK) / 512));
        memory.writeU8(header + 32, 0xee);
        for (let at = 0; at < BLOCK; at += 4) memory.writeU32(data + at, stamp);
        const head = frontend.queues[0].add([
          { address: header, length: VIRTIO_BLK_HEADER_SIZE },
          { address: data, length: BLOCK },
          { address: header + 32, length: 1, writable: true },
        ]);
        out.set(head, { slot, block, stamp });
      };
      const answer = (head: number): void => {
        const request = out.get(head);
        if (!request) throw new Error(`request ${head} was answered twice`);
        out.delete(head);
        expect(memory.readU8(slots[request.slot].header + 32)).toBe(VIRTIO_BLK_S_OK);
        stamps[request.block] = request.stamp;
        free.push(request.slot);
        answered++;
      };
      /** @returns false when the export has gone */
      const drive = (until: number): boolean => {
        const [queue] = frontend.queues;
        while (answered < until) {
          while (free.length > 0) submit(free.pop()!);
          frontend.kick(queue);
          const used = frontend.used(queue);
          if (!used) return false;
          answer(used.id);
        }
        return true;
      };

      let random = 12345;
      for (let kill = 0; kill <= KILLS; kill++) {
        const server = await ExportProcess.start(socket, ['blk', '--file', image]);
        frontend.connect(socket);
        frontend.negotiate({ features: featureMask(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX) });
        inflight ??= frontend.getInflight(1, QUEUE_SIZE);
        const again = kill > 0;
        const positions = again ? [frontend.queues[0].usedIdx] : [];
        frontend.start({ size: QUEUE_SIZE, inflight, keepQueues: again, positions });
        random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
        const requests = LEAST + Math.floor((random / 2 ** 32) * (MOST - LEAST));
        expect(drive(answered + requests)).toBe(true);
        if (kill === KILLS) {
          // What is out still.
          for (let left = out.size; left > 0; left--) answer(frontend.used(frontend.queues[0])!.id);
          frontend.disconnect();
          await server.end();
          break;
        }
        // Most of what is out now is not answered yet.
        while (free.length > 0) submit(free.pop()!);
        frontend.kick(frontend.queues[0]);
        await server.kill('SIGKILL');
        for (let used = frontend.queues[0].takeUsed(); used; used = frontend.queues[0].takeUsed()) answer(used.id);
        frontend.disconnect();
      }
      expect(out.size).toBe(0);
      const disk = readFileSync(image);
      for (const [block, stamp] of stamps.entries()) {
        const words = new Uint32Array(disk.buffer, disk.byteOffset + block * BLOCK, BLOCK / 4);
        expect([block, words[0], words[BLOCK / 4 - 1]]).toEqual([block, stamp, stamp]);
      }
      frontend.host.close(inflight!.fd);
      frontend.close();
    },
    60_000 + KILLS * 15_000,
  );
});
