#include "cli/command.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace firn::cli {

using base::Error;
using base::ErrorKind;
using base::Result;

base::Error usage_error(std::string_view command, std::string text) {
  const std::string prefix = command.empty() ? "" : fmt::format("{}: ", command);
  return Error(ErrorKind::kInvalidArgument, prefix + text)
      .with_hint(fmt::format("Try 'firn{}{} --help'.", command.empty() ? "" : " ", command));
}

Result<Output> parse_output(std::string_view command, std::string_view value) {
  if (value == "human") return Output::kHuman;
  if (value == "json") return Output::kJson;
  return base::fail(
      usage_error(command, fmt::format("--output takes 'human' or 'json', not '{}'", value)));
}

void print_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) {  // somebody who shares it has made it non-blocking
      pollfd request{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
      poll(&request, 1, -1);
      continue;
    }
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace firn::cli
