import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';

import { createHost } from '../../../core/host/node-host.ts';
import { openSharedFolder } from '../../../core/hostfs/open.ts';
import { P9Device } from '../../../core/virtio/9p/device.ts';
import * as p9 from '../../../core/virtio/9p/protocol.ts';
import { P9Client } from '../../harness/p9-client.ts';
import { hostSpec } from '../../native/addon.ts';
import type { Exercise } from './exercise.ts';

const ROOT = { u32: 1 };
const FILE = { u32: 2 };
const O_RDWR = 2;
const ID = { u32: 1000 };

/** A file made, written and read. */
export const p9Share: Exercise = {
  base: 'virtio-9p',
  addon: true,
  make(bench) {
    const path = fs.mkdtempSync(join(tmpdir(), 'ringside-exercise-'));
    const folder = openSharedFolder({ path, securityModel: 'mapped-file' }, createHost(hostSpec));
    return {
      device: new P9Device({ id: '9p0', mountTag: 'work', folder: folder.handle }),
      async work(driver) {
        const client = new P9Client(driver, bench);
        await client.call(p9.P9_TVERSION, { u32: 64 * 1024 }, p9.P9_VERSION);
        await client.call(p9.P9_TATTACH, ROOT, { u32: p9.P9_NOFID }, 'user', '', ID);
        await client.call(p9.P9_TWALK, ROOT, FILE, { u16: 0 });
        await client.call(p9.P9_TLCREATE, FILE, 'hello', { u32: O_RDWR }, { u32: 0o644 }, ID);
        const text = Buffer.from('hello, host');
        await client.call(p9.P9_TWRITE, FILE, { u64: 0 }, { u32: text.length }, text);
        const reply = await client.call(p9.P9_TREAD, FILE, { u64: 0 }, { u32: 100 });
        expect(reply.subarray(4)).toEqual(text);
        expect(fs.readFileSync(join(path, 'hello'))).toEqual(text);
      },
      close() {
        folder.close();
        fs.rmSync(path, { recursive: true });
      },
    };
  },
};
