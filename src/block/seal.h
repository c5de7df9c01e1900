// The seal: what ends a snapshot. The old head becomes durable and read-only, and its image is open
// to other readers. "Seal" in docs/snapshot.md tells what a failure means, and the way out of it.
#pragma once

#include <string>

#include "block/graph.h"

namespace firn::block {

// Home loop. Makes `node`, which admits no request any more, durable and read-only, and gives up
// its writer's locks. After an error the node is marked: Node::seal_failed, Node::seal_error.
Task<Result<>> seal_node(Node& node);

// Home loop; after the pivot that put `overlay` above `old_head`: seals it, where it may be
// written to. Errors: kIo, "The snapshot was taken and node 's1' is in use, but ...".
Task<Result<>> seal_head(Node& old_head, Node& overlay);

// Home loop. False where a flush lost data, so that no second seal would prove anything.
bool can_seal_again(const Node& old_head);

struct SealedNode {
  std::string node;
  std::string overlay;  // above it; empty: none
};

// On the control loop; claims the chain. Ends a seal that failed: tries again what can be tried
// again, and with `accept_loss` takes the old head as it is, whatever the store says.
// Errors: kDeviceNotFound, kInvalidArgument if the node waits for no seal, kIo if it fails again,
// and those of the state store.
Task<Result<SealedNode>> seal_again(Graph& graph, std::string node_name, bool accept_loss);

}  // namespace firn::block
