#include "tests/sim/scenario.h"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <utility>

#include "async/file.h"
#include "block/permissions.h"
#include "tests/sim/inspect.h"
#include "tests/sim/session.h"

namespace firn::sim {
namespace {

using async::Loop;
using async::Task;

class Scenario {
 public:
  explicit Scenario(World& world) : world_(world) {}

  Task<void> run() {
    async::SimProcess& maker = world_.machine.add_process("maker", world_.disk);
    maker.start(make_base(world_));
    co_await maker.wait_ended();
    for (uint32_t round = 0; round < world_.plan.rounds && !world_.failure; ++round) {
      co_await run_round();
      if (world_.failure) world_.failure = fmt::format("round {}: {}", round, *world_.failure);
    }
  }

 private:
  Task<void> run_round() {
    async::SimRandom& random = world_.random();
    async::SimProcess& daemon = world_.machine.add_process("daemon", world_.disk);
    Session session(world_, daemon);
    const uint64_t cuts_before = world_.disk.power_cuts();
    const size_t layers_before = world_.chain.size();
    const uint64_t snapshots_before = world_.counters.snapshots;
    const uint64_t merged_before = world_.counters.merged_layers;
    // Early and late: the logarithm is drawn evenly.
    const uint64_t most = uint64_t{1} << random.between(5, 14);
    world_.disk.cut_power_at_step(world_.disk.steps() + random.between(1, most));
    world_.start_faults();
    daemon.start(session.main());
    if (random.chance(0.15)) {
      co_await Loop::current().sleep_for(std::chrono::microseconds(random.below(20000)));
      if (daemon.alive() && !daemon.ended()) kill(daemon);
    }
    co_await daemon.wait_ended();
    world_.disk.cut_power_at_step(0);
    world_.stop_faults();

    // What a failed fsync lost may be read until it leaves the page cache: nothing can rest on
    // that.
    if (world_.plan.faults == Faults::kFailedSyncs && world_.faults_injected != 0) {
      world_.disk.cut_power();
    }
    const bool cut = world_.disk.power_cuts() != cuts_before;
    if (cut) ++world_.counters.power_cuts[static_cast<size_t>(world_.phase)];
    if (session.closed_in_order()) ++world_.counters.orderly_ends;
    // A revert makes the chain shorter: what was recovered can't be told from its length then.
    const uint64_t known = layers_before + world_.counters.snapshots - snapshots_before;
    const uint64_t merged = world_.counters.merged_layers - merged_before;
    if (world_.chain.size() + merged > known) {
      world_.counters.snapshots_recovered += world_.chain.size() + merged - known;
    }
    world_.oracle.cut();
    if (world_.revert && world_.revert->recorded) {
      ++world_.counters.reverts_recovered;
      world_.end_revert();
    }
    world_.revert.reset();
    world_.merge.reset();
    if (daemon.open_files() != 0) world_.fail("a dead daemon has files open");
    if (!session.closed_in_order()) world_.leaks_are_legal = true;
    if (!world_.failure) co_await inspect(session.closed_in_order());
  }

  void kill(async::SimProcess& daemon) {
    ++world_.counters.kills;
    world_.disk.cut_power_at_step(0);
    daemon.kill();
  }

  Task<void> inspect(bool closed_in_order) {
    async::SimProcess& inspector = world_.machine.add_process("inspector", world_.disk);
    inspector.start(sim::inspect(world_, closed_in_order));
    co_await inspector.wait_ended();
  }

  World& world_;
};

}  // namespace

Outcome run_seed(uint64_t seed, const ScenarioOptions& options) {
  World world(seed);
  if (options.trace) world.machine.trace_to(stderr);
  Scenario scenario(world);
  const auto ran = world.machine.run(scenario.run());
  if (!ran) world.fail(ran.error().text());
  if (world.failure) *world.failure += "\n  plan: " + world.plan.describe();
  if (world.failure && !options.dump_directory.empty()) dump_images(world, options.dump_directory);
  Outcome outcome;
  outcome.failure = std::move(world.failure);
  outcome.counters = world.counters;
  outcome.trace_hash = world.machine.trace_hash();
  outcome.steps = world.machine.steps();
  return outcome;
}

}  // namespace firn::sim
