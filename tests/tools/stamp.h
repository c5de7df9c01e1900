// What a writer of the prefix checker puts into one block: who wrote it, when, and a pattern over
// the whole block, so that a torn or misplaced block is told from a whole one.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace firn::tests {

inline constexpr uint64_t kBlockBytes = 4096;

struct Stamp {
  uint64_t run_id =
      0;  // differs between runs, so that what an earlier run left is not taken for ours
  uint64_t block = 0;  // index within the region, not the disk
  uint32_t writer = 0;
  uint32_t sequence = 0;  // counts a writer's writes, from 0

  bool operator==(const Stamp&) const = default;
};

// Fills `block`, kBlockBytes long.
void write_stamp(base::ByteSpan block, const Stamp& stamp);

// The stamp in `block`, kBlockBytes long; nothing unless every byte is as write_stamp() makes it.
std::optional<Stamp> read_stamp(base::ConstByteSpan block);

}  // namespace firn::tests
