#include "block/pause.h"

#include <fmt/format.h>

#include <chrono>

#include "base/canary.h"

namespace firn::block {

namespace {

void collect_roots(const Node& node, std::vector<Root*>& roots) {
  for (const Edge* edge : node.parents()) {
    if (edge->root() != nullptr) {
      roots.push_back(edge->root());
    } else if (edge->role() == EdgeRole::kFile && edge->parent()->is_transparent()) {
      collect_roots(*edge->parent(), roots);
    }
  }
}

}  // namespace

std::vector<Root*> roots_of(const Node& node) {
  std::vector<Root*> roots;
  collect_roots(node, roots);
  return roots;
}

Task<Result<>> Pause::begin(async::Duration patience) {
  begun_ = true;
  since_ = async::Loop::current().now();
  for (Root* root : roots_) {
    root->gate().close();
    in_flight_ += root->in_flight();
  }
  if (base::canaries.revert_without_drain) co_return Result<>();
  for (Root* root : roots_) {
    if (co_await root->drain_until(since_ + patience)) continue;
    end();
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(patience);
    co_return base::fail(base::Error(base::ErrorKind::kBusy,
                                     fmt::format("Requests of {} are under way for more than {} ms",
                                                 root->edge().parent_text(), waited.count()))
                             .with_hint("nothing has changed; the store below may not answer"));
  }
  co_return Result<>();
}

void Pause::end() {
  if (!begun_) return;
  begun_ = false;
  length_ns_ = static_cast<uint64_t>((async::Loop::current().now() - since_).count());
  for (Root* root : roots_) root->gate().open();
}

}  // namespace firn::block
