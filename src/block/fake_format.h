// For tests of this room: a small image format with backing, on disk as a real one, whose requests
// a test can hold, fail and count. Clusters of 64 KiB; a write to part of one copies the rest from
// below first.
#pragma once

#include <map>
#include <string>

#include "async/sync.h"
#include "block/registry.h"

namespace firn::block {

// What a test does to one node, by its name. Belongs to the node's home loop while requests run.
struct FakeHooks {
  async::Gate writes;      // closed: a write waits here, before it stores anything
  async::Gate flush_gate;  // closed: a flush waits here, as one of a store that does not answer
  bool fail_writes = false;
  bool fail_flush = false;
  bool fail_read_only = false;
  bool fail_backing_name = false;
  async::Gate reads;       // closed: a read waits here, before it looks at anything
  bool lost_data = false;  // until somebody accepts it
  int writes_begun = 0;
  int reads_begun = 0;
  int flushes = 0;
  int copies = 0;
  int zeroings = 0;
  int discards = 0;
  Flags last_flags = 0;
};
FakeHooks& fake_hooks(const std::string& node_name);  // any thread
void reset_fake_hooks();

// Adds the format "fake". `alignment` is what its nodes ask of requests.
void register_fake_format(Registry& registry, uint32_t alignment = 1);

inline constexpr uint64_t kFakeCluster = 65536;
inline constexpr char kFakeFailCreate[] = "fail_create";  // a creation option

}  // namespace firn::block
