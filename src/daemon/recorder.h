// Recorder: tells the state store what there is, so that a restart finds it again.
//
// Commands need not know of it. After each one that changes something, and after each option of the
// command line, sync() compares what there is (nodes, devices, exports) with what was recorded and
// writes the difference, before the command is answered. What it can't see afterwards, note()
// learns from the command's arguments. Changes of chains go through it as intents
// (block::StateStore); it passes them on.
//
// Belongs to the control loop. Without a store it does nothing.
#pragma once

#include <boost/json/fwd.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "block/graph.h"
#include "block/state_store.h"
#include "daemon/exports.h"
#include "state/store.h"

namespace firn::daemon {

class Recorder final : public block::StateStore {
 public:
  // Without a store if it is null.
  explicit Recorder(std::unique_ptr<state::Store> store) : store_(std::move(store)) {}
  // Both outlive this.
  void attach(block::Graph& graph, Exports& exports);

  bool has_store() const { return store_ != nullptr; }
  state::Store& store() { return *store_; }
  // From here on it records. `contents` is what the store holds; its nodes and devices are there,
  // its exports are once begin_exports() is called.
  void begin(const state::Contents& contents);
  void begin_exports() { exports_are_there_ = true; }
  // Compares nothing more: what goes now goes with the daemon, not by a user's wish. Changes of
  // chains are recorded all the same.
  void end() { recording_ = false; }
  // After the graph. `in_order` as Store::close has it.
  async::Task<base::Result<>> close(bool in_order);

  // block::StateStore ---------------------------------------------------------------------------
  async::Task<base::Result<uint64_t>> record_intent(block::GraphChange change) override;
  async::Task<base::Result<>> record_done(uint64_t intent,
                                          std::vector<std::string> unsealed) override;
  async::Task<base::Result<>> record_sealed(std::string node) override;
  async::Task<base::Result<>> forget_intent(uint64_t intent) override;

  // After a command of QMP. Errors: those of Store::write; what the command did stands.
  async::Task<base::Result<>> note(std::string_view command, base::JsonValue arguments,
                                   bool succeeded);
  async::Task<base::Result<>> sync();

  async::Task<base::Result<>> put(state::Thing thing);
  async::Task<base::Result<>> remove(std::string_view of, std::string id);

 private:
  using Names = std::set<std::string, std::less<>>;

  bool is_on() const { return store_ != nullptr && recording_; }
  // Those that a change names and that are not recorded yet; the caller holds the claim.
  async::Task<base::Result<>> record_nodes_of(const block::GraphChange& change);
  async::Task<base::Result<>> record_node(std::string name);
  async::Task<base::Result<>> record_tree(block::Node& node);
  async::Task<base::Result<>> sync_nodes();
  async::Task<base::Result<>> sync_devices();
  async::Task<base::Result<>> record_device(std::string id);
  async::Task<base::Result<>> sync_exports();
  async::Task<base::Result<>> record_export(std::string id);
  base::Result<> note_arguments(std::string_view command, const boost::json::object& arguments,
                                state::Store::Update& update) const;

  std::unique_ptr<state::Store> store_;
  block::Graph* graph_ = nullptr;
  Exports* exports_ = nullptr;
  bool begun_ = false;
  bool recording_ = false;
  bool exports_are_there_ = false;
  // What is recorded, by name.
  Names nodes_;
  Names devices_;
  Names exports_known_;
  // Changes that are under way: their nodes are recorded when they are done.
  std::map<uint64_t, block::GraphChange> open_;
};

// Arguments of a command as they lead to the same from any working directory.
void make_paths_absolute(base::JsonValue& arguments);
// True if the arguments of chardev-add or of starting a server name something that ends with this
// process (a descriptor, the standard streams): a restart can't bring it back.
bool is_bound_to_process(const base::JsonValue& arguments);

}  // namespace firn::daemon
