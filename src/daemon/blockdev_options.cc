#include "daemon/blockdev_options.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <limits>
#include <memory>
#include <utility>

#include "api/codec.h"
#include "base/json.h"
#include "daemon/unsupported.h"
#include "drivers/file/file_driver.h"
#include "drivers/null/null_driver.h"
#include "drivers/qcow2/options.h"
#include "drivers/raw/raw_driver.h"

namespace firn::daemon {
namespace {

using base::ErrorKind;
using base::fail;
using base::Result;

Result<block::NodeSpec> node_spec_below(const api::BlockdevOptions& options,
                                        const block::NodeOptions& inherited);

Result<uint64_t> not_negative(std::string_view name, int64_t value) {
  if (value >= 0) return static_cast<uint64_t>(value);
  return fail(ErrorKind::kInvalidArgument,
              fmt::format("Parameter '{}' expects a non-negative number", name));
}

Result<std::optional<uint64_t>> not_negative(std::string_view name,
                                             const std::optional<int64_t>& value) {
  if (!value) return std::nullopt;
  return TRY(not_negative(name, *value));
}

block::DetectZeroes detect_zeroes_of(api::BlockdevDetectZeroesOptions value) {
  switch (value) {
    case api::BlockdevDetectZeroesOptions::kOff:
      return block::DetectZeroes::kOff;
    case api::BlockdevDetectZeroesOptions::kOn:
      return block::DetectZeroes::kOn;
    case api::BlockdevDetectZeroesOptions::kUnmap:
      return block::DetectZeroes::kUnmap;
  }
  return block::DetectZeroes::kOff;
}

Result<block::NodeOptions> common_options(const api::BlockdevOptions& options,
                                          block::NodeOptions result) {
  if (options.read_only) result.read_only = *options.read_only;
  if (options.auto_read_only) result.auto_read_only = *options.auto_read_only;
  if (options.discard) result.unmap = *options.discard == api::BlockdevDiscardOptions::kUnmap;
  if (options.cache && options.cache->direct) result.direct = *options.cache->direct;
  if (options.cache && options.cache->no_flush) result.no_flush = *options.cache->no_flush;
  if (options.force_share) result.force_share = *options.force_share;
  if (options.detect_zeroes) result.detect_zeroes = detect_zeroes_of(*options.detect_zeroes);
  if (result.detect_zeroes == block::DetectZeroes::kUnmap && !result.unmap) {
    return fail(ErrorKind::kInvalidArgument,
                "setting detect-zeroes to unmap is not allowed without setting discard operation "
                "to unmap");
  }
  if (result.force_share && !result.read_only) {
    return fail(ErrorKind::kInvalidArgument,
                "force-share=on can only be used with read-only images");
  }
  return result;
}

Result<block::ChildSpec> file_child(const api::BlockdevRef& child,
                                    const block::NodeOptions& parent) {
  if (const std::string* name = child.reference()) return block::ChildSpec(*name);
  return block::ChildSpec(std::make_unique<block::NodeSpec>(TRY(node_spec_below(
      *child.definition(), block::inherited_options(parent, block::EdgeRole::kFile)))));
}

Result<block::ChildSpec> backing_child(const api::BlockdevRefOrNull& child,
                                       const block::NodeOptions& parent) {
  const std::string* name = child.reference();
  if (child.null() != nullptr || (name != nullptr && name->empty())) {
    return block::ChildSpec(std::unique_ptr<block::NodeSpec>());
  }
  if (name != nullptr) return block::ChildSpec(*name);
  return block::ChildSpec(std::make_unique<block::NodeSpec>(TRY(node_spec_below(
      *child.definition(), block::inherited_options(parent, block::EdgeRole::kBacking)))));
}

// One function for each kind of options: fills the spec's own part.
// --------------------------------

Result<> fill(block::NodeSpec& spec, const api::BlockdevOptionsFile& options) {
  auto own = std::make_unique<file::Options>();
  own->filename = options.filename;
  if (options.pr_manager) {
    return unsupported("pr-manager", "persistent reservations are not passed on");
  }
  if (options.x_check_cache_dropped.value_or(false)) {
    return unsupported("x-check-cache-dropped", "it is for QEMU's own tests");
  }
  // With drop-cache, QEMU drops the page cache when a migration brings an image in. There is none
  // here, so both of its values hold.
  if (options.aio_max_batch.value_or(0) != 0) {
    return unsupported("aio-max-batch", "each turn of a loop is one batch");
  }
  switch (options.locking.value_or(api::OnOffAuto::kAuto)) {
    case api::OnOffAuto::kAuto:
      own->locking = file::Options::Locking::kAuto;
      break;
    case api::OnOffAuto::kOn:
      own->locking = file::Options::Locking::kOn;
      break;
    case api::OnOffAuto::kOff:
      own->locking = file::Options::Locking::kOff;
      break;
  }
  switch (options.aio.value_or(api::BlockdevAioOptions::kThreads)) {
    case api::BlockdevAioOptions::kThreads:
      own->aio = file::Options::Aio::kThreads;
      break;
    case api::BlockdevAioOptions::kNative:
      own->aio = file::Options::Aio::kNative;
      break;
    case api::BlockdevAioOptions::kIoUring:
      own->aio = file::Options::Aio::kIoUring;
      break;
  }
  spec.driver_options = std::move(own);
  return {};
}

// A deadline from now on must fit a time in nanoseconds. The second is the bound of QEMU.
constexpr uint64_t kMaxLatency_ns = uint64_t{1} << 62;
constexpr uint64_t kMaxCleanInterval_s = UINT32_MAX;

Result<> fill(block::NodeSpec& spec, const api::BlockdevOptionsNull& options) {
  auto own = std::make_unique<null::Options>();
  if (options.size) own->size_bytes = TRY(not_negative("size", *options.size));
  own->latency_ns = options.latency_ns.value_or(0);
  if (own->latency_ns > kMaxLatency_ns) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("Parameter 'latency-ns' expects at most {}", kMaxLatency_ns));
  }
  own->read_zeroes = options.read_zeroes;
  spec.driver_options = std::move(own);
  return {};
}

Result<> fill(block::NodeSpec& spec, const api::BlockdevOptionsRaw& options) {
  auto own = std::make_unique<raw::Options>();
  own->offset_bytes = TRY(not_negative("offset", options.offset)).value_or(0);
  own->size_bytes = TRY(not_negative("size", options.size));
  spec.driver_options = std::move(own);
  spec.file = TRY(file_child(options.file, spec.options));
  return {};
}

Result<> refuse_qcow2(const api::BlockdevOptionsQcow2& options) {
  if (options.encrypt) return unsupported("encrypt", "encrypted images are not opened");
  if (options.data_file) return unsupported("data-file", "external data files are not opened");
  if (options.l2_cache_entry_size) {
    return unsupported("l2-cache-entry-size", "tables are cached by clusters");
  }
  if (options.overlap_check) {
    const auto* mode = options.overlap_check->mode();
    if (mode == nullptr || *mode != api::Qcow2OverlapCheckMode::kNone) {
      return unsupported("overlap-check", "allocation never hands out a cluster in use");
    }
  }
  return {};
}

Result<> fill(block::NodeSpec& spec, const api::BlockdevOptionsQcow2& options) {
  TRY(refuse_qcow2(options));
  auto own = std::make_unique<qcow2::Options>();
  own->lazy_refcounts = options.lazy_refcounts;
  own->pass_discard_request = options.pass_discard_request;
  own->pass_discard_snapshot = options.pass_discard_snapshot;
  own->pass_discard_other = options.pass_discard_other;
  own->cache_size = TRY(not_negative("cache-size", options.cache_size));
  own->l2_cache_size = TRY(not_negative("l2-cache-size", options.l2_cache_size));
  own->refcount_cache_size = TRY(not_negative("refcount-cache-size", options.refcount_cache_size));
  own->cache_clean_interval_s =
      TRY(not_negative("cache-clean-interval", options.cache_clean_interval));
  if (own->cache_clean_interval_s.value_or(0) > kMaxCleanInterval_s) {
    return fail(ErrorKind::kInvalidArgument, "Cache clean interval too big");
  }
  spec.driver_options = std::move(own);
  spec.file = TRY(file_child(options.file, spec.options));
  if (options.backing) spec.backing = TRY(backing_child(*options.backing, spec.options));
  return {};
}

// The decoder gives every driver its options.
Result<> fill(block::NodeSpec&, std::monostate) {
  return fail(ErrorKind::kInvalidArgument, "Parameter 'driver' is missing");
}

// What is the driver's alone, as JSON: neither every node's options nor children.
std::string own_options(const api::BlockdevOptions& options) {
  boost::json::value all = api::encode(options);
  boost::json::object& object = all.get_object();
  for (std::string_view name : {"driver", "node-name", "read-only", "auto-read-only", "discard",
                                "cache", "force-share", "detect-zeroes", "file", "backing"}) {
    object.erase(name);
  }
  return base::print_json(all);
}

Result<block::NodeSpec> node_spec_below(const api::BlockdevOptions& options,
                                        const block::NodeOptions& inherited) {
  block::NodeSpec spec;
  spec.driver = api::to_string(options.driver);
  spec.node_name = options.node_name.value_or("");
  spec.options = TRY(common_options(options, inherited));
  TRY(std::visit([&](const auto& own) { return fill(spec, own); }, options.u));
  spec.definition = own_options(options);
  return spec;
}

}  // namespace

Result<block::NodeSpec> node_spec(const api::BlockdevOptions& options) {
  if (options.node_name && options.node_name->empty()) {
    return fail(ErrorKind::kInvalidArgument, "Invalid node-name: ''");
  }
  if (!options.node_name) {
    return fail(ErrorKind::kInvalidArgument, "'node-name' must be specified for the root node");
  }
  return node_spec_below(options, {});
}

Result<block::ChildSpec> node_reference(const api::BlockdevRef& node) {
  return file_child(node, {});
}

}  // namespace firn::daemon
