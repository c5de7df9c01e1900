// Client: one user of a monitor, whatever it speaks (QMP or the human monitor's lines).
#pragma once

#include <string>

#include "async/task.h"

namespace firn::qmp {

class Client {
 public:
  virtual ~Client() = default;
  // Serves the client until it is gone or close() is called; all that the client began has ended
  // when it returns. Called once.
  virtual async::Task<void> run() = 0;
  // Takes no further command, and waits until the running one is answered and the answer is
  // sent. Events go on. A client that does not read makes it wait for ever: close() ends that.
  virtual async::Task<void> drain() = 0;
  // Ends the connection; run() returns soon after.
  virtual void close() = 0;
  virtual std::string peer_name() const = 0;
};

}  // namespace firn::qmp
