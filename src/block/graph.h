// Graph: every node and device of the daemon, by name.
//
// The Graph belongs to the control loop: names are looked up, added and removed there. The nodes
// themselves live on their home loops; the Graph hops there for everything that touches them.
// Commands that change the graph or a size queue in order per chain (lock_chain).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/runtime.h"
#include "async/sync.h"
#include "block/node.h"
#include "block/registry.h"
#include "block/root.h"
#include "block/state_store.h"

namespace firn::block {

// A named disk. Its root follows the head through pivots. It uses no permission and shares all.
struct Device {
  explicit Device(std::string device_id) : id(std::move(device_id)), root("device '" + id + "'") {}
  std::string id;
  Root root;
  async::Loop* home = nullptr;
};

class Graph {
 public:
  Graph(async::Runtime& runtime, Registry registry, StateStore& state);
  ~Graph();  // empty: co_await close() first

  const Registry& registry() const { return registry_; }
  StateStore& state() { return state_; }
  // The loop on which new nodes live unless told otherwise.
  async::Loop& default_io_loop() { return *io_loop_; }

  // I/O threads by name (object-add qom-type=iothread).
  Result<async::Loop*> add_io_loop(std::string id);
  Task<Result<>> remove_io_loop(std::string id);  // kBusy while a node lives there
  async::Loop* find_io_loop(std::string_view id);
  std::vector<std::string> io_loop_names() const;

  // Nodes. Errors: QEMU's texts ("Duplicate nodes with node-name='a'", "Invalid node-name: 'a b'").
  Task<Result<Node*>> add_node(NodeSpec spec);
  // Closes the node and what only it used; kBusy ("Node 'a' is busy: ...") while it has users.
  Task<Result<>> remove_node(std::string name);
  Node* find_node(std::string_view name) const;
  std::vector<Node*> nodes() const;  // in order of creation
  // Names taken by nodes of `tree` are checked, then the graph owns them.
  Result<> adopt(OpenedTree& tree);

  // Devices.
  Task<Result<Device*>> add_device(std::string id, std::string node_name);
  Task<Result<>> remove_device(std::string id);
  Device* find_device(std::string_view id) const;
  std::vector<Device*> devices() const;

  // The node that a command means: `device` is tried first, both as a device and as a node's name,
  // as QEMU does. Text: "Cannot find device='X' nor node-name='Y'", kDeviceNotFound with data
  // device.
  Task<Result<Node*>> find_head(std::string device, std::string node_name);

  // Gives `root` the use of `node`, checked against its other users and locked on disk. On the
  // node's home loop (hops there).
  Task<Result<>> attach(Root& root, Node& node, Permissions used, Permissions shared);
  // After the root's last request. Locks that nobody needs any more are given up.
  Task<void> detach(Root& root);

  // Changes the home of `node`, all below it and its roots. kBusy where other users pin it.
  Task<Result<>> move_to_loop(Node& node, async::Loop& loop);

  Task<Result<>> resize(Node& node, uint64_t size_bytes);

  // One command at a time for all that hangs together with `node`: held while a snapshot, a resize,
  // a deletion runs.
  Task<async::Mutex::Guard> lock_changes();

  // Exports are gone. Flushes and closes everything, parents first. The first error is given, the
  // rest is closed all the same.
  Task<Result<>> close();

 private:
  async::Runtime& runtime_;
  Registry registry_;
  StateStore& state_;
  async::Loop* io_loop_ = nullptr;
  std::map<std::string, async::Loop*, std::less<>> io_loops_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::string, Node*, std::less<>> by_name_;
  std::map<std::string, std::unique_ptr<Device>, std::less<>> devices_;
  async::Mutex changes_;
};

}  // namespace firn::block
