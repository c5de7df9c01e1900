#include "block/dirty_tracker.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "block/node.h"

namespace firn::block {
namespace {

constexpr uint32_t kDefaultGranularityBytes = 64 * 1024;
constexpr uint32_t kMaxGranularityBytes = 1u << 30;
constexpr uint64_t kMaxMapBits = uint64_t{4} * 1024 * 1024 * 8;

// Bits [first, last] of a word.
uint64_t word_mask(unsigned first, unsigned last) {
  return (~uint64_t{0} << first) & (~uint64_t{0} >> (63 - last));
}

}  // namespace

uint32_t dirty_granularity_bytes(uint64_t size_bytes) {
  uint32_t granularity = kDefaultGranularityBytes;
  while (size_bytes / granularity > kMaxMapBits && granularity < kMaxGranularityBytes) {
    granularity *= 2;
  }
  return granularity;
}

// DirtyMap --------------------------------------------------------------------------------------

DirtyMap::DirtyMap(uint32_t granularity_bytes)
    : shift_(static_cast<unsigned>(std::countr_zero(granularity_bytes))), levels_(1) {
  CHECK(std::has_single_bit(granularity_bytes));
}

bool DirtyMap::has(uint64_t part) const {
  const uint64_t word = part / kWordBits;
  return word < levels_[0].size() && (levels_[0][word] >> part % kWordBits & 1) != 0;
}

// Word `word` of level 0 becomes `bits`, and the levels above follow.
void DirtyMap::set_word(uint64_t word, uint64_t bits) {
  uint64_t& at = levels_[0][word];
  count_ += static_cast<uint64_t>(std::popcount(bits));
  count_ -= static_cast<uint64_t>(std::popcount(at));
  bool was = at != 0;
  bool is = bits != 0;
  at = bits;
  for (size_t level = 1; level < levels_.size() && was != is; ++level) {
    const uint64_t bit = uint64_t{1} << word % kWordBits;
    word /= kWordBits;
    uint64_t& above = levels_[level][word];
    was = above != 0;
    above = is ? above | bit : above & ~bit;
    is = above != 0;
  }
}

void DirtyMap::mark(uint64_t offset, uint64_t length) {
  if (length == 0) return;
  const uint64_t first = offset >> shift_;
  const uint64_t last = (offset + length - 1) >> shift_;
  if (last / kWordBits >= levels_[0].size()) {
    uint64_t words = last / kWordBits + 1;
    for (size_t level = 0;; ++level) {
      if (level == levels_.size()) {
        levels_.emplace_back();
        // A new level sees what the one below it has.
        for (size_t word = 0; word < levels_[level - 1].size(); ++word) {
          if (levels_[level].size() <= word / kWordBits) levels_[level].push_back(0);
          const uint64_t any = levels_[level - 1][word] != 0 ? 1 : 0;
          levels_[level][word / kWordBits] |= any << word % kWordBits;
        }
      }
      levels_[level].resize(std::max<uint64_t>(levels_[level].size(), words));
      if (words == 1) break;
      words = (words + kWordBits - 1) / kWordBits;
    }
  }
  for (uint64_t word = first / kWordBits; word <= last / kWordBits; ++word) {
    const unsigned from = word == first / kWordBits ? first % kWordBits : 0;
    const unsigned to = word == last / kWordBits ? last % kWordBits : kWordBits - 1;
    const uint64_t bits = levels_[0][word] | word_mask(from, to);
    if (bits != levels_[0][word]) set_word(word, bits);
  }
}

void DirtyMap::clear(uint64_t offset, uint64_t length) {
  const uint64_t end_part = std::min<uint64_t>(
      (offset + length + granularity_bytes() - 1) >> shift_, levels_[0].size() * kWordBits);
  const uint64_t first = offset >> shift_;
  if (first >= end_part) return;
  const uint64_t last = end_part - 1;
  for (uint64_t word = first / kWordBits; word <= last / kWordBits; ++word) {
    const unsigned from = word == first / kWordBits ? first % kWordBits : 0;
    const unsigned to = word == last / kWordBits ? last % kWordBits : kWordBits - 1;
    const uint64_t bits = levels_[0][word] & ~word_mask(from, to);
    if (bits != levels_[0][word]) set_word(word, bits);
  }
}

// Up through the levels to a word that has one at or after `from`, and down again to it.
std::optional<uint64_t> DirtyMap::next_part(uint64_t from) const {
  uint64_t at = from;
  size_t level = 0;
  for (;; ++level) {
    if (level == levels_.size()) return std::nullopt;
    const uint64_t word = at / kWordBits;
    if (word >= levels_[level].size()) return std::nullopt;
    const uint64_t bits = levels_[level][word] & (~uint64_t{0} << at % kWordBits);
    if (bits != 0) {
      at = word * kWordBits + static_cast<uint64_t>(std::countr_zero(bits));
      break;
    }
    at = word + 1;
  }
  while (level-- != 0) {
    at = at * kWordBits + static_cast<uint64_t>(std::countr_zero(levels_[level][at]));
  }
  return at;
}

std::optional<DirtyMap::Range> DirtyMap::find(uint64_t from, uint64_t max_bytes) const {
  const std::optional<uint64_t> first = next_part(from >> shift_);
  if (!first) return std::nullopt;
  const uint64_t max_parts = std::max<uint64_t>(max_bytes >> shift_, 1);
  uint64_t end = *first + 1;
  while (end - *first < max_parts && has(end)) ++end;
  return Range{.offset = *first << shift_, .length = (end - *first) << shift_};
}

// DirtyTracker ----------------------------------------------------------------------------------

DirtyTracker::DirtyTracker(Node& node, uint32_t granularity_bytes)
    : node_(node), map_(granularity_bytes), next_(node.first_tracker_) {
  if (next_ != nullptr) next_->previous_ = this;
  node.first_tracker_ = this;
  // Room for all of it now, so that no request pays for it.
  if (const uint64_t size = node.driver().size_bytes(); size != 0) {
    map_.mark(size - 1, 1);
    map_.clear(size - 1, 1);
  }
}

DirtyTracker::~DirtyTracker() {
  (previous_ != nullptr ? previous_->next_ : node_.first_tracker_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

std::optional<DirtyMap::Range> DirtyTracker::take(uint64_t max_bytes) {
  std::optional<DirtyMap::Range> range = map_.find(cursor_, max_bytes);
  if (!range && cursor_ != 0) range = map_.find(0, max_bytes);
  if (!range) return std::nullopt;
  map_.clear(range->offset, range->length);
  cursor_ = range->offset + range->length;
  const uint64_t size = node_.driver().size_bytes();
  if (range->offset >= size) return take(max_bytes);  // what was there has been cut off
  range->length = std::min(range->length, size - range->offset);
  return range;
}

}  // namespace firn::block
