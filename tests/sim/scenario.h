// One seed: write, flush, snapshot, cut, reopen, check; several times over the same disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/sim/world.h"

namespace firn::sim {

struct ScenarioOptions {
  bool trace = false;          // every event to standard error
  std::string dump_directory;  // where a failure's images go; empty: nowhere
};

struct Outcome {
  std::optional<std::string> failure;
  Counters counters;
  uint64_t trace_hash = 0;
  uint64_t steps = 0;
};

Outcome run_seed(uint64_t seed, const ScenarioOptions& options);

}  // namespace firn::sim
