// Graph::resize: a size changes while clients are at work.
#include <fmt/format.h>

#include <algorithm>

#include "block/graph.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

namespace {

// Every root that sees the size of `node`: its own, and those of transparent nodes above.
void collect_roots(const Node& node, std::vector<Root*>& roots) {
  for (const Edge* edge : node.parents()) {
    if (edge->root() != nullptr) {
      roots.push_back(edge->root());
    } else if (edge->role() == EdgeRole::kFile && edge->parent()->is_transparent()) {
      collect_roots(*edge->parent(), roots);
    }
  }
}

Task<Result<>> shrink(Node& node, const std::vector<Root*>& roots, uint64_t size_bytes) {
  for (Root* root : roots) {
    if ((root->edge().used() & permission::kWrite) == 0) continue;
    co_return base::fail(
        base::Error(ErrorKind::kBusy, fmt::format("Node '{}' can't shrink while {} may write to it",
                                                  node.name(), root->edge().parent_text()))
            .with_hint("remove the writable export first"));
  }
  // What a reader has in flight was checked against the old size.
  for (Root* root : roots) root->gate().close();
  for (Root* root : roots) co_await root->drain();
  auto result = co_await node.driver().resize(size_bytes);
  for (Root* root : roots) root->gate().open();
  co_return result;
}

// The greatest size that QEMU gives a node: what fits a signed offset, in whole GiB.
Result<> check_size(uint64_t size_bytes) {
  constexpr uint64_t kMaxSizeBytes = (uint64_t{INT64_MAX} >> 30) << 30;
  if (size_bytes <= kMaxSizeBytes) return {};
  return base::fail(ErrorKind::kInvalidArgument,
                    fmt::format("offset({}) exceeds maximum({})", size_bytes, kMaxSizeBytes));
}

// On the node's home loop.
Task<Result<>> resize_node(Node& node, uint64_t size_bytes) {
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
  if (result) {
    std::vector<Root*> roots;
    collect_roots(node, roots);
    const uint64_t before = node.driver().size_bytes();
    result = size_bytes < before ? co_await shrink(node, roots, size_bytes)
                                 : co_await node.driver().resize(size_bytes);
    // Some may have gone or come while the driver was at work.
    roots.clear();
    collect_roots(node, roots);
    if (node.driver().size_bytes() != before) {
      for (Root* root : roots) root->notify_resize();
    }
  }
  resizer.detach();
  (void)update_permissions(node);  // fewer users never conflict
  co_return result;
}

}  // namespace

Task<Result<>> Graph::resize(std::string device, std::string node_name, int64_t size_bytes) {
  const auto guard = co_await lock_changes();
  Node* node = CO_TRY(co_await find_head(std::move(device), std::move(node_name)));
  if (size_bytes < 0) {
    co_return base::fail(ErrorKind::kInvalidArgument, "Parameter 'size' expects a >0 size");
  }
  co_return co_await async::call_on(node->home(),
                                    resize_node(*node, static_cast<uint64_t>(size_bytes)));
}

}  // namespace firn::block
