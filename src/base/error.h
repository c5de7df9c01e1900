// What went wrong, for a person who has to act on it and for a program that has to react.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace firn::base {

// What a caller can do about an error; one table maps kinds to QMP error classes (src/qmp), one to
// NBD errno values (src/exports/nbd).
enum class ErrorKind {
  kGeneric,             // none of the others; only the text tells
  kInvalidArgument,     // the request itself is wrong
  kCommandNotFound,     // QMP: no such command, or not available in this mode
  kDeviceNotFound,      // no device or node by that name
  kDeviceNotActive,     // QMP: a device is not in a state that takes the command
  kOpenFileFailed,      // an image can't be opened or created
  kInvalidBlockFormat,  // no such image format
  kKvmMissingCap,       // QMP: kept for completeness of the class list
  kNotFound,            // a file, an export, an object does not exist
  kExists,              // a name or a file is taken
  kBusy,                // in use, locked or blocked by other work
  kPermission,          // the kernel or a rule says no
  kReadOnly,            // a write to something that is read-only
  kNoSpace,             // the store is full, or a write goes past the end
  kOutOfRange,          // an offset or a length beyond what is there
  kIo,                  // the disk or the network failed
  kCorrupt,             // data on disk contradicts its format
  kUnsupported,         // valid, but not to be had here
  kCancelled,           // given up on request
  kTimedOut,            // a deadline passed
  kShutdown,            // the daemon is going away
};

// An error owns its texts. It is cheap to move and null-free: an Error always says something.
class Error {
 public:
  Error(ErrorKind kind, std::string text);

  // `text: strerror(errno_value)`, with the kind that fits the errno value.
  static Error from_errno(int errno_value, std::string_view text);

  ErrorKind kind() const { return detail_->kind; }

  // One or more lines without a final newline. Contexts stand before it, outermost first, each
  // followed by ": ".
  const std::string& text() const { return detail_->text; }

  // What to do about it; empty if nothing helps. Shown on a line of its own, never part of `desc`.
  const std::string& hint() const { return detail_->hint; }

  // The errno value that the system gave, or 0.
  int errno_value() const { return detail_->errno_value; }

  // Members of the `data` object that 2011's error classes carry (for instance device=vda).
  const std::vector<std::pair<std::string, std::string>>& data() const { return detail_->data; }

  // Each returns *this, so that an error is built in one expression.
  Error& with_context(std::string_view context) &;
  Error&& with_context(std::string_view context) &&;
  Error&& with_hint(std::string hint) &&;
  Error&& with_data(std::string member, std::string value) &&;
  Error&& with_kind(ErrorKind kind) &&;

 private:
  struct Detail {
    ErrorKind kind;
    int errno_value = 0;
    std::string text;
    std::string hint;
    std::vector<std::pair<std::string, std::string>> data;
  };
  // On the heap, so that a Result<T> stays as small as T and the good path moves no strings.
  // shared_ptr: errors are copied where one failure ends many waiters.
  std::shared_ptr<Detail> detail_;
  Detail& own();
};

// The kind that fits an errno value: ENOSPC gives kNoSpace, EACCES kPermission, and so on.
ErrorKind kind_of_errno(int errno_value);

// strerror(errno_value), thread-safe.
std::string errno_text(int errno_value);

}  // namespace firn::base
