// L2Tables: the L1 table in memory, and the L2 tables it leads to, cached in slices.
//
// Source: QEMU, docs/interop/qcow2.txt, "Cluster mapping". Home loop.
#pragma once

#include <cstdint>
#include <vector>

#include "async/sync.h"
#include "drivers/qcow2/freed.h"
#include "drivers/qcow2/geometry.h"
#include "drivers/qcow2/refcounts.h"
#include "drivers/qcow2/table_cache.h"

namespace firn::qcow2 {

class L2Tables {
 public:
  L2Tables(const Geometry& geometry, ImageFile& file, Refcounts& refcounts, FreedClusters& freed,
           uint64_t cache_bytes);

  Task<Result<>> open(uint64_t l1_offset, uint32_t l1_entries);

  // The slice that maps `guest`, if it is in memory. Until the next await.
  TableCache::Slice* find(uint64_t guest) {
    const uint64_t table = table_of(guest);
    return table == 0 ? nullptr : cache_.find(table + geometry_.slice_in_table(guest));
  }
  // True if there is no L2 table for `guest`: all under it is unallocated.
  bool is_unmapped(uint64_t guest) const {
    return (l1_[geometry_.l1_index(guest)] & format::kOffsetMask) == 0;
  }
  // True if entries may be changed in place: the table is ours alone.
  bool is_writable(uint64_t guest) const {
    return (l1_[geometry_.l1_index(guest)] & format::kCopied) != 0;
  }
  // The slice that maps `guest`, for reading; there is a table. kCorrupt if the L1 entry is bad.
  Task<Result<TableCache::Ref>> load(uint64_t guest);
  // The same for changing: makes a table, or copies one that internal snapshots share. No cluster
  // in such a copy is ours alone, whatever the shared table says.
  // `commit`: the number of the commit that will write what is changed now (next_commit).
  Task<Result<TableCache::Ref>> load_writable(uint64_t guest);

  // Who numbers commits; set once.
  void set_next_commit(const uint64_t* next_commit) { next_commit_ = next_commit; }

  struct Frozen {
    std::vector<TableCache::Slice*> slices;
    std::vector<uint64_t> sectors;  // of the L1 table, by number; 512 bytes each
    Buffer l1;                      // these sectors, as on disk
  };
  Frozen freeze();
  void thaw(Frozen& frozen, bool written);
  bool is_dirty() const { return cache_.dirty_count() != 0 || !dirty_sectors_.empty(); }

  // The table as it goes to a new place of `bytes` bytes; entries beyond are zero.
  Buffer copy_l1(uint64_t bytes) const;
  // The table lies at `offset` now and has `entries`, of which new ones are zero.
  void move_l1(uint64_t offset, uint32_t entries);

  // Internal snapshots share the tables: none is ours alone from now on. Gives what the L1 table
  // leads to (its entries without flags). In memory only.
  std::vector<uint64_t> share_all();
  // The table for L1 entry `index` is ours alone again, if its refcount says so.
  Task<Result<>> reclaim_table(uint64_t index);
  // Another L1 table, which is durable at `offset`; nothing is dirty.
  void replace_l1(uint64_t offset, std::vector<uint64_t> entries);

  TableCache& cache() { return cache_; }
  const TableCache& cache() const { return cache_; }
  const std::vector<uint64_t>& l1() const { return l1_; }
  uint64_t l1_offset() const { return l1_offset_; }
  // For repairs.
  void set_l1_entry(uint64_t index, uint64_t entry);

 private:
  uint64_t table_of(uint64_t guest) const {
    return l1_[geometry_.l1_index(guest)] & format::kOffsetMask;
  }
  Result<> check_table(uint64_t index) const;
  Result<> check_new_table(uint64_t table) const;
  Task<Result<>> make_table(uint64_t index);
  Task<Result<>> copy_table(uint64_t index);

  const Geometry geometry_;
  Refcounts& refcounts_;
  FreedClusters& freed_;
  ImageFile& file_;
  TableCache cache_;
  std::vector<uint64_t> l1_;
  uint64_t l1_offset_ = 0;
  std::vector<uint64_t> dirty_sectors_;
  const uint64_t* next_commit_ = nullptr;
  async::Mutex making_;  // of tables; seldom
};

}  // namespace firn::qcow2
