#include "drivers/qcow2/commit.h"

#include <algorithm>

#include "async/scope.h"
#include "base/canary.h"

namespace firn::qcow2 {
namespace {

// Slices that lie side by side go out in one write of at most this many.
constexpr size_t kSlicesPerWrite = 256;
constexpr size_t kWritesInFlight = 16;

// Frozen slices on their way to disk. Several tasks take runs off it.
struct WriteOut {
  ImageFile& file;
  uint32_t slice_bytes;
  const std::vector<TableCache::Slice*>& slices;  // by offset
  size_t next = 0;
  Result<> result;
};

Task<void> write_runs(WriteOut& out) {
  while (out.next < out.slices.size() && out.result) {
    const size_t first = out.next;
    IoVec iov;
    do {
      const TableCache::Slice& slice = *out.slices[out.next++];
      iov.append(const_cast<std::byte*>(TableCache::frozen_bytes(slice)), out.slice_bytes);
    } while (out.next < out.slices.size() && out.next - first < kSlicesPerWrite &&
             out.slices[out.next]->offset == out.slices[out.next - 1]->offset + out.slice_bytes);
    Result<> written = co_await out.file.write(out.slices[first]->offset, iov);
    if (!written && out.result) out.result = std::move(written);
  }
}

Task<Result<>> write_slices(ImageFile& file, uint32_t slice_bytes,
                            const std::vector<TableCache::Slice*>& slices) {
  if (slices.empty()) co_return Result<>{};
  std::vector<TableCache::Slice*> sorted = slices;
  std::ranges::sort(sorted, {}, &TableCache::Slice::offset);
  WriteOut out{.file = file, .slice_bytes = slice_bytes, .slices = sorted, .result = {}};
  async::TaskScope scope;
  for (size_t i = 0; i < std::min(kWritesInFlight, sorted.size()); ++i) {
    scope.spawn(write_runs(out));
  }
  co_await scope.join();
  co_return out.result;
}

}  // namespace

Commits::Commits(ImageFile& file, Header& header, Refcounts& refcounts, L2Tables& l2,
                 FreedClusters& freed)
    : file_(file), header_(header), refcounts_(refcounts), l2_(l2), freed_(freed) {
  l2_.set_next_commit(&next_);
}

Task<Result<>> Commits::commit() {
  // The first commit that begins from now on serves this call, whoever runs it.
  const uint64_t mine = next_;
  const async::Mutex::Guard guard = co_await running_.lock();
  if (sync_error_) co_return std::unexpected(*sync_error_);
  if (durable_ >= mine) co_return Result<>{};
  co_return co_await commit_locked();
}

Task<Result<>> Commits::commit_all() {
  Result<> result = co_await commit_until_clean();
  co_await background_.join();
  co_return result;
}

Task<Result<>> Commits::commit_until_clean() {
  do {
    co_await freed_.wait_for_requests(durable_);
    CO_TRY(co_await commit());
    co_await background_.join();
  } while (is_dirty());
  co_return Result<>{};
}

// What goes wrong here is a leaked cluster, and nobody's failure.
Task<void> Commits::release_freed() {
  uint64_t served = 0;
  do {
    served = durable_;
    (void)co_await freed_.release(served, discard_);
    pass_ended_.wake_all();
  } while (served != durable_);
}

Task<Result<>> Commits::commit_locked() {
  if (sync_error_) co_return std::unexpected(*sync_error_);
  CO_TRY(co_await refcounts_.make_room_for_table());
  const uint64_t number = next_++;
  Frozen frozen{refcounts_.freeze(), l2_.freeze()};
  for (const HostRun& run : refcounts_.take_old_tables()) freed_.add(number, run);
  Result<> written = co_await write(frozen);
  refcounts_.thaw(frozen.refcounts, written.has_value());
  l2_.thaw(frozen.l2, written.has_value());
  CO_TRY(std::move(written));
  durable_ = number;
  if (!freed_.empty() && !is_releasing()) background_.spawn(release_freed());
  co_return Result<>{};
}

Task<Result<>> Commits::sync() {
  Result<> done = co_await file_.flush();
  if (!done) {
    sync_error_ = base::Error(base::ErrorKind::kIo, done.error().text())
                      .with_hint(
                          "written data may be lost: check the store, then close the image "
                          "and check it before it is used again");
  }
  co_return done;
}

Task<Result<>> Commits::write(Frozen& frozen) {
  if (base::canaries.l2_before_refcount) {
    CO_TRY(co_await write_slices(file_, l2_.cache().slice_bytes(), frozen.l2.slices));
    CO_TRY(co_await sync());
  }
  CO_TRY(co_await write_refcounts(frozen.refcounts));
  CO_TRY(co_await sync());
  CO_TRY(co_await write_refcount_table(frozen.refcounts));
  if (!frozen.l2.slices.empty()) {
    CO_TRY(co_await write_slices(file_, l2_.cache().slice_bytes(), frozen.l2.slices));
    CO_TRY(co_await sync());
  }
  if (!frozen.l2.sectors.empty()) {
    CO_TRY(co_await write_l1(frozen.l2));
    CO_TRY(co_await sync());
  }
  co_return Result<>{};
}

Task<Result<>> Commits::write_refcounts(const Refcounts::Frozen& frozen) {
  CO_TRY(co_await write_slices(file_, refcounts_.cache().slice_bytes(), frozen.slices));
  if (frozen.moved) {
    CO_TRY(co_await file_.write(refcounts_.table_offset(), frozen.table.get(), frozen.table_bytes));
  }
  co_return Result<>{};
}

Task<Result<>> Commits::write_refcount_table(const Refcounts::Frozen& frozen) {
  if (frozen.moved) {
    header_.refcount_table_offset = refcounts_.table_offset();
    header_.refcount_table_clusters = refcounts_.table_clusters();
    co_return co_await write_header();
  }
  if (frozen.sectors.empty()) co_return Result<>{};
  for (size_t i = 0; i < frozen.sectors.size(); ++i) {
    CO_TRY(co_await file_.write(refcounts_.table_offset() + frozen.sectors[i] * 512,
                                frozen.table.get() + i * 512, 512));
  }
  co_return co_await sync();
}

Task<Result<>> Commits::write_l1(const L2Tables::Frozen& frozen) {
  for (size_t i = 0; i < frozen.sectors.size(); ++i) {
    CO_TRY(co_await file_.write(l2_.l1_offset() + frozen.sectors[i] * 512,
                                frozen.l1.get() + i * 512, 512));
  }
  co_return Result<>{};
}

Task<Result<>> Commits::write_header() {
  const std::vector<std::byte> bytes = CO_TRY(serialize_header(header_));
  CO_TRY(co_await file_.write(0, bytes.data(), bytes.size()));
  co_return co_await sync();
}

}  // namespace firn::qcow2
