#include "tests/sim/plan.h"

#include <fmt/format.h>

#include <array>

namespace firn::sim {
namespace {

template <typename T, size_t N>
T pick(async::SimRandom& random, const std::array<T, N>& choices) {
  return choices[random.below(N)];
}

}  // namespace

CreateOptions Plan::draw_image(async::SimRandom& random, bool version_2) {
  CreateOptions options;
  constexpr std::array<uint64_t, 8> kClusters{512, 4096, 4096, 16384, 16384, 65536, 65536, 262144};
  const uint64_t cluster_bytes = pick(random, kClusters);
  options.emplace_back("cluster_size", std::to_string(cluster_bytes));
  if (version_2) {
    options.emplace_back("compat", "0.10");
    return options;
  }
  const bool extended = cluster_bytes >= 16384 && random.chance(0.5);
  options.emplace_back("extended_l2", extended ? "on" : "off");
  constexpr std::array<int, 7> kRefcounts{1, 2, 4, 8, 16, 32, 64};
  options.emplace_back("refcount_bits", std::to_string(pick(random, kRefcounts)));
  return options;
}

Plan Plan::draw(uint64_t seed) {
  async::SimRandom random(async::sim_mix(seed ^ 0x706c616e));
  Plan plan;
  constexpr std::array<uint64_t, 4> kDisks{512, 2048, 2048, 4096};
  plan.disk_sectors = pick(random, kDisks);
  if (random.chance(0.2)) plan.base_format = "raw";
  if (plan.base_format == "qcow2") plan.base_options = draw_image(random, random.chance(0.15));
  plan.unmap = random.chance(0.7);
  constexpr std::array<uint64_t, 3> kCaches{0, 0, 16384};
  plan.cache_bytes = pick(random, kCaches);
  plan.disk_sector_bytes = random.chance(0.2) ? 4096 : 512;
  plan.rounds = static_cast<uint32_t>(random.between(2, 4));
  plan.clients = static_cast<uint32_t>(random.between(1, 12));
  plan.requests_per_client = static_cast<uint32_t>(random.between(5, 80));
  plan.most_snapshots = static_cast<uint32_t>(random.between(1, 5));
  constexpr std::array<uint64_t, 3> kPauses{200, 1000, 5000};
  plan.snapshot_pause_us = pick(random, kPauses);
  constexpr std::array<uint64_t, 4> kLengths{1, 8, 64, 256};
  plan.most_request_sectors = pick(random, kLengths);
  constexpr std::array<uint64_t, 4> kHot{16, 128, 256, 512};
  plan.hot_sectors = pick(random, kHot);
  constexpr std::array<double, 4> kShares{0, 0.05, 0.1, 0.3};
  plan.read_share = pick(random, kShares);
  plan.flush_share = pick(random, kShares);
  plan.zero_share = pick(random, kShares);
  plan.discard_share = pick(random, kShares);
  plan.fua_share = pick(random, kShares);
  constexpr std::array<Faults, 8> kFaults{Faults::kNone,        Faults::kNone,    Faults::kNone,
                                          Faults::kNone,        Faults::kNone,    Faults::kErrors,
                                          Faults::kFailedSyncs, Faults::kFullDisk};
  plan.faults = pick(random, kFaults);
  constexpr std::array<double, 3> kProbabilities{0.001, 0.005, 0.02};
  plan.fault_probability = pick(random, kProbabilities);
  plan.free_bytes = random.below(plan.disk_sectors * 512);
  constexpr std::array<double, 4> kRevertShares{0, 0.2, 0.5, 0.8};
  plan.revert_share = pick(random, kRevertShares);
  plan.fork_share = pick(random, kShares);
  // A life merges layers or goes back to them: either changes what the other would rest on.
  if (random.chance(0.4)) {
    plan.most_merges = static_cast<uint32_t>(random.between(2, 8));
    plan.revert_share = 0;
    plan.fork_share = 0;
  }
  return plan;
}

std::string Plan::describe() const {
  std::string text = fmt::format("{} sectors on {}", disk_sectors, base_format);
  for (const auto& [name, value] : base_options) text += fmt::format(" {}={}", name, value);
  return text + fmt::format(
                    ", faults {}, {} rounds, {} clients of {} requests up to {} sectors, up to {} "
                    "snapshots and {} merges a "
                    "round, unmap {}, caches {}, disk sectors {}",
                    static_cast<int>(faults), rounds, clients, requests_per_client,
                    most_request_sectors, most_snapshots, most_merges, unmap, cache_bytes,
                    disk_sector_bytes);
}

}  // namespace firn::sim
