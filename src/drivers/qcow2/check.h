// Checking an image: does every refcount say what the tables say?
//
// Reads the file only, through any edge that leads to it (a driver's or a test's). What it finds:
//   corruption  a cluster is used more often than it is counted, twice for different things, beyond
//               the file's end; a table entry contradicts the format; a COPIED flag lies
//   leak        a cluster is counted more often than it is used: space lost, nothing else
//
// Source: QEMU, docs/interop/qcow2.txt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "block/node.h"

namespace firn::qcow2 {

struct CheckReport {
  uint64_t corruptions = 0;
  uint64_t leaks = 0;
  // Of the corruptions: those that are more than a wrong refcount or COPIED flag.
  uint64_t structural = 0;
  std::vector<std::string> findings;  // the first of them, in words
  uint64_t clusters_in_use = 0;
  uint64_t image_end_bytes = 0;  // after the last cluster in use

  bool is_clean() const { return corruptions == 0 && leaks == 0; }
};

// References by host cluster: as counted from the tables, and as the refcounts on disk say.
// Neither vector ends before the other's last number that is not zero.
struct ReferenceCounts {
  std::vector<uint32_t> found;
  std::vector<uint64_t> stored;
};

// Errors: the header can't be read or parsed, or the file can't be read. Home loop of the node
// behind `file`; yields. Takes 14 bytes of memory per host cluster; kUnsupported beyond 2^28 of
// them. `counts` may be null.
async::Task<base::Result<CheckReport>> check(block::Edge& file, ReferenceCounts* counts = nullptr);

}  // namespace firn::qcow2
