#include "async/sim_content.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"

namespace firn::async {

SimPageRef SimPageRef::zeroed() {
  SimPageRef ref;
  ref.page_ = new Page;
  std::memset(ref.page_->bytes, 0, kSimPageBytes);
  return ref;
}

std::byte* SimPageRef::own() {
  if (page_ == nullptr) {
    *this = zeroed();
  } else if (page_->references > 1) {
    SimPageRef copy;
    copy.page_ = new Page;
    std::memcpy(copy.page_->bytes, page_->bytes, kSimPageBytes);
    *this = std::move(copy);
  }
  return page_->bytes;
}

SimContent::Slot& SimContent::slot(uint64_t page) {
  const uint64_t number = page / kChunkPages;
  if (number != last_chunk_number_) {
    std::unique_ptr<Chunk>& chunk = chunks_[number];
    if (!chunk) chunk = std::make_unique<Chunk>();
    last_chunk_number_ = number;
    last_chunk_ = chunk.get();
  }
  return (*last_chunk_)[page % kChunkPages];
}

const SimContent::Slot* SimContent::find_slot(uint64_t page) const {
  const uint64_t number = page / kChunkPages;
  if (number != last_chunk_number_) {
    const auto found = chunks_.find(number);
    if (found == chunks_.end()) return nullptr;
    last_chunk_number_ = number;
    last_chunk_ = found->second.get();
  }
  return &(*last_chunk_)[page % kChunkPages];
}

// Visits the slots in [first, end) that exist, in order.
template <typename Visit>
void SimContent::for_slots(uint64_t first, uint64_t end, Visit visit) {
  auto at = chunks_.lower_bound(first / kChunkPages);
  for (; at != chunks_.end() && at->first * kChunkPages < end; ++at) {
    const uint64_t base = at->first * kChunkPages;
    const uint64_t from = first > base ? first - base : 0;
    const uint64_t to = std::min(kChunkPages, end - base);
    for (uint64_t i = from; i < to; ++i) visit(base + i, (*at->second)[i]);
  }
}

uint8_t SimContent::sector_mask(uint64_t from, uint64_t to) const {
  const uint64_t first = from / sector_bytes_;
  const uint64_t last = (to - 1) / sector_bytes_;
  return static_cast<uint8_t>((0xffu >> (7 - (last - first))) << first);
}

void SimContent::set_current(Slot& slot, SimPageRef page) {
  const int change = static_cast<int>(static_cast<bool>(page)) - static_cast<bool>(slot.current);
  allocated_pages_ += static_cast<uint64_t>(static_cast<int64_t>(change));
  allocation_change_ += change * static_cast<int64_t>(kSimPageBytes);
  slot.current = std::move(page);
}

void SimContent::log_page(uint64_t page, const Slot& slot, uint8_t sectors) {
  log_.push_back({page, slot.current, sectors, group_});
}

void SimContent::write_back() {
  if (log_.size() < kLongLog) return;
  const auto end = log_.begin() + kLongLog / 2;
  for (auto change = log_.begin(); change != end; ++change) {
    if (change->sectors == 0) {
      durable_size_ = change->page_or_size;
    } else {
      apply_sectors(slot(change->page_or_size), *change, change->sectors);
    }
  }
  log_.erase(log_.begin(), end);
}

void SimContent::set_size(uint64_t size) {
  if (size == size_) return;
  size_ = size;
  log_.push_back({size, {}, 0, group_});
}

void SimContent::read(uint64_t offset, uint64_t length, const IoVec& iov,
                      SimSectors sectors) const {
  const uint64_t unit = sectors.coin_seed == 0 ? kSimPageBytes : sector_bytes_;
  for (uint64_t done = 0; done < length;) {
    const uint64_t at = offset + done;
    const uint64_t run = std::min(length - done, unit - at % unit);
    if (sectors.has(at / sector_bytes_)) {
      const Slot* slot = find_slot(at / kSimPageBytes);
      if (slot == nullptr || !slot->current) {
        iov.fill_zero(done, run);
      } else {
        iov.copy_from(done, {slot->current.bytes() + at % kSimPageBytes, run});
      }
    }
    done += run;
  }
}

void SimContent::write(uint64_t offset, const IoVec& iov, SimSectors sectors) {
  const uint64_t length = iov.size_bytes();
  if (length == 0) return;
  ++group_;
  write_back();
  for (uint64_t done = 0; done < length;) {
    const uint64_t at = offset + done;
    const uint64_t from = at % kSimPageBytes;
    const uint64_t in_page = std::min(length - done, kSimPageBytes - from);
    std::byte* bytes = nullptr;
    Slot* target = nullptr;
    uint8_t written = 0;
    for (uint64_t run_done = 0; run_done < in_page;) {
      const uint64_t start = from + run_done;
      const uint64_t run = sectors.coin_seed == 0 ? in_page
                                                  : std::min(in_page - run_done,
                                                             sector_bytes_ - start % sector_bytes_);
      if (sectors.has((at + run_done) / sector_bytes_)) {
        if (bytes == nullptr) {
          target = &slot(at / kSimPageBytes);
          if (!target->current) set_current(*target, SimPageRef::zeroed());
          bytes = target->current.own();
        }
        iov.copy_to(done + run_done, {bytes + start, run});
        written |= sector_mask(start, start + run);
      }
      run_done += run;
    }
    if (written != 0) log_page(at / kSimPageBytes, *target, written);
    done += in_page;
  }
  set_size(std::max(size_, offset + length));
}

void SimContent::zero_in_page(uint64_t page, uint64_t from, uint64_t to) {
  Slot& target = slot(page);
  if (!target.current) return;  // a hole reads as zeroes already
  std::memset(target.current.own() + from, 0, to - from);
  log_page(page, target, sector_mask(from, to));
}

void SimContent::drop_pages(uint64_t first, uint64_t end) {
  for_slots(first, end, [this](uint64_t page, Slot& slot) {
    if (!slot.current) return;
    set_current(slot, {});
    log_page(page, slot, 0xff);
  });
}

void SimContent::zero(uint64_t offset, uint64_t length, bool unmap) {
  if (length == 0) return;
  ++group_;
  const uint64_t end = offset + length;
  const uint64_t first_whole = base::div_ceil(offset, kSimPageBytes);
  const uint64_t end_whole = end / kSimPageBytes;
  if (!unmap) allocate(offset, std::min(end, std::max(size_, offset)) - offset);
  if (first_whole > end_whole) {  // within one page
    zero_in_page(end_whole, offset % kSimPageBytes, end % kSimPageBytes);
    return;
  }
  if (offset % kSimPageBytes != 0) {
    zero_in_page(first_whole - 1, offset % kSimPageBytes, kSimPageBytes);
  }
  if (end % kSimPageBytes != 0) zero_in_page(end_whole, 0, end % kSimPageBytes);
  if (unmap) {
    drop_pages(first_whole, end_whole);
  } else {
    for_slots(first_whole, end_whole, [this](uint64_t page, Slot& slot) {
      if (!slot.current) return;
      slot.current = SimPageRef::zeroed();
      log_page(page, slot, 0xff);
    });
  }
}

void SimContent::allocate(uint64_t offset, uint64_t length) {
  if (length == 0) return;
  ++group_;
  for (uint64_t page = offset / kSimPageBytes; page * kSimPageBytes < offset + length; ++page) {
    Slot& target = slot(page);
    if (target.current) continue;
    set_current(target, SimPageRef::zeroed());
    log_page(page, target, 0xff);
  }
  set_size(std::max(size_, offset + length));
}

void SimContent::truncate(uint64_t size) {
  ++group_;
  if (size < size_) {
    if (size % kSimPageBytes != 0) {
      zero_in_page(size / kSimPageBytes, size % kSimPageBytes, kSimPageBytes);
    }
    drop_pages(base::div_ceil(size, kSimPageBytes), ~uint64_t{0});
  }
  set_size(size);
}

uint64_t SimContent::missing_pages(uint64_t offset, uint64_t length) const {
  uint64_t missing = 0;
  for (uint64_t page = offset / kSimPageBytes; page * kSimPageBytes < offset + length; ++page) {
    const Slot* slot = find_slot(page);
    if (slot == nullptr || !slot->current) ++missing;
  }
  return missing;
}

std::pair<bool, uint64_t> SimContent::extent_at(uint64_t offset) const {
  const uint64_t first = offset / kSimPageBytes;
  const Slot* at = find_slot(first);
  const bool data = at != nullptr && at->current;
  uint64_t page = first + 1;
  while (page * kSimPageBytes < size_) {
    const auto chunk = chunks_.find(page / kChunkPages);
    if (chunk == chunks_.end()) {
      if (data) break;
      const auto next = chunks_.upper_bound(page / kChunkPages);
      page =
          next == chunks_.end() ? base::div_ceil(size_, kSimPageBytes) : next->first * kChunkPages;
      continue;
    }
    if (static_cast<bool>((*chunk->second)[page % kChunkPages].current) != data) break;
    ++page;
  }
  return {data, std::min(page * kSimPageBytes, size_) - offset};
}

void SimContent::sync() {
  for (const Change& change : log_) {
    if (change.sectors == 0) continue;
    Slot& target = slot(change.page_or_size);
    target.durable = target.current;
  }
  durable_size_ = size_;
  log_.clear();
}

void SimContent::apply_sectors(Slot& slot, const Change& change, uint8_t sectors) {
  const uint8_t all = sector_mask(0, kSimPageBytes);
  if ((sectors & all) == all) {
    slot.durable = change.after;
    return;
  }
  std::byte* bytes = slot.durable.own();
  for (uint32_t sector = 0; sector * sector_bytes_ < kSimPageBytes; ++sector) {
    if ((sectors >> sector & 1) == 0) continue;
    std::byte* to = bytes + sector * sector_bytes_;
    if (change.after) {
      std::memcpy(to, change.after.bytes() + sector * sector_bytes_, sector_bytes_);
    } else {
      std::memset(to, 0, sector_bytes_);
    }
  }
}

void SimContent::apply_some(SimRandom& random) {
  // How much the disk had already written varies from cut to cut; so does whether an operation's
  // sectors share one fate.
  constexpr std::array<double, 6> kKept{0, 0.1, 0.5, 0.5, 0.9, 1};
  const double kept = kKept[random.below(kKept.size())];
  const double torn = random.chance(0.5) ? 0 : 0.5;
  uint32_t group = 0;
  bool whole = false;
  bool tear = false;
  for (const Change& change : log_) {
    if (change.group != group || group == 0) {
      group = change.group;
      whole = random.chance(kept);
      tear = random.chance(torn);
    }
    if (change.sectors == 0) {
      if (tear ? random.chance(0.5) : whole) durable_size_ = change.page_or_size;
      continue;
    }
    uint8_t sectors = change.sectors;
    if (tear) {
      sectors &= static_cast<uint8_t>(random.next());
    } else if (!whole) {
      sectors = 0;
    }
    if (sectors != 0) apply_sectors(slot(change.page_or_size), change, sectors);
  }
  log_.clear();
}

// Nothing lies beyond the end, so that a file that grows again grows by zeroes.
void SimContent::clip_durable() {
  const uint64_t tail = durable_size_ % kSimPageBytes;
  if (tail != 0) {
    Slot& last = slot(durable_size_ / kSimPageBytes);
    if (last.durable) std::memset(last.durable.own() + tail, 0, kSimPageBytes - tail);
  }
  for_slots(base::div_ceil(durable_size_, kSimPageBytes), ~uint64_t{0},
            [](uint64_t, Slot& slot) { slot.durable = {}; });
}

void SimContent::fail_sync(SimRandom& random) {
  std::vector<uint64_t> pages;
  for (const Change& change : log_) {
    if (change.sectors != 0) pages.push_back(change.page_or_size);
  }
  const uint64_t before = durable_size_;
  apply_some(random);
  // The size is metadata and goes through the journal; it is lost only together with the data.
  if (durable_size_ < before) durable_size_ = before;
  durable_size_ = std::max(durable_size_, random.chance(0.5) ? size_ : durable_size_);
  const bool drop_some = random.chance(0.5);
  for (const uint64_t page : pages) {
    Slot& target = slot(page);
    if (drop_some && random.chance(0.5)) set_current(target, target.durable);
  }
}

void SimContent::lose_power(SimRandom& random) {
  apply_some(random);
  clip_durable();
  for_slots(0, ~uint64_t{0}, [this](uint64_t, Slot& slot) { set_current(slot, slot.durable); });
  size_ = durable_size_;
}

}  // namespace firn::async
