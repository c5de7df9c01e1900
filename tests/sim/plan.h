// What one seed tries: sizes, formats, clients, how the machine ends. Drawn once, from the seed.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "async/sim_random.h"

namespace firn::sim {

using CreateOptions = std::vector<std::pair<std::string, std::string>>;

// What goes wrong besides power.
enum class Faults : uint8_t {
  kNone,
  kErrors,       // operations fail now and then, fsync excepted
  kFailedSyncs,  // fsync fails now and then, and loses what Linux may lose then
  kFullDisk,
};

struct Plan {
  uint64_t disk_sectors = 2048;
  std::string base_format = "qcow2";
  CreateOptions base_options;
  bool unmap = true;         // discard=unmap
  uint64_t cache_bytes = 0;  // of qcow2's tables; 0: as it likes
  uint32_t disk_sector_bytes = 512;
  uint32_t rounds = 3;  // lives of the daemon
  uint32_t clients = 4;
  uint32_t requests_per_client = 40;
  uint32_t most_snapshots = 3;        // per round
  uint32_t most_merges = 0;           // commits, per round
  uint64_t snapshot_pause_us = 5000;  // between two, at most
  uint64_t most_request_sectors = 64;
  uint64_t hot_sectors = 256;  // where most requests go
  double revert_share = 0.2;   // of what is done in place of a snapshot
  double fork_share = 0.1;
  double read_share = 0.2;
  double flush_share = 0.1;
  double zero_share = 0.1;
  double discard_share = 0.05;
  double fua_share = 0.1;
  Faults faults = Faults::kNone;
  double fault_probability = 0;  // of each operation
  uint64_t free_bytes = 0;       // kFullDisk: what is left when the daemon starts

  static Plan draw(uint64_t seed);
  // For a new image: of any cluster size, refcount width and kind that goes together.
  static CreateOptions draw_image(async::SimRandom& random, bool version_2);
  std::string describe() const;
};

}  // namespace firn::sim
