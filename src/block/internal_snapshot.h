// Internal snapshots of one disk: finding them, and taking one in a single call. Groups go through
// the driver's three steps themselves (driver.h).
//
// Home loop of the driver's node; no graph is needed (nodes opened by open_tree will do). While one
// of these runs nothing else takes, deletes or reverts internal snapshots of the image.
#pragma once

#include <string_view>
#include <vector>

#include "block/driver.h"

namespace firn::block {

// The first that has this id and this name; an empty one matches all. Null: none.
const InternalSnapshotFacts* find_internal_snapshot(
    const std::vector<InternalSnapshotFacts>& snapshots, std::string_view id,
    std::string_view name);

struct InternalSnapshotReport {
  InternalSnapshotFacts facts;
  uint64_t pause_ns = 0;  // for which writes were held back
  uint64_t store_ns = 0;  // from the instant until it was durable
};
// The node is writable. Errors: those of Driver::snapshot_prepare and snapshot_store.
Task<Result<InternalSnapshotReport>> take_internal_snapshot(Driver& driver,
                                                            InternalSnapshotSpec spec);

}  // namespace firn::block
