#include "block/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "async/scope.h"
#include "base/check.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

namespace {

// How often the end looks whether a chain's users have left.
constexpr auto kLeavePause = std::chrono::milliseconds(5);

std::unexpected<base::Error> gone() {
  return base::fail(ErrorKind::kNotFound, "the node was removed meanwhile");
}

std::unexpected<base::Error> not_found(std::string_view device, std::string_view node_name) {
  return base::fail(
      base::Error(ErrorKind::kDeviceNotFound,
                  fmt::format("Cannot find device='{}' nor node-name='{}'", device, node_name))
          .with_data("device", std::string(device.empty() ? node_name : device)));
}

// On the node's home loop from here on. --------------------------------------------------------

Task<Result<>> attach_root(Root& root, Node& node, Permissions used, Permissions shared) {
  constexpr Permissions kChanging = permission::kWrite | permission::kResize;
  if (node.seal_failed && (used & kChanging) != 0) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node '{}' is busy: {}", node.name(), node.busy_reason()));
  }
  if (node.in_flux && used != permission::kNone) {
    co_return base::fail(
        base::Error(ErrorKind::kBusy,
                    fmt::format("Node '{}' is busy: {}", node.name(), node.blocked_by()))
            .with_hint("its content is changing; use the node above, or wait for the job's end"));
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

// In this order: parents before children.
Task<Result<>> close_all(const std::vector<Node*>& nodes) {
  Result<> first;
  for (Node* node : nodes) {
    auto result = co_await close_node(*node);
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

// On the control loop, by who holds a claim on the chain: `node`, and of the nodes below those that
// nobody else uses and nobody added; parents before children.
std::vector<Node*> unused_with(Node& node, const std::set<const Node*>& added) {
  std::vector<Node*> unused{&node};
  for (size_t i = 0; i < unused.size(); ++i) {
    for (Edge* edge : {&unused[i]->children().file, &unused[i]->children().backing}) {
      Node* child = edge->child();
      if (child == nullptr || added.contains(child)) continue;
      const bool is_used = std::ranges::any_of(child->parents(), [&](const Edge* use) {
        return use->parent() == nullptr || std::ranges::find(unused, use->parent()) == unused.end();
      });
      if (!is_used && std::ranges::find(unused, child) == unused.end()) unused.push_back(child);
    }
  }
  return unused;
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
      io_loop_(&io_loop),
      claims_({.resolve = [this](const ClaimKeys& keys) { return resolve(keys); },
               .all = [this] { return chains_.all(); },
               .make_chain = [this] { return chains_.make_chain(); },
               .on_release = [this](const ChainIds& chains) { chains_.regroup(chains); }}) {}

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
  const auto exclusion = co_await readers_.exclude();
  const auto at = io_loops_.find(id);
  if (at == io_loops_.end()) {
    co_return base::fail(ErrorKind::kNotFound, fmt::format("object '{}' not found", id));
  }
  std::string hint;
  if (moving_to_.contains(at->second)) hint = "a node is on its way there";
  for (const auto& node : nodes_) {
    if (&node->home() == at->second) hint = fmt::format("node '{}' lives there", node->name());
  }
  if (!hint.empty()) {
    co_return base::fail(
        base::Error(ErrorKind::kBusy, fmt::format("object '{}' is in use, can not be deleted", id))
            .with_hint(std::move(hint)));
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

// Claims ----------------------------------------------------------------------------------------

Task<Graph::Claim> Graph::claim(std::vector<std::string> names) {
  return claims_.claim({.names = std::move(names)});
}

Task<Graph::Claim> Graph::claim_all() { return claims_.claim({.all = true}); }

Task<Graph::Reading> Graph::read_nodes() { return readers_.enter(); }

ChainIds Graph::resolve(const ClaimKeys& keys) const {
  ChainIds chains;
  for (const std::string& name : keys.names) {
    if (const Device* device = find_device(name)) chains.insert(chains_.of(&device->root));
    if (const Node* node = find_node(name)) chains.insert(chains_.of(node));
  }
  if (keys.root != nullptr) chains.insert(chains_.of(keys.root));
  chains.erase(0);
  return chains;
}

bool Graph::holds(const Claim& claim, const Node* node) const {
  return has_node(node) && claims_.holds(claim, chains_.of(node));
}

bool Graph::reserve(const std::string& what, const Claim& claim) {
  return claims_.reserve_name(claim, what);
}

// Nodes -----------------------------------------------------------------------------------------

Result<> Graph::check_new_node_name(std::string_view name) const {
  TRY(check_node_name(name));
  return check_name_is_free(name, nullptr);
}

Result<> Graph::check_name_is_free(std::string_view name, const Claim* claim) const {
  if (devices_.contains(name)) {
    return base::fail(ErrorKind::kExists,
                      fmt::format("node-name={} is conflicting with a device id", name));
  }
  if (by_name_.contains(name) || claims_.is_reserved(name, claim)) {
    return base::fail(ErrorKind::kExists, fmt::format("Duplicate nodes with node-name='{}'", name));
  }
  return {};
}

Result<> Graph::reserve_node_name(std::string_view name, const Claim& claim) {
  TRY(check_node_name(name));
  TRY(check_name_is_free(name, &claim));
  CHECK(claims_.reserve_name(claim, std::string(name)));
  return {};
}

// All nodes that `spec` refers to.
void Graph::collect_named(const NodeSpec& spec, std::vector<std::string>& names) const {
  for (const std::optional<ChildSpec>* child : {&spec.file, &spec.backing}) {
    if (!child->has_value()) continue;
    if (const auto* name = std::get_if<std::string>(&**child)) {
      names.push_back(*name);
    } else if (Node* const* node = std::get_if<Node*>(&**child)) {
      if (has_node(*node)) names.push_back((*node)->name());
    } else if (const auto& inner = std::get<std::unique_ptr<NodeSpec>>(**child)) {
      collect_named(*inner, names);
    }
  }
}

// Looks names up, takes new ones, and finds the loop on which all that is named lives.
Result<> Graph::resolve_children(NodeSpec& spec, const Claim& claim, async::Loop*& home) {
  if (spec.has_made_up_name) {
    TRY(check_name_is_free(spec.node_name, &claim));
  } else if (!spec.node_name.empty()) {
    TRY(reserve_node_name(spec.node_name, claim));
  }
  for (std::optional<ChildSpec>* child : {&spec.file, &spec.backing}) {
    if (!child->has_value()) continue;
    if (const auto* name = std::get_if<std::string>(&**child)) {
      Node* node = find_node(*name);
      if (node == nullptr) {
        return not_found(*name, *name);
      }
      child->emplace(node);
    }
    if (Node** node = std::get_if<Node*>(&**child)) {
      if (!holds(claim, *node)) return gone();
      home = &(*node)->home();
    } else if (auto& inner = std::get<std::unique_ptr<NodeSpec>>(**child); inner != nullptr) {
      TRY(resolve_children(*inner, claim, home));
    }
  }
  return {};
}

Task<Result<Node*>> Graph::add_node(NodeSpec spec) {
  return open_node(std::move(spec), *io_loop_, true);
}

Task<Result<Node*>> Graph::restore_node(NodeSpec spec, async::Loop& home, bool added) {
  return open_node(std::move(spec), home, added);
}

Task<Result<Node*>> Graph::open_node(NodeSpec spec, async::Loop& default_home, bool added) {
  std::vector<std::string> named;
  collect_named(spec, named);
  const Claim claimed = co_await claim(std::move(named));
  async::Loop* home = &default_home;
  CO_TRY(resolve_children(spec, claimed, home));
  OpenedTree tree = CO_TRY(co_await async::call_on(*home, open_tree(registry_, std::move(spec))));
  auto adopted = adopt(tree, claimed);
  if (!adopted) {
    (void)co_await async::call_on(*home, close_tree(std::move(tree)));
    co_return base::fail(std::move(adopted).error());
  }
  if (!added) added_.erase(tree.top);
  co_return tree.top;
}

Result<> Graph::adopt(OpenedTree& tree, const Claim& claim, bool for_snapshot) {
  for (const auto& node : tree.nodes) {
    // Made-up names begin with '#' and are unique.
    if (!node->name().starts_with('#')) TRY(check_name_is_free(node->name(), &claim));
  }
  for (auto& node : tree.nodes) {
    by_name_.emplace(node->name(), node.get());
    chains_.add(*node, claims_.own_chain(claim));
    nodes_.push_back(std::move(node));
  }
  // A node that was open before is the user's.
  if (for_snapshot && !tree.nodes.empty()) made_by_snapshot_.insert(tree.top);
  tree.nodes.clear();
  added_.insert(tree.top);
  return {};
}

// From here on nobody finds them, and whoever had found them before is done.
Task<void> Graph::hide(const std::vector<Node*>& leaving) {
  const auto exclusion = co_await readers_.exclude();
  leaving_.insert(leaving.begin(), leaving.end());
}

bool Graph::goes_with_its_chain(const Node& node) const {
  return !added_.contains(&node) || made_by_snapshot_.contains(&node);
}

Task<Result<>> Graph::close_dropped(Node& top, const Node& base, const Claim& claim) {
  if (!goes_with_its_chain(top)) co_return Result<>();
  for (Node* node = &top; node != &base && goes_with_its_chain(*node);
       node = node->children().backing.child()) {
    added_.erase(node);
  }
  co_return co_await close_unused(top, claim);
}

Task<Result<>> Graph::close_unused(Node& node, const Claim& claim) {
  CHECK(holds(claim, &node));
  const std::vector<Node*> unused = unused_with(node, added_);
  co_await hide(unused);
  auto result = co_await async::call_on(node.home(), close_all(unused));
  forget(unused);
  co_return result;
}

Task<Result<>> Graph::remove_node(std::string name) {
  const Claim claimed = co_await claim({name});
  Node* node = find_node(name);
  if (!holds(claimed, node)) {
    co_return base::fail(base::Error(ErrorKind::kNotFound,
                                     fmt::format("Failed to find node with node-name='{}'", name))
                             .with_data("device", name));
  }
  CO_TRY(co_await async::call_on(node->home(), check_removable(*node)));
  if (!added_.contains(node)) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node {} is not owned by the monitor", name));
  }
  co_return co_await close_unused(*node, claimed);
}

void Graph::forget(const std::vector<Node*>& closed) {
  for (const Node* node : closed) {
    chains_.remove(*node);
    by_name_.erase(node->name());
    added_.erase(node);
    leaving_.erase(node);
    made_by_snapshot_.erase(node);
    std::erase_if(nodes_, [&](const auto& owned) { return owned.get() == node; });
  }
}

bool Graph::has_node(const Node* node) const {
  return chains_.of(node) != 0 && !leaving_.contains(node);
}

Node* Graph::find_node(std::string_view name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() || leaving_.contains(at->second) ? nullptr : at->second;
}

std::vector<Node*> Graph::nodes() const {
  std::vector<Node*> nodes;
  nodes.reserve(nodes_.size());
  for (const auto& node : nodes_) {
    if (!leaving_.contains(node.get())) nodes.push_back(node.get());
  }
  return nodes;
}

// Devices ---------------------------------------------------------------------------------------

Result<> Graph::reserve_device_id(std::string_view id, const Claim& claim) {
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
  if (by_name_.contains(id) || !claims_.reserve_name(claim, std::string(id))) {
    return base::fail(ErrorKind::kExists,
                      fmt::format("Device name '{}' conflicts with an existing node name", id));
  }
  return {};
}

Task<Result<Device*>> Graph::add_device(std::string id, std::string node_name) {
  const Claim claimed = co_await claim({node_name});
  CO_TRY(reserve_device_id(id, claimed));
  Node* node = find_node(node_name);
  if (!holds(claimed, node)) {
    co_return not_found("", node_name);
  }
  co_return co_await add_device_claimed(std::move(id), *node, claimed);
}

Task<Result<Device*>> Graph::add_device_claimed(std::string id, Node& node, const Claim& claim) {
  auto device = std::make_shared<Device>(id);
  device->home = &node.home();
  CO_TRY(co_await async::call_on(
      node.home(), attach_root(device->root, node, permission::kNone, permission::kAll)));
  chains_.add(device->root, claims_.own_chain(claim));
  Device* added = device.get();
  devices_.emplace(std::move(id), std::move(device));
  co_return added;
}

Task<Result<>> Graph::remove_device(std::string id) {
  const Claim claimed = co_await claim({id});
  std::shared_ptr<Device> device;
  {
    const auto exclusion = co_await readers_.exclude();
    const auto at = devices_.find(id);
    if (at == devices_.end() || !claims_.holds(claimed, chains_.of(&at->second->root))) {
      co_return base::fail(
          base::Error(ErrorKind::kDeviceNotFound, fmt::format("Device '{}' not found", id))
              .with_data("device", id));
    }
    device = std::move(at->second);
    devices_.erase(at);
  }
  (void)co_await async::call_on(*device->home, detach_root(device->root));
  chains_.remove(device->root);
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
  if (const auto at = devices_.find(device); at != devices_.end()) {
    const std::shared_ptr<Device> found = at->second;  // it may be removed meanwhile
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
  co_return not_found(device, node_name);
}

Task<Result<Node*>> Graph::find_claimed_head(const Claim& claim, std::string device,
                                             std::string node_name) {
  Node* node = CO_TRY(co_await find_head(device, node_name));
  // What came to have the name since the claim's turn is of a later moment.
  if (!holds(claim, node)) co_return not_found(device, node_name);
  co_return node;
}

// Roots -----------------------------------------------------------------------------------------

Task<Result<>> Graph::attach(Root& root, Node& node, Permissions used, Permissions shared) {
  if (!has_node(&node)) co_return gone();
  const Claim claimed = co_await claim({node.name()});
  co_return co_await attach_claimed(root, node, used, shared, claimed);
}

Task<Result<>> Graph::attach_claimed(Root& root, Node& node, Permissions used, Permissions shared,
                                     const Claim& claim) {
  if (!holds(claim, &node)) co_return gone();
  CO_TRY(co_await async::call_on(node.home(), attach_root(root, node, used, shared)));
  chains_.add(root, claims_.own_chain(claim));
  co_return Result<>();
}

Task<void> Graph::detach(Root& root) {
  if (chains_.of(&root) == 0) co_return;
  const Claim claimed = co_await claims_.claim({.names = {}, .root = &root});
  // The head is read here and not on its home: only holders of a claim change it.
  Node* node = root.head();
  CHECK(node != nullptr);
  const bool unused = co_await async::call_on(node->home(), detach_root(root));
  chains_.remove(root);
  if (unused && !added_.contains(node)) {
    (void)co_await close_unused(*node, claimed);
  } else {
    (void)co_await readers_.exclude();  // whoever had found the root is done
  }
}

Task<void> Graph::detach_claimed(Root& root) {
  if (chains_.of(&root) == 0) co_return;
  (void)co_await async::call_on(root.head()->home(), detach_root(root));
  chains_.remove(root);
  (void)co_await readers_.exclude();  // whoever had found the root is done
}

Task<Result<>> Graph::move_to_loop(Node& node, async::Loop& loop) {
  if (!has_node(&node)) co_return gone();
  const Claim claimed = co_await claim({node.name()});
  if (!holds(claimed, &node)) co_return gone();
  co_return co_await move_to_loop_locked(node, loop);
}

Task<Result<>> Graph::move_to_loop_locked(Node& node, async::Loop& loop) {
  async::Loop& from = node.home();
  if (&from == &loop) co_return Result<>();
  const bool there = &loop == io_loop_ || std::ranges::any_of(io_loops_, [&](const auto& own) {
    return own.second == &loop;
  });
  if (!there) co_return base::fail(ErrorKind::kNotFound, "the I/O thread was removed meanwhile");
  const auto moving = moving_to_.insert(&loop);
  auto moved = co_await move_chain(node, loop);
  moving_to_.erase(moving);
  co_return moved;
}

Task<Result<>> Graph::move_chain(Node& node, async::Loop& loop) {
  async::Loop& from = node.home();
  const auto nodes = CO_TRY(co_await async::call_on(from, movable_nodes(node)));
  const auto exclusion = co_await readers_.exclude();
  CO_TRY(co_await async::call_on(loop, move_nodes(nodes, from, loop)));
  for (const auto& [id, device] : devices_) {
    if (chains_.of(&device->root) != chains_.of(&node)) continue;
    if (device->root.head() != nullptr) device->home = &device->root.head()->home();
  }
  co_return Result<>();
}

namespace {

std::vector<std::string> names_of_read_only(const std::vector<Node*>& layers) {
  std::vector<std::string> names;
  for (const Node* layer : layers) {
    if (layer->read_only()) names.push_back(layer->name());
  }
  return names;
}

}  // namespace

Task<Result<>> Graph::record_writing(std::vector<Node*> layers) {
  GraphChange change;
  change.to_write = names_of_read_only(layers);
  if (change.to_write.empty()) co_return Result<>();
  const uint64_t intent = CO_TRY(co_await state_.record_intent(std::move(change)));
  co_return co_await state_.record_done(intent, {});
}

Task<Result<>> Graph::record_sealed(std::vector<Node*> layers) {
  for (std::string& name : names_of_read_only(layers)) {
    CO_TRY(co_await state_.record_sealed(std::move(name)));
  }
  co_return Result<>();
}

// The end ---------------------------------------------------------------------------------------

// Devices end with the graph; others, and long work, have to leave before. By who holds a claim.
bool Graph::has_users(ChainId chain) const {
  const bool is_blocked = std::ranges::any_of(nodes_, [&](const auto& node) {
    return chains_.of(node.get()) == chain && !node->blocked_by().empty();
  });
  return is_blocked || std::ranges::any_of(chains_.roots_of(chain), [&](const Root* root) {
           return std::ranges::none_of(
               devices_, [&](const auto& device) { return &device.second->root == root; });
         });
}

Task<Result<>> Graph::close_chain_nodes(const Claim& claim, ChainId chain) {
  Result<> first;
  std::vector<std::shared_ptr<Device>> ending;
  {
    const auto exclusion = co_await readers_.exclude();
    for (const auto& [id, device] : devices_) {
      if (chains_.of(&device->root) == chain) ending.push_back(device);
    }
    for (const auto& device : ending) devices_.erase(device->id);
  }
  for (const auto& device : ending) {
    (void)co_await async::call_on(*device->home, detach_root(device->root));
    chains_.remove(device->root);
  }
  for (bool progress = true; progress;) {
    progress = false;
    for (Node* node : nodes() | std::views::reverse) {
      if (!has_node(node) || chains_.of(node) != chain || !node->parents().empty()) continue;
      auto result = co_await close_unused(*node, claim);
      if (!result && first) first = std::move(result);
      progress = true;
    }
  }
  co_return first;
}

Task<void> Graph::close_chain(std::string name, Users users, Result<>& first) {
  Claim claimed = co_await claim({name});
  for (;;) {
    const Node* node = find_node(name);
    if (!holds(claimed, node)) co_return;
    const ChainId chain = chains_.of(node);
    if (users == Users::kGone || !has_users(chain)) {
      auto result = co_await close_chain_nodes(claimed, chain);
      if (!result && first) first = std::move(result);
      co_return;
    }
    claimed.drop();
    (void)co_await async::Loop::current().sleep_for(kLeavePause);
    claimed = co_await claim({name});
  }
}

Task<Result<>> Graph::close(Users users) {
  Result<> first;
  for (size_t before = SIZE_MAX; !nodes_.empty() && nodes_.size() < before;) {
    before = nodes_.size();
    std::map<ChainId, std::string> names;
    for (const Node* node : nodes()) names.try_emplace(chains_.of(node), node->name());
    async::TaskScope scope;
    for (auto& [chain, name] : names) scope.spawn(close_chain(std::move(name), users, first));
    co_await scope.join();
    const Claim claimed = co_await claim_all();  // those who came meanwhile are done
  }
  co_await leftovers_.join();
  if (!nodes_.empty()) {
    co_return base::fail(ErrorKind::kBusy, fmt::format("Node {} is in use", nodes_.back()->name()));
  }
  if (io_loop_ != nullptr) runtime_.remove_loop(std::exchange(io_loop_, nullptr));
  for (auto& [id, loop] : std::exchange(io_loops_, {})) runtime_.remove_loop(loop);
  co_return first;
}

}  // namespace firn::block
