#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <chrono>
#include <limits>
#include <utility>

#include "api/events.h"
#include "block/fork.h"
#include "block/revert.h"
#include "daemon/handlers.h"
#include "daemon/snapshots.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

std::optional<std::string> unless_empty(std::string text) {
  if (text.empty()) return std::nullopt;
  return text;
}

// Either a layer with a file for the overlay, or an internal snapshot without.
Result<> check_target(const api::BlockdevSnapshotRevert& args) {
  const bool inside = args.id.has_value() || args.name.has_value();
  if (args.layer && inside) {
    return fail(base::Error(ErrorKind::kInvalidArgument,
                            "Parameters 'layer' and 'name' can't be used together")
                    .with_hint("a disk goes back to a layer or to an internal snapshot"));
  }
  if (args.layer) {
    if (args.overlay_file) return {};
    return fail(base::Error(ErrorKind::kInvalidArgument, "Parameter 'overlay-file' is missing")
                    .with_hint("a layer stays as it is: a new image takes the writes"));
  }
  if (!inside) {
    return fail(base::Error(ErrorKind::kInvalidArgument, "Parameter 'layer' is missing")
                    .with_hint("name a layer, or an internal snapshot by 'name' or 'id'"));
  }
  const std::pair<bool, const char*> only_with_layer[] = {
      {args.overlay_file.has_value(), "overlay-file"},
      {args.overlay_node_name.has_value(), "overlay-node-name"},
      {args.format.has_value(), "format"},
      {args.mode.has_value(), "mode"}};
  for (const auto& [given, name] : only_with_layer) {
    if (!given) continue;
    return fail(
        base::Error(ErrorKind::kInvalidArgument, fmt::format("Parameter '{}' needs 'layer'", name))
            .with_hint("going back to an internal snapshot makes no image"));
  }
  if (args.id.value_or("").empty() && args.name.value_or("").empty()) {
    return fail(ErrorKind::kInvalidArgument, "Name or id must be provided");
  }
  return {};
}

api::BlockSnapshotRevertedEvent reverted_event(block::RevertReport report) {
  api::BlockSnapshotRevertedEvent event;
  event.device = unless_empty(std::move(report.device));
  event.node_name = std::move(report.head);
  event.left = unless_empty(std::move(report.left));
  event.layer = unless_empty(std::move(report.layer));
  event.id = unless_empty(std::move(report.snapshot_id));
  event.name = unless_empty(std::move(report.snapshot_name));
  event.pause_ns = report.pause_ns;
  event.prepare_ns = report.prepare_ns;
  event.seal_ns = report.seal_ns;
  constexpr uint64_t kMax = std::numeric_limits<uint32_t>::max();
  event.in_flight = static_cast<uint32_t>(std::min(report.in_flight, kMax));
  return event;
}

}  // namespace

Task<Result<>> RevertHandlers::blockdev_snapshot_revert(api::BlockdevSnapshotRevert args) {
  CO_TRY(check_target(args));
  block::RevertRequest request;
  request.disk.device = args.device.value_or("");
  request.disk.node_name = args.node_name.value_or("");
  request.disk.overlay_path = args.overlay_file.value_or("");
  request.disk.overlay_node_name = args.overlay_node_name.value_or("");
  if (args.format) request.disk.format = *std::move(args.format);
  request.disk.mode = snapshot_mode(args.mode);
  request.layer = args.layer.value_or("");
  request.snapshot_id = args.id.value_or("");
  request.snapshot_name = args.name.value_or("");
  if (args.deadline_ms) request.patience = std::chrono::milliseconds(*args.deadline_ms);
  auto report = CO_TRY(co_await block::revert(graph_, std::move(request)));
  events_.emit(api::encode_event(reverted_event(std::move(report))));
  co_return Result<>();
}

Task<Result<>> RevertHandlers::block_device_fork(api::BlockDeviceFork args) {
  block::ForkRequest request;
  request.id = args.id;
  request.overlay.device = args.device.value_or("");
  request.overlay.node_name = args.node_name.value_or("");
  request.overlay.overlay_path = std::move(args.overlay_file);
  request.overlay.overlay_node_name = args.overlay_node_name.value_or("");
  if (args.format) request.overlay.format = *std::move(args.format);
  request.overlay.mode = snapshot_mode(args.mode);
  request.snapshot_path = args.snapshot_file.value_or("");
  request.snapshot_node_name = args.snapshot_node_name.value_or("");
  auto report = CO_TRY(co_await block::fork_device(graph_, std::move(request)));
  if (report.snapshot) announce_snapshot(events_, *std::move(report.snapshot));
  api::BlockDeviceForkedEvent event;
  event.id = std::move(report.id);
  event.node_name = std::move(report.head);
  event.layer = std::move(report.layer);
  event.device = unless_empty(std::move(report.device));
  event.total_ns = report.total_ns;
  events_.emit(api::encode_event(event));
  co_return Result<>();
}

}  // namespace firn::daemon
