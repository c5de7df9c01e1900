// reopen: other options for nodes that are in use, and another backing node; all of them or none.
//
// Requests go on meanwhile. What a node's driver can't change in use is refused by its name.
#pragma once

#include <vector>

#include "block/graph.h"
#include "block/registry.h"

namespace firn::block {

// Each spec is a node that is there, by its name, with all the options that it is to have; children
// are named, or given as they are open now. A node that comes twice has what its last spec says.
//
// Read-only nodes become writable children first, others read-only parents first, between them the
// backing nodes change in the order given. A `file` that nobody added goes with its node.
// Errors, after which all is as it was: QEMU's texts ("Cannot change the option 'driver'",
// "Block node is read-only"); those of opening a file for writing and of flushing it.
Task<Result<>> reopen(Graph& graph, std::vector<NodeSpec> specs);

// "Failed to find node with node-name='X'"
base::Error no_such_node(std::string_view name);

}  // namespace firn::block
