#include "qmp/memory_budget.h"

#include <algorithm>

#include "base/check.h"

namespace firn::qmp {

MemoryBudget::~MemoryBudget() { CHECK(shares_.empty()); }

void MemoryBudget::Share::set(size_t bytes) {
  if (budget_ != nullptr) budget_->count(*this, bytes > kFreeBytes ? bytes - kFreeBytes : 0);
}

void MemoryBudget::count(Share& share, size_t bytes) {
  if (share.counted_bytes_ == 0 && bytes != 0) shares_.push_back(&share);
  if (share.counted_bytes_ != 0 && bytes == 0) std::erase(shares_, &share);
  used_bytes_ += bytes - share.counted_bytes_;
  share.counted_bytes_ = bytes;
  while (used_bytes_ > limit_bytes_) give_up_greatest();
}

void MemoryBudget::give_up_greatest() {
  Share& share = **std::ranges::max_element(
      shares_, {}, [](const Share* candidate) { return candidate->counted_bytes_; });
  count(share, 0);
  share.budget_ = nullptr;
  share.owner_.on_memory_short();
}

}  // namespace firn::qmp
