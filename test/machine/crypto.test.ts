/** virtio-crypto under Debian's driver: the kernel's own tests, and a program's data. */
import { spawnSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MIB, Running, debianFiles, tempFolder } from '../harness/debian.ts';

const COMPILER = 'riscv64-linux-gnu-gcc';
const debian = await debianFiles();
const folder = tempFolder();

/** Encrypts 3 x 4096 bytes of its own pattern through AF_ALG with the driver of that name, and writes them out. */
const PROGRAM = `
#include <linux/if_alg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
  struct sockaddr_alg name = { .salg_family = AF_ALG, .salg_type = "skcipher", .salg_name = "virtio_crypto_aes_cbc" };
  unsigned char key[32], iv[16], text[4096], control[CMSG_SPACE(4) + CMSG_SPACE(20)] = { 0 };
  memset(key, 7, sizeof key);
  memset(iv, 9, sizeof iv);
  int algorithm = socket(AF_ALG, SOCK_SEQPACKET, 0);
  if (bind(algorithm, (struct sockaddr *)&name, sizeof name)) return perror("bind"), 1;
  if (setsockopt(algorithm, SOL_ALG, ALG_SET_KEY, key, sizeof key)) return perror("key"), 1;
  int operation = accept(algorithm, 0, 0);
  if (operation < 0) return perror("accept"), 1;
  for (int round = 0; round < 3; round++) {
    memset(text, round, sizeof text);
    struct iovec vector = { text, sizeof text };
    struct msghdr message = { .msg_control = control, .msg_controllen = sizeof control, .msg_iov = &vector, .msg_iovlen = 1 };
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_ALG, part->cmsg_type = ALG_SET_OP, part->cmsg_len = CMSG_LEN(4);
    *(unsigned *)CMSG_DATA(part) = ALG_OP_ENCRYPT;
    part = CMSG_NXTHDR(&message, part);
    part->cmsg_level = SOL_ALG, part->cmsg_type = ALG_SET_IV, part->cmsg_len = CMSG_LEN(20);
    struct af_alg_iv *vec = (void *)CMSG_DATA(part);
    vec->ivlen = 16;
    memcpy(vec->iv, iv, 16);
    if (sendmsg(operation, &message, 0) != sizeof text) return perror("sendmsg"), 1;
    if (read(operation, text, sizeof text) != sizeof text) return perror("read"), 1;
    if (write(1, text, sizeof text) != sizeof text) return 1;
  }
  return 0;
}
`;

/** A disk that begins with the program; null where there is no compiler. */
function programDisk(): string | null {
  const [source, program] = [join(folder, 'alg.c'), join(folder, 'alg')];
  writeFileSync(source, PROGRAM);
  const { error, status, stderr } = spawnSync(COMPILER, ['-static', '-O1', '-s', '-o', program, source]);
  if (error) return null;
  if (status !== 0) throw new Error(stderr.toString());
  truncateSync(program, Math.ceil(readFileSync(program).length / MIB) * MIB);
  return program;
}

describe.skipIf('reason' in debian)('virtio-crypto under Debian', () => {
  test('passes the self-tests of the kernel, and encrypts what a program gives it', async (context) => {
    if ('reason' in debian) return;
    const program = programDisk();
    await using running = await Running.boot(debian.files, {
      memory: 512 * MIB,
      drives: program === null ? [] : [{ id: 'program', file: program, readonly: true }],
      objects: [{ type: 'cryptodev-backend-builtin', id: 'crypt0', queues: 2 }],
      devices: [{ driver: 'virtio-crypto-device', id: 'crypto0', cryptodev: 'crypt0' }],
    });
    const { shell } = running;
    const tested = (driver: string) =>
      `grep -A 4 '^driver *: ${driver}$' /proc/crypto | grep -A 3 'module *: virtio_crypto' | grep -q 'selftest *: passed'`;
    for (const driver of ['virtio_crypto_aes_cbc', 'virtio-crypto-rsa']) {
      await shell.ok(
        `n=0; until ${tested(driver)}; do n=$((n+1)); [ $n -lt 30 ] || break; sleep 1; done; ${tested(driver)}`,
      );
    }
    expect(await shell.ok('dmesg')).not.toMatch(/alg: .*virtio.*(failed|wrong)/i);
    if (program === null) return context.skip(`there is no ${COMPILER}`);
    await shell.ok('modprobe algif_skcipher; dd if=/dev/vda of=/tmp/alg bs=1M && chmod +x /tmp/alg');
    const sum = await shell.ok('/tmp/alg >/tmp/out && base64 /tmp/out | tr -d "\\n"');
    const expected = [0, 1, 2].map((round) => {
      const cipher = createCipheriv('aes-256-cbc', Buffer.alloc(32, 7), Buffer.alloc(16, 9)).setAutoPadding(false);
      return Buffer.concat([cipher.update(Buffer.alloc(4096, round)), cipher.final()]);
    });
    expect(Buffer.from(sum, 'base64').equals(Buffer.concat(expected))).toBe(true);
  }, 180_000);
});
