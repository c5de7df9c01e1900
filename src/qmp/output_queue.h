// OutputQueue: what waits to be sent to one client, in order, with a bound.
//
// The bound is kept in two ways. Whoever answers the client's own requests waits for room first, so
// that a client that sends and does not read is not answered. Events come unasked and can't
// wait: one that finds the queue full ends the connection, since a client that sees its connection
// end knows to ask for the state again, and one that silently misses events does not.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>

#include "async/socket.h"
#include "async/sync.h"
#include "async/task.h"
#include "qmp/memory_budget.h"

namespace firn::qmp {

class OutputQueue {
 public:
  // Answers wait while more than this is queued.
  static constexpr size_t kRoomBytes = size_t{64} << 10;
  // An event beyond this ends the connection.
  static constexpr size_t kEventLimitBytes = size_t{4} << 20;

  // `stream` outlives the queue. What it holds for this client alone counts in `share`, if there is
  // one; events are shared by all clients.
  explicit OutputQueue(async::Stream& stream, MemoryBudget::Share* share = nullptr)
      : stream_(stream), share_(share) {}

  // Sends what is queued until finish() was called and all is sent, or the client is gone (the
  // stream is closed then). Started once.
  async::Task<void> run();

  // After the client is gone, or finish(), what is pushed is dropped.
  void push(std::string text);
  // False, and the stream closed, where the event does not fit any more.
  bool push_event(std::shared_ptr<const std::string> text);

  // Until no more than kRoomBytes are queued, or the client is gone.
  async::Task<void> wait_for_room();
  // Until everything pushed so far is sent, or the client is gone.
  async::Task<void> wait_until_sent();
  // No more comes.
  void finish();
  // Nothing but `text` is sent, and the stream closed behind it; a client that has left anything
  // unread is closed at once.
  void end_with(std::string text);

  bool gone() const { return gone_; }
  size_t queued_bytes() const { return queued_bytes_; }

 private:
  struct Line {
    std::shared_ptr<const std::string> text;
    bool shared;
  };
  void push_line(Line line);
  void set_gone();
  // `own`: of what is queued, this client's alone.
  void change(ptrdiff_t bytes, ptrdiff_t own);

  async::Stream& stream_;
  MemoryBudget::Share* const share_;
  std::deque<Line> lines_;
  size_t queued_bytes_ = 0;  // what is being sent is counted
  size_t own_bytes_ = 0;
  bool gone_ = false;
  bool finished_ = false;
  bool close_behind_ = false;
  async::WaitList sender_;
  async::WaitList waiters_;
};

}  // namespace firn::qmp
