// File descriptors, as this room needs them: owned, and opened by path.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace firn::chardev {

// Closes what it owns.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  // The same open file, by another number.
  base::Result<Descriptor> duplicate() const;

 private:
  int fd_ = -1;
};

// open(2) with `flags` and O_CLOEXEC; new files are for their owner alone to write. Error: "Could
// not open '/x': ...".
base::Result<Descriptor> open_path(const std::string& path, int flags);

// One on which nothing can ever be read, without being at its end.
base::Result<Descriptor> never_readable();

}  // namespace firn::chardev
