#include "block/internal_snapshot_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace firn::block {

using base::ErrorKind;

namespace {

uint64_t nanoseconds(async::Duration time) { return static_cast<uint64_t>(time.count()); }

// On the head's home loop. ----------------------------------------------------------------------

Result<> check_top(const Node& head) {
  const auto is_user = [](const Edge* edge) { return edge->role() == EdgeRole::kRoot; };
  if (!std::ranges::all_of(head.parents(), is_user)) {
    return base::fail(base::Error(ErrorKind::kInvalidArgument, "Need a root block node")
                          .with_hint(fmt::format("node '{}' is below another", head.name())));
  }
  if (const std::string reason = head.busy_reason(); !reason.empty()) {
    return base::fail(ErrorKind::kBusy, fmt::format("Node '{}' is busy: {}", head.name(), reason));
  }
  return {};
}

Result<> check_writable(const Node& head, const std::string& device) {
  if (!head.read_only()) return {};
  return base::fail(ErrorKind::kReadOnly, fmt::format("Device '{}' is read only", device));
}

bool has_name(const Node& head, const std::string& name) {
  return std::ranges::any_of(head.driver().snapshots(),
                             [&](const auto& snapshot) { return snapshot.name == name; });
}

Result<InternalSnapshotFacts> find_to_delete(const Node& head, const std::string& device,
                                             const std::optional<std::string>& id,
                                             const std::optional<std::string>& name) {
  if (!head.driver().supports_snapshots()) {
    return base::fail(base::Error(ErrorKind::kUnsupported,
                                  "Failed to get a snapshot list: Operation not supported")
                          .with_hint(fmt::format("the format '{}' has no internal snapshots",
                                                 head.driver().name())));
  }
  // Something that is given and empty is no wildcard.
  for (InternalSnapshotFacts& snapshot : head.driver().snapshots()) {
    if ((!id || snapshot.id == *id) && (!name || snapshot.name == *name)) {
      return std::move(snapshot);
    }
  }
  return base::fail(ErrorKind::kNotFound,
                    fmt::format("Snapshot with id '{}' and name '{}' does not exist on device '{}'",
                                id.value_or("null"), name.value_or("null"), device));
}

Task<Result<InternalSnapshotFacts>> delete_from(Node& head, const std::string& device,
                                                const std::optional<std::string>& id,
                                                const std::optional<std::string>& name) {
  CO_TRY(check_top(head));
  if (!id && !name) {
    co_return base::fail(ErrorKind::kInvalidArgument, "Name or id must be provided");
  }
  InternalSnapshotFacts snapshot = CO_TRY(find_to_delete(head, device, id, name));
  CO_TRY(check_writable(head, device));
  if (auto deleted = co_await head.driver().snapshot_delete(snapshot.id); !deleted) {
    co_return base::fail(std::move(deleted).error().with_context(
        fmt::format("Failed to delete snapshot '{}' on device '{}'", snapshot.name, device)));
  }
  co_return snapshot;
}

Task<void> take_on_loop(InternalSnapshotStep& step) {
  step.take_now();
  co_return;
}

}  // namespace

InternalSnapshotStep::InternalSnapshotStep(Graph& graph, const Graph::Claim& claim,
                                           InternalSnapshotRequest request)
    : graph_(graph),
      claim_(claim),
      request_(std::move(request)),
      begun_(async::Loop::current().now()) {}

Task<Result<>> InternalSnapshotStep::prepare() {
  head_ = CO_TRY(co_await graph_.find_claimed_head(claim_, request_.device, request_.device));
  if (graph_.find_device(request_.device) != nullptr) report_.device = request_.device;
  report_.node = head_->name();
  co_return co_await async::call_on(home(), check());
}

Task<Result<>> InternalSnapshotStep::check() const {
  const Node& head = *head_;
  CO_TRY(check_top(head));
  CO_TRY(check_writable(head, request_.device));
  if (!head.driver().supports_snapshots()) {
    co_return base::fail(ErrorKind::kUnsupported,
                         fmt::format("Block format '{}' used by device '{}' does not support "
                                     "internal snapshots",
                                     head.driver().name(), request_.device));
  }
  if (request_.name.empty()) co_return base::fail(ErrorKind::kInvalidArgument, "Name is empty");
  if (has_name(head, request_.name)) {
    co_return base::fail(ErrorKind::kExists,
                         fmt::format("Snapshot with name '{}' already exists on device '{}'",
                                     request_.name, request_.device));
  }
  if (head.unsealed_below != nullptr) {
    co_return base::fail(
        ErrorKind::kBusy,
        fmt::format("Node '{}' is busy: the snapshot below it is unsealed (node '{}')", head.name(),
                    head.unsealed_below->name()));
  }
  co_return Result<>();
}

Task<Result<>> InternalSnapshotStep::arm() {
  auto armed = co_await async::call_on(home(), arm_here());
  if (armed) co_return Result<>();
  co_return base::fail(std::move(armed).error().with_context(fmt::format(
      "Failed to create snapshot '{}' on device '{}'", request_.name, request_.device)));
}

Task<Result<>> InternalSnapshotStep::arm_here() {
  const int64_t now_us = async::Loop::current().wall_clock_us();
  report_.pause_ns = CO_TRY(co_await head_->driver().snapshot_prepare(
      {.name = request_.name, .date_s = now_us / 1'000'000, .date_ns = now_us % 1'000'000 * 1000}));
  armed_ = async::Loop::current().now();
  co_return Result<>();
}

Task<void> InternalSnapshotStep::cancel() { co_await async::call_on(home(), cancel_here()); }

Task<void> InternalSnapshotStep::cancel_here() { co_await head_->driver().snapshot_cancel(); }

void InternalSnapshotStep::take_now() {
  head_->driver().snapshot_take();
  taken_ = async::Loop::current().now();
  report_.pause_ns += nanoseconds(taken_ - armed_);
  report_.prepare_ns = nanoseconds(taken_ - begun_);
}

Task<void> InternalSnapshotStep::store() { co_await async::call_on(home(), store_here()); }

Task<void> InternalSnapshotStep::store_here() {
  auto facts = co_await head_->driver().snapshot_store();
  report_.store_ns = nanoseconds(async::Loop::current().now() - taken_);
  if (facts) {
    report_.facts = *std::move(facts);
  } else {
    stored_ = base::fail(std::move(facts).error().with_context(fmt::format(
        "Failed to create snapshot '{}' on device '{}'", request_.name, request_.device)));
  }
}

Task<Result<>> InternalSnapshotStep::remove() { return async::call_on(home(), remove_here()); }

Task<Result<>> InternalSnapshotStep::remove_here() {
  co_return co_await head_->driver().snapshot_delete(report_.facts.id);
}

Task<Result<DiskSnapshotReport>> take_disk_snapshot(Graph& graph, InternalSnapshotRequest request) {
  const Graph::Claim claim = co_await graph.claim({request.device});
  InternalSnapshotStep step(graph, claim, std::move(request));
  CO_TRY(co_await step.prepare());
  CO_TRY(co_await step.arm());
  co_await async::call_on(step.home(), take_on_loop(step));
  co_await step.store();
  CO_TRY(step.stored());
  co_return step.take_report();
}

Task<Result<InternalSnapshotFacts>> delete_disk_snapshot(Graph& graph, std::string device,
                                                         std::optional<std::string> id,
                                                         std::optional<std::string> name) {
  const Graph::Claim claim = co_await graph.claim({device});
  Node* head = CO_TRY(co_await graph.find_claimed_head(claim, device, device));
  co_return co_await async::call_on(head->home(), delete_from(*head, device, id, name));
}

}  // namespace firn::block
