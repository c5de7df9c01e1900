#include "cli/img/image_address.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/value.hpp>
#include <optional>
#include <set>

#include "base/json.h"
#include "base/units.h"
#include "block/overlay.h"
#include "cli/image_format.h"
#include "drivers/file/file_driver.h"
#include "drivers/qcow2/backing_path.h"
#include "drivers/qcow2/driver.h"
#include "drivers/raw/raw_driver.h"

namespace firn::cli::img {

namespace json = boost::json;
using base::ErrorKind;
using base::fail;

namespace {

constexpr std::string_view kJsonPrefix = "json:";

Result<bool> as_switch(const std::string& name, const json::value& value) {
  if (value.is_bool()) return value.get_bool();
  const std::string_view text = value.is_string() ? std::string_view(value.get_string()) : "";
  if (text == "on" || text == "yes" || text == "true") return true;
  if (text == "off" || text == "no" || text == "false") return false;
  return fail(ErrorKind::kInvalidArgument,
              fmt::format("Parameter '{}' expects 'on' or 'off'", name));
}

Result<std::string> as_text(const std::string& name, const json::value& value) {
  if (value.is_string()) return std::string(value.get_string());
  return fail(ErrorKind::kInvalidArgument,
              fmt::format("Invalid parameter type for '{}', expected: string", name));
}

Result<uint64_t> as_size(const std::string& name, const json::value& value) {
  if (value.is_string()) {
    if (auto size = base::parse_size(value.get_string())) return *size;
  } else if (value.is_int64() && value.get_int64() >= 0) {
    return static_cast<uint64_t>(value.get_int64());
  }
  return fail(ErrorKind::kInvalidArgument, fmt::format("Parameter '{}' expects a size", name));
}

// Makes a NodeSpec of a tree of options. Members of every node are taken here, the rest by driver.
class SpecReader {
 public:
  explicit SpecReader(json::object options) : options_(std::move(options)) {}

  Task<Result<block::NodeSpec>> read(block::NodeOptions inherited) {
    spec_.options = inherited;
    CO_TRY(read_common());
    const std::string driver = CO_TRY(co_await find_driver());
    const block::DriverEntry* entry = registry().find(driver);
    if (entry == nullptr) {
      co_return fail(ErrorKind::kInvalidArgument, fmt::format("Unknown driver '{}'", driver));
    }
    if (entry->is_protocol) {
      CO_TRY(read_protocol());
    } else {
      CO_TRY(co_await read_format(driver));
    }
    for (const auto& member : options_) {
      if (taken_.contains(member.key())) continue;
      co_return fail(ErrorKind::kInvalidArgument,
                     fmt::format("Block {} '{}' does not support the option '{}'",
                                 entry->is_protocol ? "protocol" : "format", driver,
                                 std::string_view(member.key())));
    }
    spec_.driver = driver;
    co_return std::move(spec_);
  }

 private:
  const json::value* take(std::string_view name) {
    const json::value* value = options_.if_contains(name);
    if (value != nullptr) taken_.emplace(name);
    return value;
  }

  Result<> read_switch(std::string_view name, bool& into) {
    if (const json::value* value = take(name)) into = TRY(as_switch(std::string(name), *value));
    return {};
  }

  Result<> read_common() {
    bool ignored = false;  // how it is opened is the command's matter
    TRY(read_switch("read-only", ignored));
    TRY(read_switch("auto-read-only", ignored));
    TRY(read_switch("force-share", spec_.options.force_share));
    if (const json::value* value = take("node-name")) {
      spec_.node_name = TRY(as_text("node-name", *value));
    }
    if (const json::value* value = take("discard")) {
      const std::string mode = TRY(as_text("discard", *value));
      if (mode != "ignore" && mode != "off" && mode != "unmap" && mode != "on") {
        return fail(ErrorKind::kInvalidArgument, "Invalid discard option");
      }
      spec_.options.unmap = mode == "unmap" || mode == "on";
    }
    const json::value* cache = take("cache");
    if (cache == nullptr) return {};
    if (!cache->is_object()) {
      return fail(ErrorKind::kInvalidArgument,
                  "Invalid parameter type for 'cache', expected: object");
    }
    for (const auto& member : cache->get_object()) {
      const std::string name = fmt::format("cache.{}", std::string_view(member.key()));
      if (name == "cache.direct") {
        spec_.options.direct = TRY(as_switch(name, member.value()));
      } else if (name == "cache.no-flush") {
        spec_.options.no_flush = TRY(as_switch(name, member.value()));
      } else {
        return fail(ErrorKind::kInvalidArgument, fmt::format("Parameter '{}' is unexpected", name));
      }
    }
    return {};
  }

  Task<Result<std::string>> find_driver() {
    if (const json::value* driver = take("driver")) co_return as_text("driver", *driver);
    const json::value* file = options_.if_contains("file");
    const json::value* name =
        file != nullptr && file->is_object() ? file->get_object().if_contains("filename") : nullptr;
    if (name != nullptr && name->is_string()) {
      co_return co_await detect_format(block::plain_path(std::string(name->get_string())));
    }
    if (is_file_ && options_.contains("filename")) {
      // A protocol is known by its file name.
      const std::string filename = CO_TRY(as_text("filename", options_.at("filename")));
      const block::NodeSpec found = CO_TRY(co_await block::file_spec(registry(), filename, {}));
      co_return found.driver;
    }
    co_return fail(ErrorKind::kInvalidArgument, "Must specify either driver or file");
  }

  Result<> read_protocol() {
    auto options = std::make_unique<file::Options>();
    if (const json::value* name = take("filename")) {
      options->filename = block::plain_path(TRY(as_text("filename", *name)));
    }
    (void)take("aio");  // how requests reach the kernel is chosen by probe
    if (const json::value* value = take("locking")) {
      const std::string mode = TRY(as_text("locking", *value));
      if (mode != "auto" && mode != "on" && mode != "off") {
        return fail(ErrorKind::kInvalidArgument,
                    fmt::format("Parameter 'locking' does not accept value '{}'", mode));
      }
      options->locking = mode == "on"    ? file::Options::Locking::kOn
                         : mode == "off" ? file::Options::Locking::kOff
                                         : file::Options::Locking::kAuto;
    }
    spec_.driver_options = std::move(options);
    return {};
  }

  Task<Result<>> read_format(std::string driver) {
    const json::value* file = take("file");
    if (file == nullptr || !file->is_object()) {
      co_return fail(ErrorKind::kInvalidArgument,
                     fmt::format("A block device must be specified for \"file\": give "
                                 "'file.filename' with driver '{}'",
                                 driver));
    }
    SpecReader below(file->get_object());
    below.is_file_ = true;
    spec_.file.emplace(std::make_unique<block::NodeSpec>(CO_TRY(
        co_await below.read(block::inherited_options(spec_.options, block::EdgeRole::kFile)))));
    if (driver == "raw") {
      auto window = std::make_unique<raw::Options>();
      if (const json::value* value = take("offset")) {
        window->offset_bytes = CO_TRY(as_size("offset", *value));
      }
      if (const json::value* value = take("size")) {
        window->size_bytes = CO_TRY(as_size("size", *value));
      }
      spec_.driver_options = std::move(window);
    }
    if (const json::value* backing = take("backing"); backing != nullptr) {
      if (backing->is_null() || (backing->is_string() && backing->get_string().empty())) {
        spec_.backing.emplace(std::unique_ptr<block::NodeSpec>());
      } else if (backing->is_object()) {
        SpecReader lower(backing->get_object());
        spec_.backing.emplace(std::make_unique<block::NodeSpec>(CO_TRY(co_await lower.read(
            block::inherited_options(spec_.options, block::EdgeRole::kBacking)))));
      } else {
        co_return fail(ErrorKind::kInvalidArgument,
                       "Invalid parameter type for 'backing', expected: object");
      }
    }
    co_return Result<>();
  }

  json::object options_;
  std::set<std::string, std::less<>> taken_;
  block::NodeSpec spec_;
  bool is_file_ = false;
};

// The options of an address that is given by them.
Result<std::optional<json::object>> options_of(const ImageAddress& address) {
  if (address.has_options) return TRY(options_tree(address.name));
  if (!address.name.starts_with(kJsonPrefix)) return std::nullopt;
  json::value value = TRY_CONTEXT(base::parse_json(address.name.substr(kJsonPrefix.size())),
                                  "Could not parse the JSON options");
  if (!value.is_object()) {
    return fail(ErrorKind::kInvalidArgument, "Invalid JSON object given");
  }
  return std::move(value.get_object());
}

Task<Result<block::NodeSpec>> make_spec(ImageAddress address, block::NodeOptions options) {
  const std::optional<json::object> tree = CO_TRY(options_of(address));
  if (tree) co_return co_await SpecReader(*tree).read(options);
  block::NodeSpec file = CO_TRY(co_await block::file_spec(
      registry(), address.name, block::inherited_options(options, block::EdgeRole::kFile)));
  block::NodeSpec spec;
  spec.options = options;
  spec.driver = address.format;
  if (!spec.driver.empty() && registry().find(spec.driver) == nullptr) {
    co_return fail(ErrorKind::kInvalidArgument, fmt::format("Unknown driver '{}'", spec.driver));
  }
  if (spec.driver.empty()) {
    // What can't be opened, the driver says in its own words.
    const std::string path = block::plain_path(address.name);
    const auto stat = co_await async::Loop::current().files().stat(path);
    const bool has_bytes = stat && (stat->kind == async::FileKind::kRegular ||
                                    stat->kind == async::FileKind::kBlockDevice);
    auto found = has_bytes ? co_await detect_format(path) : Result<std::string>("raw");
    spec.driver = found.value_or("raw");
  }
  spec.file.emplace(std::make_unique<block::NodeSpec>(std::move(file)));
  co_return std::move(spec);
}

}  // namespace

const block::Registry& registry() {
  static const block::Registry all = [] {
    block::Registry made;
    file::register_drivers(made);
    raw::register_drivers(made);
    qcow2::register_drivers(made);
    return made;
  }();
  return all;
}

std::vector<std::pair<std::string, std::string>> split_options(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> options;
  for (size_t at = 0; at < text.size();) {
    const size_t name_end = text.find_first_of(",=", at);
    std::string name(text.substr(at, name_end - at));
    if (name_end == std::string_view::npos || text[name_end] == ',') {
      if (!name.empty()) options.emplace_back(std::move(name), "on");
      at = name_end == std::string_view::npos ? text.size() : name_end + 1;
      continue;
    }
    std::string value;
    for (at = name_end + 1; at < text.size(); ++at) {
      if (text[at] == ',') {
        if (at + 1 == text.size() || text[at + 1] != ',') break;
        ++at;
      }
      value += text[at];
    }
    ++at;
    options.emplace_back(std::move(name), std::move(value));
  }
  return options;
}

Result<json::object> options_tree(std::string_view text) {
  json::object tree;
  for (auto& [name, value] : split_options(text)) {
    json::object* at = &tree;
    std::string_view rest = name;
    const auto clash = [&] {
      return fail(ErrorKind::kInvalidArgument,
                  fmt::format("Parameter '{}' stands for a value and for an object", name));
    };
    for (size_t dot = 0; (dot = rest.find('.')) != std::string_view::npos;) {
      json::value& inner = (*at)[rest.substr(0, dot)];
      if (inner.is_null()) inner.emplace_object();
      if (!inner.is_object()) return clash();
      at = &inner.get_object();
      rest.remove_prefix(dot + 1);
    }
    json::value& leaf = (*at)[rest];
    if (leaf.is_object()) return clash();
    leaf = value;
  }
  return tree;
}

Result<std::string> shown_name(const ImageAddress& address) {
  const auto read = options_of(address);
  if (!read) return address.name;
  if (!*read) return block::plain_path(address.name);
  const json::object& tree = **read;
  const json::value* file = tree.if_contains("file");
  const bool is_plain =
      file != nullptr && file->is_object() && file->get_object().contains("filename") &&
      file->get_object().at("filename").is_string() &&
      std::ranges::all_of(
          tree,
          [](const auto& member) { return member.key() == "driver" || member.key() == "file"; }) &&
      std::ranges::all_of(file->get_object(), [](const auto& member) {
        return member.key() == "driver" || member.key() == "filename";
      });
  if (is_plain) {
    return block::plain_path(std::string(file->get_object().at("filename").get_string()));
  }
  return std::string(kJsonPrefix) + base::print_json(json::value(tree));
}

Task<Result<block::OpenedTree>> open_image(ImageAddress address, Access access) {
  block::NodeOptions options;
  options.read_only = access != Access::kWritable;
  options.force_share = address.force_share;
  options.unmap = true;
  block::NodeSpec spec = CO_TRY(co_await make_spec(address, options));
  if (access != Access::kReadOnlyChain && !spec.backing.has_value()) {
    const block::DriverEntry* entry = registry().find(spec.driver);
    if (entry != nullptr && entry->supports_backing) {
      spec.backing.emplace(std::unique_ptr<block::NodeSpec>());
    }
  }
  co_return co_await block::open_tree(registry(), std::move(spec));
}

std::string opening_context(const ImageAddress& address) {
  return fmt::format("Could not open '{}'", address.name);
}

Task<Result<block::ImageFacts>> read_facts(ImageAddress address) {
  block::OpenedTree tree =
      CO_TRY_CONTEXT(co_await open_image(address, Access::kReadOnly), opening_context(address));
  auto facts = co_await tree.top->driver().facts();
  Result<> closed = co_await block::close_tree(std::move(tree));
  CO_TRY(std::move(closed));
  block::ImageFacts image = CO_TRY(std::move(facts));
  image.filename = CO_TRY(shown_name(address));
  if (!image.backing_filename.empty()) {
    image.backing_filename_full =
        qcow2::resolve_backing_path(image.filename, image.backing_filename);
  }
  // A guest sees whole sectors.
  image.virtual_size_bytes = base::round_up(image.virtual_size_bytes, 512);
  co_return image;
}

}  // namespace firn::cli::img
