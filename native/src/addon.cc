// Entry point. The addon keeps no state but the process-wide list of guarded mappings, so every thread may load it.
#include <signal.h>

#include "napi_util.h"

namespace {

/// Bumped with every change of a function's name or arguments; core/host/addon.ts refuses any other.
constexpr int32_t kApiVersion = 5;

/// A write beyond the limit on file sizes (ulimit -f) is to be an EFBIG for the disk it is about, and not the end of
/// every VM in this process. A handler somebody has set is left alone.
void IgnoreFileSizeSignal() {
  struct sigaction action;
  if (sigaction(SIGXFSZ, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) return;
  action = {};
  action.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &action, nullptr);
}

}  // namespace

NAPI_MODULE_INIT() {
  IgnoreFileSizeSignal();
  napi_value version;
  if (napi_create_int32(env, kApiVersion, &version) != napi_ok ||
      napi_set_named_property(env, exports, "apiVersion", version) != napi_ok ||
      !ringside::DefineMemory(env, exports) || !ringside::DefineFile(env, exports) ||
      !ringside::DefineEvent(env, exports) || !ringside::DefineFolder(env, exports) ||
      !ringside::DefinePty(env, exports) || !ringside::DefineSocket(env, exports) ||
      !ringside::DefineGuarded(env, exports)) {
    napi_throw_error(env, nullptr, "the addon could not be set up");
    return nullptr;
  }
  return exports;
}
