// Session: one QMP client, from greeting to goodbye.
//
// A session answers its requests in order, one at a time; sessions run beside each other. Out of
// band requests ("exec-oob", once agreed on) are run as soon as they are read. Reading goes on
// while a command runs, up to kMaxQueued requests.
// Source: docs/interop/qmp-spec.txt of QEMU 7.2, sections 2.2 to 2.6.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "api/error_class.h"
#include "async/scope.h"
#include "async/socket.h"
#include "async/sync.h"
#include "base/json.h"
#include "qmp/client.h"
#include "qmp/commands.h"
#include "qmp/events.h"
#include "qmp/memory_budget.h"
#include "qmp/message.h"
#include "qmp/output_queue.h"

namespace firn::qmp {

struct SessionOptions {
  bool pretty = false;
  MemoryBudget* budget = nullptr;  // none: only the session's own bounds hold
  api::ErrorDialect errors = api::ErrorDialect::kClasses;
};

class Session final : public Client, private EventListener, private MemoryBudget::Owner {
 public:
  // Requests read and not answered yet; a client that sends more is not read from meanwhile.
  static constexpr size_t kMaxQueued = 8;

  // `commands`, `events` and the budget outlive the session. `version` is the greeting's
  // VersionInfo.
  Session(std::unique_ptr<async::Stream> stream, Commands& commands, EventHub& events,
          JsonValue version, SessionOptions options);
  ~Session() override;

  Task<void> run() override;
  Task<void> drain() override;
  void close() override { stream_->close(); }
  std::string peer_name() const override { return stream_->peer_name(); }

 private:
  // A message, or why it is none.
  struct Input {
    Result<JsonValue> message;
    size_t bytes;  // of memory
    uint64_t end;  // received bytes when it was complete
  };

  Task<void> read_requests();
  // True if any value was whole.
  Task<bool> take_values(std::string_view bytes);
  Task<void> take(Input input);
  Task<void> answer_requests();
  // Checks and runs one message, and queues its answer.
  Task<void> answer(Input input);
  // No value: success that is not to be answered.
  Task<Result<std::optional<JsonValue>>> execute(Request request, RequestInfo info);
  void send(const JsonValue& message);
  Result<JsonValue> negotiate(const boost::json::object& arguments);
  void on_event(const Event& event) override;
  void on_memory_short() override;
  // Tells the budget what the requests hold.
  void count_input() { input_share_.set(parser_.buffered_bytes() + waiting_bytes_); }

  std::unique_ptr<async::Stream> stream_;
  Commands& commands_;
  EventHub& events_;
  JsonValue version_;
  SessionOptions options_;
  base::JsonParser parser_;
  MemoryBudget::Share input_share_;
  MemoryBudget::Share output_share_;
  OutputQueue output_;
  std::deque<Input> requests_;
  uint64_t received_bytes_ = 0;
  size_t waiting_bytes_ = 0;         // of all that was read and is not answered
  async::WaitList request_waiters_;  // the answering task
  async::WaitList space_waiters_;    // the reading task
  async::WaitList idle_waiters_;
  bool negotiated_ = false;
  bool oob_enabled_ = false;
  bool input_ended_ = false;
  bool input_dropped_ = false;  // for want of memory; the connection is about to end
  bool draining_ = false;
  size_t executing_ = 0;
  size_t drainers_ = 0;
  async::TaskScope scope_;
};

}  // namespace firn::qmp
