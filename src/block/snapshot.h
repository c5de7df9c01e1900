// The live external snapshot: prepare, pivot, seal.
//
// Prepare creates, opens, checks and syncs the overlay and flushes the old head once, while clients
// go on writing; an error leaves no trace. Pivot moves the head's parents to the overlay within one
// turn of the home loop: no drain, no I/O, no waiting. Seal waits for the old head's mutating
// requests, flushes it and makes it read-only; only then does the call return.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "block/graph.h"

namespace firn::block {

enum class SnapshotMode {
  kAbsolutePaths,  // create the overlay (an existing file or device is used anew), store an
                   // absolute backing path
  kRelativePaths,  // as kAbsolutePaths, but store the way from the overlay's folder; files only
  kExclusive,      // as kAbsolutePaths, but an existing file or device is refused
  kExisting,       // use what is there: an image of the same size whose header leads to the head
};

struct SnapshotRequest {
  std::string device;  // `device` or `node_name`; both are tried as find_head does
  std::string node_name;
  // A node that is open already, without a backing image and at least as large, is the overlay
  // (blockdev-snapshot): it is used as it is, and all that follows does not count. Empty: it is
  // made.
  std::string overlay_node;
  std::string overlay_path;       // relative: to the daemon's directory, made absolute
  std::string overlay_node_name;  // required with node_name; empty: made up
  std::string format = "qcow2";
  SnapshotMode mode = SnapshotMode::kAbsolutePaths;
  // Creation options by their names in the format ("extended_l2", "on"). They come before
  // Graph::overlay_defaults.
  std::vector<std::pair<std::string, std::string>> overlay_options;
  // From the call to the pivot, the wait for other commands on this disk included. Beyond it the
  // call fails (kTimedOut) and leaves no trace; where an operation on a store hangs, that is so
  // once it ends. In a transaction the shortest counts for all.
  std::optional<async::Duration> deadline;
};

struct SnapshotReport {
  std::string device;  // as asked, may be empty
  std::string old_node;
  std::string overlay_node;
  std::string overlay_path;
  uint64_t pause_ns = 0;    // how long the turn of the pivot kept the loop from requests
  uint64_t prepare_ns = 0;  // from the call to the pivot
  uint64_t seal_ns = 0;
  uint64_t in_flight = 0;      // mutating requests that the old head carried over the pivot
  uint64_t overlay_bytes = 0;  // what the overlay takes of its store; 0 on a block device
  std::string seal_error;      // empty: the old head is sealed
  bool can_seal_again = true;  // if it is not: whether seal_again() may help without a loss
};

// On the control loop; holds a claim on the chains of all disks that it names to its end. Order of
// checks, texts and kinds: docs/snapshot.md. An error before the pivot leaves no trace. After it,
// the snapshot stands and the error says so: the old head could not be sealed (kIo;
// Node::seal_failed), or that it was could not be recorded.
Task<Result<SnapshotReport>> take_snapshot(Graph& graph, SnapshotRequest request);

}  // namespace firn::block
