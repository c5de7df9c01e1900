// Session: one client in the transmission phase.
//
// One coroutine receives: it takes in as much as there is and starts a coroutine for each request,
// so that requests overlap and complete in any order. What completes within a turn of the loop is
// answered at the turn's end, all in one send; one coroutine sends. Memory is bounded: a session
// has so many requests and bytes under way, replies that wait for the client to read them
// included; beyond that it stops receiving.
//
// Source: the NBD protocol document, "Transmission".
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "async/loop.h"
#include "async/scope.h"
#include "async/socket.h"
#include "async/sync.h"
#include "block/root.h"
#include "exports/nbd/buffer_pool.h"
#include "exports/nbd/reply.h"
#include "exports/nbd/request.h"

namespace firn::nbd {

struct SessionLimits {
  size_t requests = 128;
  uint64_t bytes = uint64_t{64} << 20;
  // How long a client that has said goodbye may take to read its last replies.
  async::Duration linger = std::chrono::seconds(10);
};

// Belongs to the home loop of `root`'s head, as do all of its arguments.
class Session final {
 public:
  // `root` and `pool` outlive it. `writethrough`: every write is durable before it is answered.
  Session(std::unique_ptr<async::Stream> stream, block::Root& root, BufferPool& pool,
          const Agreement& agreement, bool writethrough, SessionLimits limits = {});
  ~Session();  // after run()
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Serves the client until it leaves, breaks the protocol or is disconnected. Requests that were
  // received are carried out to their end even if nobody hears of it. Called once.
  async::Task<void> run();

  // Disconnects the client; run() ends when the requests under way have. Idempotent.
  void disconnect();

 private:
  // Receiving (session.cc).
  async::Task<void> receive_requests();
  async::Task<bool> receive_more();
  async::Task<bool> receive_payload(std::byte* to, uint64_t length);
  async::Task<bool> drop_payload(uint64_t length);
  bool take_at_once(const RequestHeader& request);
  async::Task<bool> take_request(RequestHeader request);
  async::Task<bool> refuse_request(RequestHeader request, WireError error, std::string_view reason);
  bool has_room(uint64_t bytes) const;
  size_t buffered() const { return end_ - begin_; }

  // Replying (session.cc).
  Exchange& take_exchange(const RequestHeader& request, uint64_t held_bytes);
  void release(Exchange* list);
  void reply(Exchange& exchange);
  void reply_done(Exchange& exchange, const base::Result<>& result);
  void reply_error(Exchange& exchange, WireError error, std::string_view message);
  async::Task<void> send_replies();
  Exchange* fill_batch();

  // The commands (session_commands.cc). Each answers its exchange; serve() chooses.
  async::Task<void> serve(Exchange& exchange);
  async::Task<void> serve_read(Exchange& exchange);
  async::Task<void> serve_sparse_read(Exchange& exchange);
  async::Task<void> serve_write(Exchange& exchange);
  async::Task<void> serve_flush(Exchange& exchange);
  async::Task<void> serve_trim(Exchange& exchange);
  async::Task<void> serve_write_zeroes(Exchange& exchange);
  async::Task<void> serve_cache(Exchange& exchange);
  async::Task<void> serve_block_status(Exchange& exchange);
  block::Flags write_flags(const Exchange& exchange) const;
  bool wants_sparse(const RequestHeader& request) const;

  async::Loop& loop_;
  std::unique_ptr<async::Stream> stream_;
  block::Root& root_;
  BufferPool& pool_;
  const Agreement agreement_;
  const bool writethrough_;
  const SessionLimits limits_;

  // What was received and not parsed yet: [begin_, end_) of input_.
  Buffer input_;
  size_t begin_ = 0;
  size_t end_ = 0;

  std::vector<std::unique_ptr<Exchange>> exchanges_;
  Exchange* free_exchanges_ = nullptr;
  size_t requests_under_way_ = 0;
  uint64_t bytes_under_way_ = 0;
  async::WaitList room_;

  // Replies that are ready to leave, in order.
  Exchange* outbox_first_ = nullptr;
  Exchange* outbox_last_ = nullptr;
  async::IoVec batch_;
  struct SendHook : async::TurnHook {
    Session* session = nullptr;
  };
  SendHook hook_;
  std::coroutine_handle<> idle_sender_;
  bool no_more_replies_ = false;
  bool broken_ = false;  // the client can't be reached any more

  // A range that was data when last looked at: reads there need no look.
  uint64_t known_data_begin_ = 0;
  uint64_t known_data_end_ = 0;

  async::TaskScope request_scope_;
  async::TaskScope sender_scope_;
};

}  // namespace firn::nbd
