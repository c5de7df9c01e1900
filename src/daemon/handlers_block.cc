#include <algorithm>
#include <boost/json/object.hpp>
#include <utility>
#include <vector>

#include "api/events.h"
#include "block/seal.h"
#include "block/snapshot.h"
#include "daemon/blockdev_options.h"
#include "daemon/handlers.h"
#include "daemon/node_info.h"
#include "daemon/snapshots.h"

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
  const auto reading = co_await graph_.read_nodes();
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
  const auto reading = co_await graph_.read_nodes();
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
  co_return co_await graph_.resize(args.device.value_or(""), args.node_name.value_or(""), args.size,
                                   args.shrink.value_or(false));
}

Task<Result<>> BlockHandlers::take_snapshot(block::SnapshotRequest request) {
  std::vector<block::TransactionAction> actions;
  actions.emplace_back(std::move(request));
  return take_snapshots(graph_, events_, std::move(actions));
}

Task<Result<>> BlockHandlers::blockdev_snapshot_sync(api::BlockdevSnapshotSync args) {
  co_return co_await take_snapshot(CO_TRY(snapshot_request(std::move(args))));
}

Task<Result<>> BlockHandlers::blockdev_snapshot(api::BlockdevSnapshot args) {
  co_return co_await take_snapshot(CO_TRY(snapshot_request(std::move(args))));
}

Task<Result<>> BlockHandlers::blockdev_snapshot_seal(api::BlockdevSnapshotSealArgs args) {
  const bool accept_loss = args.accept_loss.value_or(false);
  block::SealedNode sealed =
      CO_TRY(co_await block::seal_again(graph_, std::move(args.node_name), accept_loss));
  api::BlockSnapshotSealedEvent event;
  event.node_name = std::move(sealed.node);
  if (!sealed.overlay.empty()) event.overlay = std::move(sealed.overlay);
  event.loss_accepted = accept_loss;
  events_.emit(api::encode_event(event));
  co_return Result<>();
}

}  // namespace firn::daemon
