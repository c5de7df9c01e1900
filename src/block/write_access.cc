#include "block/write_access.h"

#include <fmt/format.h>

#include <ranges>
#include <utility>

#include "base/check.h"
#include "block/permissions.h"

namespace firn::block {

using base::ErrorKind;

WriteAccess::~WriteAccess() { CHECK(opened_.empty()); }

WriteAccess::WriteAccess(WriteAccess&& other) noexcept
    : opened_(std::exchange(other.opened_, {})) {}

WriteAccess& WriteAccess::operator=(WriteAccess&& other) noexcept {
  CHECK(opened_.empty());
  opened_ = std::exchange(other.opened_, {});
  return *this;
}

// The bytes first. A format writes as soon as it is writable, so its file is locked before that.
Task<Result<>> WriteAccess::open(Node& node, std::vector<Node*>& opened) {
  if (!node.read_only()) co_return Result<>();
  if (node.options().force_share) {
    co_return base::fail(
        ErrorKind::kReadOnly,
        fmt::format("Node '{}' was opened with force-share: it can't be written to", node.name()));
  }
  if (node.children().file) CO_TRY(co_await open(*node.children().file.child(), opened));
  node.set_read_only_mark(false);
  auto result = update_permissions(node);
  if (result) result = co_await node.driver().set_read_only(false);
  if (!result) {
    node.set_read_only_mark(true);
    (void)update_permissions(node);  // fewer wishes never conflict
    co_return result;
  }
  opened.push_back(&node);
  co_return result;
}

// Nothing was written through these; what they can't do now they do when they are closed.
Task<void> WriteAccess::undo(std::vector<Node*> opened) {
  for (Node* node : opened | std::views::reverse) {
    (void)co_await node->driver().set_read_only(true);
    node->set_read_only_mark(true);
    (void)update_permissions(*node);
  }
}

Task<Result<WriteAccess>> WriteAccess::take(Node& node) {
  std::vector<Node*> opened;
  auto result = co_await open(node, opened);
  if (!result) {
    co_await undo(std::move(opened));
    co_return base::fail(std::move(result).error());
  }
  WriteAccess access;
  access.opened_ = std::move(opened);
  co_return std::move(access);
}

Task<Result<>> WriteAccess::give_back() {
  const std::vector<Node*> opened = std::exchange(opened_, {});
  if (opened.empty()) co_return Result<>();
  Node& top = *opened.back();
  co_await top.wait_for_mutations();
  CO_TRY(co_await top.flush());
  if (top.flush_failed) {
    co_return base::fail(ErrorKind::kIo,
                         fmt::format("a flush of node '{}' failed meanwhile", top.name()));
  }
  for (Node* node : opened | std::views::reverse) {
    CO_TRY(co_await node->driver().set_read_only(true));
    node->set_read_only_mark(true);
    auto locks = update_permissions(*node);
    if (!locks) {
      node->set_read_only_mark(false);
      co_return locks;
    }
  }
  co_return Result<>();
}

}  // namespace firn::block
