// Arguments in, errors out: what every function of the addon needs of Node-API. Nothing here keeps state, so the addon
// may be loaded in any number of threads.
#pragma once

#define NAPI_VERSION 8
#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace ringside {

constexpr size_t kMaxArguments = 6;

/// The arguments of one call from JavaScript. The first reader that finds something wrong throws a TypeError or
/// RangeError in JavaScript and returns false; the function must then return at once.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info);

  napi_env env() const { return env_; }

  /// A file descriptor: an integer from 0 to INT_MAX.
  bool Fd(size_t index, int* out) const;
  /// An integer from `min` to `max`.
  bool Integer(size_t index, const char* name, int64_t min, int64_t max, int64_t* out) const;
  /// An offset or length in bytes: an integer from 0 to 2^53 - 1.
  bool Size(size_t index, const char* name, int64_t* out) const;
  /// A range of a file: two sizes at `index` and `index + 1` whose sum is below 2^53 too.
  bool FileRange(size_t index, int64_t* offset, int64_t* length) const;
  bool Boolean(size_t index, const char* name, bool* out) const;
  /// An unsigned 64-bit integer given as a bigint.
  bool BigUint64(size_t index, const char* name, uint64_t* out) const;
  /// A string of at most `capacity - 1` bytes of UTF-8 without NUL.
  bool String(size_t index, const char* name, char* out, size_t capacity) const;
  /// The elements of a typed array of exactly that type. Shared memory is welcome. Valid until the call returns.
  bool TypedArray(size_t index, const char* name, napi_typedarray_type type, void** data, size_t* elements) const;

 private:
  bool Number(size_t index, const char* name, double* out) const;

  napi_env env_;
  size_t count_;
  napi_value values_[kMaxArguments];
};

/// Throws an Error shaped like those of node:fs: code ("ENOSPC"), errno (negative) and syscall. Returns nullptr.
napi_value ThrowErrno(napi_env env, int error, const char* syscall);
/// Throws a RangeError. Returns nullptr.
napi_value ThrowRange(napi_env env, const char* message);

napi_value ToNumber(napi_env env, double value);
napi_value ToBoolean(napi_env env, bool value);
napi_value Undefined(napi_env env);

/// Puts the functions of each file on the exports object.
bool DefineMemory(napi_env env, napi_value exports);
bool DefineFile(napi_env env, napi_value exports);
bool DefineEvent(napi_env env, napi_value exports);
bool DefineFolder(napi_env env, napi_value exports);
bool DefinePty(napi_env env, napi_value exports);
bool DefineSocket(napi_env env, napi_value exports);
bool DefineGuarded(napi_env env, napi_value exports);

}  // namespace ringside
