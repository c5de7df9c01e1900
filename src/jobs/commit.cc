#include "jobs/commit.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "jobs/commit_work.h"

namespace firn::jobs {

using base::ErrorKind;
using block::Node;

namespace {

struct Layer {
  Node* node = nullptr;
  std::string filename;
  std::string stored;  // as the layer above has it in its header
};

// Home loop: the chain from `head` down.
Task<Result<std::vector<Layer>>> chain_of(Node& head) {
  for (const block::Edge* edge : head.parents()) {
    if (edge->role() == block::EdgeRole::kRoot) continue;
    co_return base::fail(ErrorKind::kGeneric, "Need a root block node");
  }
  if (const std::string blocker = head.blocked_by(); !blocker.empty()) {
    co_return base::fail(ErrorKind::kBusy,
                         fmt::format("Node '{}' is busy: {}", head.name(), blocker));
  }
  std::vector<Layer> chain;
  std::string stored;
  for (Node* node = &head; node != nullptr; node = node->children().backing.child()) {
    chain.push_back({.node = node, .filename = node->driver().filename(), .stored = stored});
    stored = "";
    if (auto facts = co_await node->driver().facts()) stored = facts->backing_filename;
  }
  co_return chain;
}

std::unexpected<base::Error> text(std::string what) {
  return base::fail(ErrorKind::kGeneric, std::move(what));
}

// Chooses the ends of what is committed. Control loop, with a claim on the chain.
class Choice {
 public:
  Choice(block::Graph& graph, const CommitRequest& request, std::vector<Layer> chain)
      : graph_(graph), request_(request), chain_(std::move(chain)) {}

  Task<Result<CommitPlan>> make() {
    size_t top = 0;
    if (request_.top_node && request_.top) {
      co_return text("'top-node' and 'top' are mutually exclusive");
    }
    if (request_.top_node) top = CO_TRY(by_node_name(*request_.top_node, 0));
    if (request_.top) {
      const std::optional<size_t> found = co_await by_file_name(*request_.top, 0);
      if (!found) co_return text(fmt::format("Top image file {} not found", *request_.top));
      top = *found;
    }
    if (request_.base_node && request_.base) {
      co_return text("'base-node' and 'base' are mutually exclusive");
    }
    size_t base = chain_.size() - 1;
    if (request_.base_node) base = CO_TRY(by_node_name(*request_.base_node, top));
    if (request_.base) {
      const std::optional<size_t> found = co_await by_file_name(*request_.base, top + 1);
      if (!found)
        co_return text(fmt::format("Can't find '{}' in the backing chain", *request_.base));
      base = *found;
    }
    if (top == base) co_return text("cannot commit an image into itself");
    if (top == 0 && request_.backing_file) {
      co_return text("'backing-file' specified, but 'top' is the active layer");
    }
    co_return CommitPlan{.top = chain_[top].node,
                         .base = chain_[base].node,
                         .active = top == 0,
                         .backing_file = request_.backing_file.value_or(""),
                         .on_error = request_.on_error};
  }

 private:
  Result<size_t> by_node_name(const std::string& name, size_t from) const {
    const Node* node = graph_.find_node(name);
    if (node == nullptr) {
      return text(fmt::format("Cannot find device='' nor node-name='{}'", name));
    }
    for (size_t i = from; i < chain_.size(); ++i) {
      if (chain_[i].node == node) return i;
    }
    return text(fmt::format("'{}' is not in this backing file chain", name));
  }

  // As the node has it, as the layer above stores it, or any name that leads to the same file.
  Task<std::optional<size_t>> by_file_name(const std::string& name, size_t from) const {
    if (!name.empty()) {
      for (size_t i = from; i < chain_.size(); ++i) {
        if (chain_[i].filename == name || chain_[i].stored == name) co_return i;
      }
      if (auto real = co_await async::Loop::current().files().real_path(name)) {
        for (size_t i = from; i < chain_.size(); ++i) {
          if (chain_[i].filename == *real) co_return i;
        }
      }
    }
    co_return std::nullopt;
  }

  block::Graph& graph_;
  const CommitRequest& request_;
  std::vector<Layer> chain_;
};

std::string default_id(const block::Graph& graph, const Node& head) {
  for (const block::Device* device : graph.devices()) {
    if (device->root.head() == &head) return device->id;
  }
  return "";
}

}  // namespace

Task<Result<>> start_commit(block::Graph& graph, JobList& jobs, CommitRequest request) {
  const block::Graph::Claim claim = co_await graph.claim({request.device});
  auto head = co_await graph.find_claimed_head(claim, request.device, request.device);
  if (!head && head.error().kind() == ErrorKind::kDeviceNotFound) {
    co_return base::fail(base::Error(ErrorKind::kDeviceNotFound,
                                     fmt::format("Device '{}' not found", request.device))
                             .with_data("device", request.device));
  }
  if (!head) co_return base::fail(std::move(head).error());
  Choice choice(graph, request, CO_TRY(co_await async::call_on((*head)->home(), chain_of(**head))));
  CommitPlan plan = CO_TRY(co_await choice.make());
  if (request.filter_node_name) {
    CO_TRY(graph.check_new_node_name(*request.filter_node_name));
  }
  const std::string id = request.job_id ? *request.job_id : default_id(graph, **head);
  CO_TRY(jobs.check_new_id(id));
  if (request.speed_bytes_per_s < 0) {
    co_return base::fail(ErrorKind::kInvalidArgument,
                         "Parameter 'speed' expects a non-negative value");
  }
  auto work = std::make_unique<CommitWork>(graph, id, std::move(plan));
  CommitWork& commit = *work;
  Job* job = CO_TRY(jobs.create({.id = id,
                                 .type = JobType::kCommit,
                                 .speed_bytes_per_s = request.speed_bytes_per_s,
                                 .auto_finalize = request.auto_finalize,
                                 .auto_dismiss = request.auto_dismiss},
                                std::move(work)));
  if (auto acquired = co_await commit.acquire(claim); !acquired) {
    jobs.drop(*job);
    co_return acquired;
  }
  jobs.start(*job);
  co_return Result<>();
}

}  // namespace firn::jobs
