// The format "qcow2" for block::Registry.
//
// Open: the node's `file` child is open; a backing file that the header names is opened through the
// context unless one is attached. Create: options as qemu-img's -o, see create.h.
#pragma once

#include "block/registry.h"

namespace firn::qcow2 {

// Adds "qcow2".
void register_drivers(block::Registry& registry);

}  // namespace firn::qcow2
