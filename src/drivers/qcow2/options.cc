#include "drivers/qcow2/options.h"

#include <algorithm>

#include "base/units.h"

namespace firn::qcow2 {

using base::ErrorKind;
using base::fail;

namespace {
constexpr uint64_t kMaxDefaultL2Bytes = 32 * base::kMiB;
}

base::Result<CacheSizes> cache_sizes(const Options& options, uint64_t disk_bytes,
                                     unsigned cluster_bits, bool extended_l2) {
  const uint64_t cluster_bytes = uint64_t{1} << cluster_bits;
  const uint64_t entry_bytes = extended_l2 ? 16 : 8;
  // All L2 tables of the disk.
  const uint64_t whole_l2 =
      std::max<uint64_t>(1, disk_bytes / cluster_bytes + 1) * entry_bytes + cluster_bytes;
  const uint64_t least_refcounts = std::max(4 * cluster_bytes, 256 * base::kKiB);
  if (options.cache_size) {
    const uint64_t all = *options.cache_size;
    if (options.l2_cache_size && options.refcount_cache_size) {
      return fail(ErrorKind::kInvalidArgument,
                  "cache-size, l2-cache-size and refcount-cache-size may not be set at the same "
                  "time");
    }
    if (options.l2_cache_size) {
      if (*options.l2_cache_size > all) {
        return fail(ErrorKind::kInvalidArgument, "l2-cache-size may not exceed cache-size");
      }
      return CacheSizes{*options.l2_cache_size, all - *options.l2_cache_size};
    }
    if (options.refcount_cache_size) {
      if (*options.refcount_cache_size > all) {
        return fail(ErrorKind::kInvalidArgument, "refcount-cache-size may not exceed cache-size");
      }
      return CacheSizes{all - *options.refcount_cache_size, *options.refcount_cache_size};
    }
    const uint64_t refcounts = std::min(all, least_refcounts);
    return CacheSizes{all - refcounts, refcounts};
  }
  return CacheSizes{options.l2_cache_size.value_or(std::min(whole_l2, kMaxDefaultL2Bytes)),
                    options.refcount_cache_size.value_or(least_refcounts)};
}

}  // namespace firn::qcow2
