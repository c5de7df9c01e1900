// Snapshots, from QMP's types to the block layer's and back to the event.
#pragma once

#include <optional>

#include "api/types.h"
#include "block/snapshot.h"
#include "qmp/events.h"

namespace firn::daemon {

block::SnapshotMode snapshot_mode(std::optional<api::NewImageMode> mode);  // the default if not set
block::SnapshotRequest snapshot_request(api::BlockdevSnapshotSync args);
block::SnapshotRequest snapshot_request(api::BlockdevSnapshot args);

// Sends BLOCK_SNAPSHOT_COMPLETED.
void announce_snapshot(qmp::EventHub& events, block::SnapshotReport report);

}  // namespace firn::daemon
