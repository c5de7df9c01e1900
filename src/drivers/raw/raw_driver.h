// raw: the bytes of a file are the bytes of the disk. Also the format of whatever no other format
// recognizes.
#pragma once

#include <cstdint>
#include <optional>

#include "block/registry.h"

namespace firn::raw {

// A window into the file: from `offset_bytes` on, `size_bytes` long (to the file's end if not set).
struct Options final : block::DriverOptions {
  uint64_t offset_bytes = 0;
  std::optional<uint64_t> size_bytes;  // a multiple of 512
};

void register_drivers(block::Registry& registry);

}  // namespace firn::raw
