// What disk images need and node:fs does not have: open-file-description locks, holes, block device sizes.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "napi_util.h"

#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

namespace ringside {

namespace {

bool LockArguments(const Arguments& args, int* fd, struct flock* lock) {
  int64_t start, length;
  if (!args.Fd(0, fd) || !args.FileRange(1, &start, &length)) return false;
  // To fcntl no length means up to the end of the file, however far that moves; nobody here means that.
  if (length == 0) {
    ThrowRange(args.env(), "a lock must cover at least one byte");
    return false;
  }
  *lock = {};
  lock->l_whence = SEEK_SET;
  lock->l_start = start;
  lock->l_len = length;
  return true;
}

/// fcntl that goes on when a signal interrupts it.
int Fcntl(int fd, int command, struct flock* lock) {
  int result;
  do {
    result = fcntl(fd, command, lock);
  } while (result != 0 && errno == EINTR);
  return result;
}

napi_value SetLock(napi_env env, int fd, struct flock* lock) {
  if (Fcntl(fd, F_OFD_SETLK, lock) == 0) return ToBoolean(env, true);
  if (errno == EAGAIN || errno == EACCES) return ToBoolean(env, false);
  return ThrowErrno(env, errno, "fcntl(F_OFD_SETLK)");
}

/// lock(fd, start, length, exclusive): boolean, false when another open file holds a lock in the way. Does not wait.
napi_value Lock(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  struct flock lock;
  bool exclusive;
  if (!LockArguments(args, &fd, &lock) || !args.Boolean(3, "exclusive", &exclusive)) return nullptr;
  lock.l_type = exclusive ? F_WRLCK : F_RDLCK;
  return SetLock(env, fd, &lock);
}

/// unlock(fd, start, length)
napi_value Unlock(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  struct flock lock;
  if (!LockArguments(args, &fd, &lock)) return nullptr;
  lock.l_type = F_UNLCK;
  return SetLock(env, fd, &lock);
}

/// testLock(fd, start, length, exclusive): boolean, whether such a lock could be had now.
napi_value TestLock(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  struct flock lock;
  bool exclusive;
  if (!LockArguments(args, &fd, &lock) || !args.Boolean(3, "exclusive", &exclusive)) return nullptr;
  lock.l_type = exclusive ? F_WRLCK : F_RDLCK;
  if (Fcntl(fd, F_OFD_GETLK, &lock) != 0) return ThrowErrno(env, errno, "fcntl(F_OFD_GETLK)");
  return ToBoolean(env, lock.l_type == F_UNLCK);
}

napi_value Fallocate(napi_env env, napi_callback_info info, int mode, const char* name) {
  Arguments args(env, info);
  int fd;
  int64_t offset, length;
  if (!args.Fd(0, &fd) || !args.FileRange(1, &offset, &length)) return nullptr;
  if (length == 0) return Undefined(env);
  int result;
  do {
    result = fallocate(fd, mode, offset, length);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? Undefined(env) : ThrowErrno(env, errno, name);
}

/// punchHole(fd, offset, length): the range reads as zero and takes no space. The size of the file stays.
napi_value PunchHole(napi_env env, napi_callback_info info) {
  return Fallocate(env, info, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "fallocate(FALLOC_FL_PUNCH_HOLE)");
}

/// zeroRange(fd, offset, length): the range reads as zero and stays allocated. The size of the file stays.
napi_value ZeroRange(napi_env env, napi_callback_info info) {
  return Fallocate(env, info, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, "fallocate(FALLOC_FL_ZERO_RANGE)");
}

napi_value Seek(napi_env env, napi_callback_info info, int whence, const char* name) {
  Arguments args(env, info);
  int fd;
  int64_t offset;
  if (!args.Fd(0, &fd) || !args.Size(1, "offset", &offset)) return nullptr;
  const off_t found = lseek(fd, offset, whence);
  if (found >= 0) return ToNumber(env, static_cast<double>(found));
  // ENXIO: the offset is behind the last data, or the end of the file.
  return errno == ENXIO ? ToNumber(env, -1) : ThrowErrno(env, errno, name);
}

/// seekData(fd, offset): where the next data at or behind offset begins, -1 when there is none.
napi_value SeekData(napi_env env, napi_callback_info info) { return Seek(env, info, SEEK_DATA, "lseek(SEEK_DATA)"); }

/// seekHole(fd, offset): where the next hole begins (the end of the file is one), -1 when offset is not inside the
/// file.
napi_value SeekHole(napi_env env, napi_callback_info info) { return Seek(env, info, SEEK_HOLE, "lseek(SEEK_HOLE)"); }

/// blockDeviceSize(fd): bytes.
napi_value BlockDeviceSize(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  uint64_t size = 0;
  if (ioctl(fd, BLKGETSIZE64, &size) != 0) return ThrowErrno(env, errno, "ioctl(BLKGETSIZE64)");
  return ToNumber(env, static_cast<double>(size));
}

/// blockDeviceDiscard(fd, offset, length): tells the device that the range is not needed. What it reads as is
/// undefined.
napi_value BlockDeviceDiscard(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  int64_t offset, length;
  if (!args.Fd(0, &fd) || !args.FileRange(1, &offset, &length)) return nullptr;
  uint64_t range[2] = {static_cast<uint64_t>(offset), static_cast<uint64_t>(length)};
  int result;
  do {
    result = ioctl(fd, BLKDISCARD, range);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? Undefined(env) : ThrowErrno(env, errno, "ioctl(BLKDISCARD)");
}

}  // namespace

bool DefineFile(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"lock", nullptr, Lock, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"unlock", nullptr, Unlock, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"testLock", nullptr, TestLock, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"punchHole", nullptr, PunchHole, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"zeroRange", nullptr, ZeroRange, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"seekData", nullptr, SeekData, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"seekHole", nullptr, SeekHole, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"blockDeviceSize", nullptr, BlockDeviceSize, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"blockDeviceDiscard", nullptr, BlockDeviceDiscard, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  return napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}

}  // namespace ringside
