#include "tests/sim/world.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "drivers/file/file_driver.h"
#include "drivers/qcow2/driver.h"
#include "drivers/qcow2/options.h"
#include "drivers/raw/raw_driver.h"

namespace firn::sim {

using async::Task;
using base::Result;

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::kOpening:
      return "opening";
    case Phase::kServing:
      return "serving";
    case Phase::kPreparing:
      return "preparing";
    case Phase::kPivoting:
      return "pivoting";
    case Phase::kSealing:
      return "sealing";
    case Phase::kClosing:
      return "closing";
    case Phase::kClosed:
      return "closed";
  }
  return "";
}

void Counters::add(const Counters& other) {
  for (size_t i = 0; i < kPhases; ++i) power_cuts[i] += other.power_cuts[i];
  for (const auto member : {&Counters::kills,
                            &Counters::orderly_ends,
                            &Counters::faults,
                            &Counters::failed_snapshots,
                            &Counters::writes,
                            &Counters::zeroings,
                            &Counters::discards,
                            &Counters::flushes,
                            &Counters::reads,
                            &Counters::snapshots,
                            &Counters::snapshots_recovered,
                            &Counters::carried_requests,
                            &Counters::images_checked,
                            &Counters::leaked_clusters,
                            &Counters::frozen_layers_judged,
                            &Counters::reverts,
                            &Counters::reverts_recovered,
                            &Counters::forks,
                            &Counters::merges,
                            &Counters::merged_layers}) {
    this->*member += other.*member;
  }
}

World::World(uint64_t world_seed)
    : seed(world_seed),
      plan(Plan::draw(world_seed)),
      machine(world_seed, async::SimOptions::varied(world_seed)),
      disk(machine.add_disk({.sector_bytes = plan.disk_sector_bytes})),
      oracle(world_seed, plan.disk_sectors) {
  file::register_drivers(registry);
  raw::register_drivers(registry);
  qcow2::register_drivers(registry);
}

void World::begin_revert(const std::string& below, Layer overlay) {
  const auto at = std::ranges::find(chain, below, &Layer::path);
  CHECK(at != chain.end() && revert);
  revert->left.assign(std::make_move_iterator(at + 1), std::make_move_iterator(chain.end()));
  chain.erase(at + 1, chain.end());
  chain.push_back(std::move(overlay));
  revert->recorded = true;
}

void World::forget_revert() {
  chain.pop_back();
  std::ranges::move(revert->left, std::back_inserter(chain));
  revert->left.clear();
  revert->recorded = false;
}

void World::end_revert() {
  oracle.reverted(revert->content, revert->sent);
  std::ranges::move(revert->left, std::back_inserter(branches));
  revert.reset();
}

block::NodeSpec World::spec_of(const Layer& layer, bool read_only) const {
  auto file_options = std::make_unique<file::Options>();
  file_options->filename = layer.path;
  auto file = std::make_unique<block::NodeSpec>();
  file->driver = "file";
  file->driver_options = std::move(file_options);
  file->options.read_only = read_only;
  file->options.unmap = plan.unmap;
  block::NodeSpec spec;
  spec.driver = layer.format;
  spec.options.read_only = read_only;
  spec.options.unmap = plan.unmap;
  spec.file = std::move(file);
  if (layer.format == "qcow2" && plan.cache_bytes != 0) {
    auto options = std::make_unique<qcow2::Options>();
    options->cache_size = plan.cache_bytes;
    spec.driver_options = std::move(options);
  }
  return spec;
}

void World::start_faults() {
  faults_injected = 0;
  if (plan.faults == Faults::kNone) return;
  if (plan.faults == Faults::kFullDisk) {
    disk.set_capacity(disk.allocated_bytes() + plan.free_bytes);
    faults_injected = 1;  // whatever fails, this may be why
    return;
  }
  using Kind = async::SimFileAccess::Kind;
  disk.set_faults([this](const async::SimFileAccess& access) {
    // Removing what a failed snapshot has made must work, or it can't be judged.
    const bool may_fail = plan.faults == Faults::kFailedSyncs
                              ? access.kind == Kind::kSync
                              : access.kind != Kind::kSync && access.kind != Kind::kUnlink;
    if (!may_fail || !random().chance(plan.fault_probability)) return async::SimFaultVerdict{};
    ++faults_injected;
    ++counters.faults;
    return async::SimFaultVerdict{.error = EIO};
  });
}

void World::stop_faults() {
  disk.set_faults({});
  disk.set_capacity(uint64_t{1} << 40);
  if (faults_injected != 0) leaks_are_legal = true;
}

Task<bool> SimStateStore::wait() {
  async::Loop& loop = async::Loop::current();
  co_await loop.sleep_for(std::chrono::microseconds(loop.random() % 3000));
  co_return process_.alive();
}

namespace {

std::unexpected<base::Error> lost() {
  return base::fail(base::ErrorKind::kShutdown, "the state's disk is gone");
}

}  // namespace

// The base reads as the top did, and stands in its place.
void SimStateStore::take_out_layers() {
  std::vector<Layer>& chain = world_.chain;
  const auto top = std::ranges::find(chain, world_.merge->top, &Layer::path);
  const auto base = std::ranges::find(chain, world_.merge->base, &Layer::path);
  CHECK(top != chain.end() && base < top);
  chain_before_ = chain;
  base->command = top->command;
  base->content = top->content;
  base->in_flux = false;
  world_.counters.merged_layers += static_cast<uint64_t>(top - base);
  chain.erase(base + 1, top + 1);
}

Task<Result<uint64_t>> SimStateStore::record_intent(block::GraphChange change) {
  // Layers that are only written to for a while stay where they are.
  if (!change.to_write.empty()) co_return uint64_t{2};
  if (!change.added.empty()) world_.phase = Phase::kPivoting;
  if (!co_await wait()) co_return lost();
  intended_ = 0;
  chain_before_.clear();
  if (world_.merge && change.added.empty()) take_out_layers();
  for (const block::GraphChange::NewNode& node : change.added) {
    if (!change.devices.empty())
      continue;  // a fork, which nobody opens again unless it was told of
    Layer layer{.path = node.path, .format = node.format};
    if (world_.revert) {
      world_.begin_revert(world_.path_of(node.backing_node), std::move(layer));
    } else {
      world_.chain.push_back(std::move(layer));
      ++intended_;
    }
  }
  if (!co_await wait()) co_return lost();
  world_.phase = change.added.empty() ? Phase::kServing : Phase::kSealing;
  co_return uint64_t{1};
}

Task<Result<>> SimStateStore::record_done(uint64_t, std::vector<std::string>) {
  if (!co_await wait()) co_return lost();
  co_return Result<>();
}

Task<Result<>> SimStateStore::record_sealed(std::string) {
  if (!co_await wait()) co_return lost();
  co_return Result<>();
}

Task<Result<>> SimStateStore::forget_intent(uint64_t) {
  if (!co_await wait()) co_return lost();
  for (size_t i = 0; i < intended_; ++i) world_.chain.pop_back();
  if (world_.revert && world_.revert->recorded) world_.forget_revert();
  if (!chain_before_.empty()) {
    world_.counters.merged_layers -= chain_before_.size() - world_.chain.size();
    world_.chain = std::exchange(chain_before_, {});
  }
  if (!co_await wait()) co_return lost();
  co_return Result<>();
}

}  // namespace firn::sim
