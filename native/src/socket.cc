// Unix stream sockets whose messages carry file descriptors, which node:net cannot do: vhost-user.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "napi_util.h"

namespace ringside {

namespace {

/// More than any message of vhost-user carries; the kernel's own limit (SCM_MAX_FD) is 253.
constexpr size_t kMaxDescriptors = 64;
/// What is read into where descriptors go: their number first.
constexpr int32_t kTooManyDescriptors = -1;

/// sun_path of an address, from argument 0.
bool Address(const Arguments& args, struct sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  return args.String(0, "path", address->sun_path, sizeof address->sun_path);
}

int StreamSocket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

napi_value ThrowAndClose(napi_env env, int fd, const char* syscall) {
  const int error = errno;
  close(fd);
  return ThrowErrno(env, error, syscall);
}

/// unixListen(path, backlog): fd, non-blocking. The path must be free.
napi_value UnixListen(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  struct sockaddr_un address;
  int64_t backlog;
  if (!Address(args, &address) || !args.Integer(1, "backlog", 0, INT_MAX, &backlog)) return nullptr;
  const int fd = StreamSocket();
  if (fd < 0) return ThrowErrno(env, errno, "socket");
  if (bind(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0) return ThrowAndClose(env, fd, "bind");
  if (listen(fd, static_cast<int>(backlog)) != 0) return ThrowAndClose(env, fd, "listen");
  return ToNumber(env, fd);
}

/// unixAccept(fd): fd, non-blocking; -1 when nobody has connected.
napi_value UnixAccept(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  int accepted;
  do {
    accepted = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  } while (accepted < 0 && errno == EINTR);
  // ECONNABORTED: who connected has gone again.
  if (accepted < 0 && errno != EAGAIN && errno != ECONNABORTED) return ThrowErrno(env, errno, "accept4");
  return ToNumber(env, accepted);
}

/// unixConnect(path): fd, non-blocking and connected. EAGAIN when as many wait already as the listener lets.
napi_value UnixConnect(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  struct sockaddr_un address;
  if (!Address(args, &address)) return nullptr;
  const int fd = StreamSocket();
  if (fd < 0) return ThrowErrno(env, errno, "socket");
  if (connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0) {
    return ThrowAndClose(env, fd, "connect");
  }
  return ToNumber(env, fd);
}

/// sendMessage(fd, bytes, descriptors): bytes sent, maybe fewer than given, -1 when the socket is full. The descriptors (an
/// Int32Array) go with the first byte.
napi_value SendMessage(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  void *bytes, *descriptors;
  size_t length, count;
  if (!args.Fd(0, &fd) || !args.TypedArray(1, "bytes", napi_uint8_array, &bytes, &length) ||
      !args.TypedArray(2, "descriptors", napi_int32_array, &descriptors, &count)) {
    return nullptr;
  }
  if (length == 0 || count > kMaxDescriptors) {
    return ThrowRange(env, "there must be at least one byte and at most 64 descriptors");
  }
  struct iovec part = {bytes, length};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(struct cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
  }
  ssize_t sent;
  do {
    sent = sendmsg(fd, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno != EAGAIN) return ThrowErrno(env, errno, "sendmsg");
  return ToNumber(env, static_cast<double>(sent));
}

/// Puts the descriptors of a message behind their number; more than there is room for are closed, all of them.
void TakeDescriptors(struct msghdr* message, int32_t* out, size_t room) {
  size_t count = 0;
  bool tooMany = (message->msg_flags & MSG_CTRUNC) != 0;
  for (struct cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < here; i++) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof descriptor);
      if (count < room) {
        out[1 + count++] = descriptor;
      } else {
        tooMany = true;
        close(descriptor);
      }
    }
  }
  if (tooMany) {
    for (size_t i = 0; i < count; i++) close(out[1 + i]);
  }
  out[0] = tooMany ? kTooManyDescriptors : static_cast<int32_t>(count);
}

/// receiveMessage(fd, bytes, descriptors): bytes received, 0 when the other side has closed, -1 when nothing is there. The
/// Int32Array `descriptors` gets the number of descriptors that came with them, and them, close-on-exec; -1 for more than fit
/// in, which are closed.
napi_value ReceiveMessage(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  void *bytes, *descriptors;
  size_t length, words;
  if (!args.Fd(0, &fd) || !args.TypedArray(1, "bytes", napi_uint8_array, &bytes, &length) ||
      !args.TypedArray(2, "descriptors", napi_int32_array, &descriptors, &words)) {
    return nullptr;
  }
  if (length == 0 || words == 0 || words - 1 > kMaxDescriptors) {
    return ThrowRange(env, "there must be room for at least one byte and for at most 64 descriptors");
  }
  struct iovec part = {bytes, length};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(struct cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  int32_t* out = static_cast<int32_t*>(descriptors);
  out[0] = 0;
  if (got < 0 && errno != EAGAIN) return ThrowErrno(env, errno, "recvmsg");
  if (got >= 0) TakeDescriptors(&message, out, words - 1);
  return ToNumber(env, static_cast<double>(got));
}

/// setNonBlocking(fd): reads and writes of the open file never wait from now on, in whatever process.
napi_value SetNonBlocking(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return ThrowErrno(env, errno, "fcntl(F_SETFL)");
  return Undefined(env);
}

}  // namespace

bool DefineSocket(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"unixListen", nullptr, UnixListen, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"unixAccept", nullptr, UnixAccept, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"unixConnect", nullptr, UnixConnect, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"sendMessage", nullptr, SendMessage, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"receiveMessage", nullptr, ReceiveMessage, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"setNonBlocking", nullptr, SetNonBlocking, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  return napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}

}  // namespace ringside
