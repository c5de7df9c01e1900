// The terminal that a program faces: raw mode that is always undone, its size, and its signals.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/result.h"

namespace firn::cli {

// --color's value (`always`, `never`, `auto`), for standard output. auto: a terminal that is not
// "dumb", and NO_COLOR is unset or empty.
base::Result<bool> want_colours(std::string_view command, std::string_view value);

// Standard input and output are terminals.
bool is_interactive();

struct TerminalSize {
  size_t columns = 80;
  size_t rows = 24;
};
// Of standard output's terminal.
TerminalSize terminal_size();

// One per process. While it lives, signals come as bytes of signal_fd(), and crashes (SIGSEGV,
// abort) leave the terminal as it was found.
class Terminal final {
 public:
  // Remembers the terminal's settings. Errors if standard input is no terminal.
  static base::Result<std::unique_ptr<Terminal>> open();
  ~Terminal();  // as leave_raw(); signals have their old meaning again
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Bytes come as they are typed, without echo, Ctrl-C included. Also after something else changed
  // the settings.
  void enter_raw();
  void leave_raw();

  // The read end of a pipe with the numbers of signals that came: SIGINT, SIGTERM, SIGHUP, SIGQUIT,
  // SIGWINCH, SIGCONT, SIGTSTP. The caller's from here on.
  int take_signal_fd();

  // Stops the process as Ctrl-Z does, in cooked mode; returns when it goes on, in raw mode again.
  void stop_process();

 private:
  Terminal() = default;

  int signal_read_fd_ = -1;
};

}  // namespace firn::cli
