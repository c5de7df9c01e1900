#include "daemon/rejection_meter.h"

#include <chrono>
#include <utility>

namespace firn::daemon {

std::optional<uint64_t> RejectionMeter::count(async::TimePoint now) {
  if (told_ == 0 || now - second_ >= std::chrono::seconds(1)) {
    second_ = now;
    told_ = 0;
  }
  if (told_ == kMaxPerSecond) {
    ++untold_;
    return std::nullopt;
  }
  ++told_;
  return std::exchange(untold_, 0);
}

}  // namespace firn::daemon
