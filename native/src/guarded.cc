// Memory of another process: mappings of files that whoever gave them may make shorter at any time. An access behind the
// end of such a file raises SIGBUS, which would end this process: here the page becomes one of zeroes, and the mapping
// remembers that it happened.
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "napi_util.h"

namespace ringside {

namespace {

/// Guarded mappings of the process, all threads together. Fixed, because a signal handler reads it.
constexpr size_t kMaxGuards = 512;

struct Guard {
  /// 0 when the entry is free; kClaimed while it is being filled in.
  std::atomic<uintptr_t> start{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> faulted{false};
};

constexpr uintptr_t kClaimed = 1;

Guard guards[kMaxGuards];
struct sigaction otherwise;
std::atomic<bool> installed{false};
uintptr_t pageSize;

/// Only what a signal handler may do: atomics and mmap(2).
void OnBusError(int number, siginfo_t* info, void* context) {
  const int saved = errno;
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Guard& guard : guards) {
    const uintptr_t start = guard.start.load();
    if (start <= kClaimed || address < start || address >= guard.end.load()) continue;
    void* page = reinterpret_cast<void*>(address & ~(pageSize - 1));
    if (mmap(page, pageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
    guard.faulted.store(true);
    errno = saved;
    return;
  }
  errno = saved;
  if ((otherwise.sa_flags & SA_SIGINFO) != 0 && otherwise.sa_sigaction != nullptr) {
    otherwise.sa_sigaction(number, info, context);
  } else if (otherwise.sa_handler != SIG_DFL && otherwise.sa_handler != SIG_IGN) {
    otherwise.sa_handler(number);
  } else {
    // Not ours: happens again, and ends the process as it would have.
    signal(SIGBUS, SIG_DFL);
  }
}

bool InstallHandler() {
  if (installed.exchange(true)) return true;
  pageSize = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGBUS, &action, &otherwise) == 0) return true;
  installed.store(false);
  return false;
}

Guard* ClaimGuard() {
  for (Guard& guard : guards) {
    uintptr_t free = 0;
    if (guard.start.compare_exchange_strong(free, kClaimed)) return &guard;
  }
  return nullptr;
}

/// mapGuarded(view, offset, length, fd, fileOffset): number of the guard. The range becomes a shared mapping of the file
/// from `fileOffset` on. It may be made shorter later: pages behind its end then read as zeroes once touched.
napi_value MapGuarded(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  void* data;
  size_t size;
  int64_t offset, length, fileOffset;
  int fd;
  if (!args.TypedArray(0, "view", napi_uint8_array, &data, &size) || !args.FileRange(1, &offset, &length) ||
      !args.Fd(3, &fd) || !args.Size(4, "fileOffset", &fileOffset)) {
    return nullptr;
  }
  const int64_t page = sysconf(_SC_PAGESIZE);
  uint8_t* start = static_cast<uint8_t*>(data) + offset;
  if (length == 0 || static_cast<uint64_t>(offset) + static_cast<uint64_t>(length) > size ||
      reinterpret_cast<uintptr_t>(start) % page != 0 || length % page != 0 || fileOffset % page != 0) {
    return ThrowRange(env, "the ranges must be whole pages, at least one, inside the view");
  }
  struct stat status;
  if (fstat(fd, &status) != 0) return ThrowErrno(env, errno, "fstat");
  if (!S_ISREG(status.st_mode) || status.st_size < fileOffset || status.st_size - fileOffset < length) {
    return ThrowRange(env, "the file is smaller than the range");
  }
  if (!InstallHandler()) return ThrowErrno(env, errno, "sigaction");
  Guard* guard = ClaimGuard();
  if (guard == nullptr) return ThrowErrno(env, ENOMEM, "mmap");
  guard->faulted.store(false);
  guard->end.store(reinterpret_cast<uintptr_t>(start) + static_cast<uintptr_t>(length));
  guard->start.store(reinterpret_cast<uintptr_t>(start));
  if (mmap(start, static_cast<size_t>(length), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, fileOffset) ==
      MAP_FAILED) {
    const int error = errno;
    guard->start.store(0);
    return ThrowErrno(env, error, "mmap");
  }
  return ToNumber(env, static_cast<double>(guard - guards));
}

/// Argument `index` as a guard in use.
Guard* GuardArgument(const Arguments& args, size_t index) {
  int64_t number;
  if (!args.Integer(index, "guard", 0, kMaxGuards - 1, &number)) return nullptr;
  Guard* guard = &guards[number];
  if (guard->start.load() > kClaimed) return guard;
  ThrowRange(args.env(), "there is no such guard");
  return nullptr;
}

/// guardFaulted(guard): boolean, whether an access has found the file shorter than its mapping.
napi_value GuardFaulted(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const Guard* guard = GuardArgument(args, 0);
  return guard == nullptr ? nullptr : ToBoolean(env, guard->faulted.load());
}

/// unmapGuarded(guard): its range becomes private zero pages, and the guard is free. The view's memory must still be there.
napi_value UnmapGuarded(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  Guard* guard = GuardArgument(args, 0);
  if (guard == nullptr) return nullptr;
  const uintptr_t start = guard->start.load();
  const size_t length = guard->end.load() - start;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  if (mmap(reinterpret_cast<void*>(start), length, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) {
    return ThrowErrno(env, errno, "mmap");
  }
  guard->start.store(0);
  return Undefined(env);
}

}  // namespace

bool DefineGuarded(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"mapGuarded", nullptr, MapGuarded, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"guardFaulted", nullptr, GuardFaulted, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"unmapGuarded", nullptr, UnmapGuarded, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  return napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}

}  // namespace ringside
