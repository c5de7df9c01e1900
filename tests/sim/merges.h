// Commits in a life of the daemon: layers are merged into a lower one while clients write and
// snapshots are taken, the head's too, and power goes at any moment of it.
#pragma once

#include <string>

#include "async/sim_world.h"
#include "block/graph.h"
#include "jobs/job_list.h"
#include "tests/sim/world.h"

namespace firn::sim {

class Merges final : public jobs::JobObserver {
 public:
  Merges(World& world, async::SimProcess& process) : world_(world), process_(process) {}

  // Merges now and then, as often as the plan says. Control loop.
  async::Task<void> run(block::Graph& graph);

  void on_status(const jobs::Job&) override {}
  void on_ready(const jobs::Job&) override {}
  void on_pending(const jobs::Job&) override {}
  void on_completed(const jobs::Job& job) override;
  void on_cancelled(const jobs::Job&) override {}
  void on_error(const jobs::Job&, jobs::Operation, jobs::ErrorAction) override {}

 private:
  bool over() const { return !process_.alive() || world_.failure; }
  async::Task<void> merge_once(block::Graph& graph, jobs::JobList& jobs);

  World& world_;
  async::SimProcess& process_;
};

}  // namespace firn::sim
