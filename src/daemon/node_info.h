// From nodes to what the query commands say of them.
#pragma once

#include "api/types.h"
#include "async/task.h"
#include "base/result.h"
#include "block/node.h"
#include "block/types.h"

namespace firn::daemon {

// Hops to the node's home. Nobody may remove the node meanwhile: hold Graph::read_nodes(). With
// `chain`, image.backing-image goes down to the base.
async::Task<base::Result<api::BlockDeviceInfo>> block_device_info(const block::Node& node,
                                                                  bool chain);

api::SnapshotInfo snapshot_info(const block::InternalSnapshotFacts& facts);

}  // namespace firn::daemon
