#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <functional>
#include <optional>
#include <ranges>
#include <string>
#include <utility>

#include "api/events.h"
#include "daemon/stats_handlers.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

int64_t signed_of(uint64_t value) { return static_cast<int64_t>(value); }

// On the node's home loop from here on. --------------------------------------------------------

api::BlockDeviceStats counts_of(const block::Node& node) {
  const block::NodeCounters& counters = node.counters();
  api::BlockDeviceStats stats;
  stats.rd_bytes = signed_of(counters.read_bytes);
  stats.wr_bytes = signed_of(counters.write_bytes);
  stats.unmap_bytes = signed_of(counters.discard_bytes);
  stats.rd_operations = signed_of(counters.reads);
  stats.wr_operations = signed_of(counters.writes);
  stats.flush_operations = signed_of(counters.flushes);
  stats.unmap_operations = signed_of(counters.discards);
  stats.wr_highest_offset = signed_of(counters.highest_write_end);
  return stats;
}

api::BlockDeviceStats counts_of(const block::Device& device) {
  const block::RootStats& counted = device.root.stats();
  api::BlockDeviceStats stats;
  const auto succeeded = [](const block::IoCounters& counters) {
    return signed_of(counters.operations - counters.failed);
  };
  stats.rd_bytes = signed_of(counted.read.bytes);
  stats.wr_bytes = signed_of(counted.write.bytes + counted.zero.bytes);
  stats.unmap_bytes = signed_of(counted.discard.bytes);
  stats.rd_operations = succeeded(counted.read);
  stats.wr_operations = succeeded(counted.write) + succeeded(counted.zero);
  stats.flush_operations = succeeded(counted.flush);
  stats.unmap_operations = succeeded(counted.discard);
  stats.failed_rd_operations = signed_of(counted.read.failed);
  stats.failed_wr_operations = signed_of(counted.write.failed + counted.zero.failed);
  stats.failed_flush_operations = signed_of(counted.flush.failed);
  stats.failed_unmap_operations = signed_of(counted.discard.failed);
  stats.rd_total_time_ns = signed_of(counted.read.total_ns);
  stats.wr_total_time_ns = signed_of(counted.write.total_ns + counted.zero.total_ns);
  stats.flush_total_time_ns = signed_of(counted.flush.total_ns);
  stats.unmap_total_time_ns = signed_of(counted.discard.total_ns);
  if (counted.last_end) {
    stats.idle_time_ns = (async::Loop::current().now() - *counted.last_end).count();
  }
  stats.account_failed = true;
  return stats;
}

// Layers become members of each other from the base up, so that a long chain takes no deep stack.
api::BlockStats stats_of(const block::Node& node, bool with_backing) {
  std::vector<const block::Node*> chain{&node};
  while (with_backing && chain.back()->children().backing) {
    chain.push_back(chain.back()->children().backing.child());
  }
  std::optional<api::BlockStats> below;
  for (const block::Node* layer : chain | std::views::reverse) {
    api::BlockStats stats;
    stats.node_name = layer->name();
    stats.stats = counts_of(*layer);
    if (layer->children().file) stats.parent = stats_of(*layer->children().file.child(), false);
    const std::string_view driver = layer->driver().name();
    if (driver == "file" || driver == "host_device") {
      const block::DiscardCounts counts = layer->driver().discard_counts();
      stats.driver_specific = api::BlockStatsSpecific{
          .driver =
              driver == "file" ? api::BlockdevDriver::kFile : api::BlockdevDriver::kHostDevice,
          .u = api::BlockStatsSpecificFile{.discard_nb_ok = counts.succeeded,
                                           .discard_nb_failed = counts.failed,
                                           .discard_bytes_ok = counts.bytes}};
    }
    if (below) stats.backing = *std::move(below);
    below = std::move(stats);
  }
  return *std::move(below);
}

Task<api::BlockStats> node_stats(const block::Node& node) { co_return stats_of(node, false); }

Task<api::BlockStats> device_stats(const block::Device& device) {
  api::BlockStats stats;
  if (const block::Node* head = device.root.head(); head != nullptr) {
    stats = stats_of(*head, true);
  }
  const int64_t highest = stats.stats.wr_highest_offset;
  stats.device = device.id;
  stats.stats = counts_of(device);
  stats.stats.wr_highest_offset = highest;
  co_return stats;
}

Task<void> set_threshold(block::Node& node, uint64_t offset_bytes,
                         std::move_only_function<void(uint64_t)> crossed) {
  node.set_write_threshold(offset_bytes, std::move(crossed));
  co_return;
}

}  // namespace

// ------------------------------------------------------------------------------------------------

Task<Result<std::vector<api::BlockStats>>> BlockStatsHandlers::query_blockstats(
    api::QueryBlockstatsArgs args) {
  const auto reading = co_await graph_.read_nodes();
  std::vector<api::BlockStats> list;
  if (args.query_nodes.value_or(false)) {
    for (const block::Node* node : graph_.nodes()) {
      list.push_back(co_await async::call_on(node->home(), node_stats(*node)));
    }
  } else {
    for (const block::Device* device : graph_.devices()) {
      list.push_back(co_await async::call_on(*device->home, device_stats(*device)));
    }
  }
  co_return list;
}

Task<Result<>> BlockStatsHandlers::block_set_write_threshold(api::BlockSetWriteThresholdArgs args) {
  const auto reading = co_await graph_.read_nodes();
  block::Node* node = graph_.find_node(args.node_name);
  if (node == nullptr) {
    co_return fail(base::Error(ErrorKind::kDeviceNotFound,
                               fmt::format("Device '{}' not found", args.node_name))
                       .with_data("device", args.node_name));
  }
  auto crossed = [control = &async::Loop::current(), events = &events_, name = args.node_name,
                  threshold = args.write_threshold](uint64_t exceeded) {
    control->post([=] {
      events->emit(api::encode_event(api::BlockWriteThresholdEvent{
          .node_name = name, .amount_exceeded = exceeded, .write_threshold = threshold}));
    });
  };
  co_await async::call_on(node->home(),
                          set_threshold(*node, args.write_threshold, std::move(crossed)));
  co_return Result<>();
}

}  // namespace firn::daemon
