#include "daemon/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace firn::daemon {
namespace {

using base::Error;
using base::fail;
using base::Result;

// Until the child writes its status byte or is gone without one.
[[noreturn]] void wait_for_child(int fd) {
  char status = 1;
  ssize_t got = 0;
  do {
    got = read(fd, &status, 1);
  } while (got < 0 && errno == EINTR);
  _exit(got == 1 ? status : 1);
}

// The whole file, as QEMU's programs lock theirs. False with EAGAIN or EACCES: somebody else has
// it.
bool lock_whole_file(int fd) {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool same_file(int fd, const std::string& path) {
  struct stat by_fd{};
  struct stat by_path{};
  return fstat(fd, &by_fd) == 0 && stat(path.c_str(), &by_path) == 0 &&
         by_fd.st_dev == by_path.st_dev && by_fd.st_ino == by_path.st_ino;
}

std::unexpected<Error> pidfile_error(int errno_value, std::string_view what) {
  return fail(Error::from_errno(errno_value, what).with_context("cannot create PID file"));
}

}  // namespace

Result<std::unique_ptr<Background>> Background::start() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return fail(Error::from_errno(errno, "Could not make a pipe"));
  pid_t child = fork();
  if (child < 0) {
    int saved = errno;
    close(fds[0]);
    close(fds[1]);
    return fail(Error::from_errno(saved, "Could not fork"));
  }
  if (child > 0) {
    close(fds[1]);
    wait_for_child(fds[0]);
  }
  close(fds[0]);
  setsid();
  // What a daemon in the background creates is nobody's business by default.
  umask(umask(0) | 027);
  // Once more, so that we never acquire a terminal. The middle process has nothing to say.
  child = fork();
  if (child > 0) _exit(0);
  if (child < 0) {
    int saved = errno;
    close(fds[1]);
    return fail(Error::from_errno(saved, "Could not fork"));
  }
  return std::unique_ptr<Background>(new Background(fds[1]));
}

Background::~Background() {
  if (ready_fd_ >= 0) close(ready_fd_);
}

Result<> Background::ready() {
  if (chdir("/") != 0) return fail(Error::from_errno(errno, "Could not change to '/'"));
  int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_fd < 0) return fail(Error::from_errno(errno, "Could not open '/dev/null'"));
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null_fd, fd);
  if (null_fd > STDERR_FILENO) close(null_fd);
  char status = 0;
  ssize_t sent = 0;
  do {
    sent = write(ready_fd_, &status, 1);
  } while (sent < 0 && errno == EINTR);
  close(ready_fd_);
  ready_fd_ = -1;
  return {};
}

Result<std::unique_ptr<Pidfile>> Pidfile::create(std::string path) {
  // Somebody may remove the file between our opening and our locking it; then it is another one.
  while (true) {
    int fd = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0) return pidfile_error(errno, fmt::format("Could not create '{}'", path));
    if (!lock_whole_file(fd)) {
      int saved = errno;
      close(fd);
      if (saved != EAGAIN && saved != EACCES)
        return pidfile_error(saved, fmt::format("Could not lock '{}'", path));
      return fail(base::ErrorKind::kBusy,
                  fmt::format("cannot create PID file: '{}' is in use by another process", path));
    }
    if (!same_file(fd, path)) {
      close(fd);
      continue;
    }
    std::string text = fmt::format("{}\n", getpid());
    if (ftruncate(fd, 0) != 0 || write(fd, text.data(), text.size()) != ssize_t(text.size())) {
      int saved = errno;
      unlink(path.c_str());
      close(fd);
      return pidfile_error(saved, fmt::format("Could not write to '{}'", path));
    }
    return std::unique_ptr<Pidfile>(new Pidfile(std::move(path), fd));
  }
}

Pidfile::~Pidfile() {
  unlink(path_.c_str());
  close(fd_);
}

}  // namespace firn::daemon
