// Refcounts: how often each host cluster is referred to, and where free clusters are.
//
// A cluster counts as used, in memory, from the moment that it is allocated. Refcount blocks are
// cached in slices and written by commits, new blocks before the table entries that lead to them.
// Counts that fall are the business of FreedClusters (freed.h): here a count falls at once.
//
// Source: QEMU, docs/interop/qcow2.txt, "Host cluster management". Home loop.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "drivers/qcow2/geometry.h"
#include "drivers/qcow2/table_cache.h"

namespace firn::qcow2 {

// Contiguous host clusters, by index.
struct HostRun {
  uint64_t first = 0;
  uint64_t count = 0;
  // Beyond all that was ever in use, so the file reads as zeroes there until it is written.
  bool fresh = false;
};

// One refcount, in a block's or a slice's memory.
uint64_t load_refcount(const std::byte* counts, uint64_t index, unsigned order);
void store_refcount(std::byte* counts, uint64_t index, unsigned order, uint64_t value);

class Refcounts {
 public:
  Refcounts(const Geometry& geometry, ImageFile& file, uint64_t cache_bytes);

  // The file as it is now: clusters beyond its end are fresh.
  void note_file_end();
  // Reads the refcount table. kCorrupt if it leads nowhere.
  Task<Result<>> open(uint64_t table_offset, uint32_t table_clusters);

  // At most `count` clusters, one at least, contiguous. kNoSpace: the format has no more.
  Task<Result<HostRun>> allocate(uint64_t count);
  // The same, if it takes no reading. Nothing: it takes some.
  std::optional<HostRun> try_allocate(uint64_t count);
  // Exactly `count`, for tables.
  Task<Result<HostRun>> allocate_table(uint64_t count);

  Task<Result<uint64_t>> get(uint64_t cluster);
  // The same, if it takes no reading.
  std::optional<uint64_t> try_get(uint64_t cluster);
  // For repairs: any value. A block that does not exist is made, at `new_block` if that is given.
  Task<Result<>> set(uint64_t cluster, uint64_t value);
  // One reference more for each cluster. kCorrupt if one has none; kOutOfRange if one has as many
  // as fit. `done` counts up by the clusters that were raised, those before an error included.
  Task<Result<>> increment(uint64_t first, uint64_t count, uint64_t& done);
  // One reference less for each cluster. kCorrupt if one has none; the others are done all the
  // same. `freed` gets the clusters that nobody refers to any more.
  Task<Result<>> decrement(uint64_t first, uint64_t count, std::vector<HostRun>* freed);

  // For repairs: new blocks and tables are taken from `cluster` on, never from below.
  void allocate_from(uint64_t cluster) { cursor_ = cluster; }
  // For repairs: a block of zeroes for `block`, at host cluster `cluster`.
  Result<> add_block(uint64_t block, uint64_t cluster);

  // The commit's side. ----------------------------------------------------------------------------

  // Before the freezing: finds the table a new place if it has outgrown the old one.
  Task<Result<>> make_room_for_table();
  struct Frozen {
    std::vector<TableCache::Slice*> slices;
    // Changed parts of the table: 512-byte sectors by number, or the whole table at a new place.
    std::vector<uint64_t> sectors;
    bool moved = false;
    Buffer table;  // the sectors, or the whole table with its clusters' end zeroed; as on disk
    uint64_t table_bytes = 0;
  };
  Frozen freeze();
  void thaw(Frozen& frozen, bool written);

  TableCache& cache() { return cache_; }
  const TableCache& cache() const { return cache_; }
  ImageFile& file() { return file_; }
  const std::vector<uint64_t>& table() const { return table_; }
  uint64_t table_offset() const { return table_offset_; }
  uint32_t table_clusters() const { return table_clusters_; }
  // Where the table was before it moved; to be freed once the header names the new place.
  std::vector<HostRun> take_old_tables() { return std::exchange(old_tables_, {}); }
  bool is_dirty() const {
    return cache_.dirty_count() != 0 || !dirty_sectors_.empty() || moved_ || table_too_small();
  }
  // Where clusters begin that were never in use since the image was opened, in bytes.
  uint64_t fresh_from() const { return fresh_from_ << geometry_.cluster_bits; }

 private:
  struct Place {
    uint64_t slice_offset = 0;  // 0: there is no block
    uint64_t index = 0;         // in the slice
  };
  Place place_of(uint64_t cluster) const;
  Task<Result<TableCache::Ref>> load_slice(uint64_t cluster);
  HostRun take(TableCache::Slice& slice, uint64_t index, uint64_t count);
  uint64_t find_zero(const TableCache::Slice& slice, uint64_t index) const;
  Task<Result<std::optional<HostRun>>> find_in_blocks(uint64_t count);
  Task<Result<HostRun>> allocate_beyond(uint64_t count);
  Task<Result<>> set_range(uint64_t first, uint64_t count, uint64_t value);
  void mark_entry(uint64_t block);
  bool table_too_small() const {
    return table_.size() * 8 > (uint64_t{table_clusters_} << geometry_.cluster_bits);
  }
  uint64_t max_clusters() const { return format::kMaxHostOffset >> geometry_.cluster_bits; }

  const Geometry geometry_;
  ImageFile& file_;
  TableCache cache_;
  std::vector<uint64_t> table_;  // offsets of blocks; 0: none
  uint64_t table_offset_ = 0;
  uint32_t table_clusters_ = 0;
  std::vector<uint64_t> dirty_sectors_;
  bool moved_ = false;
  std::vector<HostRun> old_tables_;
  uint64_t cursor_ = 0;  // no cluster below it is known to be free
  uint64_t fresh_from_ = 0;
};

}  // namespace firn::qcow2
