#include "drivers/qcow2/l2_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace firn::qcow2 {

using base::ErrorKind;
using base::fail;

namespace {
constexpr uint64_t kEntriesPerSector = 512 / 8;
}

L2Tables::L2Tables(const Geometry& geometry, ImageFile& file, Refcounts& refcounts,
                   FreedClusters& freed, uint64_t cache_bytes)
    : geometry_(geometry),
      refcounts_(refcounts),
      freed_(freed),
      file_(file),
      cache_(file, geometry.slice_bytes(), cache_bytes) {}

Task<Result<>> L2Tables::open(uint64_t l1_offset, uint32_t l1_entries) {
  const uint64_t bytes = uint64_t{l1_entries} * 8;
  Buffer raw = make_buffer(std::max<uint64_t>(bytes, 1));
  if (bytes != 0) {
    CO_TRY_CONTEXT(co_await file_.read(l1_offset, raw.get(), bytes), "Could not read L1 table");
  }
  l1_.resize(l1_entries);
  for (size_t i = 0; i < l1_.size(); ++i) l1_[i] = base::load_be<uint64_t>(raw.get() + i * 8);
  l1_offset_ = l1_offset;
  dirty_sectors_.clear();
  co_return Result<>{};
}

Result<> L2Tables::check_table(uint64_t index) const {
  const uint64_t table = l1_[index] & format::kOffsetMask;
  if (!base::is_aligned(table, geometry_.cluster_bytes())) {
    return fail(
        ErrorKind::kCorrupt,
        fmt::format("qcow2: L2 table offset {:#x} unaligned (L1 index: {:#x})", table, index));
  }
  if (table >= refcounts_.fresh_from() || table < geometry_.cluster_bytes()) {
    return fail(
        ErrorKind::kCorrupt,
        fmt::format("qcow2: L2 table offset {:#x} leads nowhere (L1 index: {:#x})", table, index));
  }
  return {};
}

Result<> L2Tables::check_new_table(uint64_t table) const {
  for (uint64_t at = 0; at < geometry_.cluster_bytes(); at += geometry_.slice_bytes()) {
    if (!cache_.is_in_use(table + at)) continue;
    return fail(base::Error(ErrorKind::kCorrupt,
                            fmt::format("qcow2: the L2 table at {:#x} is counted as free", table))
                    .with_hint("check the image with qemu-img check"));
  }
  return {};
}

Task<Result<TableCache::Ref>> L2Tables::load(uint64_t guest) {
  CO_TRY(check_table(geometry_.l1_index(guest)));
  co_return co_await cache_.load(table_of(guest) + geometry_.slice_in_table(guest));
}

Task<Result<TableCache::Ref>> L2Tables::load_writable(uint64_t guest) {
  if (!is_writable(guest)) {
    const async::Mutex::Guard guard = co_await making_.lock();
    const uint64_t index = geometry_.l1_index(guest);
    if (is_unmapped(guest)) {
      CO_TRY(co_await make_table(index));
    } else if (!is_writable(guest)) {
      CO_TRY(co_await copy_table(index));
    }
  }
  co_return co_await load(guest);
}

void L2Tables::set_l1_entry(uint64_t index, uint64_t entry) {
  l1_[index] = entry;
  const uint64_t sector = index / kEntriesPerSector;
  if (dirty_sectors_.empty() || dirty_sectors_.back() != sector) dirty_sectors_.push_back(sector);
}

Task<Result<>> L2Tables::make_table(uint64_t index) {
  const HostRun run = CO_TRY(co_await refcounts_.allocate(1));
  const uint64_t table = run.first << geometry_.cluster_bits;
  CO_TRY(check_new_table(table));
  for (uint64_t at = 0; at < geometry_.cluster_bytes(); at += geometry_.slice_bytes()) {
    cache_.create(table + at);
  }
  set_l1_entry(index, table | format::kCopied);
  co_return Result<>{};
}

// Others go on reading the shared table meanwhile; nobody changes it.
Task<Result<>> L2Tables::copy_table(uint64_t index) {
  CO_TRY(check_table(index));
  const uint64_t old_table = l1_[index] & format::kOffsetMask;
  std::vector<TableCache::Ref> slices;
  for (uint64_t at = 0; at < geometry_.cluster_bytes(); at += geometry_.slice_bytes()) {
    slices.push_back(CO_TRY(co_await cache_.load(old_table + at)));
  }
  const HostRun run = CO_TRY(co_await refcounts_.allocate(1));
  const uint64_t table = run.first << geometry_.cluster_bits;
  CO_TRY(check_new_table(table));
  for (const TableCache::Ref& slice : slices) {
    TableCache::Slice& copy = cache_.create(table + (slice->offset - old_table));
    std::memcpy(cache_.modify(copy), slice->data.get(), geometry_.slice_bytes());
    clear_copied_flags(geometry_, copy.data.get());
  }
  set_l1_entry(index, table | format::kCopied);
  freed_.add(*next_commit_, {.first = old_table >> geometry_.cluster_bits, .count = 1});
  co_return Result<>{};
}

std::vector<uint64_t> L2Tables::share_all() {
  std::vector<uint64_t> tables(l1_.size());
  for (uint64_t i = 0; i < l1_.size(); ++i) {
    tables[i] = l1_[i] & format::kOffsetMask;
    if ((l1_[i] & format::kCopied) != 0) set_l1_entry(i, l1_[i] & ~format::kCopied);
  }
  return tables;
}

Task<Result<>> L2Tables::reclaim_table(uint64_t index) {
  const async::Mutex::Guard guard = co_await making_.lock();
  const uint64_t table = l1_[index] & format::kOffsetMask;
  if (table == 0 || (l1_[index] & format::kCopied) != 0) co_return Result<>{};
  CO_TRY(check_table(index));
  if (CO_TRY(co_await refcounts_.get(table >> geometry_.cluster_bits)) == 1) {
    set_l1_entry(index, l1_[index] | format::kCopied);
  }
  co_return Result<>{};
}

void L2Tables::replace_l1(uint64_t offset, std::vector<uint64_t> entries) {
  CHECK(!is_dirty());
  l1_offset_ = offset;
  l1_ = std::move(entries);
}

L2Tables::Frozen L2Tables::freeze() {
  Frozen frozen;
  frozen.slices = cache_.freeze();
  frozen.sectors = std::exchange(dirty_sectors_, {});
  std::ranges::sort(frozen.sectors);
  frozen.sectors.erase(std::ranges::unique(frozen.sectors).begin(), frozen.sectors.end());
  if (frozen.sectors.empty()) return frozen;
  frozen.l1 = make_buffer(frozen.sectors.size() * 512);
  std::byte* to = frozen.l1.get();
  for (const uint64_t sector : frozen.sectors) {
    for (uint64_t i = sector * kEntriesPerSector; i < (sector + 1) * kEntriesPerSector; ++i) {
      base::store_be(to, i < l1_.size() ? l1_[i] : uint64_t{0});
      to += 8;
    }
  }
  return frozen;
}

void L2Tables::thaw(Frozen& frozen, bool written) {
  cache_.thaw(frozen.slices, written);
  if (written) return;
  dirty_sectors_.insert(dirty_sectors_.end(), frozen.sectors.begin(), frozen.sectors.end());
}

Buffer L2Tables::copy_l1(uint64_t bytes) const {
  Buffer copy = make_zero_buffer(bytes);
  const size_t count = std::min<uint64_t>(l1_.size(), bytes / 8);
  for (size_t i = 0; i < count; ++i) base::store_be(copy.get() + i * 8, l1_[i]);
  return copy;
}

void L2Tables::move_l1(uint64_t offset, uint32_t entries) {
  l1_offset_ = offset;
  l1_.resize(entries);
}

}  // namespace firn::qcow2
