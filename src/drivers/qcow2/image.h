// Image: a qcow2 image as a node's driver.
//
// Reads and writes meet metadata in memory only; the commits (commit.h) bring it to disk. A write
// to clusters that are ours alone goes straight to the file. Any other allocates clusters, writes
// data and the copied rest of the cluster (or subcluster) in one go, and then changes the L2 entry
// in memory.
//
// Format: QEMU, docs/interop/qcow2.txt; one page about it in docs/formats/qcow2.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/driver.h"
#include "block/node.h"
#include "drivers/qcow2/active.h"
#include "drivers/qcow2/commit.h"
#include "drivers/qcow2/compressed.h"
#include "drivers/qcow2/freed.h"
#include "drivers/qcow2/header.h"
#include "drivers/qcow2/l2_tables.h"
#include "drivers/qcow2/mapping.h"
#include "drivers/qcow2/options.h"
#include "drivers/qcow2/refcounts.h"
#include "drivers/qcow2/snapshots.h"

namespace firn::qcow2 {

using block::Flags;

class Image final : public block::Driver {
 public:
  // Reads header and tables of the node's `file` child. If the node is writable, the image is made
  // ready for it: repaired if it is dirty, and unknown autoclear bits are cleared. Its backing file
  // is not opened here (driver.cc).
  static Task<Result<std::unique_ptr<Image>>> open(block::Node& node, const Options& options);
  ~Image() override;

  std::string_view name() const override { return "qcow2"; }
  bool supports_backing() const override { return true; }
  uint64_t size_bytes() const override { return shown_size_bytes_; }
  block::Limits limits() const override;

  Task<Result<>> read(uint64_t offset, const IoVec& iov, Flags flags) override;
  Task<Result<>> write(uint64_t offset, const IoVec& iov, Flags flags) override;
  Task<Result<>> write_zeroes(uint64_t offset, uint64_t length, Flags flags) override;
  Task<Result<>> discard(uint64_t offset, uint64_t length, Flags flags) override;
  Task<Result<>> flush() override { return commits_.commit(); }
  Task<Result<block::Run>> status(uint64_t offset, uint64_t length) override;
  Task<Result<>> resize(uint64_t size_bytes) override;
  Task<Result<>> set_read_only(bool read_only) override;
  bool has_lost_data() const override;
  void accept_loss() override;
  Result<> move_to(async::Loop& loop) override;
  Task<Result<>> close() override;
  Task<Result<block::ImageFacts>> facts() override;
  std::string filename() const override;
  Task<Result<>> set_backing_name(std::string filename, std::string format) override;

  bool supports_snapshots() const override { return true; }
  std::vector<block::InternalSnapshotFacts> snapshots() const override;
  Task<Result<uint64_t>> snapshot_prepare(block::InternalSnapshotSpec spec) override;
  Task<void> snapshot_cancel() override { return snapshots_.cancel(); }
  void snapshot_take() override { snapshots_.take(); }
  Task<Result<block::InternalSnapshotFacts>> snapshot_store() override;
  Task<Result<>> snapshot_delete(std::string id) override;
  Task<Result<>> snapshot_revert(std::string id) override;

  const Header& header() const { return header_; }
  const Geometry& geometry() const { return geometry_; }
  // Memory that tables take now.
  uint64_t cached_table_bytes() const {
    return (l2_.cache().slice_count() + refcounts_.cache().slice_count()) * geometry_.slice_bytes();
  }
  // The backing file's name as a path that can be opened: relative names are relative to the
  // image's directory. Empty: none.
  std::string backing_path() const;

 private:
  friend class Repair;
  // What becomes of the storage of a range that is zeroed: it stays; it is freed; it is freed and
  // need not read as zeroes if the image has nothing below; it is freed and nobody reads it again.
  enum class Unmap { kKeep, kFree, kDiscard, kForget };
  // A write that changes the mapping: guest bytes [guest, end) of one slice.
  struct Plan {
    uint64_t guest = 0;
    uint64_t end = 0;
    bool reuse = false;  // the host cluster stays; else new ones are needed
    uint64_t host = 0;   // where `guest` goes; known at once with `reuse`
    bool fresh = false;  // the new clusters read as zeroes
    // What is written with the copied sectors around it: [copy_begin, copy_end).
    uint64_t copy_begin = 0;
    uint64_t copy_end = 0;
    uint64_t guard_begin = 0;
    uint64_t guard_end = 0;
  };

  Image(block::Node& node, Header header, const Options& options, CacheSizes sizes);

  Task<Result<>> prepare_writing();
  Result<> check_writable() const;
  Task<Result<>> commit_under_pressure();
  Task<Result<>> write_backing_name(const Header& before);
  bool is_under_pressure() const;
  bool discards_pile_up() const;
  bool has_many_dirty_slices() const;
  // No backing layer, now or when the image is opened again: what is unallocated reads as zeroes.
  bool nothing_below() const { return !node_.children().backing && header_.backing_file.empty(); }
  // The same for what lies at `guest` and after it: a backing layer may be shorter.
  bool nothing_below(uint64_t guest) const {
    const block::Edge& below = node_.children().backing;
    return below ? guest >= below.size_bytes() : header_.backing_file.empty();
  }
  base::Error corrupt(uint64_t guest, std::string_view what) const;
  // The guest's data lies at [host, host + length), they say. kCorrupt if it can't.
  Result<> check_host(uint64_t guest, uint64_t host, uint64_t length) const;

  // Reading (image_read.cc).
  std::optional<Piece> find_piece(uint64_t guest, uint64_t length);
  Task<Result<Piece>> load_piece(uint64_t guest, uint64_t length);
  Task<Result<>> read_piece(const Piece& piece, uint64_t offset, const IoVec& iov, Flags flags);
  Task<Result<>> read_pieces(uint64_t offset, const IoVec& iov, Flags flags);
  Task<void> read_part(Piece piece, uint64_t offset, IoVec iov, Flags flags, Result<>& result);

  // Writing (image_write.cc).
  Task<Result<>> write_parts(uint64_t offset, const IoVec& iov);
  Task<Result<uint64_t>> write_part(uint64_t guest, const IoVec& iov, uint64_t at);
  Plan plan_write(const TableCache::Slice& slice, uint64_t guest, uint64_t length) const;
  void plan_copies(const TableCache::Slice& slice, Plan& plan) const;
  Task<Result<uint64_t>> write_plan(TableCache::Ref slice, Plan plan, const IoVec& iov,
                                    uint64_t at);
  Task<Result<>> write_with_copies(const TableCache::Slice& slice, const Plan& plan,
                                   const IoVec& iov, uint64_t at);
  Task<Result<Buffer>> read_for_copy(uint64_t begin, uint64_t end);
  bool reads_zero(const TableCache::Slice& slice, uint64_t begin, uint64_t end) const;
  void publish(TableCache::Slice& slice, const Plan& plan);

  // Zeroing (image_zero.cc).
  Task<Result<>> zero_units(uint64_t begin, uint64_t end, Unmap unmap);
  Task<Result<>> zero_part_of_unit(uint64_t begin, uint64_t end, Unmap unmap, Flags flags);
  Task<Result<>> zero_v2(uint64_t begin, uint64_t end, Unmap unmap, Flags flags);
  Task<Result<>> write_zero_data(uint64_t begin, uint64_t end);
  uint64_t zero_in_slice(TableCache::Slice& slice, uint64_t begin, uint64_t end, Unmap unmap);
  void zero_cluster(TableCache::Slice& slice, uint32_t index, Unmap unmap);
  Task<Result<bool>> is_zero_range(uint64_t begin, uint64_t end);
  uint64_t zero_unit() const {
    return geometry_.extended_l2 ? geometry_.subcluster_bytes() : geometry_.cluster_bytes();
  }

  // Sizes (image_resize.cc).
  Task<Result<>> grow(uint64_t size_bytes);
  Task<Result<>> shrink(uint64_t size_bytes);
  Task<Result<>> grow_l1(uint64_t entries);

  static void clean_caches(async::Timer& timer);
  void arm_cleaning();
  void disarm_cleaning();

  struct CleanTimer : async::Timer {
    Image* image = nullptr;
  };

  block::Node& node_;
  Header header_;
  // What users see: while the disk grows, still the old size.
  uint64_t shown_size_bytes_;
  const Geometry geometry_;
  const Options options_;
  ImageFile file_;
  ActiveOps ops_;
  Allocations allocations_;
  Refcounts refcounts_;
  FreedClusters freed_;
  L2Tables l2_;
  Commits commits_;
  CompressedClusters compressed_;
  Snapshots snapshots_;
  bool writable_ = false;
  uint64_t freed_clusters_left_ = 0;  // by the last commit under pressure
  async::Loop* loop_;
  CleanTimer clean_timer_;
};

}  // namespace firn::qcow2
