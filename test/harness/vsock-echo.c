// For the tests: "vsock-echo listen PORT" sends what comes back to where it comes from, one connection, to its end.
// "vsock-echo connect CID PORT" is between its standard input and output and a port; ends with the other side.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void write_all(int fd, const char *bytes, ssize_t count) {
  while (count > 0) {
    ssize_t written = write(fd, bytes, count);
    if (written < 0) fail("write");
    bytes += written;
    count -= written;
  }
}

int main(int argc, char **argv) {
  static char buffer[65536];
  if (argc < 3) return 2;
  int listening = strcmp(argv[1], "listen") == 0;
  struct sockaddr_vm address = {.svm_family = AF_VSOCK};
  address.svm_cid = listening ? VMADDR_CID_ANY : strtoul(argv[2], NULL, 10);
  address.svm_port = strtoul(argv[listening ? 2 : 3], NULL, 10);
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) fail("socket");
  if (listening) {
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
    if (listen(fd, 8) != 0) fail("listen");
    puts("listening");
    fflush(stdout);
    int peer = accept(fd, NULL, NULL);
    if (peer < 0) fail("accept");
    for (;;) {
      ssize_t count = read(peer, buffer, sizeof buffer);
      if (count < 0) fail("read");
      if (count == 0) return 0;
      write_all(peer, buffer, count);
    }
  }
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
  struct pollfd polled[2] = {{.fd = 0, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
  for (;;) {
    if (poll(polled, 2, -1) < 0) fail("poll");
    if (polled[1].revents != 0) {
      ssize_t count = read(fd, buffer, sizeof buffer);
      if (count < 0) fail("read");
      if (count == 0) return 0;
      write_all(1, buffer, count);
    }
    if (polled[0].revents != 0) {
      ssize_t count = read(0, buffer, 4096);
      if (count > 0) {
        write_all(fd, buffer, count);
      } else {
        shutdown(fd, SHUT_WR);
        polled[0].fd = -1;
      }
    }
  }
}
