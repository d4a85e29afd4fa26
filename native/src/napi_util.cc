#include "napi_util.h"

#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace ringside {

namespace {

constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

struct ErrnoName {
  int number;
  const char* name;
};

// Those that the system calls used here can give. glibc has strerrorname_np only from 2.32 on, musl not at all.
constexpr ErrnoName kErrnoNames[] = {
    {EACCES, "EACCES"}, {EADDRINUSE, "EADDRINUSE"}, {ECONNREFUSED, "ECONNREFUSED"}, {ECONNRESET, "ECONNRESET"},
    {ENOENT, "ENOENT"}, {EPIPE, "EPIPE"},     {ENOTSOCK, "ENOTSOCK"}, {ENOTCONN, "ENOTCONN"}, {EAGAIN, "EAGAIN"},   {EBADF, "EBADF"},     {EBUSY, "EBUSY"},     {EDEADLK, "EDEADLK"},
    {EDQUOT, "EDQUOT"}, {EFAULT, "EFAULT"},   {EFBIG, "EFBIG"},     {EINTR, "EINTR"},     {EINVAL, "EINVAL"},
    {EIO, "EIO"},       {EMFILE, "EMFILE"},   {ENFILE, "ENFILE"},   {ENODEV, "ENODEV"},   {ENOLCK, "ENOLCK"},
    {ENOMEM, "ENOMEM"}, {ENOSPC, "ENOSPC"},   {ENOSYS, "ENOSYS"},   {ENOTTY, "ENOTTY"},   {ENXIO, "ENXIO"},
    {EPERM, "EPERM"},   {EREMOTEIO, "EREMOTEIO"}, {EROFS, "EROFS"}, {ESPIPE, "ESPIPE"},   {ESTALE, "ESTALE"},
    {ETIMEDOUT, "ETIMEDOUT"}, {ETXTBSY, "ETXTBSY"}, {EOPNOTSUPP, "EOPNOTSUPP"}, {EOVERFLOW, "EOVERFLOW"},
};

const char* FindErrnoName(int error) {
  for (const ErrnoName& entry : kErrnoNames) {
    if (entry.number == error) return entry.name;
  }
  return nullptr;
}

bool ThrowType(napi_env env, const char* name, const char* expected) {
  char message[160];
  std::snprintf(message, sizeof message, "%s must be %s", name, expected);
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

bool ThrowOutOfRange(napi_env env, const char* name, int64_t min, int64_t max) {
  char message[160];
  std::snprintf(message, sizeof message, "%s must be an integer from %lld to %lld", name, static_cast<long long>(min),
                static_cast<long long>(max));
  ThrowRange(env, message);
  return false;
}

}  // namespace

Arguments::Arguments(napi_env env, napi_callback_info info) : env_(env), count_(kMaxArguments), values_{} {
  if (napi_get_cb_info(env, info, &count_, values_, nullptr, nullptr) != napi_ok) count_ = 0;
  if (count_ > kMaxArguments) count_ = kMaxArguments;
}

bool Arguments::Number(size_t index, const char* name, double* out) const {
  if (index < count_ && napi_get_value_double(env_, values_[index], out) == napi_ok) return true;
  return ThrowType(env_, name, "a number");
}

bool Arguments::Integer(size_t index, const char* name, int64_t min, int64_t max, int64_t* out) const {
  double value;
  if (!Number(index, name, &value)) return false;
  // NaN fails the first comparison; the bounds are exact as doubles because they are at most 2^53.
  if (!(value >= static_cast<double>(min) && value <= static_cast<double>(max)) || value != std::floor(value)) {
    return ThrowOutOfRange(env_, name, min, max);
  }
  *out = static_cast<int64_t>(value);
  return true;
}

bool Arguments::Fd(size_t index, int* out) const {
  int64_t value;
  if (!Integer(index, "fd", 0, INT_MAX, &value)) return false;
  *out = static_cast<int>(value);
  return true;
}

bool Arguments::Size(size_t index, const char* name, int64_t* out) const {
  return Integer(index, name, 0, kMaxSafeInteger, out);
}

bool Arguments::FileRange(size_t index, int64_t* offset, int64_t* length) const {
  if (!Size(index, "offset", offset) || !Size(index + 1, "length", length)) return false;
  if (*length > kMaxSafeInteger - *offset) return ThrowOutOfRange(env_, "offset + length", 0, kMaxSafeInteger);
  return true;
}

bool Arguments::Boolean(size_t index, const char* name, bool* out) const {
  if (index < count_ && napi_get_value_bool(env_, values_[index], out) == napi_ok) return true;
  return ThrowType(env_, name, "a boolean");
}

bool Arguments::BigUint64(size_t index, const char* name, uint64_t* out) const {
  bool lossless = false;
  if (index >= count_ || napi_get_value_bigint_uint64(env_, values_[index], out, &lossless) != napi_ok) {
    return ThrowType(env_, name, "a bigint");
  }
  if (lossless) return true;
  ThrowRange(env_, "the bigint must fit in 64 unsigned bits");
  return false;
}

bool Arguments::String(size_t index, const char* name, char* out, size_t capacity) const {
  size_t length = 0;
  if (index >= count_ || napi_get_value_string_utf8(env_, values_[index], nullptr, 0, &length) != napi_ok) {
    return ThrowType(env_, name, "a string");
  }
  if (length >= capacity) return ThrowType(env_, name, "a shorter string");
  if (napi_get_value_string_utf8(env_, values_[index], out, capacity, &length) != napi_ok) {
    return ThrowType(env_, name, "a string");
  }
  if (std::memchr(out, '\0', length) != nullptr) return ThrowType(env_, name, "a string without NUL");
  return true;
}

bool Arguments::TypedArray(size_t index, const char* name, napi_typedarray_type type, void** data,
                           size_t* elements) const {
  // The array buffer is not asked for: for a shared WebAssembly.Memory Node-API knows none, and the address is here
  // anyway.
  napi_typedarray_type actual;
  if (index >= count_ ||
      napi_get_typedarray_info(env_, values_[index], &actual, elements, data, nullptr, nullptr) != napi_ok ||
      actual != type) {
    return ThrowType(env_, name, "a typed array of the right type");
  }
  return true;
}

napi_value ThrowErrno(napi_env env, int error, const char* syscall) {
  const char* known = FindErrnoName(error);
  char code[16];
  std::snprintf(code, sizeof code, known != nullptr ? "%s" : "E%s", known != nullptr ? known : "UNKNOWN");
  char message[200];
  std::snprintf(message, sizeof message, "%s: %s, %s", code, std::strerror(error), syscall);

  napi_value code_value, message_value, errno_value, syscall_value, exception;
  if (napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &code_value) == napi_ok &&
      napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &message_value) == napi_ok &&
      napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &syscall_value) == napi_ok &&
      napi_create_int32(env, -error, &errno_value) == napi_ok &&
      napi_create_error(env, code_value, message_value, &exception) == napi_ok &&
      napi_set_named_property(env, exception, "errno", errno_value) == napi_ok &&
      napi_set_named_property(env, exception, "syscall", syscall_value) == napi_ok) {
    napi_throw(env, exception);
  } else {
    napi_throw_error(env, code, message);
  }
  return nullptr;
}

napi_value ThrowRange(napi_env env, const char* message) {
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
  return nullptr;
}

napi_value ToNumber(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

napi_value ToBoolean(napi_env env, bool value) {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

napi_value Undefined(napi_env env) {
  napi_value result = nullptr;
  napi_get_undefined(env, &result);
  return result;
}

}  // namespace ringside
