#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/check.h"
#include "block/permissions.h"
#include "block/registry.h"

namespace firn::block {

using base::ErrorKind;

namespace {

constexpr size_t kProbeBytes = 2048;

bool same_file(const async::FileStat& a, const async::FileStat& b) {
  if (a.kind == async::FileKind::kBlockDevice && b.kind == async::FileKind::kBlockDevice) {
    return a.rdev == b.rdev;
  }
  return a.device == b.device && a.inode == b.inode;
}

// Fewer users never conflict; a lock that can't be given up ends with its file.
void release_children(Node& node) {
  for (Edge* edge : {&node.children().file, &node.children().backing}) {
    Node* child = edge->child();
    if (child == nullptr) continue;
    edge->detach();
    if (child->has_driver()) (void)update_permissions(*child);
  }
}

// A node that is being opened; if that fails, its children are as free as before.
struct NewNode {
  std::unique_ptr<Node> node;
  explicit NewNode(std::unique_ptr<Node> owned) : node(std::move(owned)) {}
  ~NewNode() {
    if (node != nullptr) release_children(*node);
  }
  NewNode(const NewNode&) = delete;
  NewNode& operator=(const NewNode&) = delete;
};

Result<> check_options(const NodeOptions& options) {
  if (options.force_share && !options.read_only) {
    return base::fail(ErrorKind::kInvalidArgument,
                      "force-share=on can only be used with read-only images");
  }
  if (options.detect_zeroes == DetectZeroes::kUnmap && !options.unmap) {
    return base::fail(ErrorKind::kInvalidArgument,
                      "setting detect-zeroes to unmap is not allowed without setting discard "
                      "operation to unmap");
  }
  return {};
}

class Opener {
 public:
  Opener(const Registry& registry, OpenedTree& tree) : registry_(registry), tree_(tree) {}

  // The new node, with its driver; in tree_ from the moment that it has one.
  Task<Result<Node*>> open(NodeSpec spec, std::vector<async::FileStat> files_above) {
    const DriverEntry* entry = registry_.find(spec.driver);
    if (entry == nullptr) {
      co_return base::fail(ErrorKind::kInvalidArgument,
                           fmt::format("Unknown driver '{}'", spec.driver));
    }
    if (!spec.node_name.empty()) {
      if (spec.has_made_up_name) {
        reserve_node_name(spec.node_name);
      } else {
        CO_TRY(check_node_name(spec.node_name));
      }
      if (!names_.insert(spec.node_name).second) {
        co_return base::fail(ErrorKind::kExists,
                             fmt::format("Duplicate nodes with node-name='{}'", spec.node_name));
      }
    }
    CO_TRY(check_options(spec.options));
    if (!entry->is_protocol && !spec.file.has_value()) {
      co_return base::fail(ErrorKind::kInvalidArgument, "Parameter 'file' is missing");
    }
    const bool has_backing = spec.backing.has_value() && !is_none(*spec.backing);
    if (has_backing && !entry->supports_backing) {
      co_return base::fail(ErrorKind::kInvalidArgument,
                           fmt::format("Driver '{}' has no backing images", spec.driver));
    }
    NewNode pending(
        std::make_unique<Node>(spec.node_name.empty() ? make_node_name() : spec.node_name,
                               spec.options, async::Loop::current()));
    Node* const node = pending.node.get();
    node->set_transparent(entry->is_transparent);
    node->set_definition(std::move(spec.definition));
    if (spec.file.has_value()) {
      CO_TRY(co_await attach_child(node->children().file, std::move(*spec.file), files_above));
      const bool file_read_only = node->children().file.child()->read_only();
      if (file_read_only && spec.options.auto_read_only) node->set_read_only_mark(true);
      CO_TRY(take_file(*node));
      if (auto stat = co_await identity_of(*node)) files_above.push_back(*stat);
    }
    if (has_backing) {
      CO_TRY(
          co_await attach_child(node->children().backing, std::move(*spec.backing), files_above));
    }
    OpenContext context{.registry = registry_,
                        .tree = tree_,
                        .create_backing = !spec.backing.has_value(),
                        .files_above = std::move(files_above)};
    node->set_driver(CO_TRY(co_await entry->open(context, *node, spec.driver_options.get())));
    tree_.nodes.push_back(std::move(pending.node));
    CO_TRY(update_permissions(*node));
    co_return node;
  }

 private:
  static bool is_none(const ChildSpec& child) {
    const auto* spec = std::get_if<std::unique_ptr<NodeSpec>>(&child);
    return spec != nullptr && *spec == nullptr;
  }

  Task<Result<>> attach_child(Edge& edge, ChildSpec child,
                              const std::vector<async::FileStat>& files_above) {
    Node* node = nullptr;
    CHECK(!std::holds_alternative<std::string>(child));  // the graph has looked names up
    if (Node** existing = std::get_if<Node*>(&child)) {
      node = *existing;
      if (&node->home() != &async::Loop::current()) {
        co_return base::fail(ErrorKind::kBusy,
                             fmt::format("Node '{}' lives on another I/O thread ('{}')",
                                         node->name(), node->home().name()));
      }
      // A writable node that long work has is a head that it follows: requests that came through a
      // node above would be admitted there, where nobody counts them.
      if (node->in_flux || (!node->read_only() && !node->blocked_by().empty())) {
        co_return base::fail(ErrorKind::kBusy, fmt::format("Node '{}' is busy: {}", node->name(),
                                                           node->blocked_by()));
      }
    } else {
      node = CO_TRY(
          co_await open(std::move(*std::get<std::unique_ptr<NodeSpec>>(child)), files_above));
    }
    edge.attach(node, permission::kNone, permission::kAll);
    co_return Result<>();
  }

  // A format's file is locked before the first byte of it is read.
  static Result<> take_file(Node& node) {
    Edge& edge = node.children().file;
    const PermissionSet wanted = child_permissions(edge, PermissionSet{});
    edge.set_permissions(wanted.used, wanted.shared);
    return update_permissions(*edge.child());
  }

  static Task<Result<async::FileStat>> identity_of(Node& node) {
    co_return co_await node.children().file.child()->driver().identity();
  }

  const Registry& registry_;
  OpenedTree& tree_;
  std::set<std::string> names_;
};

Task<Result<std::string>> probe_format(const Registry& registry, Node& file) {
  std::vector<std::byte> bytes(std::min<uint64_t>(kProbeBytes, file.driver().size_bytes()));
  if (!bytes.empty()) {
    Edge reader(EdgeRole::kRoot, nullptr, "format probing");
    reader.attach(&file, permission::kNone, permission::kAll);
    const IoVec iov{base::ByteSpan(bytes)};
    auto result = co_await reader.read(0, iov);
    reader.detach();
    CO_TRY(std::move(result));
  }
  const DriverEntry* entry = registry.probe(bytes);
  if (entry == nullptr) {
    co_return base::fail(ErrorKind::kInvalidBlockFormat,
                         "the image's format is not known; give it by name");
  }
  co_return entry->name;
}

}  // namespace

Task<Result<>> close_node(Node& node) {
  CHECK(node.parents().empty());
  auto result = co_await node.driver().close();
  node.set_driver(nullptr);
  release_children(node);
  co_return result;
}

NodeOptions inherited_options(const NodeOptions& parent, EdgeRole role) {
  NodeOptions options;
  options.direct = parent.direct;
  options.no_flush = parent.no_flush;
  options.force_share = parent.force_share;
  options.unmap = true;
  if (role == EdgeRole::kBacking) {
    options.read_only = true;
  } else {
    options.read_only = parent.read_only;
    options.auto_read_only = parent.auto_read_only;
  }
  return options;
}

Task<Result<NodeSpec>> file_spec(const Registry& registry, std::string filename,
                                 NodeOptions options) {
  constexpr std::string_view kFilePrefix = "file:";
  const auto colon = filename.find(':');
  if (filename.starts_with(kFilePrefix)) {
    filename.erase(0, kFilePrefix.size());
  } else if (colon != std::string::npos && filename.find('/') > colon) {
    const std::string protocol = filename.substr(0, colon);
    co_return base::fail(ErrorKind::kUnsupported, fmt::format("Unknown protocol '{}'", protocol));
  }
  bool block_device = false;
  if (auto stat = co_await async::Loop::current().files().stat(filename)) {
    block_device = stat->kind == async::FileKind::kBlockDevice;
  }
  for (const std::string& name : registry.names()) {
    const DriverEntry& entry = *registry.find(name);
    if (entry.options_of_filename == nullptr || entry.for_block_devices != block_device) continue;
    NodeSpec spec;
    spec.driver = name;
    spec.options = options;
    spec.driver_options = entry.options_of_filename(std::move(filename));
    co_return std::move(spec);
  }
  co_return base::fail(ErrorKind::kUnsupported, fmt::format("no driver here opens '{}'", filename));
}

Task<Result<>> OpenContext::open_backing(Node& node, std::string filename, std::string format) {
  constexpr std::string_view kContext = "Could not open backing file";
  CHECK(!node.children().backing);
  if (auto stat = co_await async::Loop::current().files().stat(filename)) {
    for (const async::FileStat& above : files_above) {
      if (!same_file(above, *stat)) continue;
      co_return base::fail(
          ErrorKind::kCorrupt,
          fmt::format("{}: '{}' is an overlay of itself: the chain leads back to it", kContext,
                      filename));
    }
  }
  Opener opener(registry, tree);
  const NodeOptions options = inherited_options(node.options(), EdgeRole::kBacking);
  NodeSpec bytes = CO_TRY_CONTEXT(
      co_await file_spec(registry, filename, inherited_options(options, EdgeRole::kFile)),
      kContext);
  Node* file = CO_TRY_CONTEXT(co_await opener.open(std::move(bytes), files_above), kContext);
  if (format.empty()) {
    format = CO_TRY_CONTEXT(co_await probe_format(registry, *file), kContext);
  }
  const DriverEntry* entry = registry.find(format);
  if (entry == nullptr) {
    co_return base::fail(ErrorKind::kInvalidBlockFormat,
                         fmt::format("{}: Unknown driver '{}'", kContext, format));
  }
  Node* top = file;
  if (!entry->is_protocol) {
    NodeSpec spec;
    spec.driver = format;
    spec.options = options;
    spec.file.emplace(file);
    top = CO_TRY_CONTEXT(co_await opener.open(std::move(spec), files_above), kContext);
  }
  const PermissionSet wanted = child_permissions(node.children().backing, PermissionSet{});
  node.children().backing.attach(top, wanted.used, wanted.shared);
  co_return Result<>();
}

Task<Result<OpenedTree>> open_tree(const Registry& registry, NodeSpec spec) {
  OpenedTree tree;
  Opener opener(registry, tree);
  auto top = co_await opener.open(std::move(spec), {});
  if (!top) {
    (void)co_await close_tree(std::move(tree));  // the first error is the one that counts
    co_return base::fail(std::move(top).error());
  }
  tree.top = *top;
  co_return std::move(tree);
}

Task<Result<>> close_tree(OpenedTree tree) {
  Result<> first;
  while (!tree.nodes.empty()) {
    std::unique_ptr<Node> node = std::move(tree.nodes.back());
    tree.nodes.pop_back();
    auto result = co_await close_node(*node);
    if (!result && first) first = std::move(result);
  }
  co_return first;
}

}  // namespace firn::block
