// Terminals: pseudo-terminals as character devices, and the mode of the one we run on.
#pragma once

#include <termios.h>

#include <memory>
#include <optional>
#include <string>

#include "async/scope.h"
#include "chardev/chardev.h"
#include "chardev/descriptors.h"

namespace firn::chardev {

// Settings of a terminal, put back when this ends.
class TerminalMode final {
 public:
  // Keys: each comes as it is typed, and is not echoed; else the terminal edits lines. Without
  // `signals`, Ctrl-C and the like come as bytes. Null if `fd` is no terminal.
  static std::unique_ptr<TerminalMode> set(int fd, bool keys, bool signals);
  ~TerminalMode();
  TerminalMode(const TerminalMode&) = delete;
  TerminalMode& operator=(const TerminalMode&) = delete;

 private:
  TerminalMode(int fd, const termios& old) : fd_(fd), old_(old) {}
  int fd_;
  termios old_;
};

// Our end of a pseudo-terminal. Whoever opens the other end is a user, until nobody has it open.
class PseudoTerminal final : public Chardev {
 public:
  // The path of the other end goes to the log, in QEMU's words, since people and scripts look for
  // it.
  static base::Result<std::unique_ptr<Chardev>> open(std::string id);

  std::string filename() const override { return "pty:" + path_; }
  std::optional<std::string> pty_path() const override { return path_; }
  bool take_keys() override { return true; }
  void attach(Serve serve) override;
  void stop() override;
  async::Task<void> close() override;

 private:
  PseudoTerminal(std::string id, Descriptor control, std::string path);
  async::Task<void> serve_users();
  bool has_user() const;

  std::string id_;
  Descriptor control_;
  std::string path_;
  Serve serve_;
  bool stopping_ = false;
  async::TaskScope scope_;
};

}  // namespace firn::chardev
