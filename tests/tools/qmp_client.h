// A small QMP client: one command at a time, over a unix socket.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"

namespace firn::tests {

class QmpClient final {
 public:
  // Connects, reads the greeting and sends qmp_capabilities.
  static base::Result<QmpClient> connect(const std::string& socket_path);

  QmpClient(QmpClient&& other) noexcept;
  QmpClient& operator=(QmpClient&&) = delete;
  ~QmpClient();

  // Sends `command`, one JSON object, and gives the reply's line: an object with `return` or
  // `error`. Fails where no reply comes within `timeout`.
  base::Result<std::string> execute(const std::string& command, std::chrono::milliseconds timeout);

  // Waits for `duration` while events come in.
  base::Result<> collect_events(std::chrono::milliseconds duration);

  // The lines of the events that came since the last call.
  std::vector<std::string> take_events();

 private:
  using Deadline = std::chrono::steady_clock::time_point;

  explicit QmpClient(int fd) : fd_(fd) {}
  // The next line; empty where the deadline passes first.
  base::Result<std::string> next_line(Deadline deadline);
  base::Result<> send_line(const std::string& line);

  int fd_;
  std::string received_;
  std::vector<std::string> events_;
};

}  // namespace firn::tests
