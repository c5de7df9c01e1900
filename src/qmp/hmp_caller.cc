#include "qmp/hmp_caller.h"

#include <fmt/format.h>

#include <utility>

namespace firn::qmp {

std::string shown_error(const base::Error& error) {
  std::string text = fmt::format("Error: {}\n", error.text());
  if (!error.hint().empty()) text += fmt::format("{}\n", error.hint());
  return text;
}

Task<Result<JsonValue>> HmpCaller::call(std::string_view command, boost::json::object arguments) {
  const api::CommandEntry* info = commands_.find(command);
  if (info == nullptr) {
    co_return base::fail(base::ErrorKind::kCommandNotFound,
                         fmt::format("The command {} has not been found", command));
  }
  co_return co_await commands_.run(*info, std::move(arguments));
}

Task<std::string> HmpCaller::call_for_text(std::string_view command,
                                           boost::json::object arguments) {
  auto answer = co_await call(command, std::move(arguments));
  co_return answer ? std::string() : shown_error(answer.error());
}

}  // namespace firn::qmp
