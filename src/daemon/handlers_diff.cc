#include "daemon/handlers_diff.h"

#include <fmt/format.h>

#include <chrono>

#include "block/layer_diff.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;
using namespace std::chrono_literals;

namespace {

constexpr uint32_t kDefaultExtents = 4096;
constexpr uint32_t kMaxExtents = 65536;
// Nodes can't go away meanwhile, so a walk through a large disk comes in parts.
constexpr async::Duration kBudget = 50ms;

Result<block::DiffRequest> read_arguments(const api::QueryBlockDiffArgs& args) {
  block::DiffRequest request;
  request.max_extents = args.limit.value_or(kDefaultExtents);
  if (request.max_extents == 0 || request.max_extents > kMaxExtents) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("Parameter 'limit' expects a number between 1 and {}", kMaxExtents));
  }
  if (!args.extents.value_or(true)) request.max_extents = SIZE_MAX;
  request.budget = kBudget;
  request.offset_bytes = args.offset.value_or(0);
  const uint64_t length = args.length.value_or(UINT64_MAX - request.offset_bytes);
  if (length > UINT64_MAX - request.offset_bytes) {
    return fail(ErrorKind::kOutOfRange, "The sum of 'offset' and 'length' is beyond 64 bits");
  }
  request.end_bytes = request.offset_bytes + length;
  return request;
}

// On the home loop. Fills in the base where none was named.
Task<Result<api::BlockDiff>> diff_at_home(block::DiffRequest request, bool with_extents) {
  if (request.base == nullptr) request.base = request.top->children().backing.child();
  const block::LayerDiff diff = CO_TRY(co_await block::diff_layers(request));
  api::BlockDiff answer;
  answer.node_name = request.top->name();
  if (request.base != nullptr) answer.base_node = request.base->name();
  answer.size = request.top->driver().size_bytes();
  answer.data_bytes = diff.data_bytes;
  answer.zero_bytes = diff.zero_bytes;
  answer.next_offset = diff.next_offset;
  if (with_extents) {
    std::vector<api::BlockDiffExtent>& extents = answer.extents.emplace();
    extents.reserve(diff.extents.size());
    for (const block::DiffExtent& extent : diff.extents) {
      api::BlockDiffExtent& told = extents.emplace_back();
      told.offset = extent.offset_bytes;
      told.length = extent.length_bytes;
      told.zero = extent.zero;
      told.node_name = extent.layer->name();
    }
  }
  co_return answer;
}

}  // namespace

Task<Result<api::BlockDiff>> DiffHandlers::query_block_diff(api::QueryBlockDiffArgs args) {
  block::DiffRequest request = CO_TRY(read_arguments(args));
  const auto reading = co_await graph_.read_nodes();
  request.top =
      CO_TRY(co_await graph_.find_head(args.device.value_or(""), args.node_name.value_or("")));
  if (args.base_node) {
    request.base = CO_TRY(co_await graph_.find_head("", *args.base_node));
    if (&request.base->home() != &request.top->home()) {
      co_return fail(ErrorKind::kInvalidArgument,
                     fmt::format("Node '{}' does not lie below node '{}'", request.base->name(),
                                 request.top->name()));
    }
  }
  co_return co_await async::call_on(request.top->home(),
                                    diff_at_home(request, args.extents.value_or(true)));
}

}  // namespace firn::daemon
