// HmpSession: one user of a human monitor (mode=readline), line by line, with a prompt. The line
// editing is the terminal's own.
#pragma once

#include <memory>
#include <string>

#include "async/scope.h"
#include "async/socket.h"
#include "async/sync.h"
#include "qmp/client.h"
#include "qmp/hmp.h"
#include "qmp/output_queue.h"

namespace firn::qmp {

class HmpSession final : public Client {
 public:
  // A longer line is refused, whole.
  static constexpr size_t kMaxLineBytes = size_t{64} << 10;

  // `greeting`: the first line. `commands` outlives the session.
  HmpSession(std::unique_ptr<async::Stream> stream, Commands& commands, std::string greeting);

  Task<void> run() override;
  Task<void> drain() override;
  void close() override { stream_->close(); }
  std::string peer_name() const override { return stream_->peer_name(); }

 private:
  Task<void> take_bytes(std::string_view bytes);
  Task<void> take_line(std::string line);
  void print(std::string_view text);  // each \n as CR LF

  std::unique_ptr<async::Stream> stream_;
  Hmp hmp_;
  std::string greeting_;
  OutputQueue output_;
  std::string line_;
  bool too_long_ = false;
  bool running_command_ = false;
  bool draining_ = false;
  size_t drainers_ = 0;
  async::WaitList idle_waiters_;
  async::TaskScope scope_;
};

}  // namespace firn::qmp
