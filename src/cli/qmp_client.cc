#include "cli/qmp_client.h"

#include <fmt/format.h>

#include <optional>

#include "base/text_width.h"

namespace firn::cli {

namespace json = boost::json;
using async::IoVec;
using async::Task;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

std::string member_text(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) return {};
  return std::string(value->get_string());
}

}  // namespace

Error QmpClient::gone() const {
  return Error(ErrorKind::kShutdown,
               fmt::format("The daemon at '{}' closed the connection", socket_path_));
}

Task<Result<std::unique_ptr<QmpClient>>> QmpClient::connect(std::string socket_path) {
  auto stream =
      co_await async::Loop::current().network().connect(async::SocketAddress::of_unix(socket_path));
  if (!stream) {
    co_return fail(std::move(stream).error().with_hint(
        "Is the daemon running? 'firn serve DISK' starts one; --socket names another's monitor."));
  }
  std::unique_ptr<QmpClient> client(new QmpClient(std::move(socket_path), *std::move(stream)));
  const json::object greeting = CO_TRY(co_await client->receive());
  if (!greeting.contains("QMP")) {
    co_return fail(ErrorKind::kGeneric,
                   fmt::format("'{}' is not a QMP monitor", client->socket_path_));
  }
  CO_TRY(co_await client->execute("qmp_capabilities"));
  co_return client;
}

Task<Result<json::object>> QmpClient::receive() {
  for (;;) {
    std::string_view input = received_;
    std::optional<Result<base::JsonValue>> value = parser_.next(input);
    received_.erase(0, received_.size() - input.size());
    if (value) {
      if (!*value) {
        co_return fail(ErrorKind::kGeneric, fmt::format("'{}' does not speak QMP: {}", socket_path_,
                                                        base::printable(value->error().text())));
      }
      json::value message = **std::move(value);
      if (!message.is_object()) {
        co_return fail(ErrorKind::kGeneric, fmt::format("'{}' does not speak QMP", socket_path_));
      }
      co_return std::move(message.get_object());
    }
    received_.resize(kReceiveBytes);
    const IoVec room(received_.data(), received_.size());
    Result<uint64_t> got = co_await stream_->receive(room);
    received_.resize(got.value_or(0));
    if (!got) co_return fail(std::move(got).error());
    if (*got == 0) co_return fail(gone());
  }
}

Task<Result<>> QmpClient::send(std::string command, json::object arguments, json::value id) {
  json::object request{{"execute", command}};
  if (!arguments.empty()) request.emplace("arguments", std::move(arguments));
  if (!id.is_null()) request.emplace("id", std::move(id));
  const std::string line = base::print_json(json::value(std::move(request))) + "\n";
  const IoVec out(
      base::ConstByteSpan(reinterpret_cast<const std::byte*>(line.data()), line.size()));
  co_return co_await stream_->send(out);
}

Task<Result<json::value>> QmpClient::execute(std::string command, json::object arguments) {
  last_error_.clear();
  CO_TRY(co_await send(std::move(command), std::move(arguments)));
  for (;;) {
    json::object message = CO_TRY(co_await receive());
    if (message.contains("event")) {
      events_.push_back(std::move(message));
    } else if (json::value* value = message.if_contains("return")) {
      co_return std::move(*value);
    } else if (json::value* error = message.if_contains("error"); error && error->is_object()) {
      last_error_ = error->get_object();
      co_return fail(ErrorKind::kGeneric, base::printable(member_text(last_error_, "desc")));
    }
  }
}

}  // namespace firn::cli
