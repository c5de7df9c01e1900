// Nodes as the state remembers them, and back.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "api/types.h"
#include "async/task.h"
#include "base/result.h"
#include "block/graph.h"
#include "state/contents.h"

namespace firn::daemon {

// `node` and all below it, children first, but those whose names are in `known`. The caller holds a
// claim on the chain. Their seals are Seal::kSealed where they are another node's backing image.
async::Task<std::vector<state::NodeRecord>> node_records(const block::Graph& graph,
                                                         block::Node& node,
                                                         std::set<std::string, std::less<>> known);

// What opens the node again, its children being there already. Errors: kCorrupt, a record that is
// none.
base::Result<block::NodeSpec> node_spec(const state::NodeRecord& record,
                                        const block::Registry& registry);

}  // namespace firn::daemon
