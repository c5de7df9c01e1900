#include "cli/endpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cstdlib>

#include "async/file.h"

namespace firn::cli {

using async::Task;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr std::string_view kMonitorSuffix = ".qmp";

}  // namespace

std::string runtime_directory() {
  if (const char* chosen = std::getenv("FIRN_RUNTIME_DIR"); chosen != nullptr && *chosen != 0) {
    return chosen;
  }
  if (geteuid() == 0) return "/run/firn";
  if (const char* user = std::getenv("XDG_RUNTIME_DIR"); user != nullptr && *user != 0) {
    return std::string(user) + "/firn";
  }
  return fmt::format("/tmp/firn-{}", geteuid());
}

std::string monitor_path(const std::string& name) {
  return fmt::format("{}/{}{}", runtime_directory(), name, kMonitorSuffix);
}

std::string export_path(const std::string& name) {
  return fmt::format("{}/{}.nbd", runtime_directory(), name);
}

Task<Result<std::unique_ptr<QmpClient>>> connect_daemon(std::string socket, std::string device) {
  if (!socket.empty()) co_return co_await QmpClient::connect(std::move(socket));
  const std::string directory = runtime_directory();
  Result<std::vector<std::string>> names = co_await async::Loop::current().files().list(directory);
  std::vector<std::string> served;
  for (const std::string& name : names.value_or(std::vector<std::string>())) {
    if (!name.ends_with(kMonitorSuffix)) continue;
    served.push_back(name.substr(0, name.size() - kMonitorSuffix.size()));
    if (served.back() == device) co_return co_await QmpClient::connect(monitor_path(device));
  }
  if (served.size() == 1) co_return co_await QmpClient::connect(monitor_path(served.front()));
  if (served.empty()) {
    co_return fail(Error(ErrorKind::kNotFound, fmt::format("No daemon found in '{}'", directory))
                       .with_hint("'firn serve DISK' starts one; for another, give --socket PATH "
                                  "with its QMP monitor's socket."));
  }
  co_return fail(Error(ErrorKind::kNotFound,
                       fmt::format("Several daemons serve here: {}", fmt::join(served, ", ")))
                     .with_hint("Say which with --socket PATH, for instance --socket " +
                                monitor_path(served.front())));
}

Task<Result<std::optional<LiveSchema>>> load_schema(QmpClient& client) {
  const Result<boost::json::value> entries = co_await client.execute("query-qmp-schema");
  if (!entries && !client.last_error().empty()) co_return std::optional<LiveSchema>();
  if (!entries) co_return fail(entries.error());
  co_return std::optional<LiveSchema>(CO_TRY(LiveSchema::read(*entries)));
}

std::string error_class_of(const boost::json::object& error) {
  const boost::json::value* name = error.if_contains("class");
  return name != nullptr && name->is_string() ? std::string(name->get_string()) : std::string();
}

}  // namespace firn::cli
