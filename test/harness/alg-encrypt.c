// For the tests: encrypts 3 x 4096 bytes of its own pattern through AF_ALG with virtio-crypto's driver, and writes them out.
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
