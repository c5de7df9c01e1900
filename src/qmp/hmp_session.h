// HmpSession: one user of a human monitor (mode=readline), line by line, with a prompt.
//
// On a terminal that sends each key (a pseudo-terminal, telnet, the standard streams of firnd) the
// lines are edited here, with history and completion. From anything else whole lines are taken, and
// nothing is echoed: the terminal, or the script, at the other end has them already.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "async/scope.h"
#include "async/socket.h"
#include "async/sync.h"
#include "base/line_editor.h"
#include "qmp/client.h"
#include "qmp/hmp.h"
#include "qmp/output_queue.h"

namespace firn::qmp {

struct HmpSessionOptions {
  std::string greeting;  // the first line
  bool terminal = false;
  HmpHost host;  // `history` is the session's own
};

class HmpSession final : public Client {
 public:
  // A longer line is refused, whole; on a terminal LineEditor::for_strangers() bounds it.
  static constexpr size_t kMaxLineBytes = size_t{64} << 10;

  // `commands` outlives the session.
  HmpSession(std::unique_ptr<async::Stream> stream, Commands& commands, HmpSessionOptions options);

  Task<void> run() override;
  Task<void> drain() override;
  void close() override { stream_->close(); }
  std::string peer_name() const override { return stream_->peer_name(); }

 private:
  Task<void> take_bytes(std::string_view bytes);
  Task<void> take_keys(std::string_view bytes);
  Task<void> act_on(base::LineEditor::Event event);
  Task<void> complete();
  Task<void> take_line(std::string line);
  void prompt();
  void print(std::string_view text);

  std::unique_ptr<async::Stream> stream_;
  std::string greeting_;
  std::optional<base::LineEditor> editor_;  // on a terminal
  Hmp hmp_;
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
