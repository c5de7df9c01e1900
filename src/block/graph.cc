#include "block/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "base/check.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

namespace {

std::unexpected<base::Error> gone() {
  return base::fail(ErrorKind::kNotFound, "the node was removed meanwhile");
}

// On the node's home loop from here on. --------------------------------------------------------

Task<Result<>> attach_root(Root& root, Node& node, Permissions used, Permissions shared) {
  constexpr Permissions kChanging = permission::kWrite | permission::kResize;
  if (node.seal_failed && (used & kChanging) != 0) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node '{}' is busy: {}", node.name(), node.busy_reason()));
  }
  root.edge().attach(&node, used, shared);
  auto result = update_permissions(node);
  if (!result) {
    root.edge().detach();
    (void)update_permissions(node);  // gives back what the failed try may have left
  }
  co_return result;
}

Task<bool> detach_root(Root& root) {
  Node* node = root.head();
  root.edge().detach();
  (void)update_permissions(*node);  // fewer users never conflict
  co_return node->parents().empty();
}

Task<Node*> head_of(Root& root) { co_return root.head(); }

Task<bool> is_unused(Node& node) { co_return node.parents().empty(); }

// Closes `node`, and of the nodes below those that nobody uses and nobody added.
Task<Result<>> close_orphans(Node& node, const std::set<const Node*>& added,
                             std::vector<Node*>& closed) {
  std::vector<Node*> below;
  for (Edge* edge : {&node.children().file, &node.children().backing}) {
    if (*edge) below.push_back(edge->child());
  }
  Result<> first = co_await close_node(node);
  closed.push_back(&node);
  for (Node* child : below) {
    if (!child->parents().empty() || added.contains(child)) continue;
    auto result = co_await close_orphans(*child, added, closed);
    if (!result && first) first = std::move(result);
  }
  co_return first;
}

Task<Result<>> check_removable(Node& node) {
  const bool has_roots = std::ranges::any_of(
      node.parents(), [](const Edge* edge) { return edge->role() == EdgeRole::kRoot; });
  if (has_roots) {
    co_return base::fail(ErrorKind::kBusy, fmt::format("Node {} is in use", node.name()));
  }
  if (const std::string reason = node.busy_reason(); !reason.empty()) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node '{}' is busy: {}", node.name(), reason));
  }
  if (!node.parents().empty()) {
    co_return base::fail(ErrorKind::kBusy, fmt::format("Block device {} is in use", node.name()));
  }
  co_return Result<>();
}

void collect_below(Node& node, std::vector<Node*>& all) {
  if (std::ranges::find(all, &node) != all.end()) return;
  for (Edge* edge : {&node.children().file, &node.children().backing}) {
    if (*edge) collect_below(*edge->child(), all);
  }
  all.push_back(&node);
}

Task<Result<std::vector<Node*>>> movable_nodes(Node& node) {
  std::vector<Node*> all;
  collect_below(node, all);
  for (const Node* one : all) {
    for (const Edge* edge : one->parents()) {
      const bool within =
          edge->parent() != nullptr && std::ranges::find(all, edge->parent()) != all.end();
      const bool idle_root = edge->role() == EdgeRole::kRoot && edge->used() == permission::kNone;
      if (within || idle_root) continue;
      co_return base::fail(
          ErrorKind::kBusy,
          fmt::format("Node '{}' can't move to another I/O thread while {} uses it", one->name(),
                      edge->parent_text()));
    }
  }
  co_return all;
}

// On the new home, while the old one keeps still: nobody uses the nodes.
Task<Result<>> move_nodes(const std::vector<Node*>& nodes, async::Loop& from, async::Loop& to) {
  for (size_t i = 0; i < nodes.size(); ++i) {
    auto result = nodes[i]->driver().move_to(to);
    if (!result) {
      while (i-- > 0) CHECK(nodes[i]->driver().move_to(from).has_value());
      co_return result;
    }
  }
  for (Node* node : nodes) node->set_home(to);
  co_return Result<>();
}

}  // namespace

// Loops -----------------------------------------------------------------------------------------

Result<std::unique_ptr<Graph>> Graph::create(async::Runtime& runtime, Registry registry,
                                             StateStore& state) {
  async::Loop* loop = TRY(runtime.add_loop("io"));
  return std::unique_ptr<Graph>(new Graph(runtime, std::move(registry), state, *loop));
}

Graph::Graph(async::Runtime& runtime, Registry registry, StateStore& state, async::Loop& io_loop)
    : overlay_defaults{{"qcow2", {{"extended_l2", "on"}}}},
      runtime_(runtime),
      registry_(std::move(registry)),
      state_(state),
      io_loop_(&io_loop) {}

Graph::~Graph() {
  CHECK(nodes_.empty() && devices_.empty());
  if (io_loop_ != nullptr) runtime_.remove_loop(io_loop_);
  for (const auto& [id, loop] : io_loops_) runtime_.remove_loop(loop);
}

Result<async::Loop*> Graph::add_io_loop(std::string id) {
  if (io_loops_.contains(id)) {
    return base::fail(ErrorKind::kExists,
                      fmt::format("attempt to add duplicate property '{}' to object (type "
                                  "'container')",
                                  id));
  }
  async::Loop* loop = TRY(runtime_.add_loop(id));
  io_loops_.emplace(std::move(id), loop);
  return loop;
}

Task<Result<>> Graph::remove_io_loop(std::string id) {
  const auto guard = co_await lock_changes();
  const auto at = io_loops_.find(id);
  if (at == io_loops_.end()) {
    co_return base::fail(ErrorKind::kNotFound, fmt::format("object '{}' not found", id));
  }
  for (const auto& node : nodes_) {
    if (&node->home() != at->second) continue;
    co_return base::fail(
        base::Error(ErrorKind::kBusy, fmt::format("object '{}' is in use, can not be deleted", id))
            .with_hint(fmt::format("node '{}' lives there", node->name())));
  }
  runtime_.remove_loop(at->second);
  io_loops_.erase(at);
  co_return Result<>();
}

async::Loop* Graph::find_io_loop(std::string_view id) {
  const auto at = io_loops_.find(id);
  return at == io_loops_.end() ? nullptr : at->second;
}

std::vector<std::string> Graph::io_loop_names() const {
  std::vector<std::string> names;
  for (const auto& [id, loop] : io_loops_) names.push_back(id);
  return names;
}

std::string Graph::io_loop_name(const async::Loop& loop) const {
  for (const auto& [id, own] : io_loops_) {
    if (own == &loop) return id;
  }
  return "";
}

Task<Graph::Claim> Graph::claim(std::vector<std::string>) {
  co_return Claim(co_await changes_.lock());
}

Task<Graph::Claim> Graph::claim_all() { co_return Claim(co_await changes_.lock()); }

Task<Graph::Reading> Graph::read_nodes() { co_return Reading(co_await changes_.lock()); }

Task<async::Mutex::Guard> Graph::lock_changes() {
  auto guard = co_await changes_.lock();
  co_return std::move(guard);
}

// Nodes -----------------------------------------------------------------------------------------

Result<> Graph::check_new_node_name(std::string_view name) const {
  TRY(check_node_name(name));
  return check_node_name_is_free(name);
}

Result<> Graph::check_node_name_is_free(std::string_view name) const {
  if (devices_.contains(name)) {
    return base::fail(ErrorKind::kExists,
                      fmt::format("node-name={} is conflicting with a device id", name));
  }
  if (by_name_.contains(name)) {
    return base::fail(ErrorKind::kExists, fmt::format("Duplicate nodes with node-name='{}'", name));
  }
  return {};
}

// Looks names up, checks new ones, and finds the loop on which all that is named lives.
Result<> Graph::resolve_children(NodeSpec& spec, async::Loop*& home) const {
  if (spec.has_made_up_name) {
    TRY(check_node_name_is_free(spec.node_name));
  } else if (!spec.node_name.empty()) {
    TRY(check_new_node_name(spec.node_name));
  }
  for (std::optional<ChildSpec>* child : {&spec.file, &spec.backing}) {
    if (!child->has_value()) continue;
    if (const auto* name = std::get_if<std::string>(&**child)) {
      Node* node = find_node(*name);
      if (node == nullptr) {
        return base::fail(
            base::Error(ErrorKind::kDeviceNotFound,
                        fmt::format("Cannot find device='{}' nor node-name='{}'", *name, *name))
                .with_data("device", *name));
      }
      child->emplace(node);
    }
    if (Node** node = std::get_if<Node*>(&**child)) {
      if (!has_node(*node)) return gone();
      home = &(*node)->home();
    } else if (auto& inner = std::get<std::unique_ptr<NodeSpec>>(**child); inner != nullptr) {
      TRY(resolve_children(*inner, home));
    }
  }
  return {};
}

Task<Result<Node*>> Graph::add_node(NodeSpec spec) {
  const auto guard = co_await lock_changes();
  co_return co_await open_node(std::move(spec), *io_loop_);
}

Task<Result<Node*>> Graph::restore_node(NodeSpec spec, async::Loop& home, bool added) {
  const auto guard = co_await lock_changes();
  Node* node = CO_TRY(co_await open_node(std::move(spec), home));
  if (!added) added_.erase(node);
  co_return node;
}

Task<Result<Node*>> Graph::open_node(NodeSpec spec, async::Loop& default_home) {
  async::Loop* home = &default_home;
  CO_TRY(resolve_children(spec, home));
  OpenedTree tree = CO_TRY(co_await async::call_on(*home, open_tree(registry_, std::move(spec))));
  auto adopted = adopt(tree);
  if (!adopted) {
    (void)co_await async::call_on(*home, close_tree(std::move(tree)));
    co_return base::fail(std::move(adopted).error());
  }
  co_return tree.top;
}

Result<> Graph::adopt(OpenedTree& tree) {
  for (const auto& node : tree.nodes) {
    // Made-up names begin with '#' and are unique.
    if (!node->name().starts_with('#')) TRY(check_new_node_name(node->name()));
  }
  for (auto& node : tree.nodes) {
    by_name_.emplace(node->name(), node.get());
    nodes_.push_back(std::move(node));
  }
  tree.nodes.clear();
  added_.insert(tree.top);
  return {};
}

Task<Result<>> Graph::close_with_orphans(Node& node) {
  std::vector<Node*> closed;
  auto result = co_await async::call_on(node.home(), close_orphans(node, added_, closed));
  forget(closed);
  co_return result;
}

Task<Result<>> Graph::remove_node(std::string name) {
  const auto guard = co_await lock_changes();
  Node* node = find_node(name);
  if (node == nullptr) {
    co_return base::fail(base::Error(ErrorKind::kNotFound,
                                     fmt::format("Failed to find node with node-name='{}'", name))
                             .with_data("device", name));
  }
  CO_TRY(co_await async::call_on(node->home(), check_removable(*node)));
  if (!added_.contains(node)) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node {} is not owned by the monitor", name));
  }
  co_return co_await close_with_orphans(*node);
}

void Graph::forget(const std::vector<Node*>& closed) {
  for (const Node* node : closed) {
    by_name_.erase(node->name());
    added_.erase(node);
    std::erase_if(nodes_, [&](const auto& owned) { return owned.get() == node; });
  }
}

bool Graph::has_node(const Node* node) const {
  return std::ranges::any_of(nodes_, [&](const auto& owned) { return owned.get() == node; });
}

Node* Graph::find_node(std::string_view name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : at->second;
}

std::vector<Node*> Graph::nodes() const {
  std::vector<Node*> nodes;
  nodes.reserve(nodes_.size());
  for (const auto& node : nodes_) nodes.push_back(node.get());
  return nodes;
}

// Devices ---------------------------------------------------------------------------------------

Result<> Graph::check_new_device_id(std::string_view id) const {
  if (!is_identifier(id)) {
    return base::fail(
        base::Error(ErrorKind::kInvalidArgument, "Parameter 'id' expects an identifier")
            .with_hint(fmt::format("'{}': names begin with a letter; letters, digits, '-', '.' and "
                                   "'_' may follow",
                                   id)));
  }
  if (devices_.contains(id)) {
    return base::fail(ErrorKind::kExists, fmt::format("Device with id '{}' already exists", id));
  }
  if (by_name_.contains(id)) {
    return base::fail(ErrorKind::kExists,
                      fmt::format("Device name '{}' conflicts with an existing node name", id));
  }
  return {};
}

Task<Result<Device*>> Graph::add_device(std::string id, std::string node_name) {
  const auto guard = co_await lock_changes();
  CO_TRY(check_new_device_id(id));
  Node* node = find_node(node_name);
  if (node == nullptr) {
    co_return base::fail(
        base::Error(ErrorKind::kDeviceNotFound,
                    fmt::format("Cannot find device='{}' nor node-name='{}'", "", node_name))
            .with_data("device", node_name));
  }
  co_return co_await add_device_claimed(std::move(id), *node);
}

Task<Result<Device*>> Graph::add_device_claimed(std::string id, Node& node) {
  auto device = std::make_unique<Device>(id);
  device->home = &node.home();
  CO_TRY(co_await async::call_on(
      node.home(), attach_root(device->root, node, permission::kNone, permission::kAll)));
  Device* added = device.get();
  devices_.emplace(std::move(id), std::move(device));
  co_return added;
}

Task<Result<>> Graph::remove_device(std::string id) {
  const auto guard = co_await lock_changes();
  const auto at = devices_.find(id);
  if (at == devices_.end()) {
    co_return base::fail(
        base::Error(ErrorKind::kDeviceNotFound, fmt::format("Device '{}' not found", id))
            .with_data("device", id));
  }
  std::unique_ptr<Device> device = std::move(at->second);
  devices_.erase(at);
  (void)co_await async::call_on(*device->home, detach_root(device->root));
  co_return Result<>();
}

Device* Graph::find_device(std::string_view id) const {
  const auto at = devices_.find(id);
  return at == devices_.end() ? nullptr : at->second.get();
}

std::vector<Device*> Graph::devices() const {
  std::vector<Device*> devices;
  devices.reserve(devices_.size());
  for (const auto& [id, device] : devices_) devices.push_back(device.get());
  return devices;
}

Task<Result<Node*>> Graph::find_head(std::string device, std::string node_name) {
  if (Device* found = find_device(device); found != nullptr) {
    Node* head = co_await async::call_on(*found->home, head_of(found->root));
    if (head == nullptr) {
      co_return base::fail(ErrorKind::kDeviceNotActive,
                           fmt::format("Device '{}' has no medium", device));
    }
    co_return head;
  }
  if (Node* node = node_name.empty() ? nullptr : find_node(node_name); node != nullptr) {
    co_return node;
  }
  co_return base::fail(
      base::Error(ErrorKind::kDeviceNotFound,
                  fmt::format("Cannot find device='{}' nor node-name='{}'", device, node_name))
          .with_data("device", device.empty() ? node_name : device));
}

// Roots -----------------------------------------------------------------------------------------

Task<Result<>> Graph::attach(Root& root, Node& node, Permissions used, Permissions shared) {
  const auto guard = co_await lock_changes();
  if (!has_node(&node)) co_return gone();
  co_return co_await async::call_on(node.home(), attach_root(root, node, used, shared));
}

Task<void> Graph::detach(Root& root) {
  const auto guard = co_await lock_changes();
  // The head is read here and not on its home: only holders of the lock change it.
  Node* node = root.head();
  if (node == nullptr) co_return;
  const bool unused = co_await async::call_on(node->home(), detach_root(root));
  if (unused && !added_.contains(node)) (void)co_await close_with_orphans(*node);
}

Task<Result<>> Graph::move_to_loop(Node& node, async::Loop& loop) {
  const auto guard = co_await lock_changes();
  if (!has_node(&node)) co_return gone();
  co_return co_await move_to_loop_locked(node, loop);
}

Task<Result<>> Graph::move_to_loop_locked(Node& node, async::Loop& loop) {
  async::Loop& from = node.home();
  if (&from == &loop) co_return Result<>();
  const auto nodes = CO_TRY(co_await async::call_on(from, movable_nodes(node)));
  CO_TRY(co_await async::call_on(loop, move_nodes(nodes, from, loop)));
  for (const auto& [id, device] : devices_) {
    if (device->root.head() != nullptr) device->home = &device->root.head()->home();
  }
  co_return Result<>();
}

Task<Result<>> Graph::close() {
  const auto guard = co_await lock_changes();
  Result<> first;
  for (auto& [id, device] : devices_) {
    (void)co_await async::call_on(*device->home, detach_root(device->root));
  }
  devices_.clear();
  added_.clear();
  for (bool progress = true; progress && !nodes_.empty();) {
    progress = false;
    for (Node* node : nodes() | std::views::reverse) {
      if (!has_node(node)) continue;
      if (!co_await async::call_on(node->home(), is_unused(*node))) continue;
      auto result = co_await close_with_orphans(*node);
      if (!result && first) first = std::move(result);
      progress = true;
    }
  }
  if (!nodes_.empty()) {
    co_return base::fail(ErrorKind::kBusy, fmt::format("Node {} is in use", nodes_.back()->name()));
  }
  if (io_loop_ != nullptr) runtime_.remove_loop(std::exchange(io_loop_, nullptr));
  for (auto& [id, loop] : std::exchange(io_loops_, {})) runtime_.remove_loop(loop);
  co_return first;
}

}  // namespace firn::block
