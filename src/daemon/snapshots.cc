#include "daemon/snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <limits>
#include <utility>

#include "api/events.h"

namespace firn::daemon {

using base::ErrorKind;
using base::Result;

namespace {

using CreateOptions = block::Graph::CreateOptions;

// Below this clusters have no subclusters.
constexpr uint64_t kMinSubclusteredBytes = 16384;

CreateOptions create_options(const api::SnapshotOverlayOptions& options) {
  CreateOptions named;
  const auto add = [&](std::string name, std::string value) {
    named.emplace_back(std::move(name), std::move(value));
  };
  const auto add_switch = [&](std::string name, std::optional<bool> value) {
    if (value) add(std::move(name), *value ? "on" : "off");
  };
  if (options.cluster_size) add("cluster_size", fmt::format("{}", *options.cluster_size));
  // The default is for those clusters that can have it.
  const bool too_small = options.cluster_size.value_or(UINT64_MAX) < kMinSubclusteredBytes;
  add_switch("extended_l2", too_small && !options.extended_l2 ? false : options.extended_l2);
  if (options.refcount_bits) add("refcount_bits", fmt::format("{}", *options.refcount_bits));
  if (options.compression_type) {
    add("compression_type", std::string(api::to_string(*options.compression_type)));
  }
  add_switch("lazy_refcounts", options.lazy_refcounts);
  if (options.preallocation) {
    add("preallocation", std::string(api::to_string(*options.preallocation)));
  }
  return named;
}

Result<> set_deadline(block::SnapshotRequest& request, std::optional<uint32_t> deadline_ms) {
  if (!deadline_ms) return {};
  if (*deadline_ms == 0) {
    return base::fail(ErrorKind::kInvalidArgument,
                      "Parameter 'deadline-ms' expects a number of milliseconds greater than 0");
  }
  request.deadline = std::chrono::milliseconds(*deadline_ms);
  return {};
}

void announce_completed(qmp::EventHub& events, block::SnapshotReport report) {
  api::BlockSnapshotCompletedEvent event;
  if (!report.device.empty()) event.device = std::move(report.device);
  event.node_name = std::move(report.old_node);
  event.overlay = std::move(report.overlay_node);
  event.pause_ns = report.pause_ns;
  event.prepare_ns = report.prepare_ns;
  event.seal_ns = report.seal_ns;
  constexpr uint64_t kMax = std::numeric_limits<uint32_t>::max();
  event.in_flight = static_cast<uint32_t>(std::min(report.in_flight, kMax));
  event.overlay_bytes = report.overlay_bytes;
  events.emit(api::encode_event(event));
}

void announce_seal_failed(qmp::EventHub& events, block::SnapshotReport report) {
  api::BlockSnapshotSealFailedEvent event;
  if (!report.device.empty()) event.device = std::move(report.device);
  event.node_name = std::move(report.old_node);
  event.overlay = std::move(report.overlay_node);
  event.reason = std::move(report.seal_error);
  event.can_retry = report.can_seal_again;
  events.emit(api::encode_event(event));
}

}  // namespace

block::SnapshotMode snapshot_mode(std::optional<api::NewImageMode> mode) {
  switch (mode.value_or(api::NewImageMode::kAbsolutePaths)) {
    case api::NewImageMode::kExisting:
      return block::SnapshotMode::kExisting;
    case api::NewImageMode::kExclusive:
      return block::SnapshotMode::kExclusive;
    case api::NewImageMode::kRelativePaths:
      return block::SnapshotMode::kRelativePaths;
    case api::NewImageMode::kAbsolutePaths:
      break;
  }
  return block::SnapshotMode::kAbsolutePaths;
}

Result<block::SnapshotRequest> snapshot_request(api::BlockdevSnapshotSync args) {
  block::SnapshotRequest request;
  request.device = args.device.value_or("");
  request.node_name = args.node_name.value_or("");
  request.overlay_path = std::move(args.snapshot_file);
  request.overlay_node_name = args.snapshot_node_name.value_or("");
  if (args.format) request.format = *std::move(args.format);
  request.mode = snapshot_mode(args.mode);
  if (args.overlay_options) {
    if (request.mode == block::SnapshotMode::kExisting) {
      return base::fail(ErrorKind::kInvalidArgument,
                        "Parameter 'overlay-options' can't be used with the mode 'existing': the "
                        "image is used as it is");
    }
    request.overlay_options = create_options(*args.overlay_options);
  }
  TRY(set_deadline(request, args.deadline_ms));
  return request;
}

Result<block::SnapshotRequest> snapshot_request(api::BlockdevSnapshot args) {
  block::SnapshotRequest request;
  request.device = args.node;  // as QEMU: either kind of name
  request.node_name = std::move(args.node);
  request.overlay_node = std::move(args.overlay);
  TRY(set_deadline(request, args.deadline_ms));
  return request;
}

void announce_snapshot(qmp::EventHub& events, block::SnapshotReport report) {
  if (report.seal_error.empty()) {
    announce_completed(events, std::move(report));
  } else {
    announce_seal_failed(events, std::move(report));
  }
}

void announce_internal_snapshot(qmp::EventHub& events, block::DiskSnapshotReport report) {
  api::BlockInternalSnapshotCompletedEvent event;
  if (!report.device.empty()) event.device = std::move(report.device);
  event.node_name = std::move(report.node);
  event.id = std::move(report.facts.id);
  event.name = std::move(report.facts.name);
  event.pause_ns = report.pause_ns;
  event.prepare_ns = report.prepare_ns;
  event.store_ns = report.store_ns;
  events.emit(api::encode_event(event));
}

async::Task<Result<>> take_snapshots(block::Graph& graph, qmp::EventHub& events,
                                     std::vector<block::TransactionAction> actions) {
  block::TransactionOutcome outcome = co_await block::run_transaction(graph, std::move(actions));
  for (block::SnapshotReport& report : outcome.reports) {
    announce_snapshot(events, std::move(report));
  }
  for (block::DiskSnapshotReport& report : outcome.internal) {
    announce_internal_snapshot(events, std::move(report));
  }
  co_return std::move(outcome.result);
}

}  // namespace firn::daemon
