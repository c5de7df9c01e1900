// Options of a qcow2 node (QAPI: BlockdevOptionsQcow2) that are not every node's.
#pragma once

#include <cstdint>
#include <optional>

#include "block/registry.h"

namespace firn::qcow2 {

struct Options final : block::DriverOptions {
  // Accepted; counts are kept exact at the price of nothing, so images never become dirty.
  std::optional<bool> lazy_refcounts;
  // Storage of freed clusters is given back to the file: of those freed by discards and zeroing
  // (not set: as the node's `unmap` says), of those of internal snapshots (not set: yes), and of
  // all others, left behind by copies (not set: no).
  std::optional<bool> pass_discard_request;
  std::optional<bool> pass_discard_snapshot;
  std::optional<bool> pass_discard_other;
  // Memory for tables, in bytes. cache_size is the sum; of the three at most two may be given.
  std::optional<uint64_t> cache_size;
  std::optional<uint64_t> l2_cache_size;
  std::optional<uint64_t> refcount_cache_size;
  // Tables not used for this long leave memory. 0: they stay.
  std::optional<uint64_t> cache_clean_interval_s;
};

struct CacheSizes {
  uint64_t l2_bytes = 0;
  uint64_t refcount_bytes = 0;
};
// Errors: QEMU's ("l2-cache-size may not exceed cache-size", ...).
base::Result<CacheSizes> cache_sizes(const Options& options, uint64_t disk_bytes,
                                     unsigned cluster_bits, bool extended_l2);

}  // namespace firn::qcow2
