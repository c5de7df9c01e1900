// SimContent: what a simulated file holds, as programs see it and as the disk has it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "async/iovec.h"
#include "async/sim_random.h"

namespace firn::async {

inline constexpr uint64_t kSimPageBytes = 4096;

// A shared page, copied before it is written while others refer to it. Null: a hole.
class SimPageRef {
 public:
  SimPageRef() = default;
  SimPageRef(const SimPageRef& other) : page_(other.page_) {
    if (page_ != nullptr) ++page_->references;
  }
  SimPageRef(SimPageRef&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  SimPageRef& operator=(SimPageRef other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~SimPageRef() {
    if (page_ != nullptr && --page_->references == 0) delete page_;
  }

  static SimPageRef zeroed();
  explicit operator bool() const { return page_ != nullptr; }
  bool operator==(const SimPageRef&) const = default;
  const std::byte* bytes() const { return page_->bytes; }
  // Memory to write to, which nobody else sees. A hole becomes a page of zeroes.
  std::byte* own();

 private:
  struct Page {
    uint32_t references = 1;
    alignas(64) std::byte bytes[kSimPageBytes];
  };
  Page* page_ = nullptr;
};

// Picks the sectors that an operation reaches with one of its parts: all, or those of one side
// of a coin that is flipped for every sector.
struct SimSectors {
  uint64_t coin_seed = 0;  // 0: all
  bool side = false;
  bool has(uint64_t sector) const {
    return coin_seed == 0 || ((sim_mix(coin_seed ^ sector) & 1) != 0) == side;
  }
};

// Two versions of each page: the current one, which reads see, and the durable one, which is what
// a power cut goes back to. Between them stands a log of the changes since the last sync, each with
// the sectors that it changed, as they were after it. A power cut applies any part of the log to
// the durable version, sector by sector: that covers loss, tearing and any order among the changes,
// since the last change that is applied to a sector decides. A log that gets long is shortened from
// its old end, as a kernel writes back what has been dirty for long.
class SimContent {
 public:
  // `sector_bytes`, 512 or 4096, is what a disk writes whole.
  explicit SimContent(uint32_t sector_bytes) : sector_bytes_(sector_bytes) {}

  uint64_t size_bytes() const { return size_; }
  uint64_t allocated_bytes() const { return allocated_pages_ * kSimPageBytes; }
  bool has_unsynced_changes() const { return !log_.empty(); }

  // Bytes beyond the end are not touched. `length` is iov.size_bytes() at most.
  void read(uint64_t offset, uint64_t length, const IoVec& iov, SimSectors sectors = {}) const;
  // Grows the file if need be.
  void write(uint64_t offset, const IoVec& iov, SimSectors sectors = {});
  // Reads as zeroes after; whole pages become holes (`unmap`) or are allocated. Does not change
  // the size.
  void zero(uint64_t offset, uint64_t length, bool unmap);
  // Storage for each page; grows the file if need be.
  void allocate(uint64_t offset, uint64_t length);
  void truncate(uint64_t size);

  // Pages that a write there would have to allocate.
  uint64_t missing_pages(uint64_t offset, uint64_t length) const;
  // Data or hole at `offset`, which is below the size, and for how far.
  std::pair<bool, uint64_t> extent_at(uint64_t offset) const;

  // All is durable.
  void sync();
  // A sync that failed half-way: any part of the changes has reached the disk, and none counts as
  // changed any more. What did not reach it is still read until the page is dropped from memory,
  // which happens at once or at the next power cut.
  void fail_sync(SimRandom& random);
  // Back to the durable version, with any part of the unsynced changes.
  void lose_power(SimRandom& random);

  // Calls `visit(bytes)` where the number of allocated bytes changes by that much.
  int64_t take_allocation_change() { return std::exchange(allocation_change_, 0); }

 private:
  static constexpr uint64_t kChunkPages = 64;
  static constexpr size_t kLongLog = 4096;
  struct Slot {
    SimPageRef current;
    SimPageRef durable;
  };
  using Chunk = std::array<Slot, kChunkPages>;
  struct Change {
    uint64_t page_or_size = 0;
    SimPageRef after;
    uint8_t sectors = 0;  // 0: a change of the size
    uint32_t group = 0;   // of one operation
  };

  Slot& slot(uint64_t page);
  const Slot* find_slot(uint64_t page) const;
  uint8_t sector_mask(uint64_t from, uint64_t to) const;  // offsets within a page
  void set_current(Slot& slot, SimPageRef page);
  void log_page(uint64_t page, const Slot& slot, uint8_t sectors);
  void write_back();
  void set_size(uint64_t size);
  void zero_in_page(uint64_t page, uint64_t from, uint64_t to);
  void drop_pages(uint64_t first, uint64_t end);
  void apply_some(SimRandom& random);
  void apply_sectors(Slot& slot, const Change& change, uint8_t sectors);
  void clip_durable();
  template <typename Visit>
  void for_slots(uint64_t first, uint64_t end, Visit visit);

  uint32_t sector_bytes_;
  uint64_t size_ = 0;
  uint64_t durable_size_ = 0;
  uint64_t allocated_pages_ = 0;  // of the current version
  int64_t allocation_change_ = 0;
  uint32_t group_ = 0;
  std::map<uint64_t, std::unique_ptr<Chunk>> chunks_;
  mutable uint64_t last_chunk_number_ = ~uint64_t{0};
  mutable Chunk* last_chunk_ = nullptr;
  std::vector<Change> log_;
};

}  // namespace firn::async
