#include "state/contents.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/json.h"
#include "base/units.h"

namespace firn::state {

namespace json = boost::json;
using base::ErrorKind;
using base::fail;
using base::Result;

std::string_view seal_name(Seal seal) {
  switch (seal) {
    case Seal::kNone:
      return "none";
    case Seal::kSealed:
      return "sealed";
    case Seal::kUnsealed:
      return "unsealed";
    case Seal::kToSeal:
      return "to-seal";
  }
  return "none";
}

const NodeRecord* Contents::find_node(std::string_view name) const {
  const auto at = std::ranges::find(nodes, name, &NodeRecord::name);
  return at == nodes.end() ? nullptr : &*at;
}

const Thing* Contents::find_thing(std::string_view kind, std::string_view id) const {
  const auto at = std::ranges::find_if(
      things, [&](const Thing& thing) { return thing.kind == kind && thing.id == id; });
  return at == things.end() ? nullptr : &*at;
}

// Options ---------------------------------------------------------------------------------------

namespace {

std::string_view detect_zeroes_name(block::DetectZeroes value) {
  switch (value) {
    case block::DetectZeroes::kOff:
      return "off";
    case block::DetectZeroes::kOn:
      return "on";
    case block::DetectZeroes::kUnmap:
      return "unmap";
  }
  return "off";
}

json::object options_object(const block::NodeOptions& options) {
  return {{"auto-read-only", options.auto_read_only},
          {"discard", options.unmap ? "unmap" : "ignore"},
          {"cache", {{"direct", options.direct}, {"no-flush", options.no_flush}}},
          {"force-share", options.force_share},
          {"detect-zeroes", detect_zeroes_name(options.detect_zeroes)}};
}

// Reading what we wrote ourselves: whatever is missing makes the whole invalid.
class Reader {
 public:
  explicit Reader(const json::value& value) : object_(value.if_object()) {}
  bool ok() const { return ok_ && object_ != nullptr; }

  const json::value* take(std::string_view name) {
    const json::value* value = object_ == nullptr ? nullptr : object_->if_contains(name);
    if (value == nullptr) ok_ = false;
    return value;
  }
  std::string text(std::string_view name) {
    const json::value* value = take(name);
    const json::string* text = value == nullptr ? nullptr : value->if_string();
    if (text == nullptr) {
      ok_ = false;
      return {};
    }
    return {text->data(), text->size()};
  }
  bool flag(std::string_view name) {
    const json::value* value = take(name);
    const bool* flag = value == nullptr ? nullptr : value->if_bool();
    if (flag == nullptr) ok_ = false;
    return flag != nullptr && *flag;
  }
  template <typename Each>
  void each(std::string_view name, Each each) {
    const json::value* value = take(name);
    const json::array* list = value == nullptr ? nullptr : value->if_array();
    if (list == nullptr) {
      ok_ = false;
      return;
    }
    for (const json::value& element : *list) ok_ = each(element) && ok_;
  }
  void fail() { ok_ = false; }

 private:
  const json::object* object_;
  bool ok_ = true;
};

bool read_options(const json::value& value, block::NodeOptions& options) {
  Reader reader(value);
  options.read_only = reader.flag("read-only");
  options.auto_read_only = reader.flag("auto-read-only");
  options.unmap = reader.text("discard") == "unmap";
  options.force_share = reader.flag("force-share");
  const std::string zeroes = reader.text("detect-zeroes");
  options.detect_zeroes = zeroes == "unmap" ? block::DetectZeroes::kUnmap
                          : zeroes == "on"  ? block::DetectZeroes::kOn
                                            : block::DetectZeroes::kOff;
  if (const json::value* cache = reader.take("cache")) {
    Reader inner(*cache);
    options.direct = inner.flag("direct");
    options.no_flush = inner.flag("no-flush");
    if (!inner.ok()) reader.fail();
  }
  return reader.ok();
}

bool read_names(const json::value& value, std::vector<std::string>& names) {
  const json::string* name = value.if_string();
  if (name == nullptr) return false;
  names.emplace_back(name->data(), name->size());
  return true;
}

json::array names_array(const std::vector<std::string>& names) {
  json::array list;
  for (const std::string& name : names) list.emplace_back(name);
  return list;
}

}  // namespace

std::string print_options(const block::NodeOptions& options) {
  return base::print_json(options_object(options));
}

// Changes ---------------------------------------------------------------------------------------

std::string print_change(const block::GraphChange& change) {
  json::array added;
  for (const auto& node : change.added) {
    json::object options = options_object(node.options);
    options["read-only"] = node.options.read_only;
    added.push_back({{"name", node.name},
                     {"format", node.format},
                     {"path", node.path},
                     {"protocol", node.protocol},
                     {"file-name", node.file_name},
                     {"options", std::move(options)},
                     {"backing-node", node.backing_node},
                     {"io-thread", node.io_thread}});
  }
  json::array devices;
  for (const auto& device : change.devices) {
    devices.push_back({{"id", device.id}, {"node", device.node}});
  }
  json::array moved;
  for (const auto& users : change.moved) {
    moved.push_back({{"from", users.from}, {"to", users.to}, {"device", users.device}});
  }
  json::array backings;
  for (const auto& backing : change.backings) {
    backings.push_back({{"overlay", backing.overlay},
                        {"backing-node", backing.backing_node},
                        {"backing-file", backing.backing_file},
                        {"backing-format", backing.backing_format}});
  }
  return base::print_json(json::object{{"added", std::move(added)},
                                       {"devices", std::move(devices)},
                                       {"moved", std::move(moved)},
                                       {"backings", std::move(backings)},
                                       {"to-write", names_array(change.to_write)},
                                       {"to-seal", names_array(change.to_seal)},
                                       {"removed", names_array(change.removed)}});
}

Result<block::GraphChange> parse_change(std::string_view text) {
  block::GraphChange change;
  const auto value = base::parse_json(text);
  if (!value) return fail(ErrorKind::kCorrupt, "an intent of the state can't be read");
  Reader reader(*value);
  reader.each("added", [&](const json::value& element) {
    Reader own(element);
    auto& node = change.added.emplace_back();
    node.name = own.text("name");
    node.format = own.text("format");
    node.path = own.text("path");
    node.protocol = own.text("protocol");
    node.file_name = own.text("file-name");
    node.backing_node = own.text("backing-node");
    node.io_thread = own.text("io-thread");
    const json::value* options = own.take("options");
    return own.ok() && read_options(*options, node.options);
  });
  reader.each("devices", [&](const json::value& element) {
    Reader own(element);
    change.devices.push_back({.id = own.text("id"), .node = own.text("node")});
    return own.ok();
  });
  reader.each("moved", [&](const json::value& element) {
    Reader own(element);
    change.moved.push_back(
        {.from = own.text("from"), .to = own.text("to"), .device = own.text("device")});
    return own.ok();
  });
  reader.each("backings", [&](const json::value& element) {
    Reader own(element);
    change.backings.push_back({.overlay = own.text("overlay"),
                               .backing_node = own.text("backing-node"),
                               .backing_file = own.text("backing-file"),
                               .backing_format = own.text("backing-format")});
    return own.ok();
  });
  reader.each("to-write", [&](const json::value& v) { return read_names(v, change.to_write); });
  reader.each("to-seal", [&](const json::value& v) { return read_names(v, change.to_seal); });
  reader.each("removed", [&](const json::value& v) { return read_names(v, change.removed); });
  if (!reader.ok()) return fail(ErrorKind::kCorrupt, "an intent of the state can't be read");
  return change;
}

std::string describe(const block::GraphChange& change) {
  std::string text;
  const auto add = [&](std::string part) {
    if (!text.empty()) text += ", ";
    text += part;
  };
  for (const auto& users : change.moved) {
    const std::string whose = users.device.empty() ? fmt::format("node '{}'", users.from)
                                                   : fmt::format("device '{}'", users.device);
    add(fmt::format("{}: from node '{}' to '{}'", whose, users.from, users.to));
  }
  for (const auto& device : change.devices) {
    add(fmt::format("device '{}' on node '{}'", device.id, device.node));
  }
  for (const auto& node : change.added) add(fmt::format("node '{}' ('{}')", node.name, node.path));
  for (const auto& backing : change.backings) {
    add(backing.backing_node.empty()
            ? fmt::format("node '{}' without a backing node", backing.overlay)
            : fmt::format("node '{}' on '{}'", backing.overlay, backing.backing_node));
  }
  for (const std::string& name : change.to_write) add(fmt::format("node '{}' written to", name));
  for (const std::string& name : change.to_seal) add(fmt::format("node '{}' sealed", name));
  for (const std::string& name : change.removed) add(fmt::format("node '{}' removed", name));
  return text;
}

// Files -----------------------------------------------------------------------------------------

std::string difference(const FileIdentity& was, const FileIdentity& is, bool same_boot) {
  if (was.is_block_device != is.is_block_device) {
    return is.is_block_device ? "it is a block device now" : "it is no block device any more";
  }
  if (was.is_block_device) {
    if (!same_boot || was.rdev == is.rdev) return "";
    return "it is another block device now";
  }
  // Not the device: mounts of NFS, btrfs, tmpfs and FUSE are numbered anew each time.
  if (was.inode != is.inode) return "it is another file now";
  if (was.size_bytes != is.size_bytes) {
    return fmt::format("it has {} bytes now and had {}", is.size_bytes, was.size_bytes);
  }
  // A power cut may take back a time that was not written yet, never advance one.
  if (is.modified_ns > was.modified_ns || (same_boot && is.modified_ns != was.modified_ns)) {
    return "it was written to since";
  }
  return "";
}

}  // namespace firn::state
