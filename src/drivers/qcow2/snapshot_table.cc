#include "drivers/qcow2/snapshot_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace firn::qcow2 {

using base::ErrorKind;
using base::fail;
using format::DiskSnapshot;
using format::DiskSnapshotExtra;

namespace {

auto invalid(size_t index, std::string_view what) {
  return fail(ErrorKind::kCorrupt, fmt::format("Snapshot table entry {}: {}", index, what));
}

// The extra data of an entry, as far as it is known.
void take_extra(const std::vector<std::byte>& extra, SnapshotEntry& entry) {
  DiskSnapshotExtra disk = {};
  std::memcpy(&disk, extra.data(), std::min(extra.size(), sizeof disk));
  if (extra.size() >= offsetof(DiskSnapshotExtra, virtual_size)) {
    entry.vm_state_bytes = disk.vm_state_bytes;
  }
  if (extra.size() >= offsetof(DiskSnapshotExtra, icount)) {
    entry.virtual_size_bytes = disk.virtual_size;
  }
  if (extra.size() >= sizeof disk && disk.icount != ~uint64_t{0}) entry.icount = disk.icount;
  if (extra.size() > sizeof disk) {
    entry.unknown_extra.assign(extra.begin() + sizeof disk, extra.end());
  }
}

void append_entry(const SnapshotEntry& entry, std::vector<std::byte>& table) {
  DiskSnapshot disk = {};
  disk.l1_table_offset = entry.l1_offset;
  disk.l1_size = entry.l1_entries;
  disk.id_length = static_cast<uint16_t>(entry.id.size());
  disk.name_length = static_cast<uint16_t>(entry.name.size());
  disk.date_s = static_cast<uint32_t>(entry.date_s);
  disk.date_ns = static_cast<uint32_t>(entry.date_ns);
  disk.vm_clock_ns = static_cast<uint64_t>(entry.vm_clock_ns);
  // Readers of the short field alone see what fits.
  disk.vm_state_bytes = static_cast<uint32_t>(
      std::min<uint64_t>(entry.vm_state_bytes, std::numeric_limits<uint32_t>::max()));
  disk.extra_length = static_cast<uint32_t>(sizeof(DiskSnapshotExtra) + entry.unknown_extra.size());
  DiskSnapshotExtra extra = {};
  extra.vm_state_bytes = entry.vm_state_bytes;
  extra.virtual_size = entry.virtual_size_bytes;
  extra.icount = entry.icount.value_or(~uint64_t{0});

  table.resize(base::round_up(table.size(), 8));
  const auto append = [&](const void* data, size_t bytes) {
    const auto* from = static_cast<const std::byte*>(data);
    table.insert(table.end(), from, from + bytes);
  };
  append(&disk, sizeof disk);
  append(&extra, sizeof extra);
  append(entry.unknown_extra.data(), entry.unknown_extra.size());
  append(entry.id.data(), entry.id.size());
  append(entry.name.data(), entry.name.size());
}

}  // namespace

Task<Result<SnapshotTable>> read_snapshot_table(ImageFile& file, const Header& header) {
  SnapshotTable table;
  uint64_t at = header.snapshots_offset;
  for (uint32_t i = 0; i < header.snapshot_count; ++i) {
    at = base::round_up(at, 8);
    if (at + sizeof(DiskSnapshot) > file.size_bytes())
      co_return invalid(i, "beyond the file's end");
    DiskSnapshot disk = {};
    CO_TRY(co_await file.read(at, reinterpret_cast<std::byte*>(&disk), sizeof disk));
    const uint32_t extra_bytes = disk.extra_length;
    if (extra_bytes > format::kMaxSnapshotExtraBytes) co_return invalid(i, "extra data too large");
    const size_t id_bytes = disk.id_length;
    const size_t name_bytes = disk.name_length;
    std::vector<std::byte> rest(extra_bytes + id_bytes + name_bytes);
    CO_TRY(co_await file.read(at + sizeof disk, rest.data(), rest.size()));

    SnapshotEntry entry{
        .l1_offset = disk.l1_table_offset,
        .l1_entries = disk.l1_size,
        .date_s = static_cast<uint32_t>(disk.date_s),
        .date_ns = static_cast<uint32_t>(disk.date_ns),
        .vm_clock_ns = static_cast<int64_t>(static_cast<uint64_t>(disk.vm_clock_ns)),
        .vm_state_bytes = static_cast<uint32_t>(disk.vm_state_bytes),
        .virtual_size_bytes = header.size_bytes};
    take_extra({rest.begin(), rest.begin() + extra_bytes}, entry);
    const auto* text = reinterpret_cast<const char*>(rest.data()) + extra_bytes;
    entry.id.assign(text, id_bytes);
    entry.name.assign(text + id_bytes, name_bytes);
    if (uint64_t{entry.l1_entries} * 8 > format::kMaxL1Bytes) {
      co_return invalid(i, "Snapshot L1 table too large");
    }
    if (!base::is_aligned(entry.l1_offset, header.cluster_bytes()) ||
        entry.l1_offset >= format::kMaxHostOffset) {
      co_return invalid(i, "Snapshot L1 table offset invalid");
    }
    at += sizeof disk + rest.size();
    if (at - header.snapshots_offset > format::kMaxSnapshotTableBytes) {
      co_return invalid(i, "Snapshot table too large");
    }
    table.entries.push_back(std::move(entry));
  }
  table.bytes = at - header.snapshots_offset;
  co_return table;
}

Result<std::vector<std::byte>> serialize_snapshot_table(const std::vector<SnapshotEntry>& entries) {
  std::vector<std::byte> table;
  for (const SnapshotEntry& entry : entries) append_entry(entry, table);
  if (entries.size() > format::kMaxSnapshots || table.size() > format::kMaxSnapshotTableBytes) {
    return fail(base::Error(ErrorKind::kOutOfRange, "the image has too many internal snapshots")
                    .with_hint("delete some of them"));
  }
  return table;
}

}  // namespace firn::qcow2
