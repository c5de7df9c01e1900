// Sizes as people type and read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace firn::base {

inline constexpr uint64_t kKiB = uint64_t{1} << 10;
inline constexpr uint64_t kMiB = uint64_t{1} << 20;
inline constexpr uint64_t kGiB = uint64_t{1} << 30;
inline constexpr uint64_t kTiB = uint64_t{1} << 40;

// "4096", "64k", "1.5G", "2T": bytes, with an optional binary suffix (b k M G T P E, either case)
// and a fraction where a suffix stands. Errors name the text and what is expected; kOutOfRange:
// a number, but beyond 64 bits.
Result<uint64_t> parse_size(std::string_view text);

// 67108864 -> "64 MiB", 1610612736 -> "1.5 GiB", 17 -> "17 B".
std::string format_size(uint64_t bytes);

}  // namespace firn::base
