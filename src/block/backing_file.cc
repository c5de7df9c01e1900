#include "block/backing_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "block/write_access.h"

namespace firn::block {

using base::ErrorKind;

namespace {

std::unexpected<base::Error> not_found(std::string_view device, std::string_view node_name) {
  return base::fail(ErrorKind::kNotFound,
                    fmt::format("Cannot find device='{}' nor node-name='{}'", device, node_name));
}

// On the home loop from here on, with a claim on the chain. -------------------------------------

bool is_top(const Node& node) {
  return std::ranges::none_of(node.parents(),
                              [](const Edge* edge) { return edge->parent() != nullptr; });
}

bool is_in_chain(const Node& top, const Node& wanted) {
  const Node* node = &top;
  while (node != nullptr && node != &wanted) node = node->children().backing.child();
  return node != nullptr;
}

// What the image's directory makes of a name. Empty: no path.
std::string path_of(const Node& image, std::string_view name) {
  constexpr std::string_view kFilePrefix = "file:";
  if (name.starts_with(kFilePrefix)) {
    name.remove_prefix(kFilePrefix.size());
    return name.starts_with('/') ? std::string(name) : "";
  }
  if (name.empty() || name.starts_with('/')) return std::string(name);
  const size_t at = name.find_first_of(":/");
  if (at != std::string_view::npos && name[at] == ':') return "";
  const std::string own = image.driver().filename();
  return own.starts_with('/') ? own.substr(0, own.rfind('/') + 1) + std::string(name) : "";
}

bool is_same_file(const async::FileStat& a, const async::FileStat& b) {
  if (a.kind == async::FileKind::kBlockDevice && b.kind == async::FileKind::kBlockDevice) {
    return a.rdev == b.rdev;
  }
  return a.device == b.device && a.inode == b.inode;
}

// The format does not say where in a file it begins: a window into one can't be named.
Task<Result<>> check_name(const Node& image, const std::string& name) {
  const Node& below = *image.children().backing.child();
  const Node* bytes = &below;
  while (bytes->children().file) bytes = bytes->children().file.child();
  const std::string path = path_of(image, name);
  const std::string open_path = below.driver().filename();
  const auto open_file = co_await bytes->driver().identity();
  if (!path.empty() && !open_path.empty() && open_file) {
    const auto named = co_await async::Loop::current().files().stat(path);
    if (named && is_same_file(*named, *open_file)) co_return Result<>();
  }
  base::Error error(
      ErrorKind::kInvalidArgument,
      fmt::format("Could not change backing file to '{}': it does not lead to the file of node "
                  "'{}', which is open below node '{}'",
                  name, below.name(), image.name()));
  if (open_path.starts_with('/')) {
    error = std::move(error).with_hint(fmt::format("that file is '{}'", open_path));
  } else {
    error = std::move(error).with_hint("what is open there has no file name");
  }
  co_return base::fail(std::move(error));
}

Task<Result<>> check(const Node& top, const Node& image, std::string device, std::string name) {
  if (!is_top(top)) co_return base::fail(ErrorKind::kGeneric, "Need a root block node");
  if (!image.children().backing) {
    co_return base::fail(ErrorKind::kGeneric,
                         "not allowing backing file change on an image without a backing file");
  }
  for (const Node* node : {&top, &image}) {
    if (node->blocked_by().empty()) continue;
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node '{}' is busy: {}", node->name(), node->blocked_by()));
  }
  if (!is_in_chain(top, image)) {
    co_return base::fail(ErrorKind::kGeneric,
                         fmt::format("'{}' and image file are not in the same chain", device));
  }
  co_return co_await check_name(image, name);
}

Task<Result<>> write_name(Node& image, std::string name) {
  const Driver& below = image.children().backing.child()->driver();
  const std::string format = below.is_protocol() ? "raw" : std::string(below.name());
  const std::string context = fmt::format("Could not change backing file to '{}'", name);
  WriteAccess access = CO_TRY_CONTEXT(co_await WriteAccess::take(image), context);
  auto written = co_await image.driver().set_backing_name(std::move(name), format);
  auto given_back = co_await access.give_back();
  CO_TRY_CONTEXT(std::move(written), context);
  co_return given_back;
}

}  // namespace

Task<Result<>> change_backing_file(Graph& graph, BackingFileChange change) {
  const Graph::Claim claim = co_await graph.claim({change.device, change.image_node});
  auto found = co_await graph.find_claimed_head(claim, change.device, change.device);
  if (!found) co_return not_found(change.device, change.device);
  Node& top = **found;
  Node* image = graph.find_node(change.image_node);
  if (!graph.holds(claim, image)) co_return not_found("", change.image_node);
  if (&image->home() != &top.home()) {
    co_return base::fail(
        ErrorKind::kGeneric,
        fmt::format("'{}' and image file are not in the same chain", change.device));
  }
  CO_TRY(
      co_await async::call_on(top.home(), check(top, *image, change.device, change.backing_file)));
  CO_TRY(co_await graph.record_writing({image}));
  auto written =
      co_await async::call_on(image->home(), write_name(*image, std::move(change.backing_file)));
  auto recorded = co_await graph.record_sealed({image});
  CO_TRY(std::move(written));
  co_return recorded;
}

}  // namespace firn::block
