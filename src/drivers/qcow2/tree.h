// Tree: an L1 table's references, slice by slice: to data clusters, and to L2 tables.
//
// For trees that nobody changes meanwhile but for COPIED flags: those of internal snapshots.
// Source: QEMU, docs/interop/qcow2.txt, "Cluster mapping". Home loop.
#pragma once

#include <cstdint>
#include <vector>

#include "drivers/qcow2/l2_tables.h"
#include "drivers/qcow2/refcounts.h"

namespace firn::qcow2 {

class Tree {
 public:
  // `tables`: the L1 table's entries.
  Tree(const Geometry& geometry, TableCache& cache, std::vector<uint64_t> tables);

  struct Step {
    TableCache::Ref slice;
    // What the slice refers to; after an L2 table's last slice, the table itself. Always the same
    // steps in the same order.
    std::vector<HostRun> runs;
  };
  // False: that was all. Errors: kCorrupt, or reading failed.
  Task<Result<bool>> next(Step& step);

 private:
  Result<> check_table(uint64_t table) const;
  Result<> collect(const std::byte* slice, std::vector<HostRun>& runs) const;

  const Geometry geometry_;
  TableCache& cache_;
  const std::vector<uint64_t> tables_;
  uint64_t index_ = 0;     // of the table
  uint64_t in_table_ = 0;  // the next slice, in bytes
};

}  // namespace firn::qcow2
