// Header: a qcow2 image's header and header extensions, read with all checks and written back
// whole.
//
// Source: QEMU, docs/interop/qcow2.txt, "Header" and "Header extensions".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "drivers/qcow2/geometry.h"

namespace firn::qcow2 {

using base::ConstByteSpan;
using base::Result;

struct Header {
  struct Extension {
    uint32_t type = 0;
    std::vector<std::byte> data;
  };

  uint32_t version = 3;
  unsigned cluster_bits = 16;
  uint64_t size_bytes = 0;
  std::string backing_file;    // empty: none
  std::string backing_format;  // empty: not stored
  // Where the name is in the file, if there is room behind the extensions; 0: right behind them.
  uint64_t backing_file_offset = 0;
  bool has_feature_names = true;  // of those that the image may use; for people
  uint32_t l1_entries = 0;
  uint64_t l1_offset = 0;
  uint64_t refcount_table_offset = 0;
  uint32_t refcount_table_clusters = 0;
  uint32_t snapshot_count = 0;
  uint64_t snapshots_offset = 0;
  uint64_t incompatible = 0;
  uint64_t compatible = 0;
  uint64_t autoclear = 0;
  unsigned refcount_order = 4;
  uint8_t compression_type = format::kCompressionZlib;
  // Fields beyond those that are known; kept when the header is written.
  std::vector<std::byte> unknown_fields;
  // Those that are kept as they are: neither the backing format nor the feature names.
  std::vector<Extension> extensions;

  Geometry geometry() const {
    return {.cluster_bits = cluster_bits,
            .refcount_order = refcount_order,
            .extended_l2 = (incompatible & format::incompatible::kExtendedL2) != 0,
            .has_zero_clusters = version >= 3};
  }
  uint64_t cluster_bytes() const { return uint64_t{1} << cluster_bits; }
  bool is_dirty() const { return (incompatible & format::incompatible::kDirty) != 0; }
  bool is_corrupt() const { return (incompatible & format::incompatible::kCorrupt) != 0; }
};

// How many bytes of the file parse_header needs, from the first `format::kHeaderBytesV2` of them.
// Errors: "Image is not in qcow2 format", "Unsupported qcow2 version 4", "Unsupported cluster size:
// 2^40".
Result<uint64_t> header_cluster_bytes(ConstByteSpan first_bytes);

// The header in an image's first cluster, of which a short file may lack the end. What an image
// needs and is not supported is refused by name (kUnsupported); what contradicts the format is
// kCorrupt. Whether the tables lie within the file is not looked at.
Result<Header> parse_header(ConstByteSpan first_cluster);

// Where the extensions end in what serialize_header gives.
uint64_t extensions_end(const Header& header);

// The first cluster, whole. kNoSpace if the header does not fit: the backing file's name is too
// long for the cluster size.
Result<std::vector<std::byte>> serialize_header(const Header& header);

}  // namespace firn::qcow2
