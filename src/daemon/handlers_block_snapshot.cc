#include <boost/json/object.hpp>
#include <utility>

#include "api/events.h"
#include "block/internal_snapshot_step.h"
#include "daemon/handlers.h"
#include "daemon/node_info.h"
#include "daemon/snapshots.h"

namespace firn::daemon {

using async::Task;
using base::Result;

Task<Result<>> BlockSnapshotHandlers::blockdev_snapshot_internal_sync(
    api::BlockdevSnapshotInternal args) {
  auto report = CO_TRY(co_await block::take_disk_snapshot(
      graph_, {.device = std::move(args.device), .name = std::move(args.name)}));
  announce_internal_snapshot(events_, std::move(report));
  co_return Result<>();
}

Task<Result<api::SnapshotInfo>> BlockSnapshotHandlers::blockdev_snapshot_delete_internal_sync(
    api::BlockdevSnapshotDeleteInternalSyncArgs args) {
  const auto facts = CO_TRY(co_await block::delete_disk_snapshot(
      graph_, std::move(args.device), std::move(args.id), std::move(args.name)));
  co_return snapshot_info(facts);
}

}  // namespace firn::daemon
