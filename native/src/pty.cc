// Pseudo-terminals: a console of a VM as a terminal device of the host, for screen, minicom and the like.
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "napi_util.h"

namespace ringside {

namespace {

constexpr size_t kPathBytes = 128;

napi_value ThrowAfterClosing(napi_env env, const char* syscall, int master, int slave = -1) {
  const int error = errno;
  if (slave >= 0) close(slave);
  close(master);
  return ThrowErrno(env, error, syscall);
}

/// ptyOpen(): { master, slave, path }. The master is non-blocking. The terminal is raw, so that nothing is echoed or changed; it
/// stays so, and alive, as long as the slave is open.
napi_value PtyOpen(napi_env env, napi_callback_info) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0) return ThrowErrno(env, errno, "posix_openpt");
  char path[kPathBytes];
  if (grantpt(master) != 0 || unlockpt(master) != 0) return ThrowAfterClosing(env, "grantpt", master);
  const int error = ptsname_r(master, path, sizeof path);
  if (error != 0) {
    errno = error;
    return ThrowAfterClosing(env, "ptsname", master);
  }
  const int slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return ThrowAfterClosing(env, "open", master);
  struct termios mode;
  if (tcgetattr(slave, &mode) != 0) return ThrowAfterClosing(env, "tcgetattr", master, slave);
  cfmakeraw(&mode);
  if (tcsetattr(slave, TCSANOW, &mode) != 0) return ThrowAfterClosing(env, "tcsetattr", master, slave);
  if (fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK) != 0) return ThrowAfterClosing(env, "fcntl", master, slave);

  napi_value result, name;
  if (napi_create_object(env, &result) != napi_ok ||
      napi_create_string_utf8(env, path, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_set_named_property(env, result, "master", ToNumber(env, master)) != napi_ok ||
      napi_set_named_property(env, result, "slave", ToNumber(env, slave)) != napi_ok ||
      napi_set_named_property(env, result, "path", name) != napi_ok) {
    errno = ENOMEM;
    return ThrowAfterClosing(env, "ptyOpen", master, slave);
  }
  return result;
}

}  // namespace

bool DefinePty(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"ptyOpen", nullptr, PtyOpen, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  return napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}

}  // namespace ringside
