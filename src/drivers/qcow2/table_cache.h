// TableCache: slices of on-disk tables (L2 tables, refcount blocks) in memory, as they are on disk.
//
// Slices are changed in memory only; a commit writes them back (commit.h). It freezes what is
// dirty at one instant: a slice that is changed after that, and before it is written, keeps the
// frozen bytes aside for the commit. Clean slices that nobody uses are dropped, those not used for
// longest first, once the budget is reached; dirty ones stay, so memory may exceed the budget until
// the next commit (dirty_count() tells when one is due).
//
// Home loop. Nothing here waits but load().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "async/sync.h"
#include "drivers/qcow2/image_file.h"

namespace firn::qcow2 {

class TableCache {
 public:
  struct Slice {
    uint64_t offset = 0;  // in the file
    Buffer data;
    Buffer frozen;  // what a running commit is to write, if `data` has changed since
    uint32_t pins = 0;
    bool loading = false;
    bool dirty = false;
    bool in_commit = false;
    bool used = false;  // since the eviction or the cleaning passed last
    Slice* newer = nullptr;
    Slice* older = nullptr;
    async::WaitList loaded;
    std::optional<base::Error> load_error;
  };

  // Keeps a slice where it is, across awaits.
  class Ref {
   public:
    Ref() = default;
    explicit Ref(Slice* slice) : slice_(slice) { ++slice_->pins; }
    Ref(Ref&& other) noexcept : slice_(std::exchange(other.slice_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
      std::swap(slice_, other.slice_);
      return *this;
    }
    ~Ref() {
      if (slice_ != nullptr) --slice_->pins;
    }
    explicit operator bool() const { return slice_ != nullptr; }
    Slice& operator*() const { return *slice_; }
    Slice* operator->() const { return slice_; }

   private:
    Slice* slice_ = nullptr;
  };

  TableCache(ImageFile& file, uint32_t slice_bytes, uint64_t budget_bytes);
  ~TableCache();
  TableCache(const TableCache&) = delete;
  TableCache& operator=(const TableCache&) = delete;

  // The slice at `offset` if it is in memory. It stays there until the next await.
  Slice* find(uint64_t offset) {
    if (last_ == nullptr || last_->offset != offset) {
      const auto found = slices_.find(offset);
      if (found == slices_.end() || found->second->loading || found->second->load_error) {
        return nullptr;
      }
      last_ = found->second.get();
    }
    last_->used = true;
    return last_;
  }
  // Reads it if need be. Reads of one slice are merged.
  Task<Result<Ref>> load(uint64_t offset);
  // True if the slice at `offset` is being read or held. Where a new table is to lie that is only
  // so in an image that counts a table in use as free.
  bool is_in_use(uint64_t offset) const {
    const auto found = slices_.find(offset);
    return found != slices_.end() && found->second->pins != 0;
  }
  // A slice of a new table, which is not in use: zeroes, dirty. What was known of an older table
  // there is forgotten.
  Slice& create(uint64_t offset);

  // For changing: marks the slice dirty. Valid until the next await.
  std::byte* modify(Slice& slice);

  // Takes all dirty slices for a commit, in no order. No await, no other commit running.
  std::vector<Slice*> freeze();
  // What the commit has to write of a frozen slice.
  static const std::byte* frozen_bytes(const Slice& slice) {
    return slice.frozen ? slice.frozen.get() : slice.data.get();
  }
  // The commit is over with these. If `written` is false they are dirty again.
  void thaw(const std::vector<Slice*>& slices, bool written);

  size_t dirty_count() const { return dirty_.size(); }
  uint32_t slice_bytes() const { return slice_bytes_; }
  size_t slice_count() const { return slices_.size(); }
  uint64_t budget_bytes() const { return uint64_t{budget_slices_} * slice_bytes_; }

  // Drops clean slices that were not used since the last call.
  void drop_unused();
  // Drops all that is clean and not in use.
  void drop_clean();

 private:
  Slice& insert(uint64_t offset);
  void link(Slice& slice);
  void unlink(Slice& slice);
  static bool droppable(const Slice& slice) {
    return slice.pins == 0 && !slice.dirty && !slice.in_commit && !slice.loading;
  }
  void drop(Slice& slice);
  void make_room();

  ImageFile& file_;
  const uint32_t slice_bytes_;
  const size_t budget_slices_;
  std::unordered_map<uint64_t, std::unique_ptr<Slice>> slices_;
  std::vector<Slice*> dirty_;
  Slice* newest_ = nullptr;
  Slice* oldest_ = nullptr;
  Slice* last_ = nullptr;
};

}  // namespace firn::qcow2
