// Groups by one seed: disks on several I/O loops, clients that go from disk to disk, snapshots of
// several disks at one point in time; then, in some runs, the power goes.
//
// One oracle knows all disks as one (disk after disk), since its rule for frozen layers is the one
// for a group: whatever was acknowledged before something was sent that is in a layer of the group
// is in the group too.
#pragma once

#include "tests/sim/scenario.h"

namespace firn::sim {

Outcome run_group_seed(uint64_t seed, const ScenarioOptions& options);

}  // namespace firn::sim
