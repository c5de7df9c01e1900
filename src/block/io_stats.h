// What was read and written: by root, and by node.
#pragma once

#include <cstdint>
#include <optional>

#include "async/loop.h"

namespace firn::block {

struct IoCounters {
  uint64_t operations = 0;  // that ended, in whatever way
  uint64_t bytes = 0;       // of those that succeeded
  uint64_t failed = 0;
  uint64_t total_ns = 0;  // how long they took together
};

// Of a root: requests from admission to completion. Of a device's root: those of all roots on its
// head.
struct RootStats {
  IoCounters read, write, flush, discard, zero;
  std::optional<async::TimePoint> last_end;
};

// Of a node: what it was asked for, by roots and by the nodes above it, when it was asked.
struct NodeCounters {
  uint64_t reads = 0;
  uint64_t read_bytes = 0;
  uint64_t writes = 0;  // zeroing included
  uint64_t write_bytes = 0;
  uint64_t flushes = 0;
  uint64_t discards = 0;
  uint64_t discard_bytes = 0;
  uint64_t highest_write_end = 0;  // of writes and discards
};

// What a protocol driver has given back to its store.
struct DiscardCounts {
  uint64_t succeeded = 0;
  uint64_t failed = 0;
  uint64_t bytes = 0;  // of those that succeeded
};

}  // namespace firn::block
