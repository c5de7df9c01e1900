// Restoring what the state remembers, at the start of the daemon (docs/state.md).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "block/graph.h"
#include "daemon/exports.h"
#include "state/store.h"

namespace firn::daemon {

// The kernel gives up what a killed process held (sockets that listen, locks) some time after the
// process is gone, where an io_uring had it in use. Whoever has the state's lock knows that the
// daemon before is gone, and waits for that: tries again while the error is kBusy, 5 s at most.
async::Task<base::Result<>> while_busy(std::function<async::Task<base::Result<>>()> attempt);

// The nodes, with their names, options and places in chains; then the devices. In order: files that
// were changed are refused, nodes are opened from below, what a crash left unsealed is sealed,
// seals that had failed are as they were. Errors name the node, the file and the remedy; the caller
// closes the graph then.
async::Task<base::Result<>> restore_graph(block::Graph& graph, state::Store& store,
                                          const state::Contents& contents);

// The exports, on the nodes where the state has them. The server is there.
async::Task<base::Result<>> restore_exports(Exports& exports, const state::Contents& contents);

}  // namespace firn::daemon
