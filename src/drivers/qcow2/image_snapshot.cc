// Image: internal snapshots, as the block layer sees them.

#include "drivers/qcow2/image.h"

namespace firn::qcow2 {
namespace {

block::InternalSnapshotFacts facts_of(const SnapshotEntry& entry) {
  return {.id = entry.id,
          .name = entry.name,
          .vm_state_bytes = entry.vm_state_bytes,
          .date_s = entry.date_s,
          .date_ns = entry.date_ns,
          .vm_clock_ns = entry.vm_clock_ns,
          .icount = entry.icount,
          .virtual_size_bytes = entry.virtual_size_bytes};
}

}  // namespace

std::vector<block::InternalSnapshotFacts> Image::snapshots() const {
  std::vector<block::InternalSnapshotFacts> all;
  for (const SnapshotEntry& entry : snapshots_.entries()) all.push_back(facts_of(entry));
  return all;
}

Task<Result<uint64_t>> Image::snapshot_prepare(block::InternalSnapshotSpec spec) {
  CO_TRY(check_writable());
  co_return co_await snapshots_.prepare(std::move(spec));
}

Task<Result<block::InternalSnapshotFacts>> Image::snapshot_store() {
  const SnapshotEntry entry = CO_TRY(co_await snapshots_.store());
  co_return facts_of(entry);
}

Task<Result<>> Image::snapshot_delete(std::string id) {
  CO_TRY(check_writable());
  co_return co_await snapshots_.remove(std::move(id));
}

Task<Result<>> Image::snapshot_revert(std::string id) {
  CO_TRY(check_writable());
  Result<> reverted = co_await snapshots_.revert(std::move(id));
  shown_size_bytes_ = header_.size_bytes;
  co_return reverted;
}

}  // namespace firn::qcow2
