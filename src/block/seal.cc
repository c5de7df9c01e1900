#include "block/seal.h"

#include <fmt/format.h>

#include <utility>

#include "base/canary.h"
#include "base/log.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

namespace {

// On the head's home loop. ----------------------------------------------------------------------

// Nobody writes to it from here on, and other programs may read it.
Result<> close_to_writers(Node& old_head) {
  old_head.set_read_only_mark(true);
  auto locks = update_permissions(old_head);
  if (!locks) old_head.set_read_only_mark(false);
  return locks;
}

Task<Result<>> seal_steps(Node& old_head) {
  co_await old_head.wait_for_mutations();
  if (!base::canaries.seal_without_flush) {
    CO_TRY(co_await old_head.flush());
    // A guest's flush may have taken the one report of a lost write-back.
    if (old_head.flush_failed) {
      co_return base::fail(ErrorKind::kIo, "a flush of it failed meanwhile");
    }
    CO_TRY(co_await old_head.driver().set_read_only(true));
  }
  co_return close_to_writers(old_head);
}

void mark_sealed(Node& old_head, Node* overlay) {
  if (overlay != nullptr) overlay->unsealed_below = nullptr;
  old_head.seal_failed = false;
  old_head.seal_is_final = false;
  old_head.seal_error.clear();
}

void mark_failed(Node& old_head, const base::Error& error) {
  old_head.seal_failed = true;
  old_head.seal_error = error.text();
}

// The node whose snapshot left `node` unsealed; null if none did.
Node* overlay_above(const Node& node) {
  for (const Edge* edge : node.parents()) {
    if (edge->role() != EdgeRole::kBacking) continue;
    if (edge->parent()->unsealed_below == &node) return edge->parent();
  }
  return nullptr;
}

Result<> check_unsealed(const Node& node) {
  if (node.seal_failed) return {};
  base::Error error(ErrorKind::kInvalidArgument,
                    fmt::format("Node '{}' waits for no seal", node.name()));
  if (node.unsealed_below != nullptr && node.unsealed_below->seal_failed) {
    error = std::move(error).with_hint(
        fmt::format("node '{}' below it does", node.unsealed_below->name()));
  }
  return base::fail(std::move(error));
}

SealedNode sealed_node(Node& node) {
  Node* const overlay = overlay_above(node);
  mark_sealed(node, overlay);
  return {.node = node.name(), .overlay = overlay == nullptr ? "" : overlay->name()};
}

Task<Result<SealedNode>> try_again(Node& node) {
  CO_TRY(check_unsealed(node));
  constexpr const char* kHint =
      "what could not be written then may be lost: check the store, and pass accept-loss to go on";
  if (!can_seal_again(node)) {
    co_return base::fail(
        base::Error(ErrorKind::kIo,
                    fmt::format("Node '{}' can't be sealed: a flush of it failed, and no later one "
                                "can tell what was lost ({})",
                                node.name(), node.seal_error))
            .with_hint(kHint));
  }
  node.flush_failed = false;
  auto result = co_await seal_steps(node);
  if (!result) {
    mark_failed(node, result.error());
    co_return base::fail(
        base::Error(ErrorKind::kIo, fmt::format("Node '{}' can't be sealed: {}", node.name(),
                                                result.error().text()))
            .with_hint(can_seal_again(node) ? result.error().hint() : kHint));
  }
  co_return sealed_node(node);
}

Task<Result<SealedNode>> seal_with_loss(Node& node) {
  CO_TRY(check_unsealed(node));
  node.driver().accept_loss();
  node.flush_failed = false;
  auto result = co_await seal_steps(node);
  if (!result) {
    base::log_warning(fmt::format("node '{}' is sealed although its store fails: {}", node.name(),
                                  result.error().text()));
    node.driver().accept_loss();
    CO_TRY(close_to_writers(node));
  }
  co_return sealed_node(node);
}

}  // namespace

Task<Result<>> seal_node(Node& node) {
  auto result = co_await seal_steps(node);
  if (!result) mark_failed(node, result.error());
  co_return result;
}

Task<Result<>> seal_head(Node& old_head, Node& overlay) {
  if (old_head.read_only()) {
    (void)update_permissions(old_head);  // nobody may write to it any more; who did before, may
    co_return Result<>();
  }
  auto result = co_await seal_node(old_head);
  if (result) {
    mark_sealed(old_head, &overlay);
    co_return result;
  }
  co_return base::fail(
      base::Error(ErrorKind::kIo,
                  fmt::format("The snapshot was taken and node '{}' is in use, but node '{}' below "
                              "it could not be sealed: {}",
                              overlay.name(), old_head.name(), result.error().text()))
          .with_hint(fmt::format("flushes fail until blockdev-snapshot-seal has ended that, for "
                                 "node '{}'{}",
                                 old_head.name(),
                                 can_seal_again(old_head) ? "" : " with accept-loss")));
}

bool can_seal_again(const Node& old_head) {
  return !old_head.seal_is_final && !old_head.driver().has_lost_data();
}

Task<Result<SealedNode>> seal_again(Graph& graph, std::string node_name, bool accept_loss) {
  const auto claim = co_await graph.claim({node_name});
  Node* node = graph.find_node(node_name);
  if (!graph.holds(claim, node)) {
    co_return base::fail(
        base::Error(ErrorKind::kDeviceNotFound,
                    fmt::format("Cannot find device='' nor node-name='{}'", node_name))
            .with_data("device", node_name));
  }
  SealedNode sealed = CO_TRY(co_await async::call_on(
      node->home(), accept_loss ? seal_with_loss(*node) : try_again(*node)));
  auto recorded = co_await graph.state().record_sealed(sealed.node);
  if (!recorded) {
    co_return base::fail(std::move(recorded).error().with_context(
        fmt::format("Node '{}' is sealed now, but that could not be recorded", sealed.node)));
  }
  co_return sealed;
}

}  // namespace firn::block
