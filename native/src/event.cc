// Event file descriptors, by which external daemons and we ring each other, and poll(2) over them for the event worker.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "napi_util.h"

namespace ringside {

namespace {

/// Entries of one poll call; they live on the stack of the calling thread.
constexpr size_t kMaxPolled = 1024;
/// Each entry of a poll array is three words: fd, events, revents.
constexpr size_t kPollWords = 3;

/// eventfdCreate(): fd, counter 0, non-blocking.
napi_value EventfdCreate(napi_env env, napi_callback_info) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd >= 0 ? ToNumber(env, fd) : ThrowErrno(env, errno, "eventfd");
}

/// eventfdRead(fd): bigint, the counter, which is then 0; 0n when nothing has been written.
napi_value EventfdRead(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  uint64_t counter = 0;
  ssize_t got;
  do {
    got = read(fd, &counter, sizeof counter);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno != EAGAIN) return ThrowErrno(env, errno, "read");
  // Anything but eight bytes means that the descriptor is no eventfd.
  if (got >= 0 && got != static_cast<ssize_t>(sizeof counter)) return ThrowErrno(env, EINVAL, "read");
  napi_value result = nullptr;
  napi_create_bigint_uint64(env, got < 0 ? 0 : counter, &result);
  return result;
}

/// eventfdWrite(fd, value): boolean, false when the counter would overflow.
napi_value EventfdWrite(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  uint64_t value;
  if (!args.Fd(0, &fd) || !args.BigUint64(1, "value", &value)) return nullptr;
  ssize_t put;
  do {
    put = write(fd, &value, sizeof value);
  } while (put < 0 && errno == EINTR);
  if (put < 0 && errno != EAGAIN) return ThrowErrno(env, errno, "write");
  return ToBoolean(env, put >= 0);
}

/// poll(entries, timeout): number of entries whose revents are not 0. `entries` is an Int32Array of fd, events,
/// revents; a negative fd is passed over. `timeout` is in ms, -1 for ever. Comes back early, with 0, when a signal
/// interrupts it.
napi_value Poll(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  void* data;
  size_t words;
  int64_t timeout;
  if (!args.TypedArray(0, "entries", napi_int32_array, &data, &words)) return nullptr;
  if (!args.Integer(1, "timeout", -1, INT_MAX, &timeout)) return nullptr;
  const size_t count = words / kPollWords;
  if (words % kPollWords != 0 || count > kMaxPolled) {
    return ThrowRange(env, "entries must be at most 1024 triples of fd, events, revents");
  }

  int32_t* entries = static_cast<int32_t*>(data);
  struct pollfd polled[kMaxPolled];
  for (size_t i = 0; i < count; i++) {
    polled[i] = {entries[kPollWords * i], static_cast<short>(entries[kPollWords * i + 1]), 0};
  }
  int ready = poll(polled, count, static_cast<int>(timeout));
  if (ready < 0 && errno != EINTR) return ThrowErrno(env, errno, "poll");
  if (ready < 0) ready = 0;
  for (size_t i = 0; i < count; i++) entries[kPollWords * i + 2] = ready > 0 ? polled[i].revents : 0;
  return ToNumber(env, ready);
}

}  // namespace

bool DefineEvent(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"eventfdCreate", nullptr, EventfdCreate, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"eventfdRead", nullptr, EventfdRead, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"eventfdWrite", nullptr, EventfdWrite, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"poll", nullptr, Poll, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  return napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}

}  // namespace ringside
