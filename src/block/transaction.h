// A transaction: several snapshots that all happen, at one point in time, or none.
//
// All are prepared in their order, and the first error undoes those before it, in reverse. Then,
// where the disks live on several I/O loops, a gate holds back the requests that come, all heads
// pivot, and the gate opens: whoever was told that a write to one disk is done, and writes to
// another then, never finds the second write in the snapshot without the first. On one loop all
// heads pivot within one turn, and there is no gate. No I/O happens inside either. An I/O loop that
// does not close its gate within 5 ms keeps no other waiting: all open again, and after one more
// try the transaction fails (kBusy). The old heads are sealed beside each other.
//
// Internal snapshots are of the same instant: once all actions are prepared, their disks hold
// writes back, until the pivot takes them. They are stored beside the seals.
#pragma once

#include <variant>
#include <vector>

#include "block/internal_snapshot_step.h"
#include "block/snapshot.h"

namespace firn::block {

struct AbortAction {};  // fails: for those who test what a failure leaves
using TransactionAction = std::variant<SnapshotRequest, InternalSnapshotRequest, AbortAction>;

// What became of a transaction: a result, and a report of each snapshot that stands, in order. None
// does where an action failed before the pivot (`result` is the error of the first that did; no
// trace is left) and where there was no action. All do after it: then an error is that of the first
// head that could not be sealed, or of recording that they were, or of an internal snapshot that
// could not be stored: those that could are deleted then, and no internal one stands.
struct TransactionOutcome {
  Result<> result;
  std::vector<SnapshotReport> reports;
  std::vector<DiskSnapshotReport> internal;
};

// On the control loop; holds a claim on the chains of all disks that it names to its end. Where a
// deadline passes, it answers at once, and what was begun is undone behind it (Graph::leftovers),
// its claims held until then.
Task<TransactionOutcome> run_transaction(Graph& graph, std::vector<TransactionAction> actions);

// The same under a claim on all that the actions name; deadlines don't count here.
Task<TransactionOutcome> run_transaction_claimed(Graph& graph, const Graph::Claim& claim,
                                                 std::vector<TransactionAction> actions);

}  // namespace firn::block
