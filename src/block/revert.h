// Taking a disk back to an earlier state while it is in use.
//
// Back to a layer: an overlay is made on top of that layer, all users of the head move to it, and
// the head that they left becomes read-only and stays, the top of a branch of its own. Back to an
// internal snapshot: the image itself takes the state of its snapshot.
//
// Both hold the disk's users back until their requests in flight are done, so that nothing of
// before mixes with what comes after; how long that was is reported. Users stay connected: a size
// that changes by it is told like a resize.
#pragma once

#include <chrono>
#include <string>

#include "block/graph.h"
#include "block/snapshot.h"

namespace firn::block {

struct RevertRequest {
  // The disk (device, node_name), and for a layer the overlay to make (from overlay_path on; no
  // overlay_node).
  SnapshotRequest disk;
  // Where to: a node; or else an internal snapshot, the first that has this id and this name, of
  // which one may be empty.
  std::string layer;
  std::string snapshot_id;
  std::string snapshot_name;
  // How long users are held back for their requests in flight to end.
  async::Duration patience = std::chrono::seconds(5);
};

struct RevertReport {
  std::string device;  // as asked, may be empty
  std::string head;    // from now on
  std::string left;    // the node that was the head; empty for an internal snapshot
  std::string layer;
  std::string snapshot_id;
  std::string snapshot_name;
  uint64_t pause_ns = 0;
  uint64_t prepare_ns = 0;
  uint64_t seal_ns = 0;
  uint64_t in_flight = 0;  // requests that had to end first, reads included
};

// On the control loop. A layer must be sealed (read-only and durable), must not be what a job works
// on, and must stand on the same base as the head: it is one of the disk's layers, or the head or a
// layer of a branch that the disk left before.
//
// Errors before users are moved change nothing and leave no file: those of find_head and of making
// an overlay (overlay.h); kBusy where the head or the layer is in use otherwise, and where requests
// in flight take longer than `patience`; kInvalidArgument for a layer that is none of the disk's;
// kNotFound for an internal snapshot that is not there, kUnsupported for a format without. After
// it, the error says that the disk was reverted and that the node that it left could not be sealed
// (kIo; Node::seal_failed), or that it could not be recorded.
Task<Result<RevertReport>> revert(Graph& graph, RevertRequest request);

// For those who stand something new on a layer. On its home loop: that nothing changes `layer` or
// what lies below it. kBusy otherwise.
Result<> check_sealed(const Node& layer);

}  // namespace firn::block
