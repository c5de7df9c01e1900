// What a daemon does to its own process: going to the background and its process ID file.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace firn::daemon {

// The parent's end of daemonizing is inside start(): the parent waits there until the child says
// that it is ready, or ends, and exits with the status that tells which.
class Background final {
 public:
  // Forks; returns in the child, in a session of its own. Called before any thread exists. The
  // child's working directory stays: relative file names are still to be resolved. Files that it
  // creates are closed to others (umask 027 at least).
  static base::Result<std::unique_ptr<Background>> start();
  ~Background();  // without ready(): the parent sees a failure
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Startup is complete: standard streams go to /dev/null, the working directory to /, and the
  // parent exits with success.
  base::Result<> ready();

 private:
  explicit Background(int ready_fd) : ready_fd_(ready_fd) {}
  int ready_fd_;
};

// A file with the process ID, locked while we live so that a second daemon does not take it.
class Pidfile final {
 public:
  // Errors: "cannot create PID file: ...", as qemu-storage-daemon has it.
  static base::Result<std::unique_ptr<Pidfile>> create(std::string path);
  ~Pidfile();  // removes the file
  Pidfile(const Pidfile&) = delete;
  Pidfile& operator=(const Pidfile&) = delete;

 private:
  Pidfile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

}  // namespace firn::daemon
