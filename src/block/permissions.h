// Who may do what to a node: the rules between its users, and the image locks that follow.
//
// The model and the bits are QEMU's, since image locks on disk carry them to other programs. A node
// sums up what its users do (or) and let others do (and); from that follows what it does to its own
// children:
//   backing  reads consistently; lets others read, and write without changing data. (QEMU lets them
//            change data too where the node's users share writing, as exports do; nobody means
//            that.)
//   file     of a format: reads consistently, and, while the node is writable, writes and resizes
//            (metadata, even if no user writes); lets nobody else write or resize.
//   file     of a transparent node (raw): exactly what the node's users do and allow.
// A node with force_share lets everybody do everything.
#pragma once

#include "base/result.h"
#include "block/node.h"

namespace firn::block {

struct PermissionSet {
  Permissions used = permission::kNone;
  Permissions shared = permission::kAll;
};

// What all users of `node` together do and allow.
PermissionSet cumulative_permissions(const Node& node);

// What `edge`, a child of edge.parent(), asks for, given what the parent's users do and allow.
PermissionSet child_permissions(const Edge& edge, const PermissionSet& of_parent);

// Brings all below `node` in line with its users: checks them against each other, sets what its
// children's edges ask for, and takes and gives up image locks. Home loop. On an error (kBusy,
// kReadOnly, with QEMU's texts) all is as it was before; the user whose edge gave the cause has to
// be detached or set back by the caller, who then calls this again.
base::Result<> update_permissions(Node& node);

}  // namespace firn::block
