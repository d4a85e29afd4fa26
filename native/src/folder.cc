// What sharing a folder needs and node:fs does not have: every step by descriptor, no symbolic link ever followed.
//
// These functions give -errno instead of throwing: most failures are the guest's everyday business (ENOENT), and it gets
// the number as it is. Names and paths are bytes, without NUL. A descriptor may be one of O_PATH; what the system cannot
// do with such a one goes by way of /proc/self/fd, which leads to the very file, whatever its names are by now.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "napi_util.h"

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

namespace ringside {

namespace {

/// struct open_how and its flags: in the headers from Linux 5.6 on only.
struct OpenHow {
  uint64_t flags;
  uint64_t mode;
  uint64_t resolve;
};
constexpr uint64_t kResolveNoMagicLinks = 0x02;
constexpr uint64_t kResolveNoSymlinks = 0x04;
constexpr uint64_t kResolveBeneath = 0x08;

constexpr size_t kStatWords = 16;
constexpr size_t kStatfsWords = 8;
constexpr size_t kProcPathBytes = 40;
/// XATTR_NAME_MAX of linux/limits.h, and a NUL.
constexpr size_t kXattrNameBytes = 256;

napi_value Result(napi_env env, int64_t value) { return ToNumber(env, static_cast<double>(value)); }

napi_value ErrnoResult(napi_env env) { return Result(env, -errno); }

napi_value ZeroOrErrno(napi_env env, int result) { return result == 0 ? Result(env, 0) : ErrnoResult(env); }

bool ReadBytes(const Arguments& args, size_t index, const char* name, uint8_t** data, size_t* length) {
  void* bytes = nullptr;
  if (!args.TypedArray(index, name, napi_uint8_array, &bytes, length)) return false;
  *data = static_cast<uint8_t*>(bytes);
  return true;
}

/// A string of bytes at argument `index`, NUL-terminated.
template <size_t kCapacity>
class CString {
 public:
  bool Read(const Arguments& args, size_t index, const char* name) {
    uint8_t* data;
    size_t length;
    if (!ReadBytes(args, index, name, &data, &length)) return false;
    if (length >= kCapacity || std::memchr(data, 0, length) != nullptr) {
      ThrowRange(args.env(), "a name is too long or has a NUL");
      return false;
    }
    if (length > 0) std::memcpy(text_, data, length);
    text_[length] = '\0';
    return true;
  }
  const char* get() const { return text_; }

 protected:
  char text_[kCapacity];
};

/// The name of an entry of a folder: one step, so neither "..", nor with a slash.
class Name : public CString<NAME_MAX + 1> {
 public:
  bool Read(const Arguments& args, size_t index, const char* name) {
    if (!CString::Read(args, index, name)) return false;
    if (text_[0] != '\0' && std::strchr(text_, '/') == nullptr && std::strcmp(text_, ".") != 0 &&
        std::strcmp(text_, "..") != 0) {
      return true;
    }
    ThrowRange(args.env(), "not the name of an entry");
    return false;
  }
};

void ProcPath(int fd, char (&path)[kProcPathBytes]) { std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd); }

int OpenAt(int folder, const char* name, int flags, mode_t mode) {
  int fd;
  do {
    fd = openat(folder, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

/// Where there is no openat2 (before Linux 5.6, in some sandboxes): a step at a time.
int OpenStepwise(int root, const char* path, int flags) {
  int folder = root;
  const char* rest = path;
  for (;;) {
    const char* slash = std::strchr(rest, '/');
    char step[NAME_MAX + 1];
    const size_t length = slash == nullptr ? std::strlen(rest) : static_cast<size_t>(slash - rest);
    int fd = -1;
    if (length > NAME_MAX) {
      errno = ENAMETOOLONG;
    } else {
      std::memcpy(step, rest, length);
      step[length] = '\0';
      if (std::strcmp(step, "..") == 0) {
        errno = EXDEV;
      } else {
        fd = OpenAt(folder, step, slash == nullptr ? flags : O_PATH | O_DIRECTORY, 0);
      }
    }
    const int error = errno;
    if (folder != root) close(folder);
    errno = error;
    if (fd < 0 || slash == nullptr) return fd;
    folder = fd;
    rest = slash + 1;
  }
}

/// folderOpen(root, path, flags): a descriptor of what is at a path beneath `root`. No link on the way or at the end
/// is followed. Creates nothing.
napi_value FolderOpen(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int root;
  static thread_local CString<65536> path;
  int64_t flags;
  if (!args.Fd(0, &root) || !path.Read(args, 1, "path") || !args.Integer(2, "flags", 0, INT_MAX, &flags)) {
    return nullptr;
  }
  const int open_flags = static_cast<int>(flags) & ~(O_CREAT | O_TMPFILE);
  OpenHow how = {static_cast<uint64_t>(open_flags | O_CLOEXEC | O_NOFOLLOW), 0,
                 kResolveBeneath | kResolveNoSymlinks | kResolveNoMagicLinks};
  int fd;
  do {
    fd = static_cast<int>(syscall(SYS_openat2, root, path.get(), &how, sizeof how));
    // EAGAIN: something was renamed meanwhile, and the kernel is not sure any more.
  } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == ENAMETOOLONG)) {
    fd = OpenStepwise(root, path.get(), open_flags);
  }
  return fd < 0 ? ErrnoResult(env) : Result(env, fd);
}

/// folderCreate(folder, name, flags, mode): a descriptor of a new file; -EEXIST when there is one.
napi_value FolderCreate(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int folder;
  Name name;
  int64_t flags, mode;
  if (!args.Fd(0, &folder) || !name.Read(args, 1, "name") || !args.Integer(2, "flags", 0, INT_MAX, &flags) ||
      !args.Integer(3, "mode", 0, 07777, &mode)) {
    return nullptr;
  }
  const int fd =
      OpenAt(folder, name.get(), static_cast<int>(flags) | O_CREAT | O_EXCL, static_cast<mode_t>(mode));
  return fd < 0 ? ErrnoResult(env) : Result(env, fd);
}

/// folderReopen(fd, flags): a new open of the file that `fd` is of.
napi_value FolderReopen(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  int64_t flags;
  if (!args.Fd(0, &fd) || !args.Integer(1, "flags", 0, INT_MAX, &flags)) return nullptr;
  char path[kProcPathBytes];
  ProcPath(fd, path);
  int opened;
  do {
    opened = open(path, (static_cast<int>(flags) & ~(O_CREAT | O_TMPFILE | O_NOFOLLOW)) | O_CLOEXEC);
  } while (opened < 0 && errno == EINTR);
  return opened < 0 ? ErrnoResult(env) : Result(env, opened);
}

/// folderClose(fd): node:fs would warn of descriptors that it has not opened.
napi_value FolderClose(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  return ZeroOrErrno(env, close(fd));
}

void PutStat(const struct stat& stat, uint64_t* words) {
  const uint64_t values[kStatWords] = {
      stat.st_dev,
      stat.st_ino,
      stat.st_mode,
      stat.st_nlink,
      stat.st_uid,
      stat.st_gid,
      stat.st_rdev,
      static_cast<uint64_t>(stat.st_size),
      static_cast<uint64_t>(stat.st_blksize),
      static_cast<uint64_t>(stat.st_blocks),
      static_cast<uint64_t>(stat.st_atim.tv_sec),
      static_cast<uint64_t>(stat.st_atim.tv_nsec),
      static_cast<uint64_t>(stat.st_mtim.tv_sec),
      static_cast<uint64_t>(stat.st_mtim.tv_nsec),
      static_cast<uint64_t>(stat.st_ctim.tv_sec),
      static_cast<uint64_t>(stat.st_ctim.tv_nsec),
  };
  std::memcpy(words, values, sizeof values);
}

bool ReadWords(const Arguments& args, size_t index, size_t least, uint64_t** words) {
  void* data;
  size_t count;
  if (!args.TypedArray(index, "words", napi_biguint64_array, &data, &count)) return false;
  if (count < least) {
    ThrowRange(args.env(), "the array is too short");
    return false;
  }
  *words = static_cast<uint64_t*>(data);
  return true;
}

/// folderStat(fd, words): device, inode, mode, links, uid, gid, device number, size, block size, blocks of 512 bytes,
/// then access, modification and change time in seconds and nanoseconds.
napi_value FolderStat(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  uint64_t* words;
  if (!args.Fd(0, &fd) || !ReadWords(args, 1, kStatWords, &words)) return nullptr;
  struct stat stat;
  if (fstat(fd, &stat) != 0) return ErrnoResult(env);
  PutStat(stat, words);
  return Result(env, 0);
}

/// folderStatfs(fd, words): type, block size, blocks, free, available, files, files free, file system id.
napi_value FolderStatfs(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  uint64_t* words;
  if (!args.Fd(0, &fd) || !ReadWords(args, 1, kStatfsWords, &words)) return nullptr;
  struct statfs stat;
  if (fstatfs(fd, &stat) != 0) return ErrnoResult(env);
  uint64_t id = 0;
  std::memcpy(&id, &stat.f_fsid, sizeof stat.f_fsid < sizeof id ? sizeof stat.f_fsid : sizeof id);
  const uint64_t values[kStatfsWords] = {
      static_cast<uint64_t>(stat.f_type),
      static_cast<uint64_t>(stat.f_bsize),
      stat.f_blocks,
      stat.f_bfree,
      stat.f_bavail,
      stat.f_files,
      stat.f_ffree,
      id,
  };
  std::memcpy(words, values, sizeof values);
  return Result(env, 0);
}

/// folderRead(fd, offset, buffer): struct linux_dirent64 records from a position on (0, or a d_off); bytes, 0 at the
/// end.
napi_value FolderRead(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  uint64_t offset;
  uint8_t* buffer;
  size_t length;
  if (!args.Fd(0, &fd) || !args.BigUint64(1, "offset", &offset) || !ReadBytes(args, 2, "buffer", &buffer, &length)) {
    return nullptr;
  }
  if (lseek(fd, static_cast<off_t>(offset), SEEK_SET) < 0) return ErrnoResult(env);
  const long count = syscall(SYS_getdents64, fd, buffer, length);
  return count < 0 ? ErrnoResult(env) : Result(env, count);
}

/// folderMkdir(folder, name, mode)
napi_value FolderMkdir(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int folder;
  Name name;
  int64_t mode;
  if (!args.Fd(0, &folder) || !name.Read(args, 1, "name") || !args.Integer(2, "mode", 0, 07777, &mode)) return nullptr;
  return ZeroOrErrno(env, mkdirat(folder, name.get(), static_cast<mode_t>(mode)));
}

/// folderMknod(folder, name, mode with its type, major, minor)
napi_value FolderMknod(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int folder;
  Name name;
  int64_t mode, major_number, minor_number;
  if (!args.Fd(0, &folder) || !name.Read(args, 1, "name") || !args.Integer(2, "mode", 0, 0177777, &mode) ||
      !args.Integer(3, "major", 0, UINT_MAX, &major_number) || !args.Integer(4, "minor", 0, UINT_MAX, &minor_number)) {
    return nullptr;
  }
  const dev_t device = makedev(static_cast<unsigned>(major_number), static_cast<unsigned>(minor_number));
  return ZeroOrErrno(env, mknodat(folder, name.get(), static_cast<mode_t>(mode), device));
}

/// folderSymlink(target, folder, name)
napi_value FolderSymlink(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  CString<PATH_MAX> target;
  int folder;
  Name name;
  if (!target.Read(args, 0, "target") || !args.Fd(1, &folder) || !name.Read(args, 2, "name")) return nullptr;
  return ZeroOrErrno(env, symlinkat(target.get(), folder, name.get()));
}

/// folderLink(old folder, old name, new folder, new name)
napi_value FolderLink(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int old_folder, new_folder;
  Name old_name, new_name;
  if (!args.Fd(0, &old_folder) || !old_name.Read(args, 1, "name") || !args.Fd(2, &new_folder) ||
      !new_name.Read(args, 3, "name")) {
    return nullptr;
  }
  return ZeroOrErrno(env, linkat(old_folder, old_name.get(), new_folder, new_name.get(), 0));
}

/// folderRename(old folder, old name, new folder, new name)
napi_value FolderRename(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int old_folder, new_folder;
  Name old_name, new_name;
  if (!args.Fd(0, &old_folder) || !old_name.Read(args, 1, "name") || !args.Fd(2, &new_folder) ||
      !new_name.Read(args, 3, "name")) {
    return nullptr;
  }
  return ZeroOrErrno(env, renameat(old_folder, old_name.get(), new_folder, new_name.get()));
}

/// folderUnlink(folder, name, isFolder)
napi_value FolderUnlink(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int folder;
  Name name;
  bool is_folder;
  if (!args.Fd(0, &folder) || !name.Read(args, 1, "name") || !args.Boolean(2, "isFolder", &is_folder)) return nullptr;
  return ZeroOrErrno(env, unlinkat(folder, name.get(), is_folder ? AT_REMOVEDIR : 0));
}

/// folderReadlink(fd, buffer): bytes of the target of the link that `fd` (O_PATH) is of.
napi_value FolderReadlink(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  uint8_t* buffer;
  size_t length;
  if (!args.Fd(0, &fd) || !ReadBytes(args, 1, "buffer", &buffer, &length)) return nullptr;
  const ssize_t count = readlinkat(fd, "", reinterpret_cast<char*>(buffer), length);
  return count < 0 ? ErrnoResult(env) : Result(env, count);
}

/// folderChmod(fd, mode)
napi_value FolderChmod(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  int64_t mode;
  if (!args.Fd(0, &fd) || !args.Integer(1, "mode", 0, 07777, &mode)) return nullptr;
  char path[kProcPathBytes];
  ProcPath(fd, path);
  return ZeroOrErrno(env, chmod(path, static_cast<mode_t>(mode)));
}

/// folderChown(fd, uid, gid); UINT_MAX leaves one as it is.
napi_value FolderChown(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  int64_t uid, gid;
  if (!args.Fd(0, &fd) || !args.Integer(1, "uid", 0, UINT_MAX, &uid) || !args.Integer(2, "gid", 0, UINT_MAX, &gid)) {
    return nullptr;
  }
  return ZeroOrErrno(env, fchownat(fd, "", static_cast<uid_t>(uid), static_cast<gid_t>(gid), AT_EMPTY_PATH));
}

/// folderSetTimes(fd, words): seconds and nanoseconds of access, then modification. Nanoseconds of all ones: now; of
/// all ones but the lowest: as it is.
napi_value FolderSetTimes(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  uint64_t* words;
  if (!args.Fd(0, &fd) || !ReadWords(args, 1, 4, &words)) return nullptr;
  struct timespec times[2];
  for (int i = 0; i < 2; i++) {
    const uint64_t nanoseconds = words[2 * i + 1];
    times[i].tv_sec = static_cast<time_t>(words[2 * i]);
    if (nanoseconds == UINT64_MAX) {
      times[i].tv_nsec = UTIME_NOW;
    } else if (nanoseconds == UINT64_MAX - 1) {
      times[i].tv_nsec = UTIME_OMIT;
    } else if (nanoseconds < 1000000000) {
      times[i].tv_nsec = static_cast<long>(nanoseconds);
    } else {
      return Result(env, -EINVAL);
    }
  }
  char path[kProcPathBytes];
  ProcPath(fd, path);
  return ZeroOrErrno(env, utimensat(AT_FDCWD, path, times, 0));
}

/// folderTruncate(fd, size)
napi_value FolderTruncate(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  int64_t size;
  if (!args.Fd(0, &fd) || !args.Size(1, "size", &size)) return nullptr;
  char path[kProcPathBytes];
  ProcPath(fd, path);
  int result;
  do {
    result = truncate(path, size);
  } while (result != 0 && errno == EINTR);
  return ZeroOrErrno(env, result);
}

/// folderGetXattr(fd, name, buffer): bytes of the value; of an empty buffer, how many there are.
napi_value FolderGetXattr(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  CString<kXattrNameBytes> name;
  uint8_t* buffer;
  size_t length;
  if (!args.Fd(0, &fd) || !name.Read(args, 1, "name") || !ReadBytes(args, 2, "buffer", &buffer, &length)) {
    return nullptr;
  }
  char path[kProcPathBytes];
  ProcPath(fd, path);
  const ssize_t count = getxattr(path, name.get(), buffer, length);
  return count < 0 ? ErrnoResult(env) : Result(env, count);
}

/// folderSetXattr(fd, name, value, flags)
napi_value FolderSetXattr(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  CString<kXattrNameBytes> name;
  uint8_t* value;
  size_t length;
  int64_t flags;
  if (!args.Fd(0, &fd) || !name.Read(args, 1, "name") || !ReadBytes(args, 2, "value", &value, &length) ||
      !args.Integer(3, "flags", 0, 3, &flags)) {
    return nullptr;
  }
  char path[kProcPathBytes];
  ProcPath(fd, path);
  return ZeroOrErrno(env, setxattr(path, name.get(), value, length, static_cast<int>(flags)));
}

/// folderListXattr(fd, buffer): bytes of the names, each ended by NUL; of an empty buffer, how many there are.
napi_value FolderListXattr(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  uint8_t* buffer;
  size_t length;
  if (!args.Fd(0, &fd) || !ReadBytes(args, 1, "buffer", &buffer, &length)) return nullptr;
  char path[kProcPathBytes];
  ProcPath(fd, path);
  const ssize_t count = listxattr(path, reinterpret_cast<char*>(buffer), length);
  return count < 0 ? ErrnoResult(env) : Result(env, count);
}

/// folderRemoveXattr(fd, name)
napi_value FolderRemoveXattr(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  int fd;
  CString<kXattrNameBytes> name;
  if (!args.Fd(0, &fd) || !name.Read(args, 1, "name")) return nullptr;
  char path[kProcPathBytes];
  ProcPath(fd, path);
  return ZeroOrErrno(env, removexattr(path, name.get()));
}

}  // namespace

bool DefineFolder(napi_env env, napi_value exports) {
  const struct {
    const char* name;
    napi_callback call;
  } functions[] = {
      {"folderOpen", FolderOpen},
      {"folderCreate", FolderCreate},
      {"folderReopen", FolderReopen},
      {"folderClose", FolderClose},
      {"folderStat", FolderStat},
      {"folderStatfs", FolderStatfs},
      {"folderRead", FolderRead},
      {"folderMkdir", FolderMkdir},
      {"folderMknod", FolderMknod},
      {"folderSymlink", FolderSymlink},
      {"folderLink", FolderLink},
      {"folderRename", FolderRename},
      {"folderUnlink", FolderUnlink},
      {"folderReadlink", FolderReadlink},
      {"folderChmod", FolderChmod},
      {"folderChown", FolderChown},
      {"folderSetTimes", FolderSetTimes},
      {"folderTruncate", FolderTruncate},
      {"folderGetXattr", FolderGetXattr},
      {"folderSetXattr", FolderSetXattr},
      {"folderListXattr", FolderListXattr},
      {"folderRemoveXattr", FolderRemoveXattr},
  };
  for (const auto& function : functions) {
    const napi_property_descriptor property = {function.name, nullptr, function.call,   nullptr,
                                               nullptr,       nullptr, napi_enumerable, nullptr};
    if (napi_define_properties(env, exports, 1, &property) != napi_ok) return false;
  }
  return true;
}

}  // namespace ringside
