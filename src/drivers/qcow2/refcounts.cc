#include "drivers/qcow2/refcounts.h"

#include <fmt/format.h>

#include <algorithm>

namespace firn::qcow2 {

using base::ErrorKind;
using base::fail;

namespace {
constexpr uint64_t kEntriesPerSector = 512 / 8;
// Slices that one synchronous search looks at.
constexpr int kSearchSlices = 16;
}  // namespace

uint64_t load_refcount(const std::byte* counts, uint64_t index, unsigned order) {
  switch (order) {
    case 3:
      return static_cast<uint8_t>(counts[index]);
    case 4:
      return base::load_be<uint16_t>(counts + index * 2);
    case 5:
      return base::load_be<uint32_t>(counts + index * 4);
    case 6:
      return base::load_be<uint64_t>(counts + index * 8);
    default: {
      const unsigned bits = 1u << order;
      const unsigned per_byte = 8 / bits;
      const unsigned shift = static_cast<unsigned>(index % per_byte) * bits;
      return static_cast<uint8_t>(counts[index / per_byte]) >> shift & ((1u << bits) - 1);
    }
  }
}

void store_refcount(std::byte* counts, uint64_t index, unsigned order, uint64_t value) {
  switch (order) {
    case 3:
      counts[index] = static_cast<std::byte>(value);
      return;
    case 4:
      base::store_be(counts + index * 2, static_cast<uint16_t>(value));
      return;
    case 5:
      base::store_be(counts + index * 4, static_cast<uint32_t>(value));
      return;
    case 6:
      base::store_be(counts + index * 8, value);
      return;
    default: {
      const unsigned bits = 1u << order;
      const unsigned per_byte = 8 / bits;
      const unsigned shift = static_cast<unsigned>(index % per_byte) * bits;
      std::byte& byte = counts[index / per_byte];
      const auto mask = static_cast<std::byte>(((1u << bits) - 1) << shift);
      byte = (byte & ~mask) | (static_cast<std::byte>(value << shift) & mask);
    }
  }
}

Refcounts::Refcounts(const Geometry& geometry, ImageFile& file, uint64_t cache_bytes)
    : geometry_(geometry), file_(file), cache_(file, geometry.slice_bytes(), cache_bytes) {}

void Refcounts::note_file_end() {
  fresh_from_ = base::div_ceil(file_.size_bytes(), geometry_.cluster_bytes());
}

Task<Result<>> Refcounts::open(uint64_t table_offset, uint32_t table_clusters) {
  table_offset_ = table_offset;
  table_clusters_ = table_clusters;
  cursor_ = 0;
  note_file_end();
  const uint64_t bytes = uint64_t{table_clusters} << geometry_.cluster_bits;
  Buffer raw = make_buffer(bytes);
  CO_TRY_CONTEXT(co_await file_.read(table_offset, raw.get(), bytes),
                 "Could not read the refcount table");
  std::vector<uint64_t> table(bytes / 8);
  for (size_t i = 0; i < table.size(); ++i) {
    const uint64_t entry = base::load_be<uint64_t>(raw.get() + i * 8);
    const uint64_t offset = entry & format::kRefcountTableOffsetMask;
    if (!base::is_aligned(offset, geometry_.cluster_bytes()) || offset >= format::kMaxHostOffset) {
      co_return fail(
          ErrorKind::kCorrupt,
          fmt::format("Refblock offset {:#x} unaligned (reftable index: {:#x})", offset, i));
    }
    if (offset >= fresh_from()) {
      co_return fail(ErrorKind::kCorrupt,
                     fmt::format("Refblock offset {:#x} beyond the file's end (reftable index: "
                                 "{:#x})",
                                 offset, i));
    }
    table[i] = offset;
  }
  while (!table.empty() && table.back() == 0) table.pop_back();
  table_ = std::move(table);
  co_return Result<>{};
}

Refcounts::Place Refcounts::place_of(uint64_t cluster) const {
  const uint64_t block = cluster / geometry_.block_entries();
  if (block >= table_.size() || table_[block] == 0) return {};
  const uint64_t in_block = cluster % geometry_.block_entries();
  const uint64_t per_slice = geometry_.refcount_slice_entries();
  return {table_[block] + in_block / per_slice * geometry_.slice_bytes(), in_block % per_slice};
}

Task<Result<TableCache::Ref>> Refcounts::load_slice(uint64_t cluster) {
  const Place place = place_of(cluster);
  CHECK(place.slice_offset != 0);
  co_return co_await cache_.load(place.slice_offset);
}

void Refcounts::mark_entry(uint64_t block) {
  const uint64_t sector = block / kEntriesPerSector;
  if (dirty_sectors_.empty() || dirty_sectors_.back() != sector) dirty_sectors_.push_back(sector);
}

Result<> Refcounts::add_block(uint64_t block, uint64_t cluster) {
  if ((block + 1) * 8 > format::kMaxRefcountTableBytes || cluster >= max_clusters()) {
    return fail(base::Error(ErrorKind::kNoSpace, "The image file has reached its largest size")
                    .with_hint("convert the image to one with larger clusters"));
  }
  if (block >= table_.size()) table_.resize(block + 1);
  CHECK(table_[block] == 0);
  const uint64_t begin = cluster << geometry_.cluster_bits;
  for (uint64_t at = 0; at < geometry_.cluster_bytes(); at += geometry_.slice_bytes()) {
    if (!cache_.is_in_use(begin + at)) continue;
    return fail(ErrorKind::kCorrupt,
                fmt::format("qcow2: the refcount block at {:#x} is counted as free", begin));
  }
  table_[block] = cluster << geometry_.cluster_bits;
  mark_entry(block);
  for (uint64_t at = 0; at < geometry_.cluster_bytes(); at += geometry_.slice_bytes()) {
    cache_.create(table_[block] + at);
  }
  fresh_from_ = std::max(fresh_from_, cluster + 1);
  return {};
}

uint64_t Refcounts::find_zero(const TableCache::Slice& slice, uint64_t index) const {
  const uint64_t end = geometry_.refcount_slice_entries();
  const std::byte* counts = slice.data.get();
  while (index < end && load_refcount(counts, index, geometry_.refcount_order) != 0) ++index;
  return index;
}

// Counts one for clusters from the cursor on, as long as they are free.
HostRun Refcounts::take(TableCache::Slice& slice, uint64_t index, uint64_t count) {
  const unsigned order = geometry_.refcount_order;
  std::byte* counts = cache_.modify(slice);
  HostRun run = {.first = cursor_, .fresh = cursor_ >= fresh_from_};
  const uint64_t end = geometry_.refcount_slice_entries();
  while (index < end && run.count < count && load_refcount(counts, index, order) == 0) {
    // A run is fresh as a whole or not at all.
    if (!run.fresh && run.first + run.count >= fresh_from_ && run.count != 0) break;
    store_refcount(counts, index++, order, 1);
    ++run.count;
  }
  cursor_ = run.first + run.count;
  fresh_from_ = std::max(fresh_from_, cursor_);
  return run;
}

std::optional<HostRun> Refcounts::try_allocate(uint64_t count) {
  for (int searched = 0; searched < kSearchSlices; ++searched) {
    const Place place = place_of(cursor_);
    if (place.slice_offset == 0) {
      // Nothing under this block is in use, so its first cluster in reach holds the block itself.
      const uint64_t cluster = cursor_;
      if (!add_block(cluster / geometry_.block_entries(), cluster)) return std::nullopt;
      const Place own = place_of(cluster);
      TableCache::Slice* slice = cache_.find(own.slice_offset);
      store_refcount(cache_.modify(*slice), own.index, geometry_.refcount_order, 1);
      ++cursor_;
      continue;
    }
    TableCache::Slice* slice = cache_.find(place.slice_offset);
    if (slice == nullptr) return std::nullopt;
    const uint64_t found = find_zero(*slice, place.index);
    cursor_ += found - place.index;
    if (found == geometry_.refcount_slice_entries()) continue;
    if (cursor_ >= max_clusters()) return std::nullopt;
    return take(*slice, found, count);
  }
  return std::nullopt;
}

Task<Result<HostRun>> Refcounts::allocate(uint64_t count) {
  while (true) {
    if (std::optional<HostRun> run = try_allocate(count)) co_return *run;
    if (cursor_ >= max_clusters() ||
        (cursor_ / geometry_.block_entries() + 1) * 8 > format::kMaxRefcountTableBytes) {
      co_return fail(base::Error(ErrorKind::kNoSpace, "The image file has reached its largest size")
                         .with_hint("convert the image to one with larger clusters"));
    }
    TableCache::Ref pinned;
    if (place_of(cursor_).slice_offset != 0) pinned = CO_TRY(co_await load_slice(cursor_));
    if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
    // While it is pinned the search gets past this slice.
    if (pinned) {
      if (std::optional<HostRun> run = try_allocate(count)) co_return *run;
    }
  }
}

// A free stretch of `count` clusters under blocks that exist.
Task<Result<std::optional<HostRun>>> Refcounts::find_in_blocks(uint64_t count) {
  uint64_t first = cursor_;
  uint64_t at = cursor_;
  const uint64_t end = table_.size() * geometry_.block_entries();
  while (at < end) {
    const Place place = place_of(at);
    if (place.slice_offset == 0) {
      at += geometry_.block_entries() - at % geometry_.block_entries();
      first = at;
      continue;
    }
    TableCache::Ref slice = CO_TRY(co_await load_slice(at));
    uint64_t index = place.index;
    for (; index < geometry_.refcount_slice_entries(); ++index, ++at) {
      if (load_refcount(slice->data.get(), index, geometry_.refcount_order) != 0) first = at + 1;
      if (at + 1 - first == count) co_return HostRun{.first = first, .count = count};
    }
    if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
  }
  co_return std::nullopt;
}

// Beyond all blocks: the new blocks that count the stretch come first, then the stretch.
Task<Result<HostRun>> Refcounts::allocate_beyond(uint64_t count) {
  const uint64_t entries = geometry_.block_entries();
  const uint64_t first_block = table_.size();
  const uint64_t start = first_block * entries;
  uint64_t blocks = 1;
  while (blocks * entries < blocks + count) ++blocks;
  for (uint64_t i = 0; i < blocks; ++i) CO_TRY(add_block(first_block + i, start + i));
  CO_TRY(co_await set_range(start, blocks + count, 1));
  fresh_from_ = std::max(fresh_from_, start + blocks + count);
  co_return HostRun{.first = start + blocks, .count = count};
}

Task<Result<>> Refcounts::set_range(uint64_t first, uint64_t count, uint64_t value) {
  for (uint64_t i = 0; i < count; ++i) {
    const Place place = place_of(first + i);
    TableCache::Slice* slice = cache_.find(place.slice_offset);
    TableCache::Ref loaded;
    if (slice == nullptr) {
      loaded = CO_TRY(co_await load_slice(first + i));
      slice = &*loaded;
    }
    store_refcount(cache_.modify(*slice), place.index, geometry_.refcount_order, value);
  }
  co_return Result<>{};
}

Task<Result<HostRun>> Refcounts::allocate_table(uint64_t count) {
  if (count == 1) co_return co_await allocate(1);
  while (true) {
    const std::optional<HostRun> found = CO_TRY(co_await find_in_blocks(count));
    if (!found) co_return co_await allocate_beyond(count);
    // Others may have allocated while slices were read: look again, and take it in one turn.
    bool is_free = true;
    std::vector<TableCache::Ref> pinned;
    for (uint64_t i = 0; i < count; i += 1) {
      const Place place = place_of(found->first + i);
      if (i == 0 || place.index == 0) {
        pinned.push_back(CO_TRY(co_await load_slice(found->first + i)));
      }
    }
    for (uint64_t i = 0; i < count && is_free; ++i) {
      const Place place = place_of(found->first + i);
      const TableCache::Slice* slice = cache_.find(place.slice_offset);
      is_free = load_refcount(slice->data.get(), place.index, geometry_.refcount_order) == 0;
    }
    if (!is_free) continue;
    for (uint64_t i = 0; i < count; ++i) {
      const Place place = place_of(found->first + i);
      store_refcount(cache_.modify(*cache_.find(place.slice_offset)), place.index,
                     geometry_.refcount_order, 1);
    }
    fresh_from_ = std::max(fresh_from_, found->first + count);
    co_return *found;
  }
}

Task<Result<uint64_t>> Refcounts::get(uint64_t cluster) {
  const Place place = place_of(cluster);
  if (place.slice_offset == 0) co_return uint64_t{0};
  const TableCache::Ref slice = CO_TRY(co_await load_slice(cluster));
  co_return load_refcount(slice->data.get(), place.index, geometry_.refcount_order);
}

std::optional<uint64_t> Refcounts::try_get(uint64_t cluster) {
  const Place place = place_of(cluster);
  if (place.slice_offset == 0) return 0;
  const TableCache::Slice* slice = cache_.find(place.slice_offset);
  if (slice == nullptr) return std::nullopt;
  return load_refcount(slice->data.get(), place.index, geometry_.refcount_order);
}

Task<Result<>> Refcounts::increment(uint64_t first, uint64_t count, uint64_t& done) {
  for (uint64_t cluster = first; cluster < first + count; ++cluster) {
    const Place place = place_of(cluster);
    uint64_t value = 0;
    TableCache::Ref slice;
    if (place.slice_offset != 0) {
      slice = CO_TRY(co_await load_slice(cluster));
      value = load_refcount(slice->data.get(), place.index, geometry_.refcount_order);
    }
    if (value == 0) {
      co_return fail(base::Error(ErrorKind::kCorrupt,
                                 fmt::format("qcow2: the refcount of the cluster at {:#x} is 0 but "
                                             "something refers to it",
                                             cluster << geometry_.cluster_bits))
                         .with_hint("check the image with qemu-img check"));
    }
    if (value == geometry_.refcount_max()) {
      co_return fail(
          base::Error(ErrorKind::kOutOfRange,
                      fmt::format("the cluster at {:#x} is in use as often as {} bits can count",
                                  cluster << geometry_.cluster_bits, geometry_.refcount_bits()))
              .with_hint("delete older internal snapshots, or convert the image to one with wider "
                         "refcounts (refcount_bits)"));
    }
    store_refcount(cache_.modify(*slice), place.index, geometry_.refcount_order, value + 1);
    ++done;
  }
  co_return Result<>{};
}

Task<Result<>> Refcounts::set(uint64_t cluster, uint64_t value) {
  const Place place = place_of(cluster);
  CHECK(place.slice_offset != 0);
  const TableCache::Ref slice = CO_TRY(co_await load_slice(cluster));
  store_refcount(cache_.modify(*slice), place.index, geometry_.refcount_order, value);
  co_return Result<>{};
}

Task<Result<>> Refcounts::decrement(uint64_t first, uint64_t count, std::vector<HostRun>* freed) {
  Result<> result;
  for (uint64_t cluster = first; cluster < first + count; ++cluster) {
    const Place place = place_of(cluster);
    uint64_t value = 0;
    TableCache::Ref slice;
    if (place.slice_offset != 0) {
      slice = CO_TRY(co_await load_slice(cluster));
      value = load_refcount(slice->data.get(), place.index, geometry_.refcount_order);
    }
    if (value == 0) {
      result = fail(ErrorKind::kCorrupt,
                    fmt::format("qcow2: the refcount of the cluster at {:#x} is 0 but something "
                                "refers to it",
                                cluster << geometry_.cluster_bits));
      continue;
    }
    store_refcount(cache_.modify(*slice), place.index, geometry_.refcount_order, --value);
    if (value != 0) continue;
    cursor_ = std::min(cursor_, cluster);
    if (freed == nullptr) continue;
    if (!freed->empty() && freed->back().first + freed->back().count == cluster) {
      ++freed->back().count;
    } else {
      freed->push_back({.first = cluster, .count = 1});
    }
  }
  co_return result;
}

Task<Result<>> Refcounts::make_room_for_table() {
  while (table_too_small()) {
    // Half as large again, so that it moves seldom.
    const uint64_t bytes = table_.size() * 8 + table_.size() * 4;
    uint64_t clusters = base::div_ceil(bytes, geometry_.cluster_bytes()) + 1;
    const uint64_t most = format::kMaxRefcountTableBytes >> geometry_.cluster_bits;
    clusters = std::min(clusters, std::max<uint64_t>(most, 1));
    const HostRun run = CO_TRY(co_await allocate_table(clusters));
    old_tables_.push_back(
        {.first = table_offset_ >> geometry_.cluster_bits, .count = table_clusters_});
    table_offset_ = run.first << geometry_.cluster_bits;
    table_clusters_ = static_cast<uint32_t>(clusters);
    moved_ = true;
  }
  co_return Result<>{};
}

Refcounts::Frozen Refcounts::freeze() {
  Frozen frozen;
  frozen.slices = cache_.freeze();
  frozen.sectors = std::exchange(dirty_sectors_, {});
  frozen.moved = std::exchange(moved_, false);
  std::ranges::sort(frozen.sectors);
  frozen.sectors.erase(std::ranges::unique(frozen.sectors).begin(), frozen.sectors.end());
  const auto store = [&](std::byte* to, uint64_t first, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t entry = first + i < table_.size() ? table_[first + i] : 0;
      base::store_be(to + i * 8, entry);
    }
  };
  if (frozen.moved) {
    frozen.table_bytes = uint64_t{table_clusters_} << geometry_.cluster_bits;
    frozen.table = make_buffer(frozen.table_bytes);
    store(frozen.table.get(), 0, frozen.table_bytes / 8);
  } else if (!frozen.sectors.empty()) {
    frozen.table_bytes = frozen.sectors.size() * 512;
    frozen.table = make_buffer(frozen.table_bytes);
    for (size_t i = 0; i < frozen.sectors.size(); ++i) {
      store(frozen.table.get() + i * 512, frozen.sectors[i] * kEntriesPerSector, kEntriesPerSector);
    }
  }
  return frozen;
}

void Refcounts::thaw(Frozen& frozen, bool written) {
  cache_.thaw(frozen.slices, written);
  if (written) return;
  moved_ = moved_ || frozen.moved;
  for (const uint64_t sector : frozen.sectors) mark_entry(sector * kEntriesPerSector);
}

}  // namespace firn::qcow2
