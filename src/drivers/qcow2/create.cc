#include "drivers/qcow2/create.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <span>

#include "base/units.h"
#include "drivers/qcow2/image_file.h"
#include "drivers/qcow2/mapping.h"
#include "drivers/qcow2/refcounts.h"

namespace firn::qcow2 {

using base::ErrorKind;
using base::fail;

namespace {

auto invalid(std::string text) { return fail(ErrorKind::kInvalidArgument, std::move(text)); }

Result<bool> parse_switch(std::string_view name, std::string_view value) {
  if (value == "on" || value == "yes" || value == "true" || value == "y") return true;
  if (value == "off" || value == "no" || value == "false" || value == "n") return false;
  return invalid(fmt::format("Parameter '{}' expects 'on' or 'off'", name));
}

Result<uint64_t> parse_bytes(std::string_view name, std::string_view value) {
  Result<uint64_t> size = base::parse_size(value);
  if (size) return *size;
  return fail(
      base::Error(ErrorKind::kInvalidArgument,
                  fmt::format("Parameter '{}' expects a non-negative number below 2^64", name))
          .with_hint("Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, "
                     "tera-, peta- and exabytes, respectively."));
}

struct NamedValue {
  std::string_view name;
  unsigned value;
};
Result<unsigned> parse_name(std::string_view parameter, std::string_view value,
                            std::span<const NamedValue> names) {
  for (const NamedValue& known : names) {
    if (known.name == value) return known.value;
  }
  return invalid(fmt::format("Parameter '{}' does not accept value '{}'", parameter, value));
}

constexpr NamedValue kVersions[] = {{"0.10", 2}, {"v2", 2}, {"1.1", 3}, {"v3", 3}};
constexpr NamedValue kCompressions[] = {{"zlib", format::kCompressionZlib},
                                        {"zstd", format::kCompressionZstd}};
constexpr NamedValue kPreallocations[] = {{"off", unsigned(Preallocation::kOff)},
                                          {"metadata", unsigned(Preallocation::kMetadata)},
                                          {"falloc", unsigned(Preallocation::kFalloc)},
                                          {"full", unsigned(Preallocation::kFull)}};

Result<> check_cluster_size(uint64_t bytes) {
  if (std::has_single_bit(bytes) && bytes >= 1u << format::kMinClusterBits &&
      bytes <= 1u << format::kMaxClusterBits) {
    return {};
  }
  return invalid(fmt::format("Cluster size must be a power of two between {} and {}k",
                             1u << format::kMinClusterBits, 1u << (format::kMaxClusterBits - 10)));
}

// What only version 3 has, and what does not go together.
Result<> check_combination(const CreateOptions& options) {
  constexpr std::string_view kNeedsV3 =
      "compatibility level 1.1 and above (use version=v3 or greater)";
  if (options.version < 3 && options.extended_l2) {
    return invalid(fmt::format("Extended L2 entries are only supported with {}", kNeedsV3));
  }
  if (options.extended_l2 && options.cluster_bytes < 1u << format::kMinClusterBitsExtendedL2) {
    return invalid(fmt::format(
        "Extended L2 entries are only supported with cluster sizes of at least {} bytes",
        1u << format::kMinClusterBitsExtendedL2));
  }
  if (options.preallocation != Preallocation::kOff && !options.backing_file.empty() &&
      !options.extended_l2) {
    return invalid(
        "Backing file and preallocation can only be used at the same time if extended_l2 is on");
  }
  if (options.backing_file.empty() && !options.backing_format.empty()) {
    return invalid("Backing format cannot be used without backing file");
  }
  if (options.version < 3 && options.lazy_refcounts) {
    return invalid(fmt::format("Lazy refcounts only supported with {}", kNeedsV3));
  }
  if (options.version < 3 && options.refcount_order != 4) {
    return invalid(
        "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
        "version=v3 or greater)");
  }
  if (options.version < 3 && options.compression_type != format::kCompressionZlib) {
    return invalid(fmt::format("Non-zlib compression type is only supported with {}", kNeedsV3));
  }
  return {};
}

Result<> parse_option(const std::string& name, const std::string& value, CreateOptions& options) {
  if (name == "compat" || name == "version") {
    options.version = TRY(parse_name("version", value, kVersions));
  } else if (name == "cluster_size") {
    options.cluster_bytes = TRY(parse_bytes(name, value));
    TRY(check_cluster_size(options.cluster_bytes));
  } else if (name == "extended_l2") {
    options.extended_l2 = TRY(parse_switch(name, value));
  } else if (name == "lazy_refcounts") {
    options.lazy_refcounts = TRY(parse_switch(name, value));
  } else if (name == "refcount_bits") {
    const uint64_t bits = TRY(parse_bytes(name, value));
    if (!std::has_single_bit(bits) || bits > 64) {
      return invalid("Refcount width must be a power of two and may not exceed 64 bits");
    }
    options.refcount_order = static_cast<unsigned>(std::countr_zero(bits));
  } else if (name == "preallocation") {
    options.preallocation =
        static_cast<Preallocation>(TRY(parse_name(name, value, kPreallocations)));
  } else if (name == "compression_type") {
    options.compression_type =
        static_cast<uint8_t>(TRY(parse_name("compression-type", value, kCompressions)));
  } else if (name == "backing_file") {
    options.backing_file = value;
  } else if (name == "backing_fmt") {
    options.backing_format = value;
  } else if (name == "encryption" || name.starts_with("encrypt.")) {
    return fail(ErrorKind::kUnsupported, fmt::format("{}: encryption is not supported", name));
  } else if (name == "data_file" || name == "data_file_raw") {
    return fail(ErrorKind::kUnsupported,
                fmt::format("{}: external data files are not supported", name));
  } else {
    return invalid(fmt::format("Invalid parameter '{}'", name));
  }
  return {};
}

// Where everything goes, in clusters: header, refcount table, refcount blocks, L1 table, and with
// preallocation L2 tables and data.
struct Layout {
  uint64_t table = 1;
  uint64_t table_count = 1;
  uint64_t blocks = 0;
  uint64_t block_count = 1;
  uint64_t l1 = 0;
  uint64_t l1_count = 0;
  uint64_t l2 = 0;
  uint64_t l2_count = 0;
  uint64_t data = 0;
  uint64_t data_count = 0;
  uint64_t end = 0;
};

Layout lay_out(const Geometry& geometry, uint64_t size_bytes, bool preallocate) {
  Layout layout;
  const uint64_t cluster = geometry.cluster_bytes();
  const uint64_t l1_entries = geometry.l1_entries(size_bytes);
  layout.l1_count = base::div_ceil(l1_entries * 8, cluster);
  if (preallocate) {
    layout.l2_count = l1_entries;
    layout.data_count = base::div_ceil(size_bytes, cluster);
  }
  while (true) {
    layout.blocks = layout.table + layout.table_count;
    layout.l1 = layout.blocks + layout.block_count;
    layout.l2 = layout.l1 + layout.l1_count;
    layout.data = layout.l2 + layout.l2_count;
    layout.end = layout.data + layout.data_count;
    const uint64_t blocks = base::div_ceil(layout.end, geometry.block_entries());
    const uint64_t tables = base::div_ceil(blocks * 8, cluster);
    if (blocks <= layout.block_count && tables <= layout.table_count) return layout;
    layout.block_count = std::max(layout.block_count, blocks);
    layout.table_count = std::max(layout.table_count, tables);
  }
}

class Creator {
 public:
  Creator(block::Edge& edge, const Geometry& geometry, const Layout& layout)
      : file_(edge), geometry_(geometry), layout_(layout) {}

  Task<Result<>> write_tables(Preallocation preallocation) {
    const bool was_empty = file_.size_bytes() <= layout_.data << geometry_.cluster_bits;
    // Header: zeroes until all else is durable.
    CO_TRY(co_await write_clusters(0, 1, [](std::byte*, uint64_t) {}));
    CO_TRY(co_await write_clusters(layout_.table, layout_.table_count,
                                   [this](std::byte* to, uint64_t i) { fill_table(to, i); }));
    CO_TRY(co_await write_clusters(layout_.blocks, layout_.block_count,
                                   [this](std::byte* to, uint64_t i) { fill_block(to, i); }));
    CO_TRY(co_await write_clusters(layout_.l1, layout_.l1_count,
                                   [this](std::byte* to, uint64_t i) { fill_l1(to, i); }));
    CO_TRY(co_await write_clusters(layout_.l2, layout_.l2_count,
                                   [this](std::byte* to, uint64_t i) { fill_l2(to, i); }));
    if (layout_.data_count != 0) CO_TRY(co_await prepare_data(preallocation, was_empty));
    co_return co_await file_.flush();
  }

 private:
  // `fill` gets zeroed memory of a cluster and its number within the part.
  template <typename Fill>
  Task<Result<>> write_clusters(uint64_t first, uint64_t count, Fill fill) {
    const uint64_t per_write = std::max<uint64_t>(1, (uint64_t{1} << 20) >> geometry_.cluster_bits);
    for (uint64_t i = 0; i < count;) {
      const uint64_t now = std::min(per_write, count - i);
      const Buffer buffer = make_zero_buffer(now << geometry_.cluster_bits);
      for (uint64_t j = 0; j < now; ++j) fill(buffer.get() + (j << geometry_.cluster_bits), i + j);
      CO_TRY(co_await file_.write((first + i) << geometry_.cluster_bits, buffer.get(),
                                  now << geometry_.cluster_bits));
      i += now;
      if (async::Loop::current().turn_is_over()) co_await async::Loop::current().yield();
    }
    co_return Result<>{};
  }

  void fill_table(std::byte* to, uint64_t index) const {
    const uint64_t per_cluster = geometry_.cluster_bytes() / 8;
    for (uint64_t i = 0; i < per_cluster; ++i) {
      const uint64_t block = index * per_cluster + i;
      if (block >= layout_.block_count) return;
      base::store_be(to + i * 8, (layout_.blocks + block) << geometry_.cluster_bits);
    }
  }
  void fill_block(std::byte* to, uint64_t index) const {
    const uint64_t first = index * geometry_.block_entries();
    for (uint64_t i = 0; i < geometry_.block_entries() && first + i < layout_.end; ++i) {
      store_refcount(to, i, geometry_.refcount_order, 1);
    }
  }
  void fill_l1(std::byte* to, uint64_t index) const {
    const uint64_t per_cluster = geometry_.cluster_bytes() / 8;
    for (uint64_t i = 0; i < per_cluster; ++i) {
      const uint64_t table = index * per_cluster + i;
      if (table >= layout_.l2_count) return;
      base::store_be(to + i * 8, (layout_.l2 + table) << geometry_.cluster_bits | format::kCopied);
    }
  }
  // With subclusters, a host cluster whose subclusters are not allocated yet.
  void fill_l2(std::byte* to, uint64_t index) const {
    const uint64_t per_cluster = geometry_.cluster_bytes() / geometry_.l2_entry_bytes();
    for (uint64_t i = 0; i < per_cluster; ++i) {
      const uint64_t cluster = index * per_cluster + i;
      if (cluster >= layout_.data_count) return;
      store_entry(
          geometry_, to, static_cast<uint32_t>(i),
          {.descriptor = (layout_.data + cluster) << geometry_.cluster_bits | format::kCopied});
    }
  }

  Task<Result<>> prepare_data(Preallocation preallocation, bool was_empty) {
    const uint64_t begin = layout_.data << geometry_.cluster_bits;
    const uint64_t length = layout_.data_count << geometry_.cluster_bits;
    if (preallocation == Preallocation::kFull) {
      co_return co_await write_clusters(layout_.data, layout_.data_count,
                                        [](std::byte*, uint64_t) {});
    }
    if (preallocation == Preallocation::kFalloc) {
      co_return co_await file_.edge().write_zeroes(begin, length);
    }
    if (!was_empty) {
      CO_TRY(co_await file_.edge().write_zeroes(begin, length, block::flag::kMayUnmap));
    }
    // The file reaches as far as its tables say.
    const Buffer last = make_zero_buffer(512);
    co_return co_await file_.write(begin + length - 512, last.get(), 512);
  }

  ImageFile file_;
  const Geometry geometry_;
  const Layout layout_;
};

Header make_header(const CreateOptions& options, const Layout& layout, uint64_t size_bytes) {
  Header header;
  header.version = options.version;
  header.cluster_bits = static_cast<unsigned>(std::countr_zero(options.cluster_bytes));
  header.refcount_order = options.refcount_order;
  if (options.extended_l2) header.incompatible |= format::incompatible::kExtendedL2;
  if (options.lazy_refcounts) header.compatible |= format::compatible::kLazyRefcounts;
  header.compression_type = options.compression_type;
  if (options.compression_type != format::kCompressionZlib) {
    header.incompatible |= format::incompatible::kCompression;
  }
  header.size_bytes = size_bytes;
  header.backing_file = options.backing_file;
  header.backing_format = options.backing_format;
  header.l1_entries = static_cast<uint32_t>(header.geometry().l1_entries(size_bytes));
  header.l1_offset = layout.l1 << header.cluster_bits;
  header.refcount_table_offset = layout.table << header.cluster_bits;
  header.refcount_table_clusters = static_cast<uint32_t>(layout.table_count);
  return header;
}

// What a request comes to.
struct Plan {
  CreateOptions options;
  Layout layout;
  Header header;
};

Result<Plan> make_plan(const block::DriverEntry::CreateRequest& request) {
  std::vector<std::pair<std::string, std::string>> named = request.options;
  if (!request.backing_filename.empty()) {
    named.emplace_back("backing_file", request.backing_filename);
  }
  if (!request.backing_format.empty()) named.emplace_back("backing_fmt", request.backing_format);
  Plan plan;
  plan.options = TRY(parse_create_options(named));
  const std::string too_large =
      "The image size is too large for file format 'qcow2' (try using a larger cluster size)";
  if (request.size_bytes > uint64_t{INT64_MAX} - 511) return invalid(too_large);
  const uint64_t size_bytes = base::round_up(request.size_bytes, 512);
  const Geometry geometry = make_header(plan.options, {}, size_bytes).geometry();
  if (geometry.l1_entries(size_bytes) > format::kMaxL1Bytes / 8) return invalid(too_large);
  plan.layout = lay_out(geometry, size_bytes, plan.options.preallocation != Preallocation::kOff);
  if (plan.layout.table_count << geometry.cluster_bits > format::kMaxRefcountTableBytes ||
      plan.layout.end << geometry.cluster_bits >= format::kMaxHostOffset) {
    return invalid(too_large);
  }
  plan.header = make_header(plan.options, plan.layout, size_bytes);
  return plan;
}

}  // namespace

Result<> check_create(const block::DriverEntry::CreateRequest& request) {
  const Plan plan = TRY(make_plan(request));
  (void)TRY(serialize_header(plan.header));
  return {};
}

Result<CreateOptions> parse_create_options(
    const std::vector<std::pair<std::string, std::string>>& options) {
  CreateOptions parsed;
  for (const auto& [name, value] : options) TRY(parse_option(name, value, parsed));
  TRY(check_combination(parsed));
  return parsed;
}

Task<Result<>> create(block::Edge& file, const block::DriverEntry::CreateRequest& request) {
  const Plan plan = CO_TRY(make_plan(request));
  const Geometry geometry = plan.header.geometry();
  // Fails before anything is written, if the names do not fit.
  const std::vector<std::byte> header = CO_TRY(serialize_header(plan.header));
  Creator creator(file, geometry, plan.layout);
  CO_TRY_CONTEXT(co_await creator.write_tables(plan.options.preallocation),
                 "Could not write qcow2 metadata");
  const IoVec iov{base::ConstByteSpan(header)};
  CO_TRY_CONTEXT(co_await file.write(0, iov), "Could not write qcow2 header");
  co_return co_await file.flush();
}

}  // namespace firn::qcow2
