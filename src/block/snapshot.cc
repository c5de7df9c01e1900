#include "block/snapshot.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/canary.h"
#include "base/check.h"
#include "block/overlay.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

namespace {

// On the head's home loop. ----------------------------------------------------------------------

// Steps 3 and 4 of docs/snapshot.md.
Task<Result<>> ready_head(Node& head) {
  if (const std::string reason = head.busy_reason(); !reason.empty()) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node '{}' is busy: {}", head.name(), reason));
  }
  // A node above admits requests for itself: those that it has in flight here are counted nowhere,
  // and neither the seal nor a copy could wait for them.
  for (const Edge* edge : head.parents()) {
    if (edge->role() == EdgeRole::kRoot) continue;
    co_return base::fail(
        base::Error(ErrorKind::kBusy,
                    fmt::format("Node '{}' is busy: node is used as {} of '{}'", head.name(),
                                edge->name(), edge->parent()->name()))
            .with_hint(fmt::format("take the snapshot of node '{}'", edge->parent()->name())));
  }
  if (head.unsealed_below != nullptr) {
    co_return base::fail(
        base::Error(ErrorKind::kBusy,
                    fmt::format("Node '{}' is busy: the snapshot below it is unsealed (node '{}')",
                                head.name(), head.unsealed_below->name()))
            .with_hint("what was written there before that snapshot may not be durable"));
  }
  if (head.read_only()) co_return Result<>();
  auto flushed = co_await head.flush();
  if (!flushed) {
    co_return base::fail(
        base::Error(ErrorKind::kIo, "An IO error has occurred").with_hint(flushed.error().text()));
  }
  head.flush_failed = false;
  co_return Result<>();
}

struct Pivoted {
  uint64_t pause_ns = 0;
  uint64_t in_flight = 0;
};

// One turn, start to end: a plain function, so that nothing in it can wait.
Pivoted pivot(Node& old_head, PreparedOverlay& prepared, Node& overlay) {
  async::Loop& loop = old_head.home();
  const async::TimePoint begun = loop.now();
  const std::vector<Edge*> parents = old_head.parents();
  for (Edge* edge : parents) edge->repoint(&overlay);
  prepared.stand_in();
  Edge& backing = overlay.children().backing;
  const PermissionSet wanted = child_permissions(backing, cumulative_permissions(overlay));
  backing.attach(&old_head, wanted.used, wanted.shared);
  if (!old_head.read_only()) overlay.unsealed_below = &old_head;
  return {.pause_ns = static_cast<uint64_t>((loop.now() - begun).count()),
          .in_flight = old_head.mutation_count()};
}

Task<Pivoted> pivot_now(Node& old_head, PreparedOverlay& prepared, Node& overlay) {
  co_return pivot(old_head, prepared, overlay);
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
  old_head.set_read_only_mark(true);
  auto locks = update_permissions(old_head);
  if (!locks) old_head.set_read_only_mark(false);
  co_return locks;
}

Task<Result<>> seal(Node& old_head, Node& overlay) {
  if (old_head.read_only()) {
    (void)update_permissions(old_head);  // nobody may write to it any more; who did before, may
    co_return Result<>();
  }
  auto result = co_await seal_steps(old_head);
  if (result) {
    overlay.unsealed_below = nullptr;
    co_return result;
  }
  old_head.seal_failed = true;
  co_return base::fail(
      base::Error(ErrorKind::kIo,
                  fmt::format("The snapshot was taken and node '{}' is in use, but node '{}' below "
                              "it could not be sealed: {}",
                              overlay.name(), old_head.name(), result.error().text()))
          .with_hint(result.error().hint()));
}

Task<Result<async::FileStat>> identity_of(Node& node) {
  if (!node.driver().is_protocol()) co_return base::fail(ErrorKind::kUnsupported, "a format");
  co_return co_await node.driver().identity();
}

Task<void> discard_overlay(PreparedOverlay& overlay) { co_await overlay.discard(); }

// On the control loop. --------------------------------------------------------------------------

class Snapshot {
 public:
  Snapshot(Graph& graph, SnapshotRequest request)
      : graph_(graph), request_(std::move(request)), begun_(async::Loop::current().now()) {}

  Task<Result<SnapshotReport>> run() {
    const auto guard = co_await graph_.lock_changes();
    old_head_ = CO_TRY(co_await graph_.find_head(request_.device, request_.node_name));
    async::Loop& home = old_head_->home();
    CO_TRY(co_await async::call_on(home, ready_head(*old_head_)));
    CO_TRY(check_overlay_name());
    OverlayPlan plan = co_await make_plan();
    prepared_ = CO_TRY(co_await async::call_on(home, PreparedOverlay::prepare(std::move(plan))));
    CO_TRY(co_await record());
    Node* overlay = prepared_->tree().top;
    const Pivoted pivoted =
        co_await async::call_on(home, pivot_now(*old_head_, *prepared_, *overlay));
    const async::TimePoint moved = async::Loop::current().now();
    report(pivoted, *overlay, moved);
    auto sealed = co_await async::call_on(home, seal(*old_head_, *overlay));
    CO_TRY(std::move(sealed));
    CO_TRY_CONTEXT(co_await graph_.state().record_sealed(intents_),
                   fmt::format("The snapshot was taken and node '{}' is in use, but that could not "
                               "be recorded",
                               overlay->name()));
    report_.seal_ns = ns_since(moved);
    co_return std::move(report_);
  }

 private:
  static uint64_t ns_since(async::TimePoint moment) {
    return static_cast<uint64_t>((async::Loop::current().now() - moment).count());
  }

  Result<> check_overlay_name() const {
    const std::string& name = request_.overlay_node_name;
    if (name.empty()) {
      if (request_.node_name.empty()) return {};
      return base::fail(ErrorKind::kInvalidArgument, "New overlay node-name missing");
    }
    if (graph_.find_node(name) != nullptr || graph_.find_device(name) != nullptr) {
      return base::fail(ErrorKind::kExists, "New overlay node-name already in use");
    }
    return {};
  }

  Task<OverlayPlan> make_plan() {
    OverlayPlan plan{.registry = graph_.registry(),
                     .below = *old_head_,
                     .path = request_.overlay_path,
                     .format = request_.format,
                     .node_name = request_.overlay_node_name,
                     .mode = request_.mode,
                     .create_options = request_.overlay_options,
                     .files_in_use = {}};
    if (const auto defaults = graph_.overlay_defaults.find(request_.format);
        defaults != graph_.overlay_defaults.end()) {
      for (const auto& option : defaults->second) {
        const bool given = std::ranges::any_of(
            request_.overlay_options, [&](const auto& own) { return own.first == option.first; });
        if (!given) plan.create_options.push_back(option);
      }
    }
    // A file that does not exist is in nobody's use, and if one appears it is refused: a long
    // chain is not asked file by file for nothing.
    auto& files = async::Loop::current().files();
    const std::string path = plain_path(request_.overlay_path);
    plan.may_exist = (co_await files.stat(path)).has_value();
    if (!plan.may_exist) co_return std::move(plan);
    for (Node* node : graph_.nodes()) {
      auto stat = co_await async::call_on(node->home(), identity_of(*node));
      if (stat) plan.files_in_use.push_back({node->name(), *stat});
    }
    co_return std::move(plan);
  }

  // The intent is durable, and the overlay has its name, before anything changes.
  Task<Result<>> record() {
    intents_.push_back({.device = request_.device,
                        .old_node = old_head_->name(),
                        .overlay_node = prepared_->top().name(),
                        .overlay_path = prepared_->path(),
                        .overlay_format = request_.format});
    auto result = co_await graph_.state().record_intents(intents_);
    if (result) {
      result = graph_.adopt(prepared_->tree());
      if (result) co_return result;
    }
    // A rollback is durable before what was created goes.
    (void)co_await graph_.state().forget_intents(intents_);
    co_await async::call_on(old_head_->home(), discard_overlay(*prepared_));
    co_return result;
  }

  void report(const Pivoted& pivoted, const Node& overlay, async::TimePoint moved) {
    report_.device = request_.device;
    report_.old_node = old_head_->name();
    report_.overlay_node = overlay.name();
    report_.overlay_path = prepared_->path();
    report_.pause_ns = pivoted.pause_ns;
    report_.in_flight = pivoted.in_flight;
    report_.prepare_ns = static_cast<uint64_t>((moved - begun_).count());
  }

  Graph& graph_;
  SnapshotRequest request_;
  async::TimePoint begun_;
  Node* old_head_ = nullptr;
  std::unique_ptr<PreparedOverlay> prepared_;
  std::vector<SnapshotIntent> intents_;
  SnapshotReport report_;
};

}  // namespace

Task<Result<SnapshotReport>> take_snapshot(Graph& graph, SnapshotRequest request) {
  Snapshot snapshot(graph, std::move(request));
  co_return co_await snapshot.run();
}

}  // namespace firn::block
