#include "block/internal_snapshot.h"

#include <algorithm>
#include <chrono>

namespace firn::block {
namespace {

uint64_t elapsed_ns(async::TimePoint since) {
  const auto now = async::Loop::current().now();
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now - since).count());
}

}  // namespace

const InternalSnapshotFacts* find_internal_snapshot(
    const std::vector<InternalSnapshotFacts>& snapshots, std::string_view id,
    std::string_view name) {
  const auto found = std::ranges::find_if(snapshots, [&](const InternalSnapshotFacts& snapshot) {
    return (id.empty() || snapshot.id == id) && (name.empty() || snapshot.name == name);
  });
  return found == snapshots.end() ? nullptr : &*found;
}

Task<Result<InternalSnapshotReport>> take_internal_snapshot(Driver& driver,
                                                            InternalSnapshotSpec spec) {
  InternalSnapshotReport report;
  report.pause_ns = CO_TRY(co_await driver.snapshot_prepare(std::move(spec)));
  const async::TimePoint instant = async::Loop::current().now();
  driver.snapshot_take();
  report.facts = CO_TRY(co_await driver.snapshot_store());
  report.store_ns = elapsed_ns(instant);
  co_return report;
}

}  // namespace firn::block
