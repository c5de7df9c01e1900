// Commit: the layers of a chain from `top` down to the one above `base` are merged into `base`, and
// leave the chain. Guests go on reading and writing meanwhile.
//
//   head            head                     head = top
//     |               |                        |              base = head
//    top       -->    |                       ...       -->
//     |               |                        |
//    base            base                     base
//
// Layers below the head: their data is copied into the base, which nobody notices, since these very
// layers shadow it; then the overlay above names the base as its backing file. The head may be
// snapshotted meanwhile.
// The head itself: what guests write while it is copied is copied again, until both are the same.
// The job is then ready, and keeps them the same; job-complete makes the base the head, with
// guests held back for the moment in which the last bytes are copied and made durable.
//
// A crash at any moment leaves a chain that reads as it did: the base is durable before the layers
// leave, and what leaves is recorded first (StateStore). A job that did not come to its end has
// changed what the layers below `top` read as by themselves, and nothing else.
#pragma once

#include <optional>
#include <string>

#include "block/graph.h"
#include "jobs/job_list.h"

namespace firn::jobs {

// As QMP's block-commit has it.
struct CommitRequest {
  std::optional<std::string> job_id;  // none: the device's name
  std::string device;                 // a device, or the node-name of a root node
  std::optional<std::string> top;     // by file name, or by node-name; neither: the head
  std::optional<std::string> top_node;
  std::optional<std::string> base;  // likewise; neither: the lowest layer
  std::optional<std::string> base_node;
  std::optional<std::string> backing_file;  // what overlays store; none: the base's file name
  int64_t speed_bytes_per_s = 0;
  OnError on_error = OnError::kReport;
  // QEMU's filter has no counterpart here: the name is checked, and used for nothing.
  std::optional<std::string> filter_node_name;
  bool auto_finalize = true;
  bool auto_dismiss = true;
};

// Starts the job. On the control loop; claims the chain meanwhile. Errors, in the order of QEMU's
// checks with its texts: docs/jobs.md. Nothing has changed then.
Task<Result<>> start_commit(block::Graph& graph, JobList& jobs, CommitRequest request);

}  // namespace firn::jobs
