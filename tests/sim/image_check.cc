#include "tests/sim/image_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace firn::sim {
namespace {

using base::load_be;

constexpr uint64_t kOffsetMask = 0x00fffffffffffe00;
constexpr uint64_t kCopied = uint64_t{1} << 63;
constexpr uint64_t kCompressed = uint64_t{1} << 62;
constexpr uint64_t kZero = 1;
constexpr uint64_t kIncompatibleDirty = 1;
constexpr uint64_t kIncompatibleCorrupt = 2;
constexpr uint64_t kIncompatibleExtendedL2 = 16;

class Checker {
 public:
  explicit Checker(base::ConstByteSpan file) : file_(file) {}

  ImageReport run() {
    if (read_header() && count_refcounts() && walk_l1()) compare();
    return std::move(report_);
  }

 private:
  bool corrupt(std::string text) {
    report_.corruption = std::move(text);
    return false;
  }

  template <typename T>
  T load(uint64_t at) const {
    return load_be<T>(file_.data() + at);
  }

  // A table of `bytes` at `offset` lies in the file, on a cluster's beginning.
  bool check_table(uint64_t offset, uint64_t bytes, const char* what) {
    if (offset == 0 || offset % cluster_bytes_ != 0) {
      return corrupt(fmt::format("{} at {:#x} is not aligned to a cluster", what, offset));
    }
    if (offset > file_.size() || bytes > file_.size() - offset) {
      return corrupt(fmt::format("{} at {:#x} lies beyond the end of the file, {:#x}", what, offset,
                                 file_.size()));
    }
    return true;
  }

  void refer(uint64_t offset, uint64_t bytes) {
    for (uint64_t at = offset / cluster_bytes_; at * cluster_bytes_ < offset + bytes; ++at) {
      if (at >= references_.size()) references_.resize(at + 1);
      ++references_[at];
    }
  }

  bool read_header() {
    if (file_.size() < 104 || load<uint32_t>(0) != 0x514649fb) {
      return corrupt("there is no qcow2 header");
    }
    const uint32_t version = load<uint32_t>(4);
    const uint32_t cluster_bits = load<uint32_t>(20);
    if (version < 2 || version > 3 || cluster_bits < 9 || cluster_bits > 21) {
      return corrupt(fmt::format("version {} with {} cluster bits", version, cluster_bits));
    }
    cluster_bytes_ = uint64_t{1} << cluster_bits;
    l1_entries_ = load<uint32_t>(36);
    l1_offset_ = load<uint64_t>(40);
    table_offset_ = load<uint64_t>(48);
    table_clusters_ = load<uint32_t>(56);
    uint64_t incompatible = 0;
    if (version == 3) {
      incompatible = load<uint64_t>(72);
      refcount_bits_ = 1u << load<uint32_t>(96);
    }
    if ((incompatible & (kIncompatibleDirty | kIncompatibleCorrupt)) != 0) {
      return corrupt("the image is marked as dirty or corrupt");
    }
    extended_ = (incompatible & kIncompatibleExtendedL2) != 0;
    refer(0, cluster_bytes_);
    return true;
  }

  bool count_refcounts() {
    const uint64_t table_bytes = table_clusters_ * cluster_bytes_;
    if (!check_table(table_offset_, table_bytes, "the refcount table")) return false;
    refer(table_offset_, table_bytes);
    for (uint64_t i = 0; i < table_bytes / 8; ++i) {
      const uint64_t block = load<uint64_t>(table_offset_ + 8 * i);
      if (block == 0) continue;
      if (!check_table(block, cluster_bytes_, "a refcount block")) return false;
      refer(block, cluster_bytes_);
      const uint64_t entries = cluster_bytes_ * 8 / refcount_bits_;
      refcounts_.resize(std::max<uint64_t>(refcounts_.size(), (i + 1) * entries));
      for (uint64_t j = 0; j < entries; ++j) refcounts_[i * entries + j] = refcount(block, j);
    }
    return true;
  }

  uint64_t refcount(uint64_t block, uint64_t index) const {
    switch (refcount_bits_) {
      case 64:
        return load<uint64_t>(block + 8 * index);
      case 32:
        return load<uint32_t>(block + 4 * index);
      case 16:
        return load<uint16_t>(block + 2 * index);
      default: {
        const uint64_t per_byte = 8 / refcount_bits_;
        const auto byte = static_cast<unsigned>(file_[block + index / per_byte]);
        return byte >> (index % per_byte * refcount_bits_) & ((1u << refcount_bits_) - 1);
      }
    }
  }

  bool walk_l1() {
    const uint64_t bytes = uint64_t{l1_entries_} * 8;
    if (l1_entries_ == 0) return true;
    if (!check_table(l1_offset_, bytes, "the L1 table")) return false;
    refer(l1_offset_, bytes);
    for (uint32_t i = 0; i < l1_entries_; ++i) {
      const uint64_t entry = load<uint64_t>(l1_offset_ + 8 * i);
      const uint64_t table = entry & kOffsetMask;
      if (table == 0) continue;
      if (!check_table(table, cluster_bytes_, "an L2 table")) return false;
      refer(table, cluster_bytes_);
      uses_.push_back({table, (entry & kCopied) != 0, "L2 table"});
      if (!walk_l2(table)) return false;
    }
    return true;
  }

  bool walk_l2(uint64_t table) {
    const uint64_t entry_bytes = extended_ ? 16 : 8;
    for (uint64_t at = table; at < table + cluster_bytes_; at += entry_bytes) {
      const uint64_t entry = load<uint64_t>(at);
      if ((entry & kCompressed) != 0) return corrupt("a compressed cluster, which nobody wrote");
      const uint64_t host = entry & kOffsetMask;
      if (extended_) {
        const uint64_t bitmap = load<uint64_t>(at + 8);
        const uint32_t allocated = static_cast<uint32_t>(bitmap);
        const uint32_t zero = static_cast<uint32_t>(bitmap >> 32);
        if ((allocated & zero) != 0) {
          return corrupt(fmt::format("L2 entry at {:#x}: subclusters that are data and zero", at));
        }
        if (host == 0 && allocated != 0) {
          return corrupt(fmt::format("L2 entry at {:#x}: data subclusters of no cluster", at));
        }
        if ((entry & kZero) != 0) {
          return corrupt(fmt::format("L2 entry at {:#x}: the zero bit in an extended entry", at));
        }
      }
      if (host == 0) continue;
      if (host % cluster_bytes_ != 0) {
        return corrupt(fmt::format("a data cluster at {:#x} is not aligned", host));
      }
      refer(host, cluster_bytes_);
      ++report_.data_clusters;
      uses_.push_back({host, (entry & kCopied) != 0, "data cluster"});
    }
    return true;
  }

  uint64_t refcount_of(uint64_t cluster) const {
    return cluster < refcounts_.size() ? refcounts_[cluster] : 0;
  }

  void compare() {
    for (uint64_t cluster = 0; cluster < references_.size(); ++cluster) {
      if (references_[cluster] <= refcount_of(cluster)) continue;
      corrupt(fmt::format("cluster {} (at {:#x}) has {} references and a refcount of {}", cluster,
                          cluster * cluster_bytes_, references_[cluster], refcount_of(cluster)));
      return;
    }
    for (const Use& use : uses_) {
      const uint64_t count = refcount_of(use.offset / cluster_bytes_);
      if ((count == 1) == use.copied) continue;
      corrupt(fmt::format("{} at {:#x}: the COPIED bit is {} and its refcount {}", use.what,
                          use.offset, use.copied ? 1 : 0, count));
      return;
    }
    for (uint64_t cluster = 0; cluster < refcounts_.size(); ++cluster) {
      const uint64_t references = cluster < references_.size() ? references_[cluster] : 0;
      if (refcounts_[cluster] > references) ++report_.leaked_clusters;
    }
  }

  struct Use {
    uint64_t offset;
    bool copied;
    const char* what;
  };

  base::ConstByteSpan file_;
  ImageReport report_;
  uint64_t cluster_bytes_ = 0;
  uint32_t l1_entries_ = 0;
  uint64_t l1_offset_ = 0;
  uint64_t table_offset_ = 0;
  uint64_t table_clusters_ = 0;
  unsigned refcount_bits_ = 16;
  bool extended_ = false;
  std::vector<uint64_t> refcounts_;
  std::vector<uint64_t> references_;
  std::vector<Use> uses_;
};

}  // namespace

ImageReport check_qcow2(base::ConstByteSpan file) { return Checker(file).run(); }

}  // namespace firn::sim
