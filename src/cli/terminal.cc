#include "cli/terminal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "cli/command.h"

namespace firn::cli {

using base::Error;
using base::Result;

namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGCONT, SIGTSTP};
constexpr std::array kCrashes = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};

// What signal handlers use.
termios found_settings;
std::atomic<bool> is_raw = false;
std::atomic<int> signal_write_fd = -1;

void on_signal(int number) {
  const int saved = errno;
  const auto byte = static_cast<unsigned char>(number);
  [[maybe_unused]] const ssize_t written = write(signal_write_fd, &byte, 1);
  errno = saved;
}

// The handler is reset before it runs, so the signal does its work when it is raised again.
void on_crash(int number) {
  constexpr std::string_view kPasteOff = "\x1b[?2004l\r\n";
  if (is_raw.exchange(false)) {
    tcsetattr(STDIN_FILENO, TCSANOW, &found_settings);
    [[maybe_unused]] const ssize_t written =
        write(STDOUT_FILENO, kPasteOff.data(), kPasteOff.size());
  }
  raise(number);
}

void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, nullptr);
}

}  // namespace

Result<bool> want_colours(std::string_view command, std::string_view value) {
  if (value == "always") return true;
  if (value == "never") return false;
  if (value != "auto") {
    return base::fail(usage_error(
        command, fmt::format("--color takes 'auto', 'always' or 'never', not '{}'", value)));
  }
  const char* forbidden = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && (forbidden == nullptr || *forbidden == 0) &&
         (kind == nullptr || std::string_view(kind) != "dumb");
}

bool is_interactive() { return isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0; }

TerminalSize terminal_size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return {};
  }
  return {size.ws_col, size.ws_row};
}

Result<std::unique_ptr<Terminal>> Terminal::open() {
  CHECK(signal_write_fd == -1);
  if (tcgetattr(STDIN_FILENO, &found_settings) != 0) {
    return base::fail(Error::from_errno(errno, "Could not read the terminal's settings"));
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return base::fail(Error::from_errno(errno, "Could not make a pipe"));
  }
  std::unique_ptr<Terminal> terminal(new Terminal());
  terminal->signal_read_fd_ = ends[0];
  signal_write_fd = ends[1];
  for (const int number : kSignals) handle(number, on_signal, SA_RESTART);
  for (const int number : kCrashes) handle(number, on_crash, static_cast<int>(SA_RESETHAND));
  return terminal;
}

Terminal::~Terminal() {
  leave_raw();
  for (const int number : kSignals) handle(number, SIG_DFL, 0);
  for (const int number : kCrashes) handle(number, SIG_DFL, 0);
  ::close(signal_write_fd.exchange(-1));
  if (signal_read_fd_ >= 0) ::close(signal_read_fd_);
}

void Terminal::enter_raw() {
  termios raw = found_settings;
  raw.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INLCR | IGNCR | INPCK | ISTRIP | IXON);
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
  raw.c_cflag |= CS8;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  is_raw = true;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

void Terminal::leave_raw() {
  if (is_raw.exchange(false)) tcsetattr(STDIN_FILENO, TCSADRAIN, &found_settings);
}

int Terminal::take_signal_fd() { return std::exchange(signal_read_fd_, -1); }

void Terminal::stop_process() {
  leave_raw();
  handle(SIGTSTP, SIG_DFL, 0);
  raise(SIGTSTP);
  handle(SIGTSTP, on_signal, SA_RESTART);
  enter_raw();
}

}  // namespace firn::cli
