#include "block/reopen.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <filesystem>
#include <ranges>
#include <utility>

#include "base/json.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

base::Error no_such_node(std::string_view name) {
  return base::Error(ErrorKind::kNotFound,
                     fmt::format("Failed to find node with node-name='{}'", name))
      .with_data("device", std::string(name));
}

namespace {

std::unexpected<base::Error> cannot_change(std::string_view option) {
  return base::fail(ErrorKind::kInvalidArgument,
                    fmt::format("Cannot change the option '{}'", option));
}

// One node's way from what it was to what it is to be.
struct Step {
  Node* node = nullptr;
  std::string prefix;  // of its options, as the command has them: "file."
  std::string driver;
  NodeOptions options;
  std::string definition;
  bool is_listed = true;  // else it goes with its parent
  bool sets_backing = false;
  Node* backing = nullptr;

  NodeOptions options_before = {};
  std::string definition_before = {};
  bool options_set = false;
  bool mode_changed = false;  // from or to read-only
  bool backing_changed = false;
  Node* backing_before = nullptr;
};

// What a driver has for itself -------------------------------------------------------------------

boost::json::object object_of(const std::string& text) {
  auto value = base::parse_json(text);
  return value && value->is_object() ? std::move(value->get_object()) : boost::json::object();
}

bool is_same_path(const base::JsonValue& value, const Node& node) {
  if (!value.is_string()) return false;
  const std::string_view text(value.get_string().data(), value.get_string().size());
  std::error_code error;
  return std::filesystem::absolute(text, error).string() == node.driver().filename();
}

// Counts of images are exact with it and without it.
bool is_without_effect(std::string_view option) { return option == "lazy-refcounts"; }

Result<> check_own_options(const Node& node, const Step& step) {
  const boost::json::object before = object_of(node.definition());
  const boost::json::object after = object_of(step.definition);
  for (const auto& member : after) {
    const std::string_view name(member.key().data(), member.key().size());
    const base::JsonValue* old = before.if_contains(member.key());
    if (is_without_effect(name) || (old != nullptr && *old == member.value())) continue;
    if (name == "filename" && is_same_path(member.value(), node)) continue;
    return cannot_change(step.prefix + std::string(name));
  }
  for (const auto& member : before) {
    const std::string_view name(member.key().data(), member.key().size());
    if (is_without_effect(name) || after.contains(member.key())) continue;
    return base::fail(
        ErrorKind::kInvalidArgument,
        fmt::format("Option '{}{}' cannot be reset to its default value", step.prefix, name));
  }
  return {};
}

// What the file and its locks were opened with.
Result<> check_fixed_options(const Node& node, const Step& step) {
  const NodeOptions& old = node.options();
  const NodeOptions& wanted = step.options;
  if (wanted.direct != old.direct) return cannot_change(step.prefix + "cache.direct");
  if (wanted.no_flush != old.no_flush) return cannot_change(step.prefix + "cache.no-flush");
  if (wanted.force_share != old.force_share) return cannot_change(step.prefix + "force-share");
  if (wanted.auto_read_only != old.auto_read_only) {
    return cannot_change(step.prefix + "auto-read-only");
  }
  return {};
}

// Home loop, with a claim on the chain, from here on. --------------------------------------------

bool leads_to(const Node& from, const Node& wanted) {
  if (&from == &wanted) return true;
  return std::ranges::any_of(
      std::initializer_list<const Edge*>{&from.children().file, &from.children().backing},
      [&](const Edge* edge) { return *edge && leads_to(*edge->child(), wanted); });
}

Task<Result<>> check(const Step& step) {
  const Node& node = *step.node;
  if (!step.is_listed) co_return Result<>();
  if (!step.sets_backing && node.children().backing) {
    co_return base::fail(ErrorKind::kInvalidArgument,
                         fmt::format("backing is missing for '{}'", node.name()));
  }
  if (step.driver != node.driver().name()) co_return cannot_change(step.prefix + "driver");
  CO_TRY(check_own_options(node, step));
  CO_TRY(check_fixed_options(node, step));
  if (node.seal_failed || node.unsealed_below != nullptr || node.in_flux) {
    const std::string reason = node.blocked_by();
    co_return base::fail(
        ErrorKind::kBusy,
        fmt::format("Node '{}' is busy: {}", node.name(),
                    reason.empty() ? "a snapshot of it is not sealed yet" : reason));
  }
  const bool other_backing = step.sets_backing && step.backing != node.children().backing.child();
  const bool other_mode = step.options.read_only != node.read_only();
  if ((other_backing || other_mode) && !node.blocked_by().empty()) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node '{}' is busy: {}", node.name(), node.blocked_by()));
  }
  co_return Result<>();
}

Task<void> set_options(Step& step) {
  Node& node = *step.node;
  step.options_before = node.options();
  step.definition_before = node.definition();
  step.options_set = true;
  node.take_request_options(step.options);
  if (step.is_listed) node.set_definition(step.definition);
  co_return;
}

bool has_writers(const Node& node) {
  constexpr Permissions kWriting =
      permission::kWrite | permission::kWriteUnchanged | permission::kResize;
  return (cumulative_permissions(node).used & kWriting) != 0;
}

// As WriteAccess does it: locked before the first write.
Task<Result<>> become_writable(Node& node) {
  node.set_read_only_mark(false);
  auto result = update_permissions(node);
  if (result) result = co_await node.driver().set_read_only(false);
  if (result) co_return result;
  node.set_read_only_mark(true);
  (void)update_permissions(node);  // fewer wishes never conflict
  co_return result;
}

// The check comes before the first wait, and no new user comes while the claim is held.
Task<Result<>> become_read_only(Node& node) {
  if (has_writers(node)) {
    co_return base::fail(
        ErrorKind::kReadOnly,
        fmt::format("Read-only block node '{}' cannot support read-write users", node.name()));
  }
  co_await node.wait_for_mutations();
  CO_TRY(co_await node.flush());
  if (node.flush_failed) {
    co_return base::fail(ErrorKind::kIo,
                         fmt::format("an earlier flush of node '{}' failed", node.name()));
  }
  CO_TRY(co_await node.driver().set_read_only(true));
  node.set_read_only_mark(true);
  auto locks = update_permissions(node);
  if (locks) co_return locks;
  node.set_read_only_mark(false);
  (void)co_await node.driver().set_read_only(false);
  co_return locks;
}

Task<Result<>> open_for_writing(Step& step) {
  Node& node = *step.node;
  if (step.options.read_only || !node.read_only()) co_return Result<>();
  auto result = co_await become_writable(node);
  if (!result && step.options.auto_read_only) co_return Result<>();  // it stays as it is
  step.mode_changed = result.has_value();
  co_return result;
}

Task<Result<>> close_for_writing(Step& step) {
  Node& node = *step.node;
  if (!step.options.read_only || node.read_only()) co_return Result<>();
  auto result = co_await become_read_only(node);
  step.mode_changed = result.has_value();
  co_return result;
}

void point_backing(Node& node, Node* backing) {
  Edge& edge = node.children().backing;
  const Permissions also_shared = edge.also_shared();
  edge.detach();
  if (backing == nullptr) return;
  edge.attach(backing, permission::kNone, permission::kAll);
  edge.set_also_shared(also_shared);
}

Task<Result<>> change_backing(Step& step) {
  Node& node = *step.node;
  Node* old = node.children().backing.child();
  if (!step.sets_backing || step.backing == old) co_return Result<>();
  if (step.backing != nullptr) {
    if (leads_to(*step.backing, node)) {
      co_return base::fail(ErrorKind::kInvalidArgument,
                           fmt::format("Making '{}' a backing child of '{}' would create a cycle",
                                       step.backing->name(), node.name()));
    }
    if (step.backing->in_flux) {
      co_return base::fail(
          ErrorKind::kBusy,
          fmt::format("Node '{}' is busy: {}", step.backing->name(), step.backing->blocked_by()));
    }
  }
  point_backing(node, step.backing);
  auto result = update_permissions(node);
  if (!result) {
    point_backing(node, old);
    (void)update_permissions(node);  // as it was
    co_return result;
  }
  step.backing_before = old;
  step.backing_changed = true;
  if (old != nullptr) (void)update_permissions(*old);  // fewer users never conflict
  co_return result;
}

void collect_roots_above(const Node& node, std::vector<Root*>& roots) {
  for (const Edge* edge : node.parents()) {
    if (edge->root() != nullptr) {
      if (std::ranges::find(roots, edge->root()) == roots.end()) roots.push_back(edge->root());
    } else if (edge->parent() != nullptr) {
      collect_roots_above(*edge->parent(), roots);
    }
  }
}

// Nothing is read any more by what the chain was before.
Task<void> settle(const Step& step) {
  if (!step.backing_changed) co_return;
  std::vector<Root*> readers;
  collect_roots_above(*step.node, readers);
  for (Root* root : readers) co_await root->settle();
}

Task<void> undo_mode(Step& step) {
  if (!std::exchange(step.mode_changed, false)) co_return;
  Node& node = *step.node;
  if (node.read_only()) {
    (void)co_await become_writable(node);  // it was, a moment ago
    co_return;
  }
  (void)co_await node.driver().set_read_only(true);
  node.set_read_only_mark(true);
  (void)update_permissions(node);
}

Task<void> undo_backing(Step& step) {
  if (!std::exchange(step.backing_changed, false)) co_return;
  point_backing(*step.node, step.backing_before);
  (void)update_permissions(*step.node);
  if (step.backing != nullptr) (void)update_permissions(*step.backing);
}

Task<void> undo_options(Step& step) {
  if (!std::exchange(step.options_set, false)) co_return;
  step.node->take_request_options(step.options_before);
  step.node->set_definition(step.definition_before);
}

Task<Node*> file_of(const Node& node) { co_return node.children().file.child(); }

Task<NodeOptions> options_of(const Node& node) { co_return node.options(); }

// On the control loop. --------------------------------------------------------------------------

void collect_names(const NodeSpec& spec, std::vector<std::string>& names) {
  if (!spec.node_name.empty()) names.push_back(spec.node_name);
  for (const std::optional<ChildSpec>* child : {&spec.file, &spec.backing}) {
    if (!child->has_value()) continue;
    if (const auto* name = std::get_if<std::string>(&**child)) names.push_back(*name);
  }
}

class Reopening {
 public:
  Reopening(Graph& graph, const Graph::Claim& claim) : graph_(graph), claim_(claim) {}

  Task<Result<>> plan(std::vector<NodeSpec> specs) {
    for (const NodeSpec& spec : specs) {
      if (!graph_.holds(claim_, graph_.find_node(spec.node_name))) {
        co_return base::fail(no_such_node(spec.node_name));
      }
    }
    for (NodeSpec& spec : specs) {
      CO_TRY(co_await plan_one(*graph_.find_node(spec.node_name), spec, ""));
    }
    // Children are older than the nodes that stand on them by their files.
    const std::vector<Node*> order = graph_.nodes();
    for (Node* node : order) {
      for (Step& step : steps_) {
        if (step.node == node) children_first_.push_back(&step);
      }
    }
    for (const Step& step : steps_) {
      CO_TRY(co_await async::call_on(step.node->home(), check(step)));
    }
    co_return Result<>();
  }

  Task<Result<>> run() {
    std::vector<Node*> opening;
    for (const Step& step : steps_) {
      if (!step.options.read_only) opening.push_back(step.node);
    }
    CO_TRY(co_await graph_.record_writing(opening));
    auto result = co_await change();
    if (!result) co_await undo();
    auto recorded = co_await graph_.record_sealed(opening);
    CO_TRY(std::move(result));
    CO_TRY(std::move(recorded));
    co_return co_await close_old();
  }

 private:
  Step& step_for(Node& node) {
    const auto at = std::ranges::find(steps_, &node, &Step::node);
    if (at != steps_.end()) return *at;
    steps_.emplace_back().node = &node;
    return steps_.back();
  }

  Task<Result<>> plan_one(Node& node, NodeSpec& spec, std::string prefix) {
    {
      Step& step = step_for(node);
      step.prefix = prefix;
      step.driver = spec.driver;
      step.options = spec.options;
      step.definition = spec.definition;
      step.is_listed = true;
    }
    if (spec.file.has_value()) CO_TRY(co_await plan_file(node, spec, prefix));
    if (!spec.backing.has_value()) {
      step_for(node).sets_backing = false;
      co_return Result<>();
    }
    Node* backing = nullptr;
    if (const auto* name = std::get_if<std::string>(&*spec.backing)) {
      backing = CO_TRY(named(*name));
      if (&backing->home() != &node.home()) {
        co_return base::fail(ErrorKind::kBusy,
                             fmt::format("Node '{}' lives on another I/O thread ('{}')",
                                         backing->name(), backing->home().name()));
      }
    } else if (const auto* inner = std::get_if<std::unique_ptr<NodeSpec>>(&*spec.backing);
               inner != nullptr && *inner != nullptr) {
      co_return cannot_change(prefix + "backing.driver");
    }
    Step& step = step_for(node);
    step.sets_backing = true;
    step.backing = backing;
    co_return Result<>();
  }

  Task<Result<>> plan_file(Node& node, NodeSpec& spec, const std::string& prefix) {
    Node* file = co_await async::call_on(node.home(), file_of(node));
    if (const auto* name = std::get_if<std::string>(&*spec.file)) {
      if (CO_TRY(named(*name)) != file) co_return cannot_change(prefix + "file");
    } else if (auto* inner = std::get_if<std::unique_ptr<NodeSpec>>(&*spec.file);
               inner != nullptr && *inner != nullptr) {
      if (file == nullptr || graph_.is_added(*file))
        co_return cannot_change(prefix + "file.driver");
      if (!(*inner)->node_name.empty() && (*inner)->node_name != file->name()) {
        co_return cannot_change(prefix + "file.node-name");
      }
      co_return co_await plan_one(*file, **inner, prefix + "file.");
    }
    if (file == nullptr || graph_.is_added(*file)) co_return Result<>();
    const NodeOptions own = co_await async::call_on(file->home(), options_of(*file));
    const bool is_planned = std::ranges::find(steps_, file, &Step::node) != steps_.end();
    Step& step = step_for(*file);
    if (is_planned && step.is_listed) co_return Result<>();
    step.is_listed = false;
    step.options = own;
    step.options.read_only = spec.options.read_only;
    step.options.auto_read_only = spec.options.auto_read_only;
    co_return Result<>();
  }

  Result<Node*> named(const std::string& name) {
    Node* node = graph_.find_node(name);
    if (graph_.holds(claim_, node)) return node;
    return base::fail(ErrorKind::kNotFound,
                      fmt::format("Cannot find device='' nor node-name='{}'", name));
  }

  Task<Result<>> change() {
    for (Step& step : steps_) co_await async::call_on(step.node->home(), set_options(step));
    for (Step* step : children_first_) {
      CO_TRY(co_await async::call_on(step->node->home(), open_for_writing(*step)));
    }
    for (Step& step : steps_) {
      CO_TRY(co_await async::call_on(step.node->home(), change_backing(step)));
    }
    for (Step* step : children_first_ | std::views::reverse) {
      CO_TRY(co_await async::call_on(step->node->home(), close_for_writing(*step)));
    }
    co_return Result<>();
  }

  // In the opposite order of change().
  Task<void> undo() {
    for (Step* step : children_first_) {
      if (step->options.read_only) {
        co_await async::call_on(step->node->home(), undo_mode(*step));
      }
    }
    for (Step& step : steps_ | std::views::reverse) {
      co_await async::call_on(step.node->home(), undo_backing(step));
    }
    for (Step* step : children_first_ | std::views::reverse) {
      co_await async::call_on(step->node->home(), undo_mode(*step));
    }
    for (Step& step : steps_ | std::views::reverse) {
      co_await async::call_on(step.node->home(), undo_options(step));
    }
  }

  // Backing images that were opened for a node and that nobody uses any more.
  Task<Result<>> close_old() {
    Result<> first;
    for (const Step& step : steps_) {
      co_await async::call_on(step.node->home(), settle(step));
    }
    for (const Step& step : steps_) {
      Node* old = step.backing_changed ? step.backing_before : nullptr;
      if (old == nullptr || !graph_.has_node(old) || graph_.is_added(*old)) continue;
      if (!old->parents().empty()) continue;
      auto result = co_await graph_.close_unused(*old, claim_);
      if (!result && first) first = std::move(result);
    }
    co_return first;
  }

  Graph& graph_;
  const Graph::Claim& claim_;
  std::vector<Step> steps_;
  std::vector<Step*> children_first_;  // of steps_, which grows no more by then
};

}  // namespace

Task<Result<>> reopen(Graph& graph, std::vector<NodeSpec> specs) {
  std::vector<std::string> names;
  for (const NodeSpec& spec : specs) collect_names(spec, names);
  const Graph::Claim claim = co_await graph.claim(std::move(names));
  Reopening reopening(graph, claim);
  CO_TRY(co_await reopening.plan(std::move(specs)));
  co_return co_await reopening.run();
}

}  // namespace firn::block
