#include "tests/sim/merges.h"

#include <fmt/format.h>

#include "jobs/commit.h"

namespace firn::sim {

using async::Loop;
using async::Task;
using std::chrono::microseconds;

Task<void> Merges::run(block::Graph& graph) {
  jobs::JobList jobs(*this);
  Loop& loop = Loop::current();
  for (uint32_t i = 0; i < world_.plan.most_merges; ++i) {
    co_await loop.sleep_for(microseconds(loop.random() % world_.plan.snapshot_pause_us));
    if (over()) break;
    if (world_.chain.size() > 1) co_await merge_once(graph, jobs);
  }
  co_await jobs.close();
}

// An error of a machine that lives, and that nothing was done to, is a failure of the test.
void Merges::on_completed(const jobs::Job& job) {
  if (!job.error()) {
    ++world_.counters.merges;
  } else if (process_.alive() && world_.faults_injected == 0) {
    world_.fail("a commit: " + job.error()->text());
  }
}

Task<void> Merges::merge_once(block::Graph& graph, jobs::JobList& jobs) {
  async::SimRandom& random = world_.random();
  const size_t top =
      random.chance(0.3) ? world_.chain.size() - 1 : random.between(1, world_.chain.size() - 1);
  const size_t base = random.below(top);
  jobs::CommitRequest request;
  request.job_id = "merge";
  request.device = "vda";
  request.top = world_.chain[top].path;
  request.base = world_.chain[base].path;
  if (random.chance(0.3)) request.speed_bytes_per_s = 1 << 20;
  world_.merge = World::Merge{.top = *request.top, .base = *request.base};
  // What they hold by themselves changes from here on, and is nobody's point in time any more.
  for (size_t i = base; i < top; ++i) world_.chain[i].in_flux = true;
  if (random.chance(0.15)) {
    world_.disk.cut_power_at_step(world_.disk.steps() + random.between(1, 400));
  }
  const auto started = co_await jobs::start_commit(graph, jobs, std::move(request));
  if (!started) {
    // A snapshot may be on its way, whose overlay the chain here has already.
    const std::string text = started.error().text();
    const bool early = text.starts_with("Top image file ");
    if (!early && process_.alive() && world_.faults_injected == 0) {
      world_.fail("starting a commit: " + text);
    }
    world_.merge.reset();
    co_return;
  }
  const bool cancels = random.chance(0.1);
  while (!jobs.jobs().empty() && !over()) {
    if (jobs.jobs().front()->is_ready()) {
      if (auto job = jobs.find("merge")) {
        (void)(cancels ? jobs.cancel(**job, false) : jobs.complete(**job));
      }
    }
    co_await Loop::current().sleep_for(microseconds(random.between(50, 2000)));
  }
  if (over()) co_return;  // close() ends it
  world_.merge.reset();
}

}  // namespace firn::sim
