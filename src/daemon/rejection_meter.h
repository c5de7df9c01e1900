// RejectionMeter: how many clients without access are told of.
#pragma once

#include <cstdint>
#include <optional>

#include "async/loop.h"

namespace firn::daemon {

// How many rejections are told: somebody without access must not fill a disk by knocking.
class RejectionMeter final {
 public:
  static constexpr int kMaxPerSecond = 10;

  // Counts one. Gives how many before it were not to be told, or nothing if it is one of these.
  std::optional<uint64_t> count(async::TimePoint now);

 private:
  async::TimePoint second_;  // when the present one began
  int told_ = 0;
  uint64_t untold_ = 0;
};

}  // namespace firn::daemon
