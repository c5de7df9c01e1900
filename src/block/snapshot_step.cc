#include "block/snapshot_step.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "block/permissions.h"
#include "block/seal.h"

namespace firn::block {

using base::ErrorKind;

namespace {

// On the head's home loop. ----------------------------------------------------------------------

// Steps 3 and 4 of docs/snapshot.md.
Task<Result<>> ready_head(Node& head) {
  CO_TRY(check_head(head));
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

// One turn, start to end: a plain function, so that nothing in it can wait.
SnapshotStep::Pivoted pivot(Node& old_head, PreparedOverlay& prepared, Node& overlay) {
  async::Loop& loop = old_head.home();
  const async::TimePoint begun = loop.now();
  const std::vector<Edge*> parents = old_head.parents();
  const bool resized = overlay.driver().size_bytes() != old_head.driver().size_bytes();
  for (Edge* edge : parents) edge->repoint(&overlay);
  prepared.stand_in();
  Edge& backing = overlay.children().backing;
  const PermissionSet wanted = child_permissions(backing, cumulative_permissions(overlay));
  backing.attach(&old_head, wanted.used, wanted.shared);
  if (!old_head.read_only()) overlay.unsealed_below = &old_head;
  if (resized) {
    for (const Edge* edge : parents) {
      if (Root* root = edge->root()) root->notify_resize();
    }
  }
  return {.pause_ns = static_cast<uint64_t>((loop.now() - begun).count()),
          .in_flight = old_head.mutation_count()};
}

struct SealFailure {
  std::string error;
  bool can_retry = true;
};
Task<SealFailure> failure_of(const Node& old_head) {
  co_return SealFailure{.error = old_head.seal_error, .can_retry = can_seal_again(old_head)};
}

// What its image takes of its store.
Task<uint64_t> bytes_of(Node& overlay) {
  Node* at = &overlay;
  while (at->children().file) at = at->children().file.child();
  const auto stat = co_await at->driver().identity();
  co_return stat ? stat->allocated_bytes : 0;
}

Task<Result<async::FileStat>> identity_of(Node& node) {
  if (!node.driver().is_protocol()) co_return base::fail(ErrorKind::kUnsupported, "a format");
  co_return co_await node.driver().identity();
}

Task<std::string> filename_of(Node& node) { co_return node.driver().filename(); }

Task<void> discard_overlay(PreparedOverlay& overlay) { co_await overlay.discard(); }

}  // namespace

Result<> check_head(const Node& head) {
  if (const std::string reason = head.busy_reason(); !reason.empty()) {
    return base::fail(ErrorKind::kBusy, fmt::format("Node '{}' is busy: {}", head.name(), reason));
  }
  // A node above admits requests for itself: those that it has in flight here are counted nowhere,
  // and neither a seal nor a copy could wait for them.
  for (const Edge* edge : head.parents()) {
    if (edge->role() == EdgeRole::kRoot) continue;
    return base::fail(base::Error(ErrorKind::kBusy,
                                  fmt::format("Node '{}' is busy: node is used as {} of '{}'",
                                              head.name(), edge->name(), edge->parent()->name()))
                          .with_hint(fmt::format("name node '{}'", edge->parent()->name())));
  }
  return {};
}

// On the control loop. --------------------------------------------------------------------------

Task<Result<OverlayPlan>> make_overlay_plan(Graph& graph, const Graph::Claim& claim,
                                            const SnapshotRequest& request, Node& below) {
  OverlayPlan plan{.registry = graph.registry(),
                   .below = below,
                   .path = request.overlay_path,
                   .format = request.format,
                   .node_name = request.overlay_node_name,
                   .mode = request.mode,
                   .create_options = request.overlay_options,
                   .reserve = graph.snapshot_reserve,
                   .files_in_use = {}};
  if (const auto defaults = graph.overlay_defaults.find(request.format);
      defaults != graph.overlay_defaults.end()) {
    for (const auto& option : defaults->second) {
      const bool given = std::ranges::any_of(
          request.overlay_options, [&](const auto& own) { return own.first == option.first; });
      if (!given) plan.create_options.push_back(option);
    }
  }
  // A file that does not exist is in nobody's use, and if one appears it is refused: a long
  // chain is not asked file by file for nothing.
  auto& files = async::Loop::current().files();
  const std::string path = plain_path(request.overlay_path);
  const auto there = co_await files.stat(path);
  plan.may_exist = there.has_value();
  if (!plan.may_exist) co_return std::move(plan);
  const std::string file = fmt::format("file {}:{}:{}", there->device, there->inode, there->rdev);
  if (!graph.reserve(file, claim)) {
    co_return base::fail(
        base::Error(ErrorKind::kOpenFileFailed,
                    fmt::format("Could not create '{}': another snapshot is using this file",
                                request.overlay_path))
            .with_data("filename", request.overlay_path));
  }
  const auto reading = co_await graph.read_nodes();
  for (Node* node : graph.nodes()) {
    auto stat = co_await async::call_on(node->home(), identity_of(*node));
    if (stat) plan.files_in_use.push_back({node->name(), *stat});
  }
  co_return std::move(plan);
}

// The nodes below the overlay are new to the graph and nobody else's, so that they are read here.
GraphChange::NewNode describe_new_node(const Graph& graph, PreparedOverlay& overlay,
                                       const Node& below) {
  const Node& top = overlay.top();
  const Node& file = *top.children().file.child();
  return {.name = top.name(),
          .format = std::string(top.driver().name()),
          .path = overlay.path(),
          .protocol = std::string(file.driver().name()),
          .file_name = file.name(),
          .options = top.options(),
          .backing_node = below.name(),
          .io_thread = graph.io_loop_name(top.home())};
}

Result<> check_overlay_name(Graph& graph, const Graph::Claim& claim,
                            const SnapshotRequest& request) {
  const std::string& name = request.overlay_node_name;
  if (name.empty()) {
    if (request.node_name.empty()) return {};
    return base::fail(ErrorKind::kInvalidArgument, "New overlay node-name missing");
  }
  // A name that can't be one is told later, as QEMU does.
  const auto reserved = graph.reserve_node_name(name, claim);
  if (reserved || reserved.error().kind() != ErrorKind::kExists) return {};
  return base::fail(ErrorKind::kExists, "New overlay node-name already in use");
}

SnapshotStep::SnapshotStep(Graph& graph, const Graph::Claim& claim, SnapshotRequest request)
    : graph_(graph),
      claim_(claim),
      request_(std::move(request)),
      begun_(async::Loop::current().now()) {}

SnapshotStep::~SnapshotStep() = default;

Task<Result<>> SnapshotStep::prepare(const Earlier& earlier) {
  old_head_ =
      CO_TRY(co_await graph_.find_claimed_head(claim_, request_.device, request_.node_name));
  CO_TRY(check_not_taken(earlier));
  CO_TRY(co_await async::call_on(old_head_->home(), ready_head(*old_head_)));
  if (!request_.overlay_node.empty()) co_return co_await prepare_node(earlier);
  CO_TRY(check_own_overlay_name(earlier));
  OverlayPlan plan = CO_TRY(co_await make_overlay_plan(graph_, claim_, request_, *old_head_));
  prepared_ =
      CO_TRY(co_await async::call_on(old_head_->home(), PreparedOverlay::prepare(std::move(plan))));
  co_return Result<>();
}

// An overlay that a user opened before: QEMU's checks in its order, and the size.
Task<Result<>> SnapshotStep::prepare_node(const Earlier& earlier) {
  Node* overlay = CO_TRY(
      co_await graph_.find_claimed_head(claim_, request_.overlay_node, request_.overlay_node));
  for (const auto& other : earlier) {
    if (other->old_head_ == overlay) {
      co_return base::fail(ErrorKind::kBusy, "The overlay is already in use");
    }
  }
  CO_TRY(co_await async::call_on(
      overlay->home(), PreparedOverlay::check_node(*overlay, *old_head_, graph_.registry())));
  CO_TRY(co_await check_space_of(*overlay));
  if (&overlay->home() != &old_head_->home()) {
    CO_TRY(co_await graph_.move_to_loop_locked(*overlay, old_head_->home()));
  }
  prepared_ = CO_TRY(co_await async::call_on(
      old_head_->home(), PreparedOverlay::take_over(*overlay, *old_head_, graph_.registry())));
  co_return Result<>();
}

Task<Result<>> SnapshotStep::check_space_of(Node& overlay) const {
  const std::string path = co_await async::call_on(overlay.home(), filename_of(overlay));
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || path.starts_with("/dev/")) co_return Result<>();
  co_return co_await check_space(graph_.snapshot_reserve, path.substr(0, slash + 1), path);
}

// Each head gets one overlay, and no node is the overlay of two.
Result<> SnapshotStep::check_not_taken(const Earlier& earlier) const {
  for (const auto& other : earlier) {
    if (other->old_head_ != old_head_ && &other->prepared_->top() != old_head_) continue;
    return base::fail(
        base::Error(
            ErrorKind::kBusy,
            fmt::format("Node '{}' is busy: this transaction takes a snapshot of it already",
                        old_head_->name()))
            .with_hint("one transaction is one point in time: name each disk once"));
  }
  return {};
}

Result<> SnapshotStep::check_own_overlay_name(const Earlier& earlier) const {
  TRY(check_overlay_name(graph_, claim_, request_));
  const std::string& name = request_.overlay_node_name;
  for (const auto& other : earlier) {
    if (other->prepared_->top().name() != name) continue;
    return base::fail(ErrorKind::kExists, "New overlay node-name already in use");
  }
  return {};
}

Task<void> SnapshotStep::discard() {
  if (prepared_ == nullptr) co_return;
  co_await async::call_on(home(), discard_overlay(*prepared_));
  prepared_.reset();
}

void SnapshotStep::keep_file() {
  if (prepared_ != nullptr) prepared_->keep_file();
}

// Empty where the request named a node.
std::string SnapshotStep::device_name() const {
  return graph_.find_device(request_.device) != nullptr ? request_.device : std::string();
}

// A node that was open before is the graph's already: only its backing is new.
void SnapshotStep::add_to(GraphChange& change) const {
  Node& overlay = prepared_->top();
  if (request_.overlay_node.empty()) {
    change.added.push_back(describe_new_node(graph_, *prepared_, *old_head_));
  } else {
    change.backings.push_back({.overlay = overlay.name(), .backing_node = old_head_->name()});
  }
  change.moved.push_back(
      {.from = old_head_->name(), .to = overlay.name(), .device = device_name()});
  if (!old_head_->read_only()) change.to_seal.push_back(old_head_->name());
}

void SnapshotStep::adopt() {
  overlay_ = &prepared_->top();
  // Its names were free, and still are.
  CHECK(graph_.adopt(prepared_->tree(), claim_, true).has_value());
}

void SnapshotStep::close_gates() {
  for (const Edge* edge : old_head_->parents()) {
    Root* root = edge->root();
    if (root == nullptr) continue;
    root->gate().close();
    gated_.push_back(root);
  }
}

void SnapshotStep::open_gates() {
  for (Root* root : std::exchange(gated_, {})) root->gate().open();
}

void SnapshotStep::pivot_now() { pivoted_ = pivot(*old_head_, *prepared_, *overlay_); }

void SnapshotStep::note_pivot() {
  moved_ = async::Loop::current().now();
  report_.device = device_name();
  report_.old_node = old_head_->name();
  report_.overlay_node = overlay_->name();
  report_.overlay_path = prepared_->path();
  report_.pause_ns = pivoted_.pause_ns;
  report_.in_flight = pivoted_.in_flight;
  report_.prepare_ns = static_cast<uint64_t>((moved_ - begun_).count());
}

Task<void> SnapshotStep::seal() {
  sealed_ = co_await async::call_on(home(), seal_head(*old_head_, *overlay_));
  report_.seal_ns = static_cast<uint64_t>((async::Loop::current().now() - moved_).count());
  report_.overlay_bytes = co_await async::call_on(home(), bytes_of(*overlay_));
  if (sealed_) co_return;
  const auto outcome = co_await async::call_on(home(), failure_of(*old_head_));
  report_.seal_error = outcome.error;
  report_.can_seal_again = outcome.can_retry;
}

}  // namespace firn::block
