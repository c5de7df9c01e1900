#include "drivers/qcow2/tree.h"

#include <fmt/format.h>

#include "drivers/qcow2/mapping.h"

namespace firn::qcow2 {
namespace {

auto corrupt(std::string text) {
  return base::fail(base::Error(base::ErrorKind::kCorrupt, "qcow2: " + std::move(text))
                        .with_hint("check the image with qemu-img check"));
}

void append(std::vector<HostRun>& runs, uint64_t first, uint64_t count) {
  if (!runs.empty() && runs.back().first + runs.back().count == first) {
    runs.back().count += count;
  } else {
    runs.push_back({.first = first, .count = count});
  }
}

}  // namespace

Tree::Tree(const Geometry& geometry, TableCache& cache, std::vector<uint64_t> tables)
    : geometry_(geometry), cache_(cache), tables_(std::move(tables)) {}

Result<> Tree::check_table(uint64_t table) const {
  if (base::is_aligned(table, geometry_.cluster_bytes())) return {};
  return corrupt(fmt::format("L2 table offset {:#x} unaligned (L1 index: {:#x})", table, index_));
}

Result<> Tree::collect(const std::byte* slice, std::vector<HostRun>& runs) const {
  for (uint32_t i = 0; i < geometry_.slice_entries(); ++i) {
    const L2Entry entry = load_entry(geometry_, slice, i);
    if (entry.is_compressed()) {
      const CompressedRange range = compressed_range(geometry_, entry.descriptor);
      const uint64_t first = range.offset >> geometry_.cluster_bits;
      const uint64_t last = (range.offset + range.length - 1) >> geometry_.cluster_bits;
      // Neighbours may share a cluster, which counts both: no merging across entries.
      runs.push_back({.first = first, .count = last - first + 1});
    } else if (entry.host() != 0) {
      if (!base::is_aligned(entry.host(), geometry_.cluster_bytes())) {
        return corrupt(fmt::format("data offset {:#x} unaligned", entry.host()));
      }
      append(runs, entry.host() >> geometry_.cluster_bits, 1);
    }
  }
  return {};
}

Task<Result<bool>> Tree::next(Step& step) {
  step.slice = {};
  step.runs.clear();
  while (index_ < tables_.size() && (tables_[index_] & format::kOffsetMask) == 0) ++index_;
  if (index_ == tables_.size()) co_return false;
  const uint64_t table = tables_[index_] & format::kOffsetMask;
  CO_TRY(check_table(table));
  step.slice = CO_TRY(co_await cache_.load(table + in_table_));
  CO_TRY(collect(step.slice->data.get(), step.runs));
  in_table_ += geometry_.slice_bytes();
  if (in_table_ == geometry_.cluster_bytes()) {
    append(step.runs, table >> geometry_.cluster_bits, 1);
    in_table_ = 0;
    ++index_;
  }
  co_return true;
}

}  // namespace firn::qcow2
