#include "chardev/descriptors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace firn::chardev {

using base::Error;
using base::fail;
using base::Result;

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Descriptor> Descriptor::duplicate() const {
  const int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return fail(Error::from_errno(errno, "Could not duplicate a file descriptor"));
  return Descriptor(copy);
}

Result<Descriptor> open_path(const std::string& path, int flags) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, 0666);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return fail(Error::from_errno(errno, fmt::format("Could not open '{}'", path)));
  return Descriptor(fd);
}

Result<Descriptor> never_readable() {
  const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return fail(Error::from_errno(errno, "Could not make an event descriptor"));
  return Descriptor(fd);
}

}  // namespace firn::chardev
