#include <algorithm>
#include <boost/json/object.hpp>
#include <limits>
#include <utility>

#include "api/events.h"
#include "block/snapshot.h"
#include "daemon/blockdev_options.h"
#include "daemon/handlers.h"
#include "daemon/node_info.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

Task<Result<>> BlockHandlers::blockdev_add(api::BlockdevOptions args) {
  CO_TRY(co_await graph_.add_node(CO_TRY(node_spec(args))));
  co_return Result<>();
}

Task<Result<>> BlockHandlers::blockdev_del(api::BlockdevDelArgs args) {
  co_return co_await graph_.remove_node(std::move(args.node_name));
}

Task<Result<std::vector<api::BlockDeviceInfo>>> BlockHandlers::query_named_block_nodes(
    api::QueryNamedBlockNodesArgs args) {
  auto guard = co_await graph_.lock_changes();
  std::vector<api::BlockDeviceInfo> list;
  std::vector<block::Node*> nodes = graph_.nodes();
  std::ranges::reverse(nodes);  // newest first, as in QEMU
  for (const block::Node* node : nodes) {
    list.push_back(CO_TRY(co_await block_device_info(*node, !args.flat.value_or(false))));
  }
  co_return list;
}

namespace {

Task<const block::Node*> head_of(block::Device& device) { co_return device.root.head(); }

}  // namespace

Task<Result<std::vector<api::BlockInfo>>> BlockHandlers::query_block() {
  auto guard = co_await graph_.lock_changes();
  std::vector<api::BlockInfo> list;
  for (block::Device* device : graph_.devices()) {
    api::BlockInfo info;
    info.device = device->id;
    info.type = "unknown";  // of the guest's hardware, which is not here
    const block::Node* head = co_await async::call_on(*device->home, head_of(*device));
    if (head != nullptr) info.inserted = CO_TRY(co_await block_device_info(*head, true));
    list.push_back(std::move(info));
  }
  co_return list;
}

Task<Result<>> BlockHandlers::block_resize(api::BlockResizeArgs args) {
  co_return co_await graph_.resize(args.device.value_or(""), args.node_name.value_or(""),
                                   args.size);
}

Task<Result<>> BlockHandlers::blockdev_snapshot_sync(api::BlockdevSnapshotSync args) {
  block::SnapshotRequest request;
  request.device = args.device.value_or("");
  request.node_name = args.node_name.value_or("");
  request.overlay_path = std::move(args.snapshot_file);
  request.overlay_node_name = args.snapshot_node_name.value_or("");
  if (args.format) request.format = *std::move(args.format);
  bool existing =
      args.mode.value_or(api::NewImageMode::kAbsolutePaths) == api::NewImageMode::kExisting;
  request.mode = existing ? block::SnapshotMode::kExisting : block::SnapshotMode::kAbsolutePaths;
  auto report = CO_TRY(co_await block::take_snapshot(graph_, std::move(request)));

  api::BlockSnapshotCompletedEvent event;
  if (!report.device.empty()) event.device = std::move(report.device);
  event.node_name = std::move(report.old_node);
  event.overlay = std::move(report.overlay_node);
  event.pause_ns = report.pause_ns;
  event.prepare_ns = report.prepare_ns;
  event.seal_ns = report.seal_ns;
  constexpr uint64_t kMax = std::numeric_limits<uint32_t>::max();
  event.in_flight = static_cast<uint32_t>(std::min(report.in_flight, kMax));
  events_.emit(api::encode_event(event));
  co_return Result<>();
}

}  // namespace firn::daemon
