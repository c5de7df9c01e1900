#include "qmp/hmp_block.h"

#include <fmt/format.h>

#include <iterator>
#include <vector>

#include "api/codec.h"
#include "base/units.h"

namespace firn::qmp {
namespace {

using base::Result;

void append_image(std::string& out, const api::ImageInfo& image) {
  auto to = std::back_inserter(out);
  auto virtual_size = static_cast<uint64_t>(image.virtual_size);
  fmt::format_to(to, "image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\n", image.filename,
                 image.format, base::format_size(virtual_size), virtual_size);
  fmt::format_to(to, "disk size: {}\n",
                 image.actual_size ? base::format_size(static_cast<uint64_t>(*image.actual_size))
                                   : "unavailable");
  if (image.cluster_size) fmt::format_to(to, "cluster_size: {}\n", *image.cluster_size);
  if (image.encrypted.value_or(false)) out += "encrypted: yes\n";
  if (image.dirty_flag.value_or(false)) out += "cleanly shut down: no\n";
  if (image.backing_filename) {
    fmt::format_to(to, "backing file: {}", *image.backing_filename);
    const auto& full = image.full_backing_filename;
    if (full && *full != *image.backing_filename) fmt::format_to(to, " (actual path: {})", *full);
    out += '\n';
  }
  if (image.backing_filename_format) {
    fmt::format_to(to, "backing file format: {}\n", *image.backing_filename_format);
  }
  if (image.backing_image) {
    out += '\n';
    append_image(out, **image.backing_image);
  }
}

// What follows a device's or node's name.
void append_inserted(std::string& out, const api::BlockDeviceInfo& info, bool verbose) {
  auto to = std::back_inserter(out);
  fmt::format_to(to, ": {} ({}{}{})\n", info.file, info.drv, info.ro ? ", read-only" : "",
                 info.encrypted ? ", encrypted" : "");
  fmt::format_to(
      to, "    Cache mode:       {}{}{}\n", info.cache.writeback ? "writeback" : "writethrough",
      info.cache.direct ? ", direct" : "", info.cache.no_flush ? ", ignore flushes" : "");
  if (info.backing_file) {
    fmt::format_to(to, "    Backing file:     {} (chain depth: {})\n", *info.backing_file,
                   info.backing_file_depth);
  }
  if (info.detect_zeroes != api::BlockdevDetectZeroesOptions::kOff) {
    fmt::format_to(to, "    Detect zeroes:    {}\n", api::to_string(info.detect_zeroes));
  }
  if (verbose) {
    out += "\nImages:\n";
    append_image(out, info.image);
  }
}

void append_device(std::string& out, const api::BlockInfo& info, bool verbose) {
  out += info.device;
  if (!info.inserted) {
    out += ": [not inserted]\n";
    return;
  }
  if (info.inserted->node_name) {
    fmt::format_to(std::back_inserter(out), " ({})", *info.inserted->node_name);
  }
  append_inserted(out, *info.inserted, verbose);
}

void append_node(std::string& out, const api::BlockDeviceInfo& info, bool verbose) {
  out += info.node_name.value_or("<anonymous>");
  append_inserted(out, info, verbose);
}

}  // namespace

Result<std::string> show_block_list(const base::JsonValue& answer, const BlockListView& view) {
  std::string out;
  if (view.nodes) {
    for (const auto& info : TRY(api::decode_as<std::vector<api::BlockDeviceInfo>>(answer))) {
      if (!view.only.empty() && info.node_name != view.only) continue;
      if (!out.empty()) out += '\n';
      append_node(out, info, view.verbose);
    }
    return out;
  }
  for (const auto& info : TRY(api::decode_as<std::vector<api::BlockInfo>>(answer))) {
    if (!view.only.empty() && info.device != view.only) continue;
    if (!out.empty()) out += '\n';
    append_device(out, info, view.verbose);
  }
  return out;
}

Result<std::string> show_version(const base::JsonValue& answer) {
  auto version = TRY(api::decode_as<api::VersionInfo>(answer));
  return fmt::format("{}.{}.{} ({})\n", version.qemu.major, version.qemu.minor, version.qemu.micro,
                     version.package);
}

}  // namespace firn::qmp
