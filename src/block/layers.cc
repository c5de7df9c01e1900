#include "block/layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "base/check.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

namespace {

base::Error in_use_by(const Node& node, const Edge& user) {
  const std::string who = user.role() == EdgeRole::kRoot
                              ? user.parent_text()
                              : fmt::format("node '{}'", user.parent()->name());
  return base::Error(ErrorKind::kBusy,
                     fmt::format("Node '{}' is busy: {} uses it{}", node.name(), who,
                                 user.role() == EdgeRole::kBacking ? " as backing image" : ""))
      .with_hint(fmt::format("its content would change below {}", who));
}

// Every root whose requests come to `node`, directly or through nodes above.
void collect_roots_above(const Node& node, std::vector<Root*>& roots) {
  for (const Edge* edge : node.parents()) {
    if (edge->root() != nullptr) {
      if (std::ranges::find(roots, edge->root()) == roots.end()) roots.push_back(edge->root());
    } else if (edge->parent() != nullptr) {
      collect_roots_above(*edge->parent(), roots);
    }
  }
}

}  // namespace

std::vector<Node*> layers_above(Node& top, const Node& base) {
  std::vector<Node*> layers;
  for (Node* node = &top; node != &base; node = node->children().backing.child()) {
    if (node == nullptr) return {};
    layers.push_back(node);
  }
  return layers;
}

Task<Result<Run>> status_above(Node& top, const Node& base, uint64_t offset, uint64_t length) {
  Run found{.kind = RunKind::kUnallocated, .length_bytes = length};
  for (Node* node = &top; node != &base; node = node->children().backing.child()) {
    CHECK(node != nullptr);
    const uint64_t size = node->driver().size_bytes();
    if (offset >= size) {
      found.kind = RunKind::kZero;
      co_return found;
    }
    found.length_bytes = std::min(found.length_bytes, size - offset);
    const Run run = CO_TRY(co_await node->driver().status(offset, found.length_bytes));
    CHECK(run.length_bytes >= 1 && run.length_bytes <= found.length_bytes);
    found = run;
    if (run.kind != RunKind::kUnallocated) co_return found;
  }
  co_return found;
}

// LayerDrop -------------------------------------------------------------------------------------

LayerDrop::LayerDrop(Graph& graph, const Graph::Claim& claim, Plan plan)
    : graph_(graph),
      claim_(claim),
      plan_(std::move(plan)),
      stand_in_(EdgeRole::kRoot, nullptr, "the commit") {}

LayerDrop::~LayerDrop() { CHECK(!stand_in_); }

bool LayerDrop::is_own(const Edge& edge) const {
  return edge.root() != nullptr && std::ranges::find(plan_.own, edge.root()) != plan_.own.end();
}

Result<> LayerDrop::check_users(const Plan& plan) {
  const std::vector<Node*> layers = layers_above(plan.top, plan.base);
  if (layers.empty()) {
    return base::fail(ErrorKind::kGeneric, fmt::format("Node '{}' is not below node '{}'",
                                                       plan.base.name(), plan.top.name()));
  }
  const Node* above = &plan.top;
  for (const Node* node = above->children().backing.child();;
       node = node->children().backing.child()) {
    for (const Edge* edge : node->parents()) {
      const bool of_chain = edge->role() == EdgeRole::kBacking && edge->parent() == above;
      const bool own =
          edge->root() != nullptr && std::ranges::find(plan.own, edge->root()) != plan.own.end();
      if (!of_chain && !own) return base::fail(in_use_by(*node, *edge));
    }
    above = node;
    if (node == &plan.base) break;
  }
  return {};
}

std::string LayerDrop::backing_file() const {
  return plan_.backing_file.empty() ? plan_.base.driver().filename() : plan_.backing_file;
}

Task<Result<>> LayerDrop::prepare() {
  layers_ = layers_above(plan_.top, plan_.base);
  for (Node* node : layers_) {
    if (!graph_.goes_with_its_chain(*node)) break;
    closing_.push_back(node);
  }
  auto result = co_await record_overlays();
  if (result) result = co_await async::call_on(plan_.top.home(), prepare_on_home());
  if (!result) {
    co_await undo();
    co_return result;
  }
  for (const Device* device : graph_.devices()) {
    if (device->root.head() == &plan_.top) device_ = device->id;
  }
  co_return result;
}

// Their headers are about to be written, and opening them for that may write too.
Task<Result<>> LayerDrop::record_overlays() {
  std::vector<Node*> overlays;
  for (const Edge* edge : plan_.top.parents()) {
    if (!is_own(*edge) && edge->role() == EdgeRole::kBacking) overlays.push_back(edge->parent());
  }
  co_return co_await graph_.record_writing(std::move(overlays));
}

Task<Result<>> LayerDrop::prepare_on_home() {
  CO_TRY(check_users(plan_));
  for (const Edge* edge : plan_.top.parents()) {
    if (is_own(*edge)) continue;
    if (edge->role() == EdgeRole::kBacking) {
      CO_TRY(co_await open_overlay(*edge->parent()));
    } else {
      users_move_ = true;
    }
  }
  co_return take_permissions();
}

Task<Result<>> LayerDrop::open_overlay(Node& node) {
  if (backing_file().empty()) {
    co_return base::fail(ErrorKind::kUnsupported,
                         fmt::format("Node '{}' has no file name that node '{}' could store",
                                     plan_.base.name(), node.name()));
  }
  const ImageFacts facts = CO_TRY(co_await node.driver().facts());
  Overlay& overlay = overlays_.emplace_back();
  overlay.node = &node;
  overlay.backing_file = facts.backing_filename;
  overlay.backing_format = facts.backing_format;
  overlay.access =
      CO_TRY_CONTEXT(co_await WriteAccess::take(node),
                     fmt::format("Could not open node '{}' for writing its header", node.name()));
  co_return Result<>();
}

// What the users of `top` do, `base` must be able to give them; its locks on disk are theirs from
// here on. Whoever drops writes to it at the same time, which ends with the pivot.
Result<> LayerDrop::take_permissions() {
  if (!users_move_) return {};
  PermissionSet users;
  for (const Edge* edge : plan_.top.parents()) {
    if (is_own(*edge) || edge->role() == EdgeRole::kBacking) continue;
    users.used |= edge->used();
    users.shared &= edge->shared();
  }
  for (Root* root : own_at_base()) {
    shared_before_.emplace_back(root, root->edge().shared());
    users.shared |= root->edge().used();
    root->edge().set_permissions(root->edge().used(), root->edge().shared() | users.used);
  }
  stand_in_.attach(&plan_.base, users.used, users.shared);
  return update_permissions(plan_.base);
}

std::vector<Root*> LayerDrop::own_at_base() const {
  std::vector<Root*> roots;
  for (Root* root : plan_.own) {
    if (root->head() == &plan_.base) roots.push_back(root);
  }
  return roots;
}

GraphChange LayerDrop::change() const {
  GraphChange change;
  if (users_move_) {
    change.moved.push_back({.from = plan_.top.name(), .to = plan_.base.name(), .device = device_});
  }
  for (const Overlay& overlay : overlays_) {
    change.backings.push_back({.overlay = overlay.node->name(),
                               .backing_node = plan_.base.name(),
                               .backing_file = backing_file(),
                               .backing_format = std::string(plan_.base.driver().name())});
  }
  for (const Node* node : closing_) change.removed.push_back(node->name());
  if (closing_.size() != layers_.size()) {
    change.backings.push_back({.overlay = layers_.back()->name(), .backing_node = ""});
  }
  return change;
}

Task<Result<>> LayerDrop::rewrite_headers() {
  co_return co_await async::call_on(plan_.top.home(), rewrite_on_home());
}

Task<Result<>> LayerDrop::rewrite_on_home() {
  for (Overlay& overlay : overlays_) {
    overlay.rewritten = true;  // also where it fails: what the header says is not known then
    auto result = co_await overlay.node->driver().set_backing_name(
        backing_file(), std::string(plan_.base.driver().name()));
    if (result) continue;
    co_await restore_headers();
    co_return base::fail(std::move(result).error().with_context(
        fmt::format("Could not change the backing file of node '{}'", overlay.node->name())));
  }
  co_return Result<>();
}

Task<void> LayerDrop::restore_headers() {
  for (Overlay& overlay : overlays_ | std::views::reverse) {
    if (!overlay.rewritten) continue;
    overlay.rewritten = false;
    (void)co_await overlay.node->driver().set_backing_name(overlay.backing_file,
                                                           overlay.backing_format);
  }
}

Task<void> LayerDrop::undo() { co_await async::call_on(plan_.top.home(), undo_on_home()); }

Task<void> LayerDrop::undo_on_home() {
  co_await restore_headers();
  for (Overlay& overlay : overlays_) {
    // Nothing but a header was written; it is closed with the node if it can't be now.
    if (!co_await overlay.access.give_back()) overlay.access.keep();
  }
  overlays_.clear();
  for (const auto& [root, shared] : std::exchange(shared_before_, {})) {
    root->edge().set_permissions(root->edge().used(), shared);
  }
  if (!stand_in_) co_return;
  stand_in_.detach();
  (void)update_permissions(plan_.base);  // fewer users never conflict
}

Task<void> LayerDrop::pivot() { co_await async::call_on(plan_.top.home(), pivot_on_home()); }

Task<void> LayerDrop::pivot_on_home() {
  pivot_now();
  co_return;
}

void LayerDrop::pivot_now() {
  Node& top = plan_.top;
  Node& base = plan_.base;
  const bool resized = top.driver().size_bytes() != base.driver().size_bytes();
  collect_roots_above(top, readers_);
  std::erase_if(readers_, [&](Root* root) { return is_own(root->edge()); });
  for (Root* root : own_at_base()) {
    root->edge().set_permissions(permission::kNone, permission::kAll);
  }
  const std::vector<Edge*> parents = top.parents();
  for (Edge* edge : parents) {
    if (is_own(*edge)) continue;
    edge->repoint(&base);
    if (edge->root() != nullptr && resized) edge->root()->notify_resize();
  }
  stand_in_.detach();
}

Task<Result<>> LayerDrop::finish() {
  co_await async::call_on(plan_.top.home(), settle_on_home());
  for (Root* root : plan_.own) {
    if (std::ranges::find(layers_, root->head()) == layers_.end()) continue;
    CHECK(root->in_flight() == 0);
    co_await graph_.detach_claimed(*root);
  }
  co_return co_await async::call_on(plan_.top.home(), give_back_overlays());
}

Task<void> LayerDrop::settle_on_home() {
  for (const Overlay& overlay : overlays_) (void)update_permissions(*overlay.node);
  (void)update_permissions(plan_.base);
  for (Root* root : readers_) co_await root->settle();
}

Task<Result<>> LayerDrop::give_back_overlays() {
  (void)update_permissions(plan_.top);
  Result<> first;
  for (Overlay& overlay : overlays_) {
    auto result = co_await overlay.access.give_back();
    if (!result && first) first = std::move(result);
  }
  overlays_.clear();
  co_return first;
}

Task<Result<>> LayerDrop::close() {
  // What took the place of the user's own head is the user's own.
  const bool takes_place = users_move_ || plan_.base.parents().size() <= 1;
  if (takes_place && graph_.is_added(plan_.top)) graph_.keep(plan_.base);
  auto result = co_await graph_.close_dropped(plan_.top, plan_.base, claim_);
  if (closing_.size() != layers_.size()) {
    co_await async::call_on(plan_.base.home(), cut_from_base());
  }
  co_return result;
}

// The layers that stay open, since a user added them, are no chain of the base any more: it changes
// below them.
Task<void> LayerDrop::cut_from_base() {
  layers_.back()->children().backing.detach();
  (void)update_permissions(plan_.base);
  co_return;
}

}  // namespace firn::block
