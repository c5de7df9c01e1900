// Proof that the prefix checker bites: histories and layers out of a model, right ones, and ones
// with a violation planted.
#pragma once

#include <cstdint>
#include <map>

#include "base/result.h"
#include "tests/tools/prefix_rule.h"

namespace firn::tests {

struct SelfTestResult {
  int clean = 0;  // right layers that passed
  // Violations that were planted and found, by Fault.
  std::map<Fault, int> planted;
};

// Runs a model for each seed from 0. An error names what was not found, what was found without
// reason, or a fault that no model gave a chance to plant.
base::Result<SelfTestResult> run_prefix_self_test(uint64_t seeds);

}  // namespace firn::tests
