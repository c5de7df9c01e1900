#include "block/permissions.h"

#include <fmt/format.h>

#include <vector>

namespace firn::block {

using base::ErrorKind;
using base::Result;

PermissionSet cumulative_permissions(const Node& node) {
  PermissionSet sum;
  for (const Edge* edge : node.parents()) {
    sum.used |= edge->used();
    sum.shared &= edge->shared();
  }
  return sum;
}

PermissionSet child_permissions(const Edge& edge, const PermissionSet& of_parent) {
  const Node& parent = *edge.parent();
  PermissionSet wanted = of_parent;
  switch (edge.role()) {
    case EdgeRole::kBacking:
      wanted.used &= permission::kConsistentRead;
      wanted.shared =
          permission::kConsistentRead | permission::kWriteUnchanged | edge.also_shared();
      break;
    case EdgeRole::kFile:
      if (parent.is_transparent()) break;
      if (!parent.read_only()) wanted.used |= permission::kWrite | permission::kResize;
      wanted.used |= permission::kConsistentRead;
      wanted.shared &= ~(permission::kWrite | permission::kResize);
      break;
    case EdgeRole::kFilter:
    case EdgeRole::kRoot:
      break;
  }
  if (edge.child() != nullptr && edge.child()->options().force_share) {
    wanted.shared = permission::kAll;
  }
  return wanted;
}

namespace {

// A live resize tells exports and devices of the new size, so that no root stands against it.
Permissions effectively_shared(const Edge& edge) {
  return edge.role() == EdgeRole::kRoot ? edge.shared() | permission::kResize : edge.shared();
}

Result<> check_users(const Node& node) {
  for (const Edge* one : node.parents()) {
    for (const Edge* other : node.parents()) {
      if (one == other) continue;
      const Permissions conflict = one->used() & ~effectively_shared(*other);
      if (conflict == 0) continue;
      return base::fail(
          ErrorKind::kBusy,
          fmt::format("Permission conflict on node '{}': permissions '{}' are both required by {} "
                      "(uses node '{}' as '{}' child) and unshared by {} (uses node '{}' as '{}' "
                      "child).",
                      node.name(), permission_names(conflict), one->parent_text(), node.name(),
                      one->name(), other->parent_text(), node.name(), other->name()));
    }
  }
  return {};
}

// What has been changed so far, to be set back if a later step fails.
class Update {
 public:
  Result<> run(Node& node) {
    TRY(check_users(node));
    const PermissionSet sum = cumulative_permissions(node);
    constexpr Permissions kWriting = permission::kWrite | permission::kWriteUnchanged;
    if ((sum.used & kWriting) != 0 && node.read_only()) {
      return base::fail(
          base::Error(ErrorKind::kReadOnly, "Block node is read-only")
              .with_hint(fmt::format("node '{}' was opened read-only or is a backing image",
                                     node.name())));
    }
    if (!node.has_driver()) return {};
    for (Edge* edge : {&node.children().file, &node.children().backing}) {
      if (!*edge) continue;
      const PermissionSet wanted = child_permissions(*edge, sum);
      if (wanted.used != edge->used() || wanted.shared != edge->shared()) {
        edges_.push_back({edge, {edge->used(), edge->shared()}});
        edge->set_permissions(wanted.used, wanted.shared);
      }
      TRY(run(*edge->child()));
    }
    const Permissions shared =
        node.options().force_share ? Permissions{permission::kAll} : sum.shared;
    TRY(node.driver().set_permissions(sum.used, shared));
    touched_.push_back(&node);
    return {};
  }

  void undo() {
    for (auto it = edges_.rbegin(); it != edges_.rend(); ++it) {
      it->edge->set_permissions(it->before.used, it->before.shared);
    }
    // The user at the top that asked for too much is still attached there, so that the top's own
    // locks are set back when the caller has detached it; all below follow their edges now.
    for (Node* node : touched_) {
      const PermissionSet sum = cumulative_permissions(*node);
      (void)node->driver().set_permissions(
          sum.used, node->options().force_share ? Permissions{permission::kAll} : sum.shared);
    }
  }

 private:
  struct Changed {
    Edge* edge;
    PermissionSet before;
  };
  std::vector<Changed> edges_;
  std::vector<Node*> touched_;
};

}  // namespace

Result<> update_permissions(Node& node) {
  Update update;
  auto result = update.run(node);
  if (!result) update.undo();
  return result;
}

}  // namespace firn::block
