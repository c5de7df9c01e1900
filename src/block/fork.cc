#include "block/fork.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "block/overlay.h"
#include "block/permissions.h"
#include "block/revert.h"
#include "block/snapshot_step.h"
#include "block/transaction.h"

namespace firn::block {

using base::ErrorKind;

namespace {

// On the layer's home loop. ---------------------------------------------------------------------

struct LayerFacts {
  NodeOptions options;
  bool read_only = false;
};
Task<LayerFacts> facts_of(const Node& layer) {
  co_return LayerFacts{.options = layer.options(), .read_only = layer.read_only()};
}

// The last that can fail: the layer's image is locked for reading, if it was not.
Task<Result<>> stand_on(PreparedOverlay& overlay, Node& layer) {
  CO_TRY(check_sealed(layer));
  overlay.stand_in();
  Edge& backing = overlay.top().children().backing;
  const PermissionSet wanted = child_permissions(backing, cumulative_permissions(overlay.top()));
  backing.attach(&layer, wanted.used, wanted.shared);
  co_return update_permissions(overlay.top());
}

Task<void> discard_overlay(PreparedOverlay& overlay, Node& layer) {
  co_await overlay.discard();
  (void)update_permissions(layer);  // fewer users never conflict
}

class Fork {
 public:
  Fork(Graph& graph, const Graph::Claim& claim, ForkRequest request)
      : graph_(graph),
        claim_(claim),
        request_(std::move(request)),
        begun_(async::Loop::current().now()) {}

  Task<Result<ForkReport>> run() {
    CO_TRY(co_await prepare());
    if (auto begun = co_await begin(); !begun) {
      co_await async::call_on(layer_->home(), discard_overlay(*prepared_, *layer_));
      co_return base::fail(with_snapshot(std::move(begun).error()));
    }
    Node& overlay = prepared_->top();
    CHECK(
        graph_.adopt(prepared_->tree(), claim_).has_value());  // its names were free, and still are
    Device* device = CO_TRY(co_await graph_.add_device_claimed(request_.id, overlay, claim_));
    auto recorded = co_await graph_.state().record_done(intent_, {});
    if (!recorded) {
      co_return base::fail(std::move(recorded).error().with_context(
          fmt::format("Device '{}' was made, but that could not be recorded", device->id)));
    }
    ForkReport report;
    report.id = device->id;
    report.head = overlay.name();
    report.layer = layer_->name();
    if (graph_.find_device(request_.overlay.device) != nullptr) {
      report.device = request_.overlay.device;
    }
    report.total_ns = static_cast<uint64_t>((async::Loop::current().now() - begun_).count());
    report.snapshot = std::move(snapshot_);
    co_return report;
  }

 private:
  Task<Result<>> prepare() {
    CO_TRY(graph_.reserve_device_id(request_.id, claim_));
    layer_ = CO_TRY(co_await graph_.find_claimed_head(claim_, request_.overlay.device,
                                                      request_.overlay.node_name));
    const LayerFacts facts = co_await async::call_on(layer_->home(), facts_of(*layer_));
    live_ = !facts.read_only;
    CO_TRY(check_snapshot_file());
    CO_TRY(check_overlay_name(graph_, claim_, request_.overlay));
    CO_TRY(check_names());
    OverlayPlan plan =
        CO_TRY(co_await make_overlay_plan(graph_, claim_, request_.overlay, *layer_));
    plan.options = facts.options;
    plan.options->read_only = false;
    plan.users.emplace();  // a device by itself does nothing
    prepared_ =
        CO_TRY(co_await async::call_on(layer_->home(), PreparedOverlay::prepare(std::move(plan))));
    co_return Result<>();
  }

  Result<> check_snapshot_file() const {
    if (live_ && request_.snapshot_path.empty()) {
      return base::fail(
          base::Error(ErrorKind::kInvalidArgument,
                      fmt::format("Node '{}' is written to: a fork stands on a snapshot of it",
                                  layer_->name()))
              .with_hint("name the image that the disk goes on with: 'snapshot-file'"));
    }
    if (!live_ && !request_.snapshot_path.empty()) {
      return base::fail(base::Error(ErrorKind::kInvalidArgument,
                                    fmt::format("Node '{}' is a sealed layer: it needs no snapshot",
                                                layer_->name()))
                            .with_hint("leave 'snapshot-file' out"));
    }
    return {};
  }

  // The names that come with it, against each other.
  Result<> check_names() const {
    const std::string& overlay = request_.overlay.overlay_node_name;
    const std::string& snapshot = live_ ? request_.snapshot_node_name : std::string();
    if ((!overlay.empty() && overlay == snapshot) || overlay == request_.id ||
        snapshot == request_.id) {
      return base::fail(base::Error(ErrorKind::kExists, "New overlay node-name already in use")
                            .with_hint("device and nodes need different names"));
    }
    return {};
  }

  Task<Result<>> begin() {
    if (live_) CO_TRY(co_await take_snapshot());
    CO_TRY(co_await async::call_on(layer_->home(), stand_on(*prepared_, *layer_)));
    GraphChange change;
    change.added.push_back(describe_new_node(graph_, *prepared_, *layer_));
    change.devices.push_back({.id = request_.id, .node = prepared_->top().name()});
    intent_ = CO_TRY(co_await graph_.state().record_intent(std::move(change)));
    co_return Result<>();
  }

  Task<Result<>> take_snapshot() {
    SnapshotRequest request = request_.overlay;
    request.overlay_path = request_.snapshot_path;
    request.overlay_node_name = request_.snapshot_node_name;
    std::vector<TransactionAction> actions;
    actions.emplace_back(std::move(request));
    auto outcome = co_await run_transaction_claimed(graph_, claim_, std::move(actions));
    CO_TRY(std::move(outcome.result));
    snapshot_ = std::move(outcome.reports.front());
    co_return Result<>();
  }

  base::Error with_snapshot(base::Error error) const {
    if (!snapshot_) return error;
    return std::move(error).with_hint(
        fmt::format("the snapshot was taken and node '{}' is in use", snapshot_->overlay_node));
  }

  Graph& graph_;
  const Graph::Claim& claim_;
  ForkRequest request_;
  async::TimePoint begun_;
  Node* layer_ = nullptr;
  bool live_ = false;
  std::unique_ptr<PreparedOverlay> prepared_;
  std::optional<SnapshotReport> snapshot_;
  uint64_t intent_ = 0;
};

}  // namespace

Task<Result<ForkReport>> fork_device(Graph& graph, ForkRequest request) {
  const Graph::Claim claim =
      co_await graph.claim({request.overlay.device, request.overlay.node_name});
  Fork fork(graph, claim, std::move(request));
  co_return co_await fork.run();
}

}  // namespace firn::block
