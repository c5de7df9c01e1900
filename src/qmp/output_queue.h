// OutputQueue: what waits to be sent to one client, in order, with a bound.
//
// The bound is kept in two ways. Whoever answers the client's own requests waits for room first, so
// that a client that sends and does not read is not answered. Events come unasked and can't
// wait: one that finds the queue full ends the connection, since a client that sees its connection
// end knows to ask for the state again, and one that silently misses events does not.
#pragma once

#include <cstddef>
#include <deque>
#include <string>

#include "async/socket.h"
#include "async/sync.h"
#include "async/task.h"

namespace firn::qmp {

class OutputQueue {
 public:
  // Answers wait while more than this is queued.
  static constexpr size_t kRoomBytes = size_t{256} << 10;
  // An event beyond this ends the connection.
  static constexpr size_t kEventLimitBytes = size_t{4} << 20;

  // `stream` outlives the queue.
  explicit OutputQueue(async::Stream& stream) : stream_(stream) {}

  // Sends what is queued until finish() was called and all is sent, or the client is gone (the
  // stream is closed then). Started once.
  async::Task<void> run();

  // After the client is gone, or finish(), what is pushed is dropped.
  void push(std::string text);
  // False, and the stream closed, where the event does not fit any more.
  bool push_event(std::string text);

  // Until no more than kRoomBytes are queued, or the client is gone.
  async::Task<void> wait_for_room();
  // Until everything pushed so far is sent, or the client is gone.
  async::Task<void> wait_until_sent();
  // No more comes.
  void finish();

  bool gone() const { return gone_; }
  size_t queued_bytes() const { return queued_bytes_; }

 private:
  void set_gone();

  async::Stream& stream_;
  std::deque<std::string> texts_;
  size_t queued_bytes_ = 0;  // what is being sent is counted
  bool gone_ = false;
  bool finished_ = false;
  async::WaitList sender_;
  async::WaitList waiters_;
};

}  // namespace firn::qmp
