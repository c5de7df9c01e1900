#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace firn::base {

void check_failed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, what);
  std::fflush(stderr);
  std::abort();
}

std::string errno_text(int errno_value) {
  char buffer[128];
  return strerror_r(errno_value, buffer, sizeof buffer);
}

ErrorKind kind_of_errno(int errno_value) {
  switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
      return ErrorKind::kNotFound;
    case EEXIST:
      return ErrorKind::kExists;
    case EBUSY:
    case EAGAIN:
    case ETXTBSY:
      return ErrorKind::kBusy;
    case EACCES:
    case EPERM:
      return ErrorKind::kPermission;
    case EROFS:
      return ErrorKind::kReadOnly;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorKind::kNoSpace;
    case EINVAL:
      return ErrorKind::kInvalidArgument;
    case ENOTSUP:
    case ENOSYS:
    case ENOTTY:
      return ErrorKind::kUnsupported;
    case ECANCELED:
      return ErrorKind::kCancelled;
    case ETIMEDOUT:
      return ErrorKind::kTimedOut;
    case ESHUTDOWN:
      return ErrorKind::kShutdown;
    default:
      return ErrorKind::kIo;
  }
}

Error::Error(ErrorKind kind, std::string text) : detail_(std::make_shared<Detail>()) {
  detail_->kind = kind;
  detail_->text = std::move(text);
}

Error Error::from_errno(int errno_value, std::string_view text) {
  std::string whole(text);
  if (!whole.empty()) whole += ": ";
  Error error(kind_of_errno(errno_value), whole + errno_text(errno_value));
  error.detail_->errno_value = errno_value;
  return error;
}

Error::Detail& Error::own() {
  if (detail_.use_count() > 1) detail_ = std::make_shared<Detail>(*detail_);
  return *detail_;
}

Error& Error::with_context(std::string_view context) & {
  own().text.insert(0, std::string(context) + ": ");
  return *this;
}

Error&& Error::with_context(std::string_view context) && {
  return std::move(static_cast<Error&>(*this).with_context(context));
}

Error&& Error::with_hint(std::string hint) && {
  own().hint = std::move(hint);
  return std::move(*this);
}

Error&& Error::with_data(std::string member, std::string value) && {
  own().data.emplace_back(std::move(member), std::move(value));
  return std::move(*this);
}

Error&& Error::with_kind(ErrorKind kind) && {
  own().kind = kind;
  return std::move(*this);
}

}  // namespace firn::base
