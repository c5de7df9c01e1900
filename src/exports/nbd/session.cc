#include "exports/nbd/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "exports/nbd/nbd_error.h"

namespace firn::nbd {
namespace {

constexpr size_t kInputBytes = 128 << 10;
// What CACHE reads at a time.
constexpr uint32_t kCacheStepBytes = uint32_t{1} << 20;
// After so many requests the others on this loop have their turn.
constexpr unsigned kRequestsPerGo = 64;
constexpr unsigned kRequestsPerLook = 8;  // at the clock
// One send takes no more than this; the kernel's limit is 1024 pieces.
constexpr size_t kBatchPieces = 1000;
constexpr uint64_t kBatchBytes = uint64_t{4} << 20;

// Memory that a request needs for what it carries or asks for.
uint64_t data_bytes(const RequestHeader& request) {
  switch (request.command) {
    case Command::kRead:
    case Command::kWrite:
      return request.length;
    case Command::kCache:
      return std::min(request.length, kCacheStepBytes);
    default:
      return 0;
  }
}

struct LingerTimer : async::Timer {
  Session* session = nullptr;
};

}  // namespace

Session::Session(std::unique_ptr<async::Stream> stream, block::Root& root, BufferPool& pool,
                 const Agreement& agreement, bool writethrough, SessionLimits limits)
    : loop_(async::Loop::current()),
      stream_(std::move(stream)),
      root_(root),
      pool_(pool),
      agreement_(agreement),
      writethrough_(writethrough),
      limits_(limits) {
  hook_.session = this;
  hook_.run = [](async::TurnHook& hook) {
    Session& self = *static_cast<SendHook&>(hook).session;
    if (self.idle_sender_) std::exchange(self.idle_sender_, nullptr).resume();
  };
}

Session::~Session() { CHECK(requests_under_way_ == 0); }

async::Task<void> Session::run() {
  input_ = pool_.take(kInputBytes);
  if (!input_) {
    base::log_error(fmt::format("nbd: no memory to serve {}", stream_->peer_name()));
    stream_->close();
    co_return;
  }
  sender_scope_.spawn(send_replies());
  co_await receive_requests();
  co_await request_scope_.join();

  LingerTimer linger;
  linger.session = this;
  linger.deadline = loop_.now() + limits_.linger;
  linger.fire = [](async::Timer& timer) { static_cast<LingerTimer&>(timer).session->disconnect(); };
  loop_.arm(linger);
  no_more_replies_ = true;
  loop_.at_turn_end(hook_);
  co_await sender_scope_.join();
  loop_.disarm(linger);
  loop_.forget(hook_);
  stream_->close();
}

void Session::disconnect() {
  broken_ = true;
  stream_->close();
}

// Receiving ---------------------------------------------------------------------------------------

bool Session::has_room(uint64_t bytes) const {
  return requests_under_way_ < limits_.requests &&
         (bytes_under_way_ + bytes <= limits_.bytes || bytes_under_way_ == 0);
}

// At least one more byte in input_; false when the client is gone.
async::Task<bool> Session::receive_more() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (begin_ + RequestHeader::kBytes > kInputBytes) {
    std::memmove(input_.data(), input_.data() + begin_, buffered());
    end_ -= std::exchange(begin_, 0);
  }
  const async::IoVec iov(input_.data() + end_, kInputBytes - end_);
  const base::Result<uint64_t> got = co_await stream_->receive(iov);
  if (!got || *got == 0) co_return false;
  end_ += *got;
  co_return true;
}

// The payload that comes next. What is not here yet is received to where it belongs, and in the
// same call whatever follows it.
async::Task<bool> Session::receive_payload(std::byte* to, uint64_t length) {
  const uint64_t here = std::min<uint64_t>(buffered(), length);
  std::memcpy(to, input_.data() + begin_, here);
  begin_ += here;
  uint64_t done = here;
  while (done < length) {
    begin_ = end_ = 0;
    async::IoVec iov(to + done, length - done);
    iov.append(input_.data(), kInputBytes);
    const base::Result<uint64_t> got = co_await stream_->receive(iov);
    if (!got || *got == 0) co_return false;
    const uint64_t mine = std::min(*got, length - done);
    done += mine;
    end_ = *got - mine;
  }
  co_return true;
}

async::Task<bool> Session::drop_payload(uint64_t length) {
  while (length != 0) {
    if (buffered() == 0 && !co_await receive_more()) co_return false;
    const uint64_t here = std::min<uint64_t>(buffered(), length);
    begin_ += here;
    length -= here;
  }
  co_return true;
}

async::Task<void> Session::receive_requests() {
  unsigned taken = 0;
  while (!broken_) {
    if (buffered() < RequestHeader::kBytes) {
      if (!co_await receive_more()) co_return;
      continue;
    }
    const RequestHeader request = RequestHeader::load(input_.data() + begin_);
    if (request.magic != kRequestMagic) {
      base::log_warning(fmt::format("nbd: {} sent a request without its magic, disconnecting it",
                                    stream_->peer_name()));
      disconnect();
      co_return;
    }
    begin_ += RequestHeader::kBytes;
    if (request.command == Command::kDisconnect) co_return;
    if (!take_at_once(request) && !co_await take_request(request)) co_return;
    if (++taken % kRequestsPerLook == 0 && (taken % kRequestsPerGo == 0 || loop_.turn_is_over())) {
      co_await loop_.yield();
    }
  }
}

// The way of almost every request: it is right, there is room, and all of it is here. False if it
// is not so; nothing has happened then.
bool Session::take_at_once(const RequestHeader& request) {
  const uint64_t payload = payload_bytes(request);
  if (payload > buffered() || !check_request(request, agreement_)) return false;
  const uint64_t held_bytes = data_bytes(request);
  if (!has_room(held_bytes)) return false;
  Buffer data;
  if (held_bytes != 0 && !(data = pool_.take(held_bytes))) return false;
  if (payload != 0) {
    std::memcpy(data.data(), input_.data() + begin_, payload);
    begin_ += payload;
  }
  Exchange& exchange = take_exchange(request, held_bytes);
  exchange.data = std::move(data);
  request_scope_.spawn(serve(exchange));
  return true;
}

// As take_at_once, for requests that have to wait or are refused. False when the client is gone.
async::Task<bool> Session::take_request(RequestHeader request) {
  if (const Verdict verdict = check_request(request, agreement_); !verdict) {
    co_return co_await refuse_request(request, verdict.error, verdict.reason);
  }
  const uint64_t held_bytes = data_bytes(request);
  while (!has_room(held_bytes)) {
    co_await room_.wait();
    if (broken_) co_return false;
  }
  Buffer data;
  if (held_bytes != 0 && !(data = pool_.take(held_bytes))) {
    co_return co_await refuse_request(request, WireError::kNoMem,
                                      "no memory for the request's data");
  }
  Exchange& exchange = take_exchange(request, held_bytes);
  exchange.data = std::move(data);
  const uint64_t payload = payload_bytes(request);
  if (payload != 0 && !co_await receive_payload(exchange.data.data(), payload)) {
    release(&exchange);
    co_return false;
  }
  request_scope_.spawn(serve(exchange));
  co_return true;
}

async::Task<bool> Session::refuse_request(RequestHeader request, WireError error,
                                          std::string_view reason) {
  if (!co_await drop_payload(payload_bytes(request))) co_return false;
  while (!has_room(0)) {
    co_await room_.wait();
    if (broken_) co_return false;
  }
  reply_error(take_exchange(request, 0), error, reason);
  co_return true;
}

// Replying ----------------------------------------------------------------------------------------

Exchange& Session::take_exchange(const RequestHeader& request, uint64_t held_bytes) {
  if (free_exchanges_ == nullptr) {
    exchanges_.push_back(std::make_unique<Exchange>());
    free_exchanges_ = exchanges_.back().get();
  }
  Exchange& exchange = *free_exchanges_;
  free_exchanges_ = exchange.next;
  exchange.begin(request);
  exchange.held_bytes = held_bytes;
  ++requests_under_way_;
  bytes_under_way_ += held_bytes;
  return exchange;
}

void Session::release(Exchange* list) {
  while (list != nullptr) {
    Exchange& exchange = *std::exchange(list, list->next);
    --requests_under_way_;
    bytes_under_way_ -= exchange.held_bytes;
    exchange.data.release();
    exchange.next = std::exchange(free_exchanges_, &exchange);
  }
  room_.wake_all();
}

void Session::reply(Exchange& exchange) {
  exchange.next = nullptr;
  (outbox_last_ != nullptr ? outbox_last_->next : outbox_first_) = &exchange;
  outbox_last_ = &exchange;
  if (idle_sender_) loop_.at_turn_end(hook_);
}

void Session::reply_error(Exchange& exchange, WireError error, std::string_view message) {
  exchange.data.release();
  if (agreement_.structured_replies) {
    exchange.error_chunk(error, message);
  } else {
    exchange.simple(error);
  }
  reply(exchange);
}

void Session::reply_done(Exchange& exchange, const base::Result<>& result) {
  if (!result) {
    reply_error(exchange, wire_error_of(result.error()), result.error().text());
    return;
  }
  exchange.data.release();
  exchange.simple(WireError::kNone);
  reply(exchange);
}

// Takes replies from the outbox into batch_, as many as one send may have; gives them as a list.
Exchange* Session::fill_batch() {
  batch_.clear();
  Exchange* const first = outbox_first_;
  Exchange* last = nullptr;
  size_t pieces = 0;
  for (Exchange* each = first; each != nullptr; each = each->next) {
    pieces += each->piece_count();
    if (last != nullptr && (pieces > kBatchPieces || batch_.size_bytes() > kBatchBytes)) break;
    each->append_to(batch_);
    last = each;
  }
  outbox_first_ = std::exchange(last->next, nullptr);
  if (outbox_first_ == nullptr) outbox_last_ = nullptr;
  return first;
}

async::Task<void> Session::send_replies() {
  struct Idle {
    std::coroutine_handle<>& slot;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const noexcept { slot = handle; }
    void await_resume() const noexcept {}
  };
  while (true) {
    while (outbox_first_ == nullptr) {
      if (no_more_replies_) co_return;
      co_await Idle{idle_sender_};
    }
    Exchange* const sent = fill_batch();
    if (!broken_) {
      const base::Result<> result = co_await stream_->send(batch_);
      if (!result) disconnect();
    }
    release(sent);
  }
}

}  // namespace firn::nbd
