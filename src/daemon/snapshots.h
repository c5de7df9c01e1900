// Snapshots, from QMP's types to the block layer's and back to the event.
#pragma once

#include "api/types.h"
#include "block/snapshot.h"
#include "qmp/events.h"

namespace firn::daemon {

block::SnapshotRequest snapshot_request(api::BlockdevSnapshotSync args);
block::SnapshotRequest snapshot_request(api::BlockdevSnapshot args);

// Sends BLOCK_SNAPSHOT_COMPLETED.
void announce_snapshot(qmp::EventHub& events, block::SnapshotReport report);

}  // namespace firn::daemon
