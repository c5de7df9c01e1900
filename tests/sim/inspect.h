// Looking at a chain from outside, between two lives of the daemon.
#pragma once

#include <string>

#include "async/task.h"
#include "tests/sim/world.h"

namespace firn::sim {

// The first layer: an empty disk, durable.
async::Task<void> make_base(World& world);

// Checks every image, judges what each layer holds, starts the oracle over from what the head
// holds, and makes all of it durable, as a daemon seals again what it finds.
async::Task<void> inspect(World& world, bool closed_in_order);

// Copies the chain's files, as they are now, into a directory of this machine.
void dump_images(World& world, const std::string& directory);

}  // namespace firn::sim
