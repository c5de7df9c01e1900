// What outlives the machine in a run by one seed: the oracle, the chain of images as it was
// acknowledged, what the daemon's state would remember, and the figures.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/sim_disk.h"
#include "async/sim_world.h"
#include "block/registry.h"
#include "block/state_store.h"
#include "tests/sim/oracle.h"
#include "tests/sim/plan.h"

namespace firn::sim {

// Where the daemon was when its machine ended.
enum class Phase : uint8_t {
  kOpening,
  kServing,
  kPreparing,  // a snapshot's command, to the moment that its intent goes to the state
  kPivoting,   // the intent is being recorded
  kSealing,    // from there to the reply
  kClosing,
  kClosed,
};
inline constexpr size_t kPhases = 7;
const char* phase_name(Phase phase);

struct Counters {
  std::array<uint64_t, kPhases> power_cuts{};
  uint64_t kills = 0;
  uint64_t orderly_ends = 0;
  uint64_t faults = 0;
  uint64_t failed_snapshots = 0;
  uint64_t writes = 0;
  uint64_t zeroings = 0;
  uint64_t discards = 0;
  uint64_t flushes = 0;
  uint64_t reads = 0;
  uint64_t snapshots = 0;            // acknowledged
  uint64_t snapshots_recovered = 0;  // the overlay became the head after a cut, without a reply
  uint64_t carried_requests = 0;     // in flight over a pivot
  uint64_t images_checked = 0;
  uint64_t leaked_clusters = 0;
  uint64_t frozen_layers_judged = 0;
  uint64_t reverts = 0;            // acknowledged
  uint64_t reverts_recovered = 0;  // carried out after a cut, without a reply
  uint64_t forks = 0;              // acknowledged
  uint64_t merges = 0;             // commits that came to their end
  uint64_t merged_layers = 0;      // that left the chain by what the state had recorded
  void add(const Counters& other);
};

struct Layer {
  std::string path;
  std::string format;
  // Set with the reply of the snapshot that froze it.
  std::optional<std::pair<Tick, Tick>> command;
  // What it holds, once it was judged; it never changes after.
  std::optional<Content> content;
  // A commit that did not come to its end has changed what it holds by itself.
  bool in_flux = false;
  // A fork's: the layer that it was made of, which it reads as.
  std::string copy_of;
};

// A revert between its command and its reply.
struct Revert {
  Tick sent = 0;
  Content content;          // of the layer that it goes back to
  std::vector<Layer> left;  // what was above that layer, once the state has the intent
  bool recorded = false;
};

// One seed's world.
struct World {
  explicit World(uint64_t seed);

  uint64_t seed;
  Plan plan;
  async::SimWorld machine;
  async::SimDisk& disk;
  Oracle oracle;
  std::vector<Layer> chain;     // the base first; the head last, by the state
  std::vector<Layer> branches;  // tops of other branches: what reverts left, and forks
  std::optional<Revert> revert;
  block::Registry registry;
  // The commit that runs, by the files of its ends.
  struct Merge {
    std::string top;
    std::string base;
  };
  std::optional<Merge> merge;
  Phase phase = Phase::kOpening;
  bool leaks_are_legal = false;  // from the first cut, kill or fault on
  uint64_t faults_injected = 0;  // into this life of the daemon
  Counters counters;
  std::optional<std::string> failure;  // the first one

  void fail(std::string text) {
    if (!failure) failure = std::move(text);
  }
  // What the plan has in store for a daemon that starts now, and its end.
  void start_faults();
  void stop_faults();
  async::SimRandom& random() { return machine.random(); }
  // Nodes by which this life of the daemon knows its layers.
  std::map<std::string, std::string> paths;  // by node-name
  const std::string& path_of(const std::string& node) const { return paths.at(node); }
  // The state has a revert's intent: the disk is the layer `below` and the new image on it,
  // whatever happens. And back again.
  void begin_revert(const std::string& below, Layer overlay);
  void forget_revert();
  // Its reply came, or a crash before that: what the clients may find has changed.
  void end_revert();
  // How to open the layer at `path` with all below it.
  block::NodeSpec spec_of(const Layer& layer, bool read_only) const;
};

// Remembers the chain as the daemon's state would: each call takes effect at a moment between its
// beginning and its end, unless power goes first.
class SimStateStore final : public block::StateStore {
 public:
  SimStateStore(World& world, async::SimProcess& process) : world_(world), process_(process) {}

  async::Task<base::Result<uint64_t>> record_intent(block::GraphChange change) override;
  async::Task<base::Result<>> record_done(uint64_t intent,
                                          std::vector<std::string> unsealed) override;
  async::Task<base::Result<>> record_sealed(std::string node) override;
  async::Task<base::Result<>> forget_intent(uint64_t intent) override;

 private:
  // True if the process still lives.
  async::Task<bool> wait();
  World& world_;
  async::SimProcess& process_;
  void take_out_layers();

  size_t intended_ = 0;              // layers of the snapshots' intent that is open
  std::vector<Layer> chain_before_;  // a commit's: the chain before its intent
};

}  // namespace firn::sim
