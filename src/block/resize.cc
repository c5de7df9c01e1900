// Graph::resize: a size changes while clients are at work.
#include <fmt/format.h>

#include <chrono>

#include "block/graph.h"
#include "block/pause.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

namespace {

// How long guests wait for the requests of before a shrinking.
constexpr auto kDrainPatience = std::chrono::seconds(5);

// The greatest size that QEMU gives a node: what fits a signed offset, in whole GiB.
Result<> check_size(uint64_t size_bytes) {
  constexpr uint64_t kMaxSizeBytes = (uint64_t{INT64_MAX} >> 30) << 30;
  if (size_bytes <= kMaxSizeBytes) return {};
  return base::fail(ErrorKind::kInvalidArgument,
                    fmt::format("offset({}) exceeds maximum({})", size_bytes, kMaxSizeBytes));
}

// Requests in flight were checked against the old size.
Task<Result<>> shrink(Node& node, uint64_t size_bytes) {
  Pause pause(node);
  CO_TRY(co_await pause.begin(kDrainPatience));
  co_return co_await node.driver().resize(size_bytes);
}

Result<> check_shrinks(const Node& node, uint64_t size_bytes) {
  const uint64_t before = node.driver().size_bytes();
  if (size_bytes >= before) return {};
  return base::fail(
      base::Error(ErrorKind::kInvalidArgument,
                  fmt::format("Node '{}' has {} bytes: with {}, the data beyond would be lost",
                              node.name(), before, size_bytes))
          .with_hint("to give it up, say so: 'shrink': true"));
}

// On the node's home loop.
Task<Result<>> resize_node(Node& node, uint64_t size_bytes, bool may_shrink) {
  if (const std::string reason = node.busy_reason(); !reason.empty()) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node '{}' is busy: {}", node.name(), reason));
  }
  if (node.read_only()) {
    CO_TRY(check_size(size_bytes));
    co_return base::fail(ErrorKind::kReadOnly, "Image is read-only");
  }
  Edge resizer(EdgeRole::kRoot, nullptr, "block_resize");
  resizer.attach(&node, permission::kResize, permission::kAll);
  auto result = update_permissions(node);
  if (result) result = check_size(size_bytes);
  if (result && !may_shrink) result = check_shrinks(node, size_bytes);
  if (result) {
    const uint64_t before = node.driver().size_bytes();
    result = size_bytes < before ? co_await shrink(node, size_bytes)
                                 : co_await node.driver().resize(size_bytes);
    if (node.driver().size_bytes() != before) {
      for (Root* root : roots_of(node)) root->notify_resize();
    }
  }
  resizer.detach();
  (void)update_permissions(node);  // fewer users never conflict
  co_return result;
}

}  // namespace

Task<Result<>> Graph::resize(std::string device, std::string node_name, int64_t size_bytes,
                             bool may_shrink) {
  const Claim claimed = co_await claim({device, node_name});
  Node* node = CO_TRY(co_await find_claimed_head(claimed, device, node_name));
  if (size_bytes < 0) {
    co_return base::fail(ErrorKind::kInvalidArgument, "Parameter 'size' expects a >0 size");
  }
  co_return co_await async::call_on(
      node->home(), resize_node(*node, static_cast<uint64_t>(size_bytes), may_shrink));
}

}  // namespace firn::block
