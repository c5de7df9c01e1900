// A new device that starts as a copy of another disk's layer and goes its own way: an overlay on
// top of that layer, which both share from then on. Nothing is copied.
#pragma once

#include <optional>
#include <string>

#include "block/graph.h"
#include "block/snapshot.h"

namespace firn::block {

struct ForkRequest {
  std::string id;  // the new device's name
  // The layer: the head of `device`, else `node_name`; and the new device's overlay, from
  // overlay_path on (no overlay_node).
  SnapshotRequest overlay;
  // Where the layer is written to: the overlay that its own disk goes on with, since the fork
  // stands on a snapshot. Empty: only sealed layers are taken.
  std::string snapshot_path;
  std::string snapshot_node_name;
};

struct ForkReport {
  std::string id;
  std::string head;
  std::string layer;
  std::string device;  // as asked, may be empty
  uint64_t total_ns = 0;
  std::optional<SnapshotReport> snapshot;  // where one had to be taken
};

// On the control loop. The new device lives where the layer lives. All that may fail happens before
// the snapshot, if there is one, but for recording; after an error there is no device and no file.
// Errors: those of find_head, of a new device's name and of making an overlay (overlay.h);
// kInvalidArgument for a layer that is written to without `snapshot_path`, and for one with it that
// is not; kBusy for a layer that a job works on; those of take_snapshot.
Task<Result<ForkReport>> fork_device(Graph& graph, ForkRequest request);

}  // namespace firn::block
