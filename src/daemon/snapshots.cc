#include "daemon/snapshots.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <cstdint>
#include <limits>
#include <utility>

#include "api/events.h"

namespace firn::daemon {

block::SnapshotMode snapshot_mode(std::optional<api::NewImageMode> mode) {
  const bool existing = mode == api::NewImageMode::kExisting;
  return existing ? block::SnapshotMode::kExisting : block::SnapshotMode::kAbsolutePaths;
}

block::SnapshotRequest snapshot_request(api::BlockdevSnapshotSync args) {
  block::SnapshotRequest request;
  request.device = args.device.value_or("");
  request.node_name = args.node_name.value_or("");
  request.overlay_path = std::move(args.snapshot_file);
  request.overlay_node_name = args.snapshot_node_name.value_or("");
  if (args.format) request.format = *std::move(args.format);
  request.mode = snapshot_mode(args.mode);
  return request;
}

block::SnapshotRequest snapshot_request(api::BlockdevSnapshot args) {
  block::SnapshotRequest request;
  request.device = args.node;  // as QEMU: either kind of name
  request.node_name = std::move(args.node);
  request.overlay_node = std::move(args.overlay);
  return request;
}

void announce_snapshot(qmp::EventHub& events, block::SnapshotReport report) {
  api::BlockSnapshotCompletedEvent event;
  if (!report.device.empty()) event.device = std::move(report.device);
  event.node_name = std::move(report.old_node);
  event.overlay = std::move(report.overlay_node);
  event.pause_ns = report.pause_ns;
  event.prepare_ns = report.prepare_ns;
  event.seal_ns = report.seal_ns;
  constexpr uint64_t kMax = std::numeric_limits<uint32_t>::max();
  event.in_flight = static_cast<uint32_t>(std::min(report.in_flight, kMax));
  events.emit(api::encode_event(event));
}

}  // namespace firn::daemon
