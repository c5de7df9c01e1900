#include "jobs/create.h"

#include <fmt/format.h>

#include <cerrno>
#include <limits>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "block/overlay.h"
#include "block/permissions.h"

namespace firn::jobs {
namespace {

using base::ErrorKind;
using block::Node;
namespace permission = block::permission;

async::FileSystem& files() { return async::Loop::current().files(); }

base::Error in_words(std::string_view what, base::Error error) {
  if (error.errno_value() != 0) return base::Error::from_errno(error.errno_value(), what);
  return std::move(error).with_context(what);
}

Task<Result<async::FileStat>> identity_of(Node& node) {
  if (!node.driver().is_protocol()) {
    co_return base::fail(ErrorKind::kUnsupported, "no protocol node");
  }
  co_return co_await node.driver().identity();
}

Task<std::vector<block::FileInUse>> files_in_use(block::Graph& graph) {
  std::vector<block::FileInUse> list;
  const auto reading = co_await graph.read_nodes();
  for (Node* node : graph.nodes()) {
    auto stat = co_await async::call_on(node->home(), identity_of(*node));
    if (stat) list.push_back({node->name(), *stat});
  }
  co_return list;
}

// Files -----------------------------------------------------------------------------------------

class FileCreation final : public Work {
 public:
  FileCreation(block::Graph& graph, FileToCreate file) : graph_(graph), file_(std::move(file)) {}

  Task<Result<>> run(Job& job) override {
    job.set_remaining(1);
    const auto used = co_await files_in_use(graph_);
    auto made = co_await async::call_on(graph_.default_io_loop(), make(used));
    job.add_done(1);
    co_return made;
  }

  Task<void> abort() override {
    return async::call_on(graph_.default_io_loop(), remove_what_was_made());
  }

 private:
  // On an I/O loop from here on.
  Task<Result<>> make(const std::vector<block::FileInUse>& used) {
    if (file_.preallocation == "metadata") {
      co_return base::fail(ErrorKind::kInvalidArgument, "Unsupported preallocation mode: metadata");
    }
    if (file_.size_bytes > uint64_t{std::numeric_limits<int64_t>::max()}) {
      co_return base::fail(base::Error::from_errno(EINVAL, "Could not resize file"));
    }
    const std::string path = block::plain_path(file_.filename);
    if (!co_await files().stat(path)) {
      auto made =
          co_await files().open(path, {.writable = true, .create = true, .exclusive = true});
      if (!made) {
        co_return base::fail(in_words(fmt::format("Could not create '{}'", file_.filename),
                                      std::move(made).error()));
      }
      made_path_ = co_await files().real_path(path);
    }
    block::NodeSpec spec =
        CO_TRY(co_await block::file_spec(graph_.registry(), path, {.unmap = true}));
    auto tree = CO_TRY(co_await block::open_tree(graph_.registry(), std::move(spec)));
    auto filled = co_await fill(*tree.top, used);
    auto closed = co_await block::close_tree(std::move(tree));
    CO_TRY(std::move(filled));
    CO_TRY(std::move(closed));
    if (made_path_ && *made_path_) {
      const std::string& real = **made_path_;
      CO_TRY(co_await files().sync_directory(real.substr(0, real.rfind('/') + 1)));
    }
    co_return Result<>();
  }

  Task<Result<>> fill(Node& node, const std::vector<block::FileInUse>& used) {
    block::Edge user(block::EdgeRole::kRoot, nullptr, "the new file");
    user.attach(&node, permission::kWrite | permission::kResize,
                permission::kAll & ~permission::kResize);
    auto result = block::update_permissions(node);
    if (result) result = co_await check_not_in_use(node, used);
    if (result && !made_path_) result = co_await node.driver().resize(0);
    if (result) {
      block::DriverEntry::CreateRequest request{.size_bytes = file_.size_bytes};
      if (!file_.preallocation.empty()) {
        request.options.emplace_back("preallocation", file_.preallocation);
      }
      result = co_await graph_.registry().find("raw")->create(user, request);
      if (!result) result = base::fail(in_words("Could not resize file", result.error()));
    }
    user.detach();
    co_return result;
  }

  Task<Result<>> check_not_in_use(Node& node, const std::vector<block::FileInUse>& used) const {
    const async::FileStat own = CO_TRY(co_await node.driver().identity());
    for (const block::FileInUse& other : used) {
      if (!block::is_same_file(own, other.stat)) continue;
      co_return base::fail(
          base::Error(ErrorKind::kBusy,
                      fmt::format("Could not create '{}': node '{}' has this file open",
                                  file_.filename, other.node_name))
              .with_hint("remove the node first, or choose another name"));
    }
    co_return Result<>();
  }

  Task<void> remove_what_was_made() {
    if (!made_path_ || !*made_path_) co_return;
    const std::string real = **made_path_;
    if (!co_await files().unlink(real)) co_return;
    (void)co_await files().sync_directory(real.substr(0, real.rfind('/') + 1));
  }

  block::Graph& graph_;
  FileToCreate file_;
  std::optional<Result<std::string>> made_path_;  // set once the file was made here
};

// Images ----------------------------------------------------------------------------------------

Task<Result<>> lay_out(block::Root& root, const block::DriverEntry& format,
                       const block::DriverEntry::CreateRequest& request) {
  Node& node = *root.head();
  if (node.driver().is_protocol()) {
    auto stat = co_await node.driver().identity();
    if (stat && stat->kind == async::FileKind::kRegular) {
      CO_TRY(co_await node.driver().resize(0));
    }
  }
  co_return co_await format.create(root.edge(), request);
}

Task<bool> is_read_only(Node& node) { co_return node.read_only(); }

class ImageCreation final : public Work {
 public:
  ImageCreation(block::Graph& graph, ImageToCreate image)
      : graph_(graph), image_(std::move(image)) {}

  Task<Result<>> run(Job& job) override {
    job.set_remaining(1);
    auto made = co_await make(job.id());
    job.add_done(1);
    co_return made;
  }

 private:
  Task<Result<>> make(const std::string& job_id) {
    Node* node = nullptr;
    std::string opened;
    if (const auto* name = std::get_if<std::string>(&image_.file)) {
      node = CO_TRY(co_await graph_.find_head(*name, *name));
    } else {
      auto& spec = std::get<std::unique_ptr<block::NodeSpec>>(image_.file);
      node = CO_TRY(co_await graph_.add_node(std::move(*spec)));
      opened = node->name();
    }
    auto result = co_await make_in(*node, job_id);
    if (!opened.empty()) {
      auto closed = co_await graph_.remove_node(opened);
      if (result) result = std::move(closed);
    }
    co_return result;
  }

  Task<Result<>> make_in(Node& node, const std::string& job_id) {
    if (image_.check != nullptr) CO_TRY(image_.check(image_.request));
    {
      const auto reading = co_await graph_.read_nodes();
      if (graph_.has_node(&node) && co_await async::call_on(node.home(), is_read_only(node))) {
        co_return base::fail(ErrorKind::kReadOnly, "Block node is read-only");
      }
    }
    block::Root root("block job '" + job_id + "'");
    CO_TRY(co_await graph_.attach(root, node, permission::kWrite | permission::kResize,
                                  permission::kAll));
    auto result = co_await async::call_on(
        node.home(), lay_out(root, *graph_.registry().find(image_.format), image_.request));
    co_await graph_.detach(root);
    co_return result;
  }

  block::Graph& graph_;
  ImageToCreate image_;
};

}  // namespace

std::unique_ptr<Work> create_file(block::Graph& graph, FileToCreate file) {
  return std::make_unique<FileCreation>(graph, std::move(file));
}

std::unique_ptr<Work> create_image(block::Graph& graph, ImageToCreate image) {
  return std::make_unique<ImageCreation>(graph, std::move(image));
}

}  // namespace firn::jobs
