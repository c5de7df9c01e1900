// CHECK: the end of the line for our own bugs, and for nothing else. Bad input, disks and networks
// give a Result instead.
#pragma once

namespace firn::base {

// Prints `file:line: CHECK failed: what` on standard error and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* what);

}  // namespace firn::base

// Always on, in release builds too.
#define CHECK(condition)                                          \
  do {                                                            \
    if (!(condition)) [[unlikely]] {                              \
      ::firn::base::check_failed(__FILE__, __LINE__, #condition); \
    }                                                             \
  } while (false)
