#include "base/log.h"

#include <unistd.h>

namespace firn::base {
namespace {

LogLevel g_level = LogLevel::kInfo;
std::string g_name = "firn";

std::string_view prefix(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error: ";
    case LogLevel::kWarning:
      return "warning: ";
    case LogLevel::kInfo:
      return "";
    case LogLevel::kDebug:
      return "debug: ";
  }
  return "";
}

}  // namespace

void set_log_level(LogLevel level) { g_level = level; }
bool log_enabled(LogLevel level) { return level <= g_level; }
void set_log_name(std::string_view name) { g_name = name; }

void log_line(LogLevel level, std::string_view text) {
  if (!log_enabled(level)) return;
  std::string line;
  line.reserve(g_name.size() + text.size() + 16);
  line.append(g_name).append(": ").append(prefix(level)).append(text).push_back('\n');
  // A log that can't be written has nowhere to complain.
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace firn::base
