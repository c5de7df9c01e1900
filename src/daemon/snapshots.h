// Snapshots, from QMP's types to the block layer's and back to the event.
#pragma once

#include <optional>
#include <vector>

#include "api/types.h"
#include "block/internal_snapshot_step.h"
#include "block/snapshot.h"
#include "block/transaction.h"
#include "qmp/events.h"

namespace firn::daemon {

block::SnapshotMode snapshot_mode(std::optional<api::NewImageMode> mode);  // the default if not set
// Errors: kInvalidArgument for members that don't go together.
base::Result<block::SnapshotRequest> snapshot_request(api::BlockdevSnapshotSync args);
base::Result<block::SnapshotRequest> snapshot_request(api::BlockdevSnapshot args);

// Sends BLOCK_SNAPSHOT_COMPLETED, or BLOCK_SNAPSHOT_SEAL_FAILED.
void announce_snapshot(qmp::EventHub& events, block::SnapshotReport report);
// Sends BLOCK_INTERNAL_SNAPSHOT_COMPLETED.
void announce_internal_snapshot(qmp::EventHub& events, block::DiskSnapshotReport report);
// Carries the actions out, and announces each snapshot that stands.
async::Task<base::Result<>> take_snapshots(block::Graph& graph, qmp::EventHub& events,
                                           std::vector<block::TransactionAction> actions);

}  // namespace firn::daemon
