// null-co and null-aio: a disk of nothing, for measuring what stands above it. Writes go nowhere.
#pragma once

#include <cstdint>
#include <optional>

#include "base/units.h"
#include "block/registry.h"

namespace firn::null {

struct Options final : block::DriverOptions {
  std::optional<uint64_t> size_bytes;  // 1 GiB; a part of a sector counts as one
  std::optional<bool> read_zeroes;     // false: reads leave the caller's memory as it was
  uint64_t latency_ns = 0;             // how long every request takes
};

// Adds "null-co" and "null-aio", which are the same here.
void register_drivers(block::Registry& registry);

}  // namespace firn::null
