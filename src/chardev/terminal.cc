#include "chardev/terminal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace firn::chardev {

using async::Task;
using base::Error;
using base::fail;
using base::Result;

namespace {

// The kernel tells of the end of a pseudo-terminal's last user, but not of a first one.
constexpr auto kLookPause = std::chrono::milliseconds(250);

std::unexpected<Error> pty_error(int problem) {
  return fail(Error::from_errno(problem, "Failed to open PTY"));
}

// Bytes as they are: no echo, no lines. Opening and closing the other end also makes the kernel say
// that nobody has it open.
Result<> make_raw(const std::string& path) {
  const Descriptor other = TRY(open_path(path, O_RDWR));
  termios mode{};
  if (::tcgetattr(other.get(), &mode) != 0) return pty_error(errno);
  ::cfmakeraw(&mode);
  if (::tcsetattr(other.get(), TCSAFLUSH, &mode) != 0) return pty_error(errno);
  return {};
}

}  // namespace

std::unique_ptr<TerminalMode> TerminalMode::set(int fd, bool keys, bool signals) {
  termios old{};
  if (::tcgetattr(fd, &old) != 0) return nullptr;
  termios mode = old;
  if (keys) {
    mode.c_iflag &= ~static_cast<tcflag_t>(ICRNL | IXON);
    mode.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | IEXTEN);
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
  }
  if (!signals) mode.c_lflag &= ~static_cast<tcflag_t>(ISIG);
  ::tcsetattr(fd, TCSANOW, &mode);
  return std::unique_ptr<TerminalMode>(new TerminalMode(fd, old));
}

TerminalMode::~TerminalMode() { ::tcsetattr(fd_, TCSANOW, &old_); }

PseudoTerminal::PseudoTerminal(std::string id, Descriptor control, std::string path)
    : id_(std::move(id)), control_(std::move(control)), path_(std::move(path)) {}

Result<std::unique_ptr<Chardev>> PseudoTerminal::open(std::string id) {
  Descriptor control(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (control.get() < 0) return pty_error(errno);
  char path[64];
  if (::grantpt(control.get()) != 0 || ::unlockpt(control.get()) != 0) return pty_error(errno);
  if (const int problem = ::ptsname_r(control.get(), path, sizeof path); problem != 0) {
    return pty_error(problem);
  }
  TRY(make_raw(path));
  base::log_info(fmt::format("char device redirected to {} (label {})", path, id));
  return std::unique_ptr<Chardev>(new PseudoTerminal(std::move(id), std::move(control), path));
}

void PseudoTerminal::attach(Serve serve) {
  serve_ = std::move(serve);
  scope_.spawn(serve_users());
}

bool PseudoTerminal::has_user() const {
  pollfd request{.fd = control_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&request, 1, 0) >= 0 && !(request.revents & POLLHUP);
}

Task<void> PseudoTerminal::serve_users() {
  while (!stopping_) {
    if (has_user()) {
      auto copy = control_.duplicate();
      if (copy) {
        const int fd = copy->release();
        auto stream = async::Loop::current().network().adopt_fds(fd, fd, "pty:" + path_);
        if (stream) co_await serve_(*std::move(stream));
      } else {
        base::log_warning(fmt::format("chardev {}: {}", id_, copy.error().text()));
      }
    }
    co_await async::Loop::current().sleep_for(kLookPause, scope_.token());
  }
}

void PseudoTerminal::stop() {
  stopping_ = true;
  scope_.cancel();
}

Task<void> PseudoTerminal::close() {
  stop();
  co_await scope_.join();
}

}  // namespace firn::chardev
