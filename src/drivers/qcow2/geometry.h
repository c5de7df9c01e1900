// Geometry: how an image's clusters, subclusters, tables and their slices are cut. Plain numbers,
// fixed while an image is open.
#pragma once

#include <algorithm>
#include <cstdint>

#include "drivers/qcow2/qcow2_format.h"

namespace firn::qcow2 {

// Tables are cached and written in slices of this size, or of a cluster where that is smaller.
inline constexpr uint32_t kMaxSliceBytes = 4096;

struct Geometry {
  unsigned cluster_bits = 16;
  unsigned refcount_order = 4;
  bool extended_l2 = false;
  bool has_zero_clusters = true;  // version 3

  uint64_t cluster_bytes() const { return uint64_t{1} << cluster_bits; }
  uint64_t in_cluster(uint64_t offset) const { return offset & (cluster_bytes() - 1); }
  uint64_t cluster_start(uint64_t offset) const { return offset & ~(cluster_bytes() - 1); }
  uint64_t cluster_end(uint64_t offset) const { return cluster_start(offset) + cluster_bytes(); }
  uint32_t slice_bytes() const {
    return static_cast<uint32_t>(std::min<uint64_t>(kMaxSliceBytes, cluster_bytes()));
  }

  // A subcluster is a cluster where L2 entries are not extended.
  unsigned subclusters() const { return extended_l2 ? format::kSubclusters : 1; }
  unsigned subcluster_bits() const { return extended_l2 ? cluster_bits - 5 : cluster_bits; }
  uint64_t subcluster_bytes() const { return uint64_t{1} << subcluster_bits(); }

  unsigned l2_entry_bytes() const { return extended_l2 ? 16 : 8; }
  unsigned l2_bits() const { return cluster_bits - (extended_l2 ? 4 : 3); }
  // Guest bytes under one L2 table, and under one slice of it.
  unsigned l2_coverage_bits() const { return cluster_bits + l2_bits(); }
  uint64_t l2_coverage() const { return uint64_t{1} << l2_coverage_bits(); }
  uint32_t slice_entries() const { return slice_bytes() / l2_entry_bytes(); }
  uint64_t slice_coverage() const { return uint64_t{slice_entries()} << cluster_bits; }
  uint64_t l1_index(uint64_t guest) const { return guest >> l2_coverage_bits(); }
  // Where in its L2 table the slice with the entry of `guest` begins, in bytes.
  uint64_t slice_in_table(uint64_t guest) const {
    const uint64_t in_table = guest & (l2_coverage() - 1);
    return in_table / slice_coverage() * slice_bytes();
  }
  uint32_t index_in_slice(uint64_t guest) const {
    return static_cast<uint32_t>((guest & (slice_coverage() - 1)) >> cluster_bits);
  }
  // Entries of an L1 table for a disk of `size` bytes.
  uint64_t l1_entries(uint64_t size) const {
    return (size >> l2_coverage_bits()) + ((size & (l2_coverage() - 1)) != 0);
  }

  unsigned refcount_bits() const { return 1u << refcount_order; }
  uint64_t refcount_max() const {
    return refcount_order == 6 ? ~uint64_t{0} : (uint64_t{1} << refcount_bits()) - 1;
  }
  // Clusters that a refcount block counts, and a slice of one.
  uint64_t block_entries() const { return (cluster_bytes() * 8) >> refcount_order; }
  uint64_t refcount_slice_entries() const {
    return (uint64_t{slice_bytes()} * 8) >> refcount_order;
  }

  // Compressed descriptors: where the sector count begins.
  unsigned compressed_shift() const { return 62 - (cluster_bits - 8); }
};

}  // namespace firn::qcow2
