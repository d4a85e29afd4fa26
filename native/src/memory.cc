// Guest RAM that other processes can map: a memfd laid over a part of a shared WebAssembly.Memory.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "napi_util.h"

// Older C libraries lack these; the values are the kernel's.
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 0x0001U
#endif
#ifndef MFD_ALLOW_SEALING
#define MFD_ALLOW_SEALING 0x0002U
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#define F_SEAL_SEAL 0x0001
#define F_SEAL_SHRINK 0x0002
#define F_SEAL_GROW 0x0004
#endif
#ifndef MADV_REMOVE
#define MADV_REMOVE 9
#endif
#ifndef MADV_HUGEPAGE
#define MADV_HUGEPAGE 14
#endif

namespace ringside {

namespace {

/// memfd names are limited to 249 bytes.
constexpr size_t kNameCapacity = 201;

int64_t PageSize() { return sysconf(_SC_PAGESIZE); }

/// The page-aligned part [offset, offset + length) of the Uint8Array in argument 0, from arguments 1 and 2.
bool PageRange(const Arguments& args, uint8_t** start, size_t* length) {
  void* data;
  size_t size;
  int64_t offset, bytes;
  if (!args.TypedArray(0, "view", napi_uint8_array, &data, &size)) return false;
  if (!args.FileRange(1, &offset, &bytes)) return false;
  if (static_cast<uint64_t>(offset) + static_cast<uint64_t>(bytes) > size) {
    ThrowRange(args.env(), "the range is not inside the view");
    return false;
  }
  uint8_t* address = static_cast<uint8_t*>(data) + offset;
  if (bytes == 0 || reinterpret_cast<uintptr_t>(address) % PageSize() != 0 || bytes % PageSize() != 0) {
    ThrowRange(args.env(), "the range must be whole pages, at least one");
    return false;
  }
  *start = address;
  *length = static_cast<size_t>(bytes);
  return true;
}

napi_value GetPageSize(napi_env env, napi_callback_info) { return ToNumber(env, static_cast<double>(PageSize())); }

/// memfdCreate(name, size): fd. Sealed against any change of size and against further seals.
napi_value MemfdCreate(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  char name[kNameCapacity];
  int64_t size;
  if (!args.String(0, "name", name, sizeof name) || !args.Size(1, "size", &size)) return nullptr;

  // MFD_NOEXEC_SEAL is from Linux 6.3; without it newer kernels complain in the log, with it older ones say EINVAL.
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = static_cast<int>(syscall(SYS_memfd_create, name, flags | MFD_NOEXEC_SEAL));
  if (fd < 0 && errno == EINVAL) fd = static_cast<int>(syscall(SYS_memfd_create, name, flags));
  if (fd < 0) return ThrowErrno(env, errno, "memfd_create");

  const char* failed = nullptr;
  if (ftruncate(fd, size) != 0) {
    failed = "ftruncate";
  } else if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    failed = "fcntl(F_ADD_SEALS)";
  }
  if (failed != nullptr) {
    const int error = errno;
    close(fd);
    return ThrowErrno(env, error, failed);
  }
  return ToNumber(env, fd);
}

/// mapMemfd(view, offset, length, fd): the range becomes a shared mapping of the file from its start.
napi_value MapMemfd(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  uint8_t* start;
  size_t length;
  int fd;
  if (!PageRange(args, &start, &length) || !args.Fd(3, &fd)) return nullptr;

  // Pages behind the end of the file would raise SIGBUS when touched: it must be long enough, and stay so.
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0) return ThrowErrno(env, errno, "fcntl(F_GET_SEALS)");
  if ((seals & F_SEAL_SHRINK) == 0) return ThrowRange(env, "the file is not sealed against shrinking");
  struct stat status;
  if (fstat(fd, &status) != 0) return ThrowErrno(env, errno, "fstat");
  if (status.st_size < 0 || static_cast<uint64_t>(status.st_size) < length) {
    return ThrowRange(env, "the file is smaller than the range");
  }
  if (mmap(start, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    return ThrowErrno(env, errno, "mmap");
  }
  return Undefined(env);
}

/// mapFile(view, offset, length, fd, shared): the range becomes a mapping of a regular file from its start, shared or
/// copy-on-write.
napi_value MapFile(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  uint8_t* start;
  size_t length;
  int fd;
  bool shared;
  if (!PageRange(args, &start, &length) || !args.Fd(3, &fd) || !args.Boolean(4, "shared", &shared)) return nullptr;
  struct stat status;
  if (fstat(fd, &status) != 0) return ThrowErrno(env, errno, "fstat");
  if (!S_ISREG(status.st_mode) || status.st_size < 0 || static_cast<uint64_t>(status.st_size) < length) {
    return ThrowRange(env, "the file is smaller than the range");
  }
  const int flags = (shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE) | MAP_FIXED;
  if (mmap(start, length, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED) return ThrowErrno(env, errno, "mmap");
  return Undefined(env);
}

/// unmapMemfd(view, offset, length): the range becomes private zero pages again.
napi_value UnmapMemfd(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  uint8_t* start;
  size_t length;
  if (!PageRange(args, &start, &length)) return nullptr;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  if (mmap(start, length, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) return ThrowErrno(env, errno, "mmap");
  return Undefined(env);
}

/// releasePages(view, offset, length): the range reads as zero and takes no memory, here and in the memfd mapped there.
napi_value ReleasePages(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  uint8_t* start;
  size_t length;
  if (!PageRange(args, &start, &length)) return nullptr;
  if (madvise(start, length, MADV_REMOVE) == 0) return Undefined(env);
  // Private memory (no memfd could be mapped) has no file to make a hole in.
  if (errno == EINVAL && madvise(start, length, MADV_DONTNEED) == 0) return Undefined(env);
  return ThrowErrno(env, errno, "madvise(MADV_REMOVE)");
}

/// adviseHugePages(view, offset, length): boolean, whether the kernel took the advice.
napi_value AdviseHugePages(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  uint8_t* start;
  size_t length;
  if (!PageRange(args, &start, &length)) return nullptr;
  return ToBoolean(env, madvise(start, length, MADV_HUGEPAGE) == 0);
}

}  // namespace

bool DefineMemory(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"pageSize", nullptr, GetPageSize, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"memfdCreate", nullptr, MemfdCreate, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"mapMemfd", nullptr, MapMemfd, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"mapFile", nullptr, MapFile, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"unmapMemfd", nullptr, UnmapMemfd, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"releasePages", nullptr, ReleasePages, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"adviseHugePages", nullptr, AdviseHugePages, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  return napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}

}  // namespace ringside
