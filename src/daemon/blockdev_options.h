// From the schema's BlockdevOptions to the block layer's NodeSpec.
#pragma once

#include "api/types.h"
#include "base/result.h"
#include "block/registry.h"

namespace firn::daemon {

// Every member is honoured or refused by its name. A node inside another one takes over what
// block::inherited_options says, where it does not say otherwise itself. Whether node-name is
// there and free, and whether references lead anywhere, is Graph::add_node's matter.
base::Result<block::NodeSpec> node_spec(const api::BlockdevOptions& options);

// A node that a command names or describes, to use by itself. As node_spec.
base::Result<block::ChildSpec> node_reference(const api::BlockdevRef& node);

}  // namespace firn::daemon
