#include "drivers/qcow2/table_cache.h"

#include <algorithm>
#include <cstring>

namespace firn::qcow2 {

TableCache::TableCache(ImageFile& file, uint32_t slice_bytes, uint64_t budget_bytes)
    : file_(file),
      slice_bytes_(slice_bytes),
      budget_slices_(std::max<uint64_t>(8, budget_bytes / slice_bytes)) {}

TableCache::~TableCache() {
  for (const auto& [offset, slice] : slices_) CHECK(slice->pins == 0);
}

Task<Result<TableCache::Ref>> TableCache::load(uint64_t offset) {
  if (const auto found = slices_.find(offset); found != slices_.end()) {
    Ref ref(found->second.get());
    ref->used = true;
    while (ref->loading) co_await ref->loaded.wait();
    if (!ref->load_error) co_return ref;
    const base::Error error = *ref->load_error;
    Slice* slice = &*ref;
    ref = Ref();
    // The last one who waited for a slice that could not be read drops it.
    if (slice->pins == 0) drop(*slice);
    co_return std::unexpected(error);
  }
  Ref ref(&insert(offset));
  ref->loading = true;
  Result<> read = co_await file_.read(offset, ref->data.get(), slice_bytes_);
  ref->loading = false;
  const bool others = !ref->loaded.empty();
  ref->loaded.wake_all();
  if (read) co_return ref;
  Slice* slice = &*ref;
  slice->load_error = read.error();
  ref = Ref();
  if (!others) drop(*slice);
  co_return std::unexpected(read.error());
}

TableCache::Slice& TableCache::create(uint64_t offset) {
  Slice* slice = nullptr;
  if (const auto found = slices_.find(offset); found != slices_.end()) {
    slice = found->second.get();
    CHECK(!slice->loading);
  } else {
    slice = &insert(offset);
  }
  std::memset(modify(*slice), 0, slice_bytes_);
  return *slice;
}

std::byte* TableCache::modify(Slice& slice) {
  if (slice.in_commit && !slice.frozen) {
    slice.frozen = std::move(slice.data);
    slice.data = make_buffer(slice_bytes_);
    std::memcpy(slice.data.get(), slice.frozen.get(), slice_bytes_);
  }
  if (!slice.dirty) {
    slice.dirty = true;
    dirty_.push_back(&slice);
  }
  return slice.data.get();
}

std::vector<TableCache::Slice*> TableCache::freeze() {
  std::vector<Slice*> frozen = std::move(dirty_);
  dirty_.clear();
  for (Slice* slice : frozen) {
    CHECK(!slice->in_commit);
    slice->dirty = false;
    slice->in_commit = true;
  }
  return frozen;
}

void TableCache::thaw(const std::vector<Slice*>& slices, bool written) {
  for (Slice* slice : slices) {
    slice->in_commit = false;
    slice->frozen.reset();
    if (!written && !slice->dirty) {
      slice->dirty = true;
      dirty_.push_back(slice);
    }
  }
  make_room();
}

TableCache::Slice& TableCache::insert(uint64_t offset) {
  make_room();
  auto slice = std::make_unique<Slice>();
  slice->offset = offset;
  slice->used = true;
  slice->data = make_buffer(slice_bytes_);
  Slice& inserted = *slice;
  slices_.emplace(offset, std::move(slice));
  link(inserted);
  return inserted;
}

void TableCache::link(Slice& slice) {
  slice.older = newest_;
  slice.newer = nullptr;
  (newest_ != nullptr ? newest_->newer : oldest_) = &slice;
  newest_ = &slice;
}

void TableCache::unlink(Slice& slice) {
  (slice.newer != nullptr ? slice.newer->older : newest_) = slice.older;
  (slice.older != nullptr ? slice.older->newer : oldest_) = slice.newer;
}

void TableCache::drop(Slice& slice) {
  if (last_ == &slice) last_ = nullptr;
  unlink(slice);
  slices_.erase(slice.offset);
}

// Second chance: what was used since it was looked at last goes to the young end once more.
void TableCache::make_room() {
  size_t looked_at = 0;
  while (slices_.size() >= budget_slices_ && looked_at < 64) {
    ++looked_at;
    Slice& slice = *oldest_;
    const bool keep = slice.used || !droppable(slice);
    slice.used = false;
    if (!keep) {
      drop(slice);
      continue;
    }
    unlink(slice);
    link(slice);
  }
}

void TableCache::drop_unused() {
  last_ = nullptr;
  for (Slice* slice = oldest_; slice != nullptr;) {
    Slice* next = slice->newer;
    if (!slice->used && droppable(*slice))
      drop(*slice);
    else
      slice->used = false;
    slice = next;
  }
}

void TableCache::drop_clean() {
  last_ = nullptr;
  for (Slice* slice = oldest_; slice != nullptr;) {
    Slice* next = slice->newer;
    if (droppable(*slice)) drop(*slice);
    slice = next;
  }
}

}  // namespace firn::qcow2
