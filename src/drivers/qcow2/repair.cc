#include "drivers/qcow2/repair.h"

#include <fmt/format.h>

#include "base/log.h"
#include "drivers/qcow2/check.h"
#include "drivers/qcow2/image.h"

namespace firn::qcow2 {

using base::ErrorKind;

class Repair {
 public:
  explicit Repair(Image& image) : image_(image), geometry_(image.geometry_) {}

  Task<Result<>> run() {
    const CheckReport report = CO_TRY_CONTEXT(co_await check(image_.file_.edge(), &counts_),
                                              "Could not repair dirty image");
    if (report.structural != 0) {
      co_return base::fail(
          base::Error(ErrorKind::kCorrupt,
                      fmt::format("Could not repair dirty image: {}", report.findings.front()))
              .with_hint("repair it with qemu-img check -r all"));
    }
    // What is new goes behind all that is used or counted.
    end_ = std::max<uint64_t>(counts_.found.size(), file_clusters());
    CO_TRY(add_missing_blocks());
    CO_TRY(co_await set_refcounts());
    image_.refcounts_.allocate_from(0);
    CO_TRY(co_await set_copied_flags());
    CO_TRY(co_await image_.commits_.commit_all());
    if (!report.is_clean()) {
      base::log_warning(fmt::format("image '{}' was not closed properly: {} refcounts repaired",
                                    image_.filename(), report.corruptions + report.leaks));
    }
    co_return Result<>{};
  }

 private:
  uint64_t file_clusters() {
    return base::div_ceil(image_.file_.size_bytes(), geometry_.cluster_bytes());
  }

  // A block for each stretch with a reference in it. Blocks themselves need counting too.
  Result<> add_missing_blocks() {
    const uint64_t entries = geometry_.block_entries();
    for (uint64_t cluster = 0; cluster < counts_.found.size(); ++cluster) {
      if (counts_.found[cluster] == 0) continue;
      const uint64_t block = cluster / entries;
      const auto& table = image_.refcounts_.table();
      if (block < table.size() && table[block] != 0) continue;
      const uint64_t place = end_++;
      TRY(image_.refcounts_.add_block(block, place));
      counts_.found.resize(std::max<uint64_t>(counts_.found.size(), end_));
      counts_.found[place] = 1;
    }
    counts_.stored.resize(counts_.found.size());
    return {};
  }

  Task<Result<>> set_refcounts() {
    for (uint64_t cluster = 0; cluster < counts_.found.size(); ++cluster) {
      if (counts_.found[cluster] == counts_.stored[cluster]) continue;
      if (counts_.found[cluster] > geometry_.refcount_max()) {
        co_return base::fail(ErrorKind::kCorrupt,
                             fmt::format("Could not repair dirty image: the cluster at {:#x} is "
                                         "used too often for its refcount",
                                         cluster << geometry_.cluster_bits));
      }
      CO_TRY(co_await image_.refcounts_.set(cluster, counts_.found[cluster]));
      if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
    }
    co_return Result<>{};
  }

  uint64_t flag_of(uint64_t offset) const {
    const uint64_t cluster = offset >> geometry_.cluster_bits;
    const bool once = cluster < counts_.found.size() && counts_.found[cluster] == 1;
    return once ? format::kCopied : 0;
  }

  Task<Result<>> set_copied_flags() {
    for (uint64_t i = 0; i < image_.l2_.l1().size(); ++i) {
      const uint64_t entry = image_.l2_.l1()[i];
      const uint64_t table = entry & format::kOffsetMask;
      if (table == 0) continue;
      const uint64_t right = (entry & ~format::kCopied) | flag_of(table);
      if (right != entry) image_.l2_.set_l1_entry(i, right);
      for (uint64_t at = 0; at < geometry_.cluster_bytes(); at += geometry_.slice_bytes()) {
        const TableCache::Ref slice = CO_TRY(co_await image_.l2_.cache().load(table + at));
        set_flags_in(*slice);
        if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
      }
    }
    co_return Result<>{};
  }

  void set_flags_in(TableCache::Slice& slice) {
    for (uint32_t i = 0; i < geometry_.slice_entries(); ++i) {
      L2Entry entry = load_entry(geometry_, slice.data.get(), i);
      if (entry.is_compressed() || entry.host() == 0) continue;
      const uint64_t right = (entry.descriptor & ~format::kCopied) | flag_of(entry.host());
      if (right == entry.descriptor) continue;
      entry.descriptor = right;
      store_entry(geometry_, image_.l2_.cache().modify(slice), i, entry);
    }
  }

  Image& image_;
  const Geometry geometry_;
  ReferenceCounts counts_;
  uint64_t end_ = 0;  // the first cluster that is free from there on
};

async::Task<base::Result<>> repair_refcounts(Image& image) {
  Repair repair(image);
  co_return co_await repair.run();
}

}  // namespace firn::qcow2
