// What the daemon says to whoever runs it: lines on standard error, nothing on standard output.
#pragma once

#include <string>
#include <string_view>

namespace firn::base {

enum class LogLevel { kError, kWarning, kInfo, kDebug };

// Lines above this level are dropped. Set once at start-up, before threads exist.
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);

// The program's name, put before each line ("firnd: warning: ...").
void set_log_name(std::string_view name);

// Writes one line in one write(2), so that lines of several threads never mix. Thread-safe.
void log_line(LogLevel level, std::string_view text);

inline void log_error(std::string_view text) { log_line(LogLevel::kError, text); }
inline void log_warning(std::string_view text) { log_line(LogLevel::kWarning, text); }
inline void log_info(std::string_view text) { log_line(LogLevel::kInfo, text); }

}  // namespace firn::base
