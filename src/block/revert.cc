#include "block/revert.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "block/internal_snapshot.h"
#include "block/overlay.h"
#include "block/pause.h"
#include "block/permissions.h"
#include "block/seal.h"
#include "block/snapshot_step.h"

namespace firn::block {

using base::ErrorKind;

namespace {

using Nanoseconds = uint64_t;

Nanoseconds since(async::TimePoint begun) {
  return static_cast<Nanoseconds>((async::Loop::current().now() - begun).count());
}

// On the home loop of the disk. -----------------------------------------------------------------

const Node& base_of(const Node& node) {
  const Node* at = &node;
  while (at->children().backing) at = at->children().backing.child();
  return *at;
}

Result<> check_layer(const Node& layer, const Node& head) {
  if (&layer == &head) {
    return base::fail(
        base::Error(
            ErrorKind::kInvalidArgument,
            fmt::format("Node '{}' is the head: there is nothing to go back from", head.name()))
            .with_hint("name a layer below it"));
  }
  if (&base_of(layer) != &base_of(head)) {
    return base::fail(
        base::Error(ErrorKind::kInvalidArgument,
                    fmt::format("Node '{}' is no layer of '{}'", layer.name(), head.name()))
            .with_hint("a layer stands on the same base; 'firn tree' shows them"));
  }
  return check_sealed(layer);
}

Task<Result<>> ready_layer(const Node& layer, const Node& head) {
  CO_TRY(check_head(head));
  co_return check_layer(layer, head);
}

// What the new head is like: the old one, which may have fallen back to reading only.
struct HeadTraits {
  NodeOptions options;
  PermissionSet users;
};
Task<HeadTraits> traits_of(const Node& head) {
  HeadTraits traits{.options = head.options(), .users = cumulative_permissions(head)};
  traits.options.read_only = head.read_only();
  co_return traits;
}

// The layer is spoken for, and its image locked for reading, before anybody depends on it.
Task<Result<>> reserve(Node& layer, Edge& user) {
  user.attach(&layer, permission::kConsistentRead,
              permission::kConsistentRead | permission::kWriteUnchanged);
  auto result = update_permissions(layer);
  if (!result) user.detach();
  co_return result;
}

Task<void> release(Node& layer, Edge& user) {
  if (!user) co_return;
  user.detach();
  (void)update_permissions(layer);  // fewer users never conflict
}

Task<void> discard_overlay(PreparedOverlay& overlay) { co_await overlay.discard(); }

// One disk on its way to a layer. -----------------------------------------------------------------

class LayerRevert {
 public:
  LayerRevert(Graph& graph, const Graph::Claim& claim, RevertRequest request)
      : graph_(graph),
        claim_(claim),
        request_(std::move(request)),
        begun_(async::Loop::current().now()),
        reserved_(EdgeRole::kRoot, nullptr, "blockdev-snapshot-revert") {}

  Task<Result<RevertReport>> run() {
    if (auto prepared = co_await prepare(); !prepared) {
      co_await undo();
      co_return base::fail(std::move(prepared).error());
    }
    CO_TRY(co_await record());
    if (auto held = co_await async::call_on(head_->home(), hold()); !held) {
      // A rollback is durable before what was created goes.
      (void)co_await graph_.state().forget_intent(intent_);
      co_await undo();
      co_return base::fail(std::move(held).error());
    }
    overlay_ = &prepared_->top();
    CHECK(
        graph_.adopt(prepared_->tree(), claim_).has_value());  // its names were free, and still are
    co_await async::call_on(head_->home(), move_users());
    const async::TimePoint moved = async::Loop::current().now();
    graph_.keep(*head_);
    const Result<> sealed = co_await async::call_on(head_->home(), seal());
    CO_TRY(co_await finish(sealed));
    co_return report(moved);
  }

 private:
  Task<Result<>> prepare() {
    head_ = CO_TRY(
        co_await graph_.find_claimed_head(claim_, request_.disk.device, request_.disk.node_name));
    layer_ = CO_TRY(co_await graph_.find_claimed_head(claim_, "", request_.layer));
    if (&layer_->home() != &head_->home()) {
      co_return base::fail(ErrorKind::kInvalidArgument, fmt::format("Node '{}' is no layer of '{}'",
                                                                    layer_->name(), head_->name()));
    }
    CO_TRY(co_await async::call_on(head_->home(), ready_layer(*layer_, *head_)));
    CO_TRY(check_overlay_name(graph_, claim_, request_.disk));
    OverlayPlan plan = CO_TRY(co_await make_overlay_plan(graph_, claim_, request_.disk, *layer_));
    const HeadTraits traits = co_await async::call_on(head_->home(), traits_of(*head_));
    plan.options = traits.options;
    plan.users = traits.users;
    prepared_ =
        CO_TRY(co_await async::call_on(head_->home(), PreparedOverlay::prepare(std::move(plan))));
    co_return co_await async::call_on(head_->home(), reserve(*layer_, reserved_));
  }

  Task<void> undo() {
    if (layer_ != nullptr) {
      co_await async::call_on(layer_->home(), release(*layer_, reserved_));
    }
    if (prepared_ != nullptr) {
      co_await async::call_on(head_->home(), discard_overlay(*prepared_));
    }
  }

  Task<Result<>> record() {
    GraphChange change;
    change.added.push_back(describe_new_node(graph_, *prepared_, *layer_));
    change.moved.push_back(
        {.from = head_->name(), .to = prepared_->top().name(), .device = device_name()});
    if (!head_->read_only()) change.to_seal.push_back(head_->name());
    auto intent = co_await graph_.state().record_intent(std::move(change));
    if (!intent) {
      co_await undo();
      co_return base::fail(std::move(intent).error());
    }
    intent_ = *intent;
    prepare_ns_ = since(begun_);
    co_return Result<>();
  }

  Task<Result<>> hold() {
    pause_ = std::make_unique<Pause>(*head_);
    co_return co_await pause_->begin(request_.patience);
  }

  // Nothing is in flight: one turn, and the users go on at the new head.
  Task<void> move_users() {
    const std::vector<Edge*> users = head_->parents();
    const bool resized = overlay_->driver().size_bytes() != head_->driver().size_bytes();
    for (Edge* edge : users) edge->repoint(overlay_);
    prepared_->stand_in();
    Edge& backing = overlay_->children().backing;
    const PermissionSet wanted = child_permissions(backing, cumulative_permissions(*overlay_));
    backing.attach(layer_, wanted.used, wanted.shared);
    reserved_.detach();
    pause_->end();
    if (resized) {
      for (Root* root : pause_->roots()) root->notify_resize();
    }
    co_return;
  }

  Task<Result<>> seal() {
    (void)update_permissions(*overlay_);  // what they ask for was granted before
    if (head_->read_only()) {
      (void)update_permissions(*head_);
      co_return Result<>();
    }
    co_return co_await seal_node(*head_);
  }

  Task<Result<>> finish(const Result<>& sealed) {
    std::vector<std::string> unsealed;
    if (!sealed) unsealed.push_back(head_->name());
    auto recorded = co_await graph_.state().record_done(intent_, std::move(unsealed));
    const std::string done =
        fmt::format("The disk was reverted and node '{}' is in use", overlay_->name());
    if (!sealed) {
      co_return base::fail(
          base::Error(ErrorKind::kIo,
                      fmt::format("{}, but node '{}', which it left, could not be sealed: {}", done,
                                  head_->name(), sealed.error().text()))
              .with_hint(sealed.error().hint()));
    }
    if (!recorded) {
      co_return base::fail(std::move(recorded).error().with_context(
          fmt::format("{}, but that could not be recorded", done)));
    }
    co_return Result<>();
  }

  RevertReport report(async::TimePoint moved) const {
    RevertReport report;
    report.device = device_name();
    report.head = overlay_->name();
    report.left = head_->name();
    report.layer = layer_->name();
    report.pause_ns = pause_->length_ns();
    report.prepare_ns = prepare_ns_;
    report.seal_ns = since(moved);
    report.in_flight = pause_->in_flight();
    return report;
  }

  std::string device_name() const {
    return graph_.find_device(request_.disk.device) != nullptr ? request_.disk.device : "";
  }

  Graph& graph_;
  const Graph::Claim& claim_;
  RevertRequest request_;
  async::TimePoint begun_;
  Node* head_ = nullptr;
  Node* layer_ = nullptr;
  Node* overlay_ = nullptr;
  std::unique_ptr<PreparedOverlay> prepared_;
  Edge reserved_;
  std::unique_ptr<Pause> pause_;
  uint64_t intent_ = 0;
  Nanoseconds prepare_ns_ = 0;
};

// To an internal snapshot. -----------------------------------------------------------------------

std::string shown_or_null(const std::string& text) { return text.empty() ? "null" : text; }

Result<InternalSnapshotFacts> find_snapshot(const Node& head, const RevertRequest& request,
                                            const std::string& disk) {
  if (!head.driver().supports_snapshots()) {
    return base::fail(ErrorKind::kUnsupported,
                      fmt::format("Block format '{}' used by device '{}' does not support internal "
                                  "snapshots",
                                  head.driver().name(), disk));
  }
  const auto snapshots = head.driver().snapshots();
  const InternalSnapshotFacts* found =
      find_internal_snapshot(snapshots, request.snapshot_id, request.snapshot_name);
  if (found != nullptr) return *found;
  return base::fail(
      ErrorKind::kNotFound,
      fmt::format("Snapshot with id '{}' and name '{}' does not exist on device '{}'",
                  shown_or_null(request.snapshot_id), shown_or_null(request.snapshot_name), disk));
}

Task<Result<RevertReport>> revert_inside(Node& head, const RevertRequest& request,
                                         const std::string& disk) {
  const async::TimePoint begun = async::Loop::current().now();
  CO_TRY(check_head(head));
  const InternalSnapshotFacts snapshot = CO_TRY(find_snapshot(head, request, disk));
  if (head.unsealed_below != nullptr) {
    co_return base::fail(
        ErrorKind::kBusy,
        fmt::format("Node '{}' is busy: the snapshot below it is unsealed (node '{}')", head.name(),
                    head.unsealed_below->name()));
  }
  if (head.read_only()) {
    co_return base::fail(ErrorKind::kReadOnly, fmt::format("Node '{}' is read-only", head.name()));
  }
  const uint64_t size_before = head.driver().size_bytes();
  Pause pause(head);
  RevertReport report{.head = head.name(),
                      .snapshot_id = snapshot.id,
                      .snapshot_name = snapshot.name,
                      .prepare_ns = since(begun)};
  CO_TRY(co_await pause.begin(request.patience));
  auto reverted = co_await head.driver().snapshot_revert(snapshot.id);
  pause.end();
  if (head.driver().size_bytes() != size_before) {
    for (Root* root : pause.roots()) root->notify_resize();
  }
  if (!reverted) {
    co_return base::fail(std::move(reverted).error().with_context(
        fmt::format("Could not revert '{}' to snapshot '{}'", disk, snapshot.name)));
  }
  report.pause_ns = pause.length_ns();
  report.in_flight = pause.in_flight();
  co_return report;
}

}  // namespace

Result<> check_sealed(const Node& layer) {
  if (!layer.read_only()) {
    return base::fail(
        base::Error(
            ErrorKind::kBusy,
            fmt::format("Node '{}' is busy: it is written to, not a sealed layer", layer.name()))
            .with_hint("a snapshot seals it"));
  }
  for (const Node* node = &layer; node != nullptr; node = node->children().backing.child()) {
    if (node->seal_failed || node->unsealed_below != nullptr) {
      return base::fail(
          base::Error(ErrorKind::kBusy,
                      fmt::format("Node '{}' is busy: it could not be sealed", node->name()))
              .with_hint("what was written there may not be durable"));
    }
  }
  if (const std::string reason = layer.blocked_by(); !reason.empty()) {
    return base::fail(ErrorKind::kBusy, fmt::format("Node '{}' is busy: {}", layer.name(), reason));
  }
  return {};
}

Task<Result<RevertReport>> revert(Graph& graph, RevertRequest request) {
  const Graph::Claim claim =
      co_await graph.claim({request.disk.device, request.disk.node_name, request.layer});
  if (!request.layer.empty()) {
    LayerRevert revert(graph, claim, std::move(request));
    co_return co_await revert.run();
  }
  Node* head =
      CO_TRY(co_await graph.find_claimed_head(claim, request.disk.device, request.disk.node_name));
  const bool by_device = graph.find_device(request.disk.device) != nullptr;
  const std::string disk = by_device ? request.disk.device : head->name();
  RevertReport report =
      CO_TRY(co_await async::call_on(head->home(), revert_inside(*head, request, disk)));
  if (by_device) report.device = request.disk.device;
  co_return report;
}

}  // namespace firn::block
