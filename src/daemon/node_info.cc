#include "daemon/node_info.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "block/seal.h"

namespace firn::daemon {
namespace {

using async::Task;
using base::Result;

const block::Node* backing_of(const block::Node& node) { return node.children().backing.child(); }

// The facts of a format's own by their QAPI names.
template <typename T>
std::optional<T> fact(const block::ImageFacts& facts, std::string_view name) {
  for (const auto& [key, value] : facts.format_specific) {
    if (key != name) continue;
    if (const T* typed = std::get_if<T>(&value)) return *typed;
  }
  return std::nullopt;
}

std::optional<api::ImageInfoSpecific> specific_info(const block::ImageFacts& facts) {
  if (facts.format != "qcow2" || facts.format_specific.empty()) return std::nullopt;
  api::ImageInfoSpecificQCow2 qcow2;
  qcow2.compat = fact<std::string>(facts, "compat").value_or("1.1");
  qcow2.extended_l2 = fact<bool>(facts, "extended-l2");
  qcow2.lazy_refcounts = fact<bool>(facts, "lazy-refcounts");
  qcow2.corrupt = fact<bool>(facts, "corrupt");
  qcow2.refcount_bits = fact<int64_t>(facts, "refcount-bits").value_or(16);
  qcow2.compression_type = fact<std::string>(facts, "compression-type") == "zstd"
                               ? api::Qcow2CompressionType::kZstd
                               : api::Qcow2CompressionType::kZlib;
  api::ImageInfoSpecific specific;
  specific.type = api::ImageInfoSpecificKind::kQcow2;
  specific.u = api::ImageInfoSpecificQCow2Wrapper{.data = std::move(qcow2)};
  return specific;
}

std::optional<std::string> unless_empty(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

api::ImageInfo image_info(const block::ImageFacts& facts) {
  api::ImageInfo info;
  info.filename = facts.filename;
  info.format = facts.format;
  info.virtual_size = static_cast<int64_t>(facts.virtual_size_bytes);
  if (facts.actual_size_bytes) info.actual_size = static_cast<int64_t>(*facts.actual_size_bytes);
  if (facts.cluster_size_bytes) info.cluster_size = *facts.cluster_size_bytes;
  info.dirty_flag = facts.dirty;
  // QEMU leaves these out where they are false.
  if (facts.encrypted.value_or(false)) info.encrypted = true;
  if (facts.compressed.value_or(false)) info.compressed = true;
  info.backing_filename = unless_empty(facts.backing_filename);
  info.full_backing_filename = unless_empty(facts.backing_filename_full);
  info.backing_filename_format = unless_empty(facts.backing_format);
  if (!facts.snapshots.empty()) {
    std::ranges::transform(facts.snapshots, std::back_inserter(info.snapshots.emplace()),
                           snapshot_info);
  }
  info.format_specific = specific_info(facts);
  return info;
}

// The node's image, and with `chain` those below it.
Task<Result<api::ImageInfo>> image_chain(const block::Node& node, bool chain) {
  api::ImageInfo top = image_info(CO_TRY(co_await node.driver().facts()));
  api::ImageInfo* upper = &top;
  const block::Node* below = chain ? backing_of(node) : nullptr;
  for (; below != nullptr; below = backing_of(*below)) {
    upper->backing_image = image_info(CO_TRY(co_await below->driver().facts()));
    upper = &**upper->backing_image;
  }
  co_return top;
}

api::BlockdevDetectZeroesOptions detect_zeroes_of(block::DetectZeroes value) {
  switch (value) {
    case block::DetectZeroes::kOff:
      return api::BlockdevDetectZeroesOptions::kOff;
    case block::DetectZeroes::kOn:
      return api::BlockdevDetectZeroesOptions::kOn;
    case block::DetectZeroes::kUnmap:
      return api::BlockdevDetectZeroesOptions::kUnmap;
  }
  return api::BlockdevDetectZeroesOptions::kOff;
}

std::optional<api::BlockUnsealedInfo> unsealed_info(const block::Node& node) {
  const block::Node* below = node.unsealed_below;
  if (below == nullptr) return std::nullopt;
  api::BlockUnsealedInfo info;
  info.node_name = below->name();
  info.state = below->seal_failed ? api::BlockSealState::kFailed : api::BlockSealState::kRunning;
  if (below->seal_failed) {
    info.reason = below->seal_error;
    info.can_retry = block::can_seal_again(*below);
  }
  return info;
}

Task<Result<api::BlockDeviceInfo>> info_at_home(const block::Node& node, bool chain) {
  api::BlockDeviceInfo info;
  info.image = CO_TRY(co_await image_chain(node, chain));
  info.file = info.image.filename;
  info.node_name = node.name();
  info.ro = node.read_only();
  info.write_threshold = static_cast<int64_t>(node.write_threshold());
  info.drv = node.driver().name();
  if (const block::Node* below = backing_of(node)) info.backing_file = below->driver().filename();
  // As QEMU, which counts only the layers that it tells of.
  for (const block::Node* below = chain ? backing_of(node) : nullptr; below;
       below = backing_of(*below)) {
    ++info.backing_file_depth;
  }
  info.encrypted = info.image.encrypted.value_or(false);
  info.detect_zeroes = detect_zeroes_of(node.options().detect_zeroes);
  info.cache = {
      .writeback = true, .direct = node.options().direct, .no_flush = node.options().no_flush};
  info.unsealed = unsealed_info(node);
  co_return info;
}

}  // namespace

api::SnapshotInfo snapshot_info(const block::InternalSnapshotFacts& facts) {
  api::SnapshotInfo info;
  info.id = facts.id;
  info.name = facts.name;
  info.vm_state_size = static_cast<int64_t>(facts.vm_state_bytes);
  info.date_sec = facts.date_s;
  info.date_nsec = facts.date_ns;
  info.vm_clock_sec = facts.vm_clock_ns / 1'000'000'000;
  info.vm_clock_nsec = facts.vm_clock_ns % 1'000'000'000;
  if (facts.icount) info.icount = static_cast<int64_t>(*facts.icount);
  return info;
}

Task<Result<api::BlockDeviceInfo>> block_device_info(const block::Node& node, bool chain) {
  co_return co_await async::call_on(node.home(), info_at_home(node, chain));
}

}  // namespace firn::daemon
