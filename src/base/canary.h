// Canaries: planted violations of the rules that hazards name, so that a test can prove that it
// would catch the real thing. They exist only in the libraries that tests/sim links (built with
// FIRN_CANARIES, see cmake/FirnRoom.cmake); everywhere else each one is a constant false, and the
// code behind it is gone.
//
//   if (!base::canaries.cow_without_wait) co_await wait_for_overlapping(...);
#pragma once

namespace firn::base {

#ifdef FIRN_CANARIES
// Set by the test before it starts, read by the loops while they run.
struct Canaries {
  // A copy from the old head does not wait for the mutating request in flight that it overlaps.
  bool cow_without_wait = false;
  // A seal marks the old head read-only without flushing it.
  bool seal_without_flush = false;
  // qcow2: the L2 entry goes to disk before the refcount of the cluster that it refers to.
  bool l2_before_refcount = false;
  // A guest's flush leaves out the old head of an unfinished seal.
  bool flush_head_only = false;
  // qcow2: the L2 entry enters memory, and so may go to disk, before the cluster's data is written.
  bool l2_before_data = false;
  // qcow2: a freed cluster is used again before the removal of its reference is durable.
  bool freed_cluster_reused_early = false;
  // file: a flush that failed is forgotten, and the next one succeeds.
  bool failed_flush_forgotten = false;
  // A group's heads on several loops pivot one after the other, without the gate.
  bool group_without_gate = false;
  // A commit's layers leave the chain before the base is durable.
  bool commit_without_flush = false;
  // A commit makes the base the head while requests are in flight on the old one.
  bool commit_pivot_without_drain = false;
  // A commit leaves out what reads as zeroes in the layers.
  bool commit_skips_zeroes = false;
  // A revert does not wait for the requests in flight.
  bool revert_without_drain = false;
  // qcow2: an internal snapshot enters the image's table before what it refers to is counted.
  bool snapshot_before_refcounts = false;
  // qcow2: what a new internal snapshot has is freed for others before it is counted.
  bool snapshot_lets_go_early = false;
  // qcow2: what a revert leaves behind is freed before the header says that it is left.
  bool revert_frees_early = false;
};
inline Canaries canaries;
#else
struct Canaries {
  bool cow_without_wait = false;
  bool seal_without_flush = false;
  bool l2_before_refcount = false;
  bool flush_head_only = false;
  bool l2_before_data = false;
  bool freed_cluster_reused_early = false;
  bool failed_flush_forgotten = false;
  bool group_without_gate = false;
  bool commit_without_flush = false;
  bool commit_pivot_without_drain = false;
  bool commit_skips_zeroes = false;
  bool revert_without_drain = false;
  bool snapshot_before_refcounts = false;
  bool snapshot_lets_go_early = false;
  bool revert_frees_early = false;
};
inline constexpr Canaries canaries;
#endif

}  // namespace firn::base
