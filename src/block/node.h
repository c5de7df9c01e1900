// Node: one element of the block graph. Edge: its use by a parent.
//
// A node and all below it live on one loop, its home, and are touched only there; other loops see
// names and hop (async::call_on). Nodes are owned by the Graph.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/loop.h"
#include "async/sync.h"
#include "block/driver.h"
#include "block/io_stats.h"
#include "block/types.h"

namespace firn::block {

class DirtyTracker;
class Node;
class Root;

enum class EdgeRole {
  kFile,     // a format's bytes
  kBacking,  // what lies below it in the chain
  kFilter,   // a filter's one child
  kRoot,     // a user outside the graph: a device's name, an export, a job
};

// One use of `child`. Lives with its parent (Node::children or Root). A pivot changes `child` of
// every edge that leads to the old head, within one turn.
class Edge {
 public:
  // `parent_text` is for people: "device 'vda'", "block export 'nbd0'", "node 's1'".
  Edge(EdgeRole role, Node* parent, std::string parent_text);
  ~Edge();  // detached
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;

  EdgeRole role() const { return role_; }
  Node* parent() const { return parent_; }  // null for roots
  const std::string& parent_text() const { return parent_text_; }
  Root* root() const { return root_; }  // kRoot: whose edge this is
  // "file", "backing", "root": as error texts call it.
  std::string_view name() const;
  Node* child() const { return child_; }
  explicit operator bool() const { return child_ != nullptr; }

  Permissions used() const { return used_; }
  Permissions shared() const { return shared_; }

  // Attach checks nothing and takes no image locks: update_permissions (permissions.h) does, and
  // Graph::attach is the whole of it for roots.
  void attach(Node* child, Permissions used, Permissions shared);
  void detach();
  void set_permissions(Permissions used, Permissions shared) { used_ = used, shared_ = shared; }
  // A backing edge: what the child's other users may do although the role forbids it. For who
  // writes into the child what the parent shadows (a commit).
  Permissions also_shared() const { return also_shared_; }
  void set_also_shared(Permissions permissions) {
    shared_ = (shared_ & ~also_shared_) | permissions;
    also_shared_ = permissions;
  }
  // The pivot's step: the same use, of another node. No I/O, no waiting.
  void repoint(Node* child);

  // For drivers: I/O on the child without admission. The child's driver is called directly where
  // the request is aligned; else it is rounded, with read-modify-write, as Root does. Discards and
  // giving back of storage follow the child's `unmap` option, flushes its `no_flush`.
  Task<Result<>> read(uint64_t offset, const IoVec& iov, Flags flags = flag::kNone);
  Task<Result<>> write(uint64_t offset, const IoVec& iov, Flags flags = flag::kNone);
  Task<Result<>> write_zeroes(uint64_t offset, uint64_t length, Flags flags = flag::kNone);
  Task<Result<>> discard(uint64_t offset, uint64_t length, Flags flags = flag::kNone);
  Task<Result<>> flush();
  uint64_t size_bytes() const;

  // For drivers with a backing child: as read, and zeroes beyond the child's end or where there is
  // no child. With flag::kStable it first waits for mutating requests in flight on the child that
  // overlap.
  Task<Result<>> read_below(uint64_t offset, const IoVec& iov, Flags flags);

 private:
  friend class Root;
  Task<Result<>> stable_read_below(Node& child, uint64_t offset, const IoVec& iov, Flags flags);

  EdgeRole role_;
  Node* parent_;
  std::string parent_text_;
  Root* root_ = nullptr;
  Node* child_ = nullptr;
  Permissions used_ = permission::kNone;
  Permissions shared_ = permission::kAll;
  Permissions also_shared_ = permission::kNone;
};

// A node's own uses of others. Made before its driver, which keeps a reference.
struct Children {
  explicit Children(Node* parent, const std::string& parent_name);
  Edge file;
  Edge backing;
};

// A mutating request in flight on the node that it was admitted to. Lives in the request's frame.
class Mutation {
 public:
  Mutation(Node& node, uint64_t offset, uint64_t length);
  ~Mutation();  // marks what it touched for the node's trackers, and wakes whoever waits for it
  Mutation(const Mutation&) = delete;
  Mutation& operator=(const Mutation&) = delete;

 private:
  friend class Node;
  Node& node_;
  uint64_t offset_;
  uint64_t length_;
  Mutation* previous_ = nullptr;
  Mutation* next_ = nullptr;
  async::WaitList waiters_;  // for the end of this one
};

// A write to a node whose driver asks for alignment: one that reads, modifies and writes has its
// blocks for itself. Lives in the request's frame. Whoever came first goes first.
class SerialRange {
 public:
  // [begin, end) in whole blocks. `exclusive`: a read-modify-write.
  SerialRange(Node& node, uint64_t begin, uint64_t end, bool exclusive);
  ~SerialRange();
  SerialRange(const SerialRange&) = delete;
  SerialRange& operator=(const SerialRange&) = delete;
  // Until no earlier range is left that overlaps and is exclusive, or overlaps an exclusive one.
  Task<void> wait_for_turn();

 private:
  SerialRange* conflict() const;
  Node& node_;
  uint64_t begin_;
  uint64_t end_;
  bool exclusive_;
  SerialRange* previous_ = nullptr;
  SerialRange* next_ = nullptr;
  async::WaitList waiters_;
};

class Node final {
 public:
  Node(std::string name, NodeOptions options, async::Loop& home);
  ~Node();  // closed, without parents
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Any loop.
  const std::string& name() const { return name_; }
  async::Loop& home() const { return *home_; }

  // Home loop. ----------------------------------------------------------------------------------

  Driver& driver() const { return *driver_; }
  bool has_driver() const { return driver_ != nullptr; }
  void set_driver(std::unique_ptr<Driver> driver);
  // The node's bytes are those of its `file` child (raw): see DriverEntry::is_transparent.
  bool is_transparent() const { return transparent_; }
  void set_transparent(bool transparent) { transparent_ = transparent; }
  // driver().limits().request_alignment, at hand.
  uint32_t request_alignment() const { return request_alignment_; }
  Children& children() { return children_; }
  const Children& children() const { return children_; }
  const std::vector<Edge*>& parents() const { return parents_; }

  const NodeOptions& options() const { return options_; }
  // Of those that are looked at with each request: what a head passes on to what takes its place.
  void take_request_options(const NodeOptions& from) {
    options_.unmap = from.unmap;
    options_.detect_zeroes = from.detect_zeroes;
  }
  // What NodeSpec::definition said when the node was opened, or at its last reopening. Empty for a
  // node that nobody defined: the backing image that a header names, an overlay's file.
  const std::string& definition() const { return definition_; }
  void set_definition(std::string definition) { definition_ = std::move(definition); }
  bool read_only() const { return read_only_; }
  void set_read_only_mark(bool read_only) { read_only_ = read_only; }
  void set_home(async::Loop& home) { home_ = &home; }

  // Requests in flight that were admitted to this node.
  bool has_mutations() const { return first_mutation_ != nullptr; }
  size_t mutation_count() const { return mutation_count_; }
  Task<void> wait_for_mutations();  // all of them
  Task<void> wait_for_overlapping(uint64_t offset,
                                  uint64_t length);  // those that overlap, now or before it returns

  // The driver's flush, or nothing for a protocol node with cache.no-flush. A failure is
  // remembered: the kernel reports a lost write-back once, so that a later success proves nothing.
  Task<Result<>> flush();
  bool flush_failed = false;

  // After a pivot and until the seal is done: the old head, which is this node's backing child.
  // Root::flush flushes it too. A seal that failed leaves it set, with `seal_failed`.
  Node* unsealed_below = nullptr;
  bool seal_failed = false;    // on the old head: flushes give EIO until an operator resolves it
  std::string seal_error;      // why
  bool seal_is_final = false;  // no other try would prove anything: it failed in an earlier daemon

  const NodeCounters& counters() const { return counters_; }
  // For read_node and its like, through which all requests go.
  void count_read(uint64_t bytes) {
    ++counters_.reads;
    counters_.read_bytes += bytes;
  }
  void count_write(uint64_t offset, uint64_t bytes) {
    ++counters_.writes;
    counters_.write_bytes += bytes;
    note_end(offset + bytes);
  }
  void count_discard(uint64_t offset, uint64_t bytes) {
    ++counters_.discards;
    counters_.discard_bytes += bytes;
    note_end(offset + bytes);
  }

  // Calls `crossed` once, when a write or a discard is asked for that ends beyond `offset_bytes`,
  // with by how much. Takes the place of an earlier one. 0: none.
  void set_write_threshold(uint64_t offset_bytes,
                           std::move_only_function<void(uint64_t exceeded_bytes)> crossed);
  uint64_t write_threshold() const { return threshold_crossed_ ? write_threshold_ : 0; }

  // Why the node may not be snapshotted, resized or deleted: "node is used as backing hd of 's1'",
  // or what blocks it. Empty: nothing.
  std::string busy_reason() const;
  // Long work keeps others from changing the node: "block device is in use by block job: commit".
  // Each block() is ended by one unblock() with the same reason.
  void block(std::string reason);
  void unblock(std::string_view reason);
  // The first of these reasons; empty: nothing blocks it.
  std::string blocked_by() const { return blockers_.empty() ? std::string() : blockers_.front(); }
  // What the node alone reads as is changing below its users, who see nothing of it since layers
  // above shadow it (a commit): nobody else may begin to use it.
  bool in_flux = false;

 private:
  friend class DirtyTracker;
  friend class Edge;
  friend class Mutation;
  friend class SerialRange;
  void note_end(uint64_t end) {
    if (end > counters_.highest_write_end) counters_.highest_write_end = end;
    if (end > write_threshold_) [[unlikely]]
      cross_threshold(end);
  }
  void cross_threshold(uint64_t end);

  std::string name_;
  NodeOptions options_;
  std::string definition_;
  bool read_only_;
  bool transparent_ = false;
  async::Loop* home_;
  Children children_;
  std::vector<Edge*> parents_;
  std::vector<std::string> blockers_;
  Mutation* first_mutation_ = nullptr;
  Mutation* last_mutation_ = nullptr;
  size_t mutation_count_ = 0;
  DirtyTracker* first_tracker_ = nullptr;
  SerialRange* first_range_ = nullptr;
  SerialRange* last_range_ = nullptr;
  uint32_t request_alignment_ = 1;
  NodeCounters counters_;
  uint64_t write_threshold_ = UINT64_MAX;  // goes with threshold_crossed_
  std::move_only_function<void(uint64_t)> threshold_crossed_;
  std::unique_ptr<Driver> driver_;  // last: ends first
};

}  // namespace firn::block
