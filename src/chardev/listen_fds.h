// Sockets that a program was started with: by its service manager (sd_listen_fds(3): LISTEN_FDS,
// LISTEN_PID, LISTEN_FDNAMES), or by whoever left a descriptor open.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace firn::chardev {

class InheritedSockets final {
 public:
  InheritedSockets() = default;

  // Reads the three variables and removes them from the environment, so that no child takes them
  // for its own. Variables meant for another process are not for us. Called before any thread is
  // made, and before the process forks: the process ID counts.
  // Errors: a variable that makes no sense.
  static base::Result<InheritedSockets> from_environment();

  // The socket called `text`: the number of any descriptor, or a name that the service manager gave
  // (the first of that name that is left). It belongs to the caller from then on, and can't be
  // taken again. Errors: "Unable to parse FD number x", "File descriptor '3' is not a socket",
  // "File descriptor '3' is already in use".
  base::Result<int> take(std::string_view text);
  // By name alone; a number names none. Error: "File descriptor named 'x' has not been found".
  base::Result<int> take_named(std::string_view name);

  struct Socket {
    std::string name;
    int fd = -1;
  };
  const std::vector<Socket>& sockets() const { return sockets_; }  // those left

 private:
  std::vector<Socket> sockets_;
  std::set<int> taken_;
};

}  // namespace firn::chardev
