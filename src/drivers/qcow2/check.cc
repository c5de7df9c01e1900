#include "drivers/qcow2/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "drivers/qcow2/header.h"
#include "drivers/qcow2/image_file.h"
#include "drivers/qcow2/mapping.h"
#include "drivers/qcow2/refcounts.h"
#include "drivers/qcow2/snapshot_table.h"

namespace firn::qcow2 {
namespace {

constexpr size_t kMaxFindings = 64;
// 14 bytes of memory each; 16 TiB with clusters of 64 KiB.
constexpr uint64_t kMaxFileClusters = uint64_t{1} << 28;
constexpr uint64_t kMaxBitmapTableEntries = uint64_t{1} << 24;
constexpr uint64_t kSavedBitmapEntryBytes = 24;  // the fixed part of a bitmap directory entry

// What a cluster is used for.
using Use = uint8_t;
constexpr Use kData = 1;
constexpr Use kMetadata = 2;

class Checker {
 public:
  Checker(ImageFile& file, Header header)
      : file_(file),
        header_(std::move(header)),
        geometry_(header_.geometry()),
        file_clusters_(base::div_ceil(file.size_bytes(), geometry_.cluster_bytes())) {}

  Task<Result<>> run() {
    if (file_clusters_ > kMaxFileClusters) {
      co_return base::fail(
          base::Error(base::ErrorKind::kUnsupported,
                      fmt::format("the file has {} clusters; only files of up to {} are checked",
                                  file_clusters_, kMaxFileClusters))
              .with_hint("check it with qemu-img check"));
    }
    count(0, geometry_.cluster_bytes(), kMetadata, "header");
    CO_TRY(co_await count_refcount_structures());
    CO_TRY(co_await count_l1(header_.l1_offset, header_.l1_entries, "active L1 table"));
    CO_TRY(co_await count_snapshots());
    CO_TRY(co_await count_bitmaps());
    compare();
    CO_TRY(co_await check_copied_flags());
    co_return Result<>{};
  }

  CheckReport take_report() { return std::move(report_); }
  ReferenceCounts take_counts() { return std::move(counts_); }

 private:
  void corruption(std::string text, bool structural = true) {
    ++report_.corruptions;
    if (structural) ++report_.structural;
    if (report_.findings.size() < kMaxFindings) report_.findings.push_back(std::move(text));
  }

  void count(uint64_t offset, uint64_t length, Use use, std::string_view what) {
    const uint64_t first = offset >> geometry_.cluster_bits;
    const uint64_t last = (offset + length - 1) >> geometry_.cluster_bits;
    for (uint64_t cluster = first; cluster <= last; ++cluster) {
      if (cluster >= file_clusters_) {
        corruption(fmt::format("{} at {:#x} lies beyond the file's end", what, offset));
        return;
      }
      if (cluster >= counts_.found.size()) {
        const uint64_t size = std::min(file_clusters_, std::max(cluster + 1, cluster * 2));
        counts_.found.resize(size);
        uses_.resize(size);
      }
      if (uses_[cluster] != 0 && (use == kMetadata || uses_[cluster] == kMetadata) &&
          !shared_tables_) {
        corruption(fmt::format("{} at {:#x} overlaps something else", what,
                               cluster << geometry_.cluster_bits));
      }
      uses_[cluster] |= use;
      ++counts_.found[cluster];
    }
  }

  Task<Result<std::vector<uint64_t>>> read_table(uint64_t offset, uint64_t entries) {
    std::vector<uint64_t> table(entries);
    if (entries == 0) co_return table;
    CO_TRY(co_await file_.read(offset, reinterpret_cast<std::byte*>(table.data()), entries * 8));
    for (uint64_t& entry : table) entry = base::load_be<uint64_t>(&entry);
    co_return table;
  }

  Task<Result<>> count_refcount_structures() {
    const uint64_t bytes = uint64_t{header_.refcount_table_clusters} << geometry_.cluster_bits;
    count(header_.refcount_table_offset, bytes, kMetadata, "refcount table");
    const std::vector<uint64_t> table =
        CO_TRY(co_await read_table(header_.refcount_table_offset, bytes / 8));
    const uint64_t entries = geometry_.block_entries();
    Buffer block = make_buffer(geometry_.cluster_bytes());
    for (uint64_t i = 0; i < table.size(); ++i) {
      const uint64_t offset = table[i] & format::kRefcountTableOffsetMask;
      if (offset == 0) continue;
      if (!base::is_aligned(offset, geometry_.cluster_bytes())) {
        corruption(fmt::format("refcount block {} is not aligned to a cluster", i));
        continue;
      }
      if (offset >> geometry_.cluster_bits >= file_clusters_) {
        corruption(fmt::format("refcount block {} lies beyond the file's end", i));
        continue;
      }
      count(offset, geometry_.cluster_bytes(), kMetadata, "refcount block");
      CO_TRY(co_await file_.read(offset, block.get(), geometry_.cluster_bytes()));
      uint64_t used = entries;
      while (used > 0 && load_refcount(block.get(), used - 1, geometry_.refcount_order) == 0) {
        --used;
      }
      // Counts far beyond the file's end are a waste of nothing, and would cost memory here.
      const uint64_t most = file_clusters_ * 2 + entries;
      used = i * entries >= most ? 0 : std::min(used, most - i * entries);
      if (used != 0) {
        counts_.stored.resize(std::max<uint64_t>(counts_.stored.size(), i * entries + used));
      }
      for (uint64_t j = 0; j < used; ++j) {
        counts_.stored[i * entries + j] = load_refcount(block.get(), j, geometry_.refcount_order);
      }
      if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
    }
    co_return Result<>{};
  }

  // An L1 table and all below it.
  Task<Result<>> count_l1(uint64_t offset, uint64_t entries, std::string_view what) {
    if (entries == 0) co_return Result<>{};
    count(offset, entries * 8, kMetadata, what);
    const std::vector<uint64_t> l1 = CO_TRY(co_await read_table(offset, entries));
    for (const uint64_t entry : l1) {
      const uint64_t table = entry & format::kOffsetMask;
      if (table == 0) continue;
      if (!base::is_aligned(table, geometry_.cluster_bytes())) {
        corruption(fmt::format("L2 table at {:#x} is not aligned to a cluster", table));
        continue;
      }
      count(table, geometry_.cluster_bytes(), kMetadata, "L2 table");
      CO_TRY(co_await count_l2(table));
      if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
    }
    co_return Result<>{};
  }

  Task<Result<>> count_l2(uint64_t table) {
    Buffer bytes = make_buffer(geometry_.cluster_bytes());
    CO_TRY(co_await file_.read(table, bytes.get(), geometry_.cluster_bytes()));
    const uint32_t entries =
        static_cast<uint32_t>(geometry_.cluster_bytes() / geometry_.l2_entry_bytes());
    for (uint32_t i = 0; i < entries; ++i) {
      const L2Entry entry = load_entry(geometry_, bytes.get(), i);
      count_entry(entry, table, i);
    }
    co_return Result<>{};
  }

  void count_entry(const L2Entry& entry, uint64_t table, uint32_t index) {
    if (entry.is_compressed()) {
      if (entry.is_copied()) {
        corruption(fmt::format("compressed entry {} of the L2 table at {:#x} has the COPIED flag",
                               index, table));
      }
      const CompressedRange range = compressed_range(geometry_, entry.descriptor);
      count(range.offset, std::max<uint64_t>(1, range.length), kData, "compressed cluster");
      return;
    }
    const uint64_t host = entry.host();
    const auto allocated = static_cast<uint32_t>(entry.bitmap);
    const auto zero = static_cast<uint32_t>(entry.bitmap >> 32);
    if (!base::is_aligned(host, geometry_.cluster_bytes()) || (host == 0 && entry.is_copied()) ||
        (allocated & zero) != 0 || (host == 0 && allocated != 0)) {
      corruption(fmt::format("entry {} of the L2 table at {:#x} is invalid ({:#x} {:#x})", index,
                             table, entry.descriptor, entry.bitmap));
      return;
    }
    if (host != 0) count(host, geometry_.cluster_bytes(), kData, "data cluster");
  }

  Task<Result<>> count_snapshots() {
    if (header_.snapshot_count == 0) co_return Result<>{};
    const SnapshotTable table = CO_TRY(co_await read_snapshot_table(file_, header_));
    count(header_.snapshots_offset, table.bytes, kMetadata, "snapshot table");
    shared_tables_ = true;  // snapshots refer to the same L2 tables
    for (const SnapshotEntry& entry : table.entries) {
      CO_TRY(co_await count_l1(entry.l1_offset, entry.l1_entries, "snapshot L1 table"));
    }
    shared_tables_ = false;
    co_return Result<>{};
  }

  // Bitmaps are only counted: their contents are nobody's business here.
  Task<Result<>> count_bitmaps() {
    if ((header_.autoclear & format::autoclear::kBitmaps) == 0) co_return Result<>{};
    for (const Header::Extension& extension : header_.extensions) {
      if (extension.type != format::extension::kBitmaps) continue;
      if (extension.data.size() < sizeof(format::DiskBitmapsExtension)) {
        corruption("the bitmaps extension is too short");
        continue;
      }
      format::DiskBitmapsExtension disk;
      std::memcpy(&disk, extension.data.data(), sizeof disk);
      CO_TRY(co_await count_bitmap_directory(disk));
    }
    co_return Result<>{};
  }

  Task<Result<>> count_bitmap_directory(const format::DiskBitmapsExtension& disk) {
    constexpr uint64_t kMaxDirectoryBytes = 65535 * 1536;
    const uint64_t bytes = disk.directory_bytes;
    if (bytes == 0 || bytes > kMaxDirectoryBytes) {
      corruption("the bitmap directory's size is invalid");
      co_return Result<>{};
    }
    count(disk.directory_offset, bytes, kMetadata, "bitmap directory");
    std::vector<std::byte> directory(bytes);
    CO_TRY(co_await file_.read(disk.directory_offset, directory.data(), bytes));
    for (uint64_t at = 0; at + kSavedBitmapEntryBytes <= bytes;) {
      const auto* entry = directory.data() + at;
      const uint64_t table_offset = base::load_be<uint64_t>(entry);
      const uint64_t table_entries = base::load_be<uint32_t>(entry + 8);
      const uint64_t name_bytes = base::load_be<uint16_t>(entry + 18);
      const uint64_t extra_bytes = base::load_be<uint32_t>(entry + 20);
      at += base::round_up(kSavedBitmapEntryBytes + name_bytes + extra_bytes, 8);
      if (table_entries == 0) continue;
      if (table_entries > kMaxBitmapTableEntries) {
        corruption(fmt::format("a bitmap table of {} entries is too large", table_entries));
        continue;
      }
      count(table_offset, table_entries * 8, kMetadata, "bitmap table");
      const std::vector<uint64_t> table = CO_TRY(co_await read_table(table_offset, table_entries));
      for (const uint64_t cluster : table) {
        const uint64_t offset = cluster & format::kOffsetMask;
        if (offset != 0) count(offset, geometry_.cluster_bytes(), kMetadata, "bitmap data");
      }
    }
    co_return Result<>{};
  }

  void compare() {
    while (!counts_.found.empty() && counts_.found.back() == 0) counts_.found.pop_back();
    report_.image_end_bytes = counts_.found.size() << geometry_.cluster_bits;
    const uint64_t size = std::max(counts_.found.size(), counts_.stored.size());
    counts_.found.resize(size);
    counts_.stored.resize(size);
    for (uint64_t i = 0; i < size; ++i) {
      const uint64_t found = counts_.found[i];
      const uint64_t stored = counts_.stored[i];
      if (found != 0) ++report_.clusters_in_use;
      if (found == stored) continue;
      const uint64_t offset = i << geometry_.cluster_bits;
      if (found > stored) {
        corruption(fmt::format("the cluster at {:#x} is used {} times and counted {} times", offset,
                               found, stored),
                   false);
        continue;
      }
      ++report_.leaks;
      if (report_.findings.size() < kMaxFindings) {
        report_.findings.push_back(
            fmt::format("leaked: the cluster at {:#x} is used {} times and counted {} times",
                        offset, found, stored));
      }
    }
  }

  void check_flag(uint64_t offset, bool copied, std::string_view what) {
    const uint64_t cluster = offset >> geometry_.cluster_bits;
    if (cluster >= counts_.stored.size()) return;
    if (copied != (counts_.stored[cluster] == 1)) {
      corruption(fmt::format("{} at {:#x}: COPIED is {}, but the refcount is {}", what, offset,
                             copied, counts_.stored[cluster]),
                 false);
    }
  }

  // The active tables' flags, against the refcounts as they are stored.
  Task<Result<>> check_copied_flags() {
    const std::vector<uint64_t> l1 =
        CO_TRY(co_await read_table(header_.l1_offset, header_.l1_entries));
    Buffer bytes = make_buffer(geometry_.cluster_bytes());
    for (const uint64_t l1_entry : l1) {
      const uint64_t table = l1_entry & format::kOffsetMask;
      if (table == 0 || !base::is_aligned(table, geometry_.cluster_bytes())) continue;
      check_flag(table, (l1_entry & format::kCopied) != 0, "L2 table");
      CO_TRY(co_await file_.read(table, bytes.get(), geometry_.cluster_bytes()));
      const uint32_t entries =
          static_cast<uint32_t>(geometry_.cluster_bytes() / geometry_.l2_entry_bytes());
      for (uint32_t i = 0; i < entries; ++i) {
        const L2Entry entry = load_entry(geometry_, bytes.get(), i);
        if (entry.is_compressed() || entry.host() == 0) continue;
        check_flag(entry.host(), entry.is_copied(), "data cluster");
      }
      if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
    }
    co_return Result<>{};
  }

  ImageFile& file_;
  const Header header_;
  const Geometry geometry_;
  const uint64_t file_clusters_;
  ReferenceCounts counts_;
  std::vector<Use> uses_;
  bool shared_tables_ = false;
  CheckReport report_;
};

}  // namespace

async::Task<base::Result<CheckReport>> check(block::Edge& edge, ReferenceCounts* counts) {
  ImageFile file(edge);
  std::vector<std::byte> bytes(512);
  CO_TRY_CONTEXT(co_await file.read(0, bytes.data(), bytes.size()), "Could not read qcow2 header");
  bytes.resize(CO_TRY(header_cluster_bytes(bytes)));
  CO_TRY_CONTEXT(co_await file.read(0, bytes.data(), bytes.size()), "Could not read qcow2 header");
  Checker checker(file, CO_TRY(parse_header(bytes)));
  CO_TRY(co_await checker.run());
  if (counts != nullptr) *counts = checker.take_counts();
  co_return checker.take_report();
}

}  // namespace firn::qcow2
