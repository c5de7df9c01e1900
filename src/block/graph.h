// Graph: every node and device of the daemon, by name.
//
// The Graph belongs to the control loop: names are looked up, added and removed there. The nodes
// themselves live on their home loops; the Graph hops there for everything that touches them.
//
// Commands that change one chain, or a size in it, run one at a time: each task below that changes
// something, and take_snapshot, holds a claim on the chains that it touches while it runs. Whoever
// holds one must not await a task that claims the same chain. Commands on other chains go on beside
// it, even if a disk never answers. Claims exist on the control loop only, and guests' requests
// know nothing of them.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/runtime.h"
#include "async/scope.h"
#include "async/sync.h"
#include "block/claims.h"
#include "block/node.h"
#include "block/registry.h"
#include "block/root.h"
#include "block/space_guard.h"
#include "block/state_store.h"

namespace firn::block {

// A named disk. Its root follows the head through pivots. It uses no permission and shares all.
// The root belongs to the home loop; `id` and `home` to the control loop.
struct Device {
  explicit Device(std::string device_id) : id(std::move(device_id)), root("device '" + id + "'") {
    root.collect_stats();
  }
  std::string id;
  Root root;
  async::Loop* home = nullptr;
};

class Graph final {
 public:
  using Claim = ChainClaim;
  using Reading = ReaderGate::Reading;

  // With one I/O loop, on which nodes live unless told otherwise. `runtime` and `state` outlive it.
  // Errors: as Runtime::add_loop.
  static Result<std::unique_ptr<Graph>> create(async::Runtime& runtime, Registry registry,
                                               StateStore& state);
  ~Graph();  // empty: co_await close() first
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  const Registry& registry() const { return registry_; }
  StateStore& state() { return state_; }
  // The loop on which new nodes live unless told otherwise.
  async::Loop& default_io_loop() { return *io_loop_; }

  // Creation options that every new overlay of a format gets unless the snapshot says otherwise:
  // {"qcow2": {{"extended_l2", "on"}}}, and what --compat overlay=plain makes of it.
  using CreateOptions = std::vector<std::pair<std::string, std::string>>;
  std::map<std::string, CreateOptions, std::less<>> overlay_defaults;
  // What the store of an overlay must have free for a snapshot to be taken.
  SpaceReserve snapshot_reserve;

  // I/O threads by name (object-add qom-type=iothread).
  Result<async::Loop*> add_io_loop(std::string id);
  Task<Result<>> remove_io_loop(std::string id);  // kBusy while a node lives there
  async::Loop* find_io_loop(std::string_view id);
  // Empty for the default loop.
  std::string io_loop_name(const async::Loop& loop) const;
  std::vector<std::string> io_loop_names() const;

  // Nodes. Errors: QEMU's texts ("Duplicate nodes with node-name='a'", "Invalid node-name: 'a b'").
  // The node belongs to the user who added it, until remove_node; nodes that were opened with it
  // close with the last that uses them. It lives where the nodes that it names live, else on the
  // default loop.
  Task<Result<Node*>> add_node(NodeSpec spec);
  // Brings a node back that an earlier life of the daemon had: its name may be a made-up one, and
  // it lives on `home` unless it names nodes that live elsewhere. `added`: it belongs to a user;
  // else it closes with the last that uses it.
  Task<Result<Node*>> restore_node(NodeSpec spec, async::Loop& home, bool added);
  // True if a user added the node, and not the opening of another.
  bool is_added(const Node& node) const { return added_.contains(&node); }
  bool is_made_by_snapshot(const Node& node) const { return made_by_snapshot_.contains(&node); }
  // Closes the node and what only it used; kBusy while it has users, or was not added by itself.
  Task<Result<>> remove_node(std::string name);
  Node* find_node(std::string_view name) const;
  std::vector<Node*> nodes() const;  // in order of creation
  // False if it was removed, and `node` leads nowhere.
  bool has_node(const Node* node) const;
  // Takes over the nodes of `tree` (its top as one that was added by itself) if their names are
  // free, or reserved by `claim`, which holds them from here on; else leaves it to the caller.
  // `for_snapshot`: the top was made by a snapshot, and goes when a commit has merged it away.
  Result<> adopt(OpenedTree& tree, const Claim& claim, bool for_snapshot = false);
  // As adopt() had it, for a node that is restored.
  void mark_made_by_snapshot(const Node& node) { made_by_snapshot_.insert(&node); }
  // Layers that leave a chain (layers.h). True if `node` goes by itself when no chain has it any
  // more: nobody added it, or a snapshot did.
  bool goes_with_its_chain(const Node& node) const;
  // Closes `top`, which nobody uses any more, if it goes by itself, and those between it and `base`
  // that go with it; all others stay as they are. `base` has other users; `claim` holds the chain.
  Task<Result<>> close_dropped(Node& top, const Node& base, const Claim& claim);
  // `node` belongs to the user from now on, as if it had been added by itself.
  void keep(const Node& node) { added_.insert(&node); }
  // Closes `node`, which nobody uses any more, and what only it used. `claim` holds its chain.
  Task<Result<>> close_unused(Node& node, const Claim& claim);
  // kExists if a node or a device has that name, or another command is about to use it;
  // kInvalidArgument if nothing may.
  Result<> check_new_node_name(std::string_view name) const;
  // The same, and nobody else takes the name while `claim` lives. Made-up names need no reserving.
  Result<> reserve_node_name(std::string_view name, const Claim& claim);
  // Keeps two commands from one thing of any kind; false if another claim has it.
  bool reserve(const std::string& what, const Claim& claim);

  // Devices.
  Task<Result<Device*>> add_device(std::string id, std::string node_name);
  // In two steps, for those who hold a claim: whether a device may be called so, which nobody else
  // then takes while the claim lives, and the device itself.
  Result<> reserve_device_id(std::string_view id, const Claim& claim);
  Task<Result<Device*>> add_device_claimed(std::string id, Node& node, const Claim& claim);
  Task<Result<>> remove_device(std::string id);
  Device* find_device(std::string_view id) const;
  std::vector<Device*> devices() const;

  // The node that a command means: the head of `device` if there is one, else the node
  // `node_name`. Texts: "Cannot find device='X' nor node-name='Y'" (kDeviceNotFound with data
  // device), "Device 'X' has no medium".
  Task<Result<Node*>> find_head(std::string device, std::string node_name);
  // The same for those who hold a claim on both names: what is found belongs to a chain of theirs.
  Task<Result<Node*>> find_claimed_head(const Claim& claim, std::string device,
                                        std::string node_name);

  // Gives `root` the use of `node`, checked against its other users and locked on disk.
  Task<Result<>> attach(Root& root, Node& node, Permissions used, Permissions shared);
  // After the root's last request. Locks that nobody needs any more are given up, and a node that
  // was only kept by this root is closed.
  Task<void> detach(Root& root);
  // Both for those who hold a claim on the chain; a node that nobody uses any more stays open.
  Task<Result<>> attach_claimed(Root& root, Node& node, Permissions used, Permissions shared,
                                const Claim& claim);
  Task<void> detach_claimed(Root& root);

  // Changes the home of `node` and of all below it. kBusy while exports or other nodes use them.
  Task<Result<>> move_to_loop(Node& node, async::Loop& loop);
  // For those who hold a claim on the node's chain.
  Task<Result<>> move_to_loop_locked(Node& node, async::Loop& loop);

  // Live: exports and devices are told. Refused: what a format can't, sizes that nodes above rely
  // on, and shrinking unless `may_shrink` gives the data beyond the new end up; that holds guests
  // back until their requests in flight are done. `device` and `node_name` as for find_head, looked
  // up when it is this command's turn: behind a snapshot, `device` means the new head.
  Task<Result<>> resize(std::string device, std::string node_name, int64_t size_bytes,
                        bool may_shrink = false);

  // Waits for all commands before it that change a chain which one of these nodes or devices
  // belongs to; unknown names are ignored. First come, first served, per chain (ClaimQueue). What a
  // name means is looked up again after: it may have gone, or mean a node that the claim does not
  // hold (holds()).
  Task<Claim> claim(std::vector<std::string> names);
  // Waits for every command.
  Task<Claim> claim_all();
  // True if `node` is there and belongs to a chain that `claim` holds.
  bool holds(const Claim& claim, const Node* node) const;

  // For those who only look: while it lives, no node, device or attached root is destroyed, and
  // none moves to another loop. Heads may pivot, and it waits for no command that waits for a disk.
  // Held briefly, and not twice by one task.
  Task<Reading> read_nodes();

  // Tells the state store that these layers are about to be written to for a while (WriteAccess),
  // and that they are sealed again. For those who hold a claim on their chains; those that are not
  // read-only are left out.
  Task<Result<>> record_writing(std::vector<Node*> layers);
  Task<Result<>> record_sealed(std::vector<Node*> layers);

  // Work whose command has been answered already: what a missed deadline leaves to undo. close()
  // waits for it.
  async::TaskScope& leftovers() { return leftovers_; }

  // Flushes and closes everything, parents first, chain by chain beside each other, so that one
  // that hangs keeps no other from its orderly end; then ends the I/O loops. The first error is
  // given, the rest is closed all the same. Closing twice does nothing more.
  // kGone: kBusy where roots are still attached. kLeaving: each chain waits for the last of them.
  enum class Users { kGone, kLeaving };
  Task<Result<>> close(Users users = Users::kGone);

 private:
  Graph(async::Runtime& runtime, Registry registry, StateStore& state, async::Loop& io_loop);

  ChainIds resolve(const ClaimKeys& keys) const;
  Result<> check_name_is_free(std::string_view name, const Claim* claim) const;
  void collect_named(const NodeSpec& spec, std::vector<std::string>& names) const;
  Result<> resolve_children(NodeSpec& spec, const Claim& claim, async::Loop*& home);
  Task<void> hide(const std::vector<Node*>& leaving);
  void forget(const std::vector<Node*>& closed);
  Task<Result<Node*>> open_node(NodeSpec spec, async::Loop& default_home, bool added);
  Task<Result<>> move_chain(Node& node, async::Loop& loop);
  Task<void> close_chain(std::string name, Users users, Result<>& first);
  Task<Result<>> close_chain_nodes(const Claim& claim, ChainId chain);
  bool has_users(ChainId chain) const;

  async::Runtime& runtime_;
  Registry registry_;
  StateStore& state_;
  async::Loop* io_loop_ = nullptr;
  std::map<std::string, async::Loop*, std::less<>> io_loops_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::string, Node*, std::less<>> by_name_;  // those that leave included
  std::set<const Node*> leaving_;           // being closed: no longer listed, found or read
  std::set<const Node*> added_;             // by a user, not on behalf of another node
  std::set<const Node*> made_by_snapshot_;  // of these
  std::map<std::string, std::shared_ptr<Device>, std::less<>> devices_;
  std::multiset<const async::Loop*> moving_to_;  // where nodes are about to live
  ChainMap chains_;
  ClaimQueue claims_;
  ReaderGate readers_;
  async::TaskScope leftovers_;
};

}  // namespace firn::block
