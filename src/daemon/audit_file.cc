#include "daemon/audit_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace firn::daemon {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

Result<AuditFile> AuditFile::open(std::string path, bool sync) {
  AuditFile file(std::move(path), sync);
  TRY(file.open_path());
  return file;
}

AuditFile::AuditFile(AuditFile&& other) noexcept
    : path_(std::move(other.path_)),
      sync_(other.sync_),
      fd_(std::exchange(other.fd_, -1)),
      torn_(other.torn_) {}

AuditFile& AuditFile::operator=(AuditFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(sync_, other.sync_);
  std::swap(fd_, other.fd_);
  std::swap(torn_, other.torn_);
  return *this;
}

AuditFile::~AuditFile() {
  if (fd_ >= 0) close(fd_);
}

Result<> AuditFile::open_path() {
  const std::string what = fmt::format("Could not open audit log '{}'", path_);
  // O_NONBLOCK: a FIFO without a reader is refused here instead of being waited for.
  const int fd = ::open(path_.c_str(),
                        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
  if (fd < 0) return fail(Error::from_errno(errno, what));
  struct stat stat{};
  if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
    close(fd);
    return fail(ErrorKind::kInvalidArgument, what + ": it is not a regular file");
  }
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  torn_ = false;
  if (stat.st_size > 0) {
    // Another run may have ended within a line. Without the right to read, that stays unknown, and
    // a line of its own is the safe choice.
    char last = 0;
    const int reader = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    torn_ = reader < 0 || pread(reader, &last, 1, stat.st_size - 1) != 1 || last != '\n';
    if (reader >= 0) close(reader);
  }
  return {};
}

bool AuditFile::is_at_path() const {
  struct stat by_fd{};
  struct stat by_path{};
  return fd_ >= 0 && fstat(fd_, &by_fd) == 0 && ::stat(path_.c_str(), &by_path) == 0 &&
         by_fd.st_dev == by_path.st_dev && by_fd.st_ino == by_path.st_ino;
}

Result<> AuditFile::write_all(std::string_view text, size_t& written) {
  written = 0;
  while (written < text.size()) {
    const ssize_t moved = ::write(fd_, text.data() + written, text.size() - written);
    if (moved < 0) {
      if (errno == EINTR) continue;
      return fail(Error::from_errno(errno, fmt::format("Could not write to '{}'", path_)));
    }
    torn_ = text[written + static_cast<size_t>(moved) - 1] != '\n';
    written += static_cast<size_t>(moved);
  }
  return {};
}

AuditFile::Appended AuditFile::append(std::string_view lines) {
  Appended done;
  if (!is_at_path()) done.result = open_path();
  if (done.result && torn_) {
    size_t ignored = 0;
    done.result = write_all("\n", ignored);
  }
  if (done.result) done.result = write_all(lines, done.written);
  if (done.result && sync_ && fdatasync(fd_) != 0) {
    done.result = fail(Error::from_errno(errno, fmt::format("Could not flush '{}'", path_)));
    done.written = 0;
  }
  return done;
}

}  // namespace firn::daemon
