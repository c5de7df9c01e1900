// The table of internal snapshots: read with all checks, and written whole.
//
// Source: QEMU, docs/interop/qcow2.txt, "Snapshots".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "drivers/qcow2/header.h"
#include "drivers/qcow2/image_file.h"

namespace firn::qcow2 {

struct SnapshotEntry {
  std::string id;
  std::string name;
  uint64_t l1_offset = 0;
  uint32_t l1_entries = 0;
  int64_t date_s = 0;
  int64_t date_ns = 0;
  int64_t vm_clock_ns = 0;
  uint64_t vm_state_bytes = 0;
  uint64_t virtual_size_bytes = 0;
  std::optional<uint64_t> icount;
  // Extra data beyond what is known; kept when the table is written.
  std::vector<std::byte> unknown_extra;
};

struct SnapshotTable {
  std::vector<SnapshotEntry> entries;
  uint64_t bytes = 0;  // what the table takes in the file
};

// kCorrupt for entries that contradict the format.
Task<Result<SnapshotTable>> read_snapshot_table(ImageFile& file, const Header& header);

// As on disk. kOutOfRange: it would be larger than readers take.
Result<std::vector<std::byte>> serialize_snapshot_table(const std::vector<SnapshotEntry>& entries);

}  // namespace firn::qcow2
