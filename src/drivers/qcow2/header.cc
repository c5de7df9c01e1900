#include "drivers/qcow2/header.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

namespace firn::qcow2 {
namespace {

using base::ErrorKind;
using base::fail;
using format::DiskExtension;
using format::DiskFeatureName;
using format::DiskHeader;

constexpr uint64_t kKnownIncompatible =
    format::incompatible::kDirty | format::incompatible::kCorrupt |
    format::incompatible::kCompression | format::incompatible::kExtendedL2;

struct KnownFeature {
  uint8_t type;
  uint8_t bit;
  std::string_view name;
};
constexpr KnownFeature kFeatures[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

auto corrupt(std::string text) { return fail(ErrorKind::kCorrupt, std::move(text)); }

// Offset and length of a table, as QEMU judges them.
Result<> check_table(const Header& header, uint64_t offset, uint64_t entries, uint64_t entry_bytes,
                     uint64_t max_bytes, std::string_view name) {
  if (entries > max_bytes / entry_bytes) return corrupt(fmt::format("{} too large", name));
  const uint64_t bytes = entries * entry_bytes;
  if (offset > uint64_t{INT64_MAX} - bytes || !base::is_aligned(offset, header.cluster_bytes())) {
    return corrupt(fmt::format("{} offset invalid", name));
  }
  return {};
}

// "dirty bit, feature 0x40": the features in `bits` by the names that the image gives them.
std::string feature_names(uint64_t bits, ConstByteSpan names) {
  std::string text;
  for (size_t at = 0; at + sizeof(DiskFeatureName) <= names.size(); at += sizeof(DiskFeatureName)) {
    DiskFeatureName entry;
    std::memcpy(&entry, names.data() + at, sizeof entry);
    if (entry.type != 0 || entry.bit > 63 || (bits >> entry.bit & 1) == 0) continue;
    bits &= ~(uint64_t{1} << entry.bit);
    if (!text.empty()) text += ", ";
    for (size_t i = 0; i < sizeof entry.name && entry.name[i] != 0; ++i) {
      const auto c = static_cast<unsigned char>(entry.name[i]);
      text += c < 0x20 || c >= 0x7f ? '?' : entry.name[i];
    }
  }
  if (bits != 0) {
    if (!text.empty()) text += ", ";
    text += fmt::format("Unknown incompatible feature: {:x}", bits);
  }
  return text;
}

// Version 3's own fields.
Result<> parse_v3(const DiskHeader& disk, ConstByteSpan bytes, Header& header) {
  header.incompatible = disk.incompatible_features;
  header.compatible = disk.compatible_features;
  header.autoclear = disk.autoclear_features;
  const uint32_t length = disk.header_length;
  if (length < format::kHeaderBytesV3) return corrupt("qcow2 header too short");
  if (length > header.cluster_bytes() || length > bytes.size()) {
    return corrupt("qcow2 header exceeds cluster size");
  }
  if (!base::is_aligned(length, 8)) return corrupt("qcow2 header length is not a multiple of 8");
  if (length > offsetof(DiskHeader, compression_type)) {
    header.compression_type = disk.compression_type;
  }
  if (length > format::kHeaderBytes) {
    header.unknown_fields.assign(bytes.begin() + format::kHeaderBytes, bytes.begin() + length);
  }
  if (disk.refcount_order > 6) {
    return corrupt("Reference count entry width too large; may not exceed 64 bits");
  }
  header.refcount_order = disk.refcount_order;
  return {};
}

// Walks the extensions in `area`. The feature names are given in `names`.
Result<> parse_extensions(ConstByteSpan area, Header& header, std::vector<std::byte>& names) {
  size_t at = 0;
  while (at + sizeof(DiskExtension) <= area.size()) {
    DiskExtension extension;
    std::memcpy(&extension, area.data() + at, sizeof extension);
    at += sizeof extension;
    const uint32_t type = extension.type;
    const uint32_t length = extension.length;
    if (type == format::extension::kEnd) return {};
    if (length > area.size() - at) return corrupt("Header extension too large");
    const ConstByteSpan data = area.subspan(at, length);
    switch (type) {
      case format::extension::kBackingFormat:
        if (length > format::kMaxBackingNameBytes) {
          return corrupt(
              fmt::format("ERROR: ext_backing_format: len={} too large (>=1024)", length));
        }
        header.backing_format.assign(reinterpret_cast<const char*>(data.data()), length);
        break;
      case format::extension::kFeatureNames:
        names.assign(data.begin(), data.end());
        break;
      default:
        header.extensions.push_back({type, {data.begin(), data.end()}});
    }
    at += std::min<uint64_t>(base::round_up(length, 8), area.size() - at);
  }
  return {};
}

// What the image asks for and is not to be had.
Result<> check_features(const Header& header, const DiskHeader& disk,
                        const std::vector<std::byte>& names) {
  if (disk.crypt_method != format::kCryptNone) {
    const uint32_t method = disk.crypt_method;
    if (method > 2) {
      return corrupt(fmt::format("Unsupported encryption method {}", method));
    }
    return fail(base::Error(ErrorKind::kUnsupported,
                            fmt::format("Image is encrypted ({}); encryption is not supported",
                                        method == 1 ? "AES" : "LUKS"))
                    .with_hint("decrypt a copy of it with qemu-img convert"));
  }
  const uint64_t unknown = header.incompatible & ~kKnownIncompatible;
  if (unknown == format::incompatible::kDataFile) {
    return fail(
        base::Error(ErrorKind::kUnsupported, "Unsupported qcow2 feature(s): external data file")
            .with_hint("bring the data into one file with qemu-img convert"));
  }
  if (unknown != 0) {
    return fail(ErrorKind::kUnsupported,
                fmt::format("Unsupported qcow2 feature(s): {}", feature_names(unknown, names)));
  }
  const bool compression_bit = (header.incompatible & format::incompatible::kCompression) != 0;
  if (compression_bit && header.compression_type == format::kCompressionZlib) {
    return corrupt("Compression type incompatible feature bit must not be set");
  }
  if (!compression_bit && header.compression_type != format::kCompressionZlib) {
    return corrupt("Compression type incompatible feature bit must be set");
  }
  if (header.compression_type > format::kCompressionZstd) {
    return fail(ErrorKind::kUnsupported,
                fmt::format("qcow2: unknown compression type: {}", header.compression_type));
  }
  if ((header.incompatible & format::incompatible::kExtendedL2) != 0 &&
      header.cluster_bits < format::kMinClusterBitsExtendedL2) {
    return corrupt(fmt::format(
        "Extended L2 entries are only supported with cluster sizes of at least {} bytes",
        1u << format::kMinClusterBitsExtendedL2));
  }
  return {};
}

Result<> check_tables(const Header& header) {
  TRY(check_table(header, header.refcount_table_offset, header.refcount_table_clusters,
                  header.cluster_bytes(), format::kMaxRefcountTableBytes, "Reference count table"));
  if (header.refcount_table_clusters == 0 || header.refcount_table_offset == 0) {
    return corrupt("Image does not contain a reference count table");
  }
  if (header.snapshot_count > format::kMaxSnapshots) return corrupt("Snapshot table too large");
  TRY(check_table(
      header, header.snapshots_offset, header.snapshot_count, sizeof(format::DiskSnapshot),
      sizeof(format::DiskSnapshot) * uint64_t{format::kMaxSnapshots}, "Snapshot table"));
  TRY(check_table(header, header.l1_offset, header.l1_entries, 8, format::kMaxL1Bytes,
                  "Active L1 table"));
  if (header.size_bytes > uint64_t{INT64_MAX}) return corrupt("Image is too big");
  const uint64_t needed = header.geometry().l1_entries(header.size_bytes);
  if (needed > format::kMaxL1Bytes / 8) return corrupt("Image is too big");
  if (header.l1_entries < needed) return corrupt("L1 table is too small");
  return {};
}

void append(std::vector<std::byte>& out, const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + size);
}

void append_extension(std::vector<std::byte>& out, uint32_t type, const void* data, size_t size) {
  DiskExtension extension;
  extension.type = type;
  extension.length = static_cast<uint32_t>(size);
  append(out, &extension, sizeof extension);
  append(out, data, size);
  out.resize(base::round_up(out.size(), 8));
}

DiskHeader disk_header(const Header& header) {
  DiskHeader disk = {};
  disk.magic = format::kMagic;
  disk.version = header.version;
  disk.cluster_bits = header.cluster_bits;
  disk.size = header.size_bytes;
  disk.crypt_method = format::kCryptNone;
  disk.l1_size = header.l1_entries;
  disk.l1_table_offset = header.l1_offset;
  disk.refcount_table_offset = header.refcount_table_offset;
  disk.refcount_table_clusters = header.refcount_table_clusters;
  disk.nb_snapshots = header.snapshot_count;
  disk.snapshots_offset = header.snapshots_offset;
  disk.incompatible_features = header.incompatible;
  disk.compatible_features = header.compatible;
  disk.autoclear_features = header.autoclear;
  disk.refcount_order = header.refcount_order;
  disk.header_length = static_cast<uint32_t>(format::kHeaderBytes + header.unknown_fields.size());
  disk.compression_type = header.compression_type;
  return disk;
}

}  // namespace

Result<uint64_t> header_cluster_bytes(ConstByteSpan first_bytes) {
  DiskHeader disk = {};
  if (first_bytes.size() < format::kHeaderBytesV2) {
    return fail(ErrorKind::kInvalidArgument, "Image is not in qcow2 format");
  }
  std::memcpy(&disk, first_bytes.data(), format::kHeaderBytesV2);
  if (disk.magic != format::kMagic) {
    return fail(ErrorKind::kInvalidArgument, "Image is not in qcow2 format");
  }
  if (disk.version < 2 || disk.version > 3) {
    return fail(ErrorKind::kUnsupported,
                fmt::format("Unsupported qcow2 version {}", static_cast<uint32_t>(disk.version)));
  }
  const uint32_t bits = disk.cluster_bits;
  if (bits < format::kMinClusterBits || bits > format::kMaxClusterBits) {
    return fail(ErrorKind::kUnsupported, fmt::format("Unsupported cluster size: 2^{}", bits));
  }
  return uint64_t{1} << bits;
}

Result<Header> parse_header(ConstByteSpan bytes) {
  Header header;
  const uint64_t cluster_bytes = TRY(header_cluster_bytes(bytes));
  DiskHeader disk = {};
  std::memcpy(&disk, bytes.data(), std::min(bytes.size(), sizeof disk));
  header.version = disk.version;
  header.cluster_bits = disk.cluster_bits;
  header.size_bytes = disk.size;
  header.l1_entries = disk.l1_size;
  header.l1_offset = disk.l1_table_offset;
  header.refcount_table_offset = disk.refcount_table_offset;
  header.refcount_table_clusters = disk.refcount_table_clusters;
  header.snapshot_count = disk.nb_snapshots;
  header.snapshots_offset = disk.snapshots_offset;
  uint32_t length = format::kHeaderBytesV2;
  if (header.version >= 3) {
    if (bytes.size() < format::kHeaderBytesV3) return corrupt("qcow2 header too short");
    TRY(parse_v3(disk, bytes, header));
    length = disk.header_length;
  }

  const uint64_t backing_offset = disk.backing_file_offset;
  const uint32_t backing_bytes = disk.backing_file_size;
  if (backing_offset > cluster_bytes) return corrupt("Invalid backing file offset");
  const uint64_t extensions_end = backing_offset != 0 ? backing_offset : cluster_bytes;
  std::vector<std::byte> names;
  if (length < extensions_end && length < bytes.size()) {
    const uint64_t end = std::min<uint64_t>(extensions_end, bytes.size());
    TRY(parse_extensions(bytes.subspan(length, end - length), header, names));
  }
  TRY(check_features(header, disk, names));
  TRY(check_tables(header));
  if (backing_offset != 0) {
    const uint64_t room = std::min<uint64_t>(cluster_bytes, bytes.size());
    if (backing_bytes > format::kMaxBackingNameBytes || backing_offset + backing_bytes > room) {
      return corrupt("Backing file name too long");
    }
    header.backing_file.assign(reinterpret_cast<const char*>(bytes.data()) + backing_offset,
                               backing_bytes);
    header.backing_file_offset = backing_offset;
    if (header.backing_file.find('\0') != std::string::npos) {
      return corrupt("Backing file name contains a zero byte");
    }
  }
  return header;
}

namespace {

// The header and its extensions, without the backing file's name.
std::vector<std::byte> serialize_extensions(const Header& header, DiskHeader& disk) {
  std::vector<std::byte> out;
  out.reserve(header.cluster_bytes());
  if (header.version < 3) {
    append(out, &disk, format::kHeaderBytesV2);
  } else {
    append(out, &disk, sizeof disk);
    append(out, header.unknown_fields.data(), header.unknown_fields.size());
  }
  if (!header.backing_format.empty()) {
    append_extension(out, format::extension::kBackingFormat, header.backing_format.data(),
                     header.backing_format.size());
  }
  if (header.version >= 3 && header.has_feature_names) {
    DiskFeatureName table[std::size(kFeatures)] = {};
    for (size_t i = 0; i < std::size(kFeatures); ++i) {
      table[i].type = kFeatures[i].type;
      table[i].bit = kFeatures[i].bit;
      std::memcpy(table[i].name, kFeatures[i].name.data(), kFeatures[i].name.size());
    }
    // A cluster of 512 bytes may have room for the backing file's name or for this, not both.
    const size_t needed =
        out.size() + sizeof table + 2 * sizeof(DiskExtension) + header.backing_file.size();
    if (needed <= header.cluster_bytes()) {
      append_extension(out, format::extension::kFeatureNames, table, sizeof table);
    }
  }
  for (const Header::Extension& extension : header.extensions) {
    append_extension(out, extension.type, extension.data.data(), extension.data.size());
  }
  append_extension(out, format::extension::kEnd, nullptr, 0);
  return out;
}

}  // namespace

uint64_t extensions_end(const Header& header) {
  DiskHeader disk = disk_header(header);
  return serialize_extensions(header, disk).size();
}

Result<std::vector<std::byte>> serialize_header(const Header& header) {
  DiskHeader disk = disk_header(header);
  std::vector<std::byte> out = serialize_extensions(header, disk);
  if (!header.backing_file.empty()) {
    const uint64_t wanted = header.backing_file_offset;
    const bool has_room =
        wanted >= out.size() && wanted + header.backing_file.size() <= header.cluster_bytes();
    if (has_room) out.resize(wanted);
    disk.backing_file_offset = out.size();
    disk.backing_file_size = static_cast<uint32_t>(header.backing_file.size());
    append(out, header.backing_file.data(), header.backing_file.size());
    const size_t head = header.version < 3 ? size_t{format::kHeaderBytesV2} : sizeof disk;
    std::memcpy(out.data(), &disk, head);
  }
  if (out.size() > header.cluster_bytes() ||
      header.backing_file.size() > format::kMaxBackingNameBytes) {
    return fail(base::Error(ErrorKind::kNoSpace,
                            "Could not write qcow2 header: it does not fit "
                            "into the first cluster")
                    .with_hint("use a shorter backing file name or a larger cluster size"));
  }
  out.resize(header.cluster_bytes());
  return out;
}

}  // namespace firn::qcow2
