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

// What creating an image would refuse whatever the file is. Options: `preallocation`, which is off,
// falloc (storage is reserved) or full (zeroes are written).
base::Result<> check_create(const block::DriverEntry::CreateRequest& request);

void register_drivers(block::Registry& registry);

}  // namespace firn::raw
