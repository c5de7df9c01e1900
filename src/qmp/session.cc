#include "qmp/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <chrono>
#include <string>
#include <utility>

#include "api/codec.h"
#include "base/log.h"

namespace firn::qmp {
namespace {

namespace json = boost::json;
using base::ErrorKind;
using base::fail;

// There can be thousands of clients that wait. One that fills the small buffer is given the large
// one for as long as it keeps that up.
constexpr size_t kFewBytes = 1024;
constexpr size_t kManyBytes = size_t{64} << 10;
// A message that comes in crumbs, thousands of them, would have the loop turn for each: after this
// many, reading waits a moment, in which more of them gather.
constexpr size_t kManyCrumbs = 256;
constexpr auto kCrumbPause = std::chrono::microseconds(200);
constexpr std::string_view kNegotiate = "qmp_capabilities";

}  // namespace

Session::Session(std::unique_ptr<async::Stream> stream, Commands& commands, EventHub& events,
                 JsonValue version, SessionOptions options)
    : stream_(std::move(stream)),
      commands_(commands),
      events_(events),
      version_(std::move(version)),
      options_(options),
      input_share_(options.budget, *this),
      output_share_(options.budget, *this),
      output_(*stream_, &output_share_) {}

Session::~Session() { events_.unsubscribe(*this); }

Task<void> Session::run() {
  scope_.spawn(output_.run());
  scope_.spawn(answer_requests());
  send(make_greeting(version_));
  co_await read_requests();
  input_ended_ = true;
  request_waiters_.wake_all();
  // What the client asked for before it stopped sending is still answered.
  while (!requests_.empty() || executing_ != 0) co_await idle_waiters_.wait();
  events_.unsubscribe(*this);
  output_.finish();
  co_await scope_.join();
  while (drainers_ != 0) co_await idle_waiters_.wait();
  stream_->close();
}

Task<void> Session::drain() {
  draining_ = true;
  ++drainers_;
  request_waiters_.wake_all();
  space_waiters_.wake_all();
  while (executing_ != 0) co_await idle_waiters_.wait();
  co_await output_.wait_until_sent();
  --drainers_;
  idle_waiters_.wake_all();
}

Task<void> Session::read_requests() {
  std::string buffer(kFewBytes, '\0');
  size_t crumbs = 0;
  while (true) {
    const async::IoVec iov(buffer.data(), buffer.size());
    auto received = co_await stream_->receive(iov);
    if (!received || *received == 0) break;
    const bool any = co_await take_values(std::string_view(buffer).substr(0, *received));
    crumbs = any || *received >= kFewBytes ? 0 : crumbs + 1;
    if (crumbs > kManyCrumbs) (void)co_await async::Loop::current().sleep_for(kCrumbPause);
    const size_t wanted = *received < kFewBytes ? kFewBytes : kManyBytes;
    if (buffer.size() != wanted) buffer = std::string(wanted, '\0');
  }
  while (auto value = parser_.finish()) {
    co_await take(
        {.message = *std::move(value), .bytes = parser_.value_bytes(), .end = received_bytes_});
  }
}

Task<bool> Session::take_values(std::string_view bytes) {
  received_bytes_ += bytes.size();
  if (input_dropped_) co_return false;
  bool any = false;
  while (auto value = parser_.next(bytes)) {
    any = true;
    co_await take({.message = *std::move(value),
                   .bytes = parser_.value_bytes(),
                   .end = received_bytes_ - bytes.size()});
  }
  count_input();
  co_return any;
}

Task<void> Session::take(Input input) {
  if (draining_ || input_dropped_ || output_.gone() || !commands_.taking()) co_return;
  waiting_bytes_ += input.bytes;
  count_input();
  if (oob_enabled_ && input.message && is_out_of_band(*input.message)) {
    co_await output_.wait_for_room();
    co_return co_await answer(std::move(input));
  }
  while (requests_.size() >= kMaxQueued && !draining_ && !output_.gone()) {
    co_await space_waiters_.wait();
  }
  if (input_dropped_) co_return;
  requests_.push_back(std::move(input));
  request_waiters_.wake_all();
}

Task<void> Session::answer_requests() {
  while (!draining_) {
    if (requests_.empty()) {
      if (input_ended_) break;
      co_await request_waiters_.wait();
      continue;
    }
    ++executing_;  // before the wait: the session is not idle
    co_await output_.wait_for_room();
    if (!output_.gone() && !requests_.empty() && commands_.taking()) {
      Input input = std::move(requests_.front());
      requests_.pop_front();
      space_waiters_.wake_all();
      co_await answer(std::move(input));
    } else {
      requests_.clear();
    }
    --executing_;
    space_waiters_.wake_all();
    idle_waiters_.wake_all();
  }
  requests_.clear();
  space_waiters_.wake_all();
  idle_waiters_.wake_all();
}

Task<void> Session::answer(Input input) {
  ++executing_;
  const size_t bytes = input.bytes;
  Result<JsonValue> message = std::move(input.message);
  std::optional<JsonValue> id;
  Result<std::optional<JsonValue>> result;
  if (message) {
    id = take_id(*message);
    auto request = check_request(*std::move(message), oob_enabled_);
    if (request) {
      RequestInfo info{.id = id, .out_of_band = request->out_of_band, .end = input.end};
      result = co_await execute(*std::move(request), std::move(info));
    } else {
      result = fail(request.error());
    }
  } else {
    result = fail(message.error());
  }
  if (!result) {
    send(make_error_reply(result.error(), std::move(id), options_.errors));
  } else if (*result) {
    send(make_reply(**std::move(result), std::move(id)));
  }
  waiting_bytes_ -= bytes;
  count_input();
  --executing_;
  idle_waiters_.wake_all();
}

void Session::send(const JsonValue& message) { output_.push(print_line(message, options_.pretty)); }

Result<JsonValue> Session::negotiate(const json::object& arguments) {
  auto wanted = TRY(api::decode_as<api::QmpCapabilitiesArgs>(arguments)).enable;
  if (negotiated_) {
    return fail(ErrorKind::kCommandNotFound,
                "Capabilities negotiation is already complete, command ignored");
  }
  oob_enabled_ = wanted && std::ranges::find(*wanted, api::QMPCapability::kOob) != wanted->end();
  negotiated_ = true;
  events_.subscribe(*this);
  return json::object();
}

Task<Result<std::optional<JsonValue>>> Session::execute(Request request, RequestInfo info) {
  if (request.command == kNegotiate && !request.out_of_band) {
    co_return CO_TRY(negotiate(request.arguments));
  }
  if (!negotiated_) {
    co_return fail(ErrorKind::kCommandNotFound,
                   "Expecting capabilities negotiation with 'qmp_capabilities'");
  }
  const api::CommandEntry* command = commands_.find(request.command);
  if (command == nullptr) {
    co_return fail(ErrorKind::kCommandNotFound,
                   fmt::format("The command {} has not been found", request.command));
  }
  if (request.out_of_band && !command->allow_oob) {
    co_return fail(ErrorKind::kGeneric,
                   fmt::format("The command {} does not support OOB", request.command));
  }
  JsonValue result = CO_TRY(
      co_await commands_.run_request(*command, std::move(request.arguments), std::move(info)));
  if (!command->success_response) co_return std::nullopt;
  co_return result;
}

void Session::on_event(const Event& event) {
  if (output_.push_event(event.line(options_.pretty))) return;
  base::log_warning(fmt::format(
      "monitor client {} does not read its events; the connection is closed", peer_name()));
}

void Session::on_memory_short() {
  if (std::exchange(input_dropped_, true)) return;
  requests_.clear();
  parser_ = base::JsonParser();
  const std::string text =
      fmt::format("The monitors' clients hold more than {} MiB, this one most of it",
                  options_.budget->limit_bytes() >> 20);
  base::log_warning(
      fmt::format("monitor client {}: {}; the connection is closed", peer_name(), text));
  output_.end_with(print_line(
      make_error_reply(base::Error(ErrorKind::kGeneric, text), std::nullopt, options_.errors),
      options_.pretty));
  space_waiters_.wake_all();
  request_waiters_.wake_all();
}

}  // namespace firn::qmp
