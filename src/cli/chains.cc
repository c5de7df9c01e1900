#include "cli/chains.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <ctime>
#include <map>
#include <set>

#include "async/file.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Error;
using base::ErrorKind;
using base::Result;

namespace {

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

uint64_t number_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_number() ? value->to_number<uint64_t>() : 0;
}

const json::object* object_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_object() ? &value->get_object() : nullptr;
}

std::vector<InternalSnapshot> snapshots_of(const json::object& image) {
  std::vector<InternalSnapshot> snapshots;
  const json::value* list = image.if_contains("snapshots");
  if (list == nullptr || !list->is_array()) return snapshots;
  for (const json::value& value : list->get_array()) {
    if (!value.is_object()) continue;
    const json::object& entry = value.get_object();
    snapshots.push_back({.id = text_of(entry, "id"),
                         .name = text_of(entry, "name"),
                         .date_s = static_cast<int64_t>(number_of(entry, "date-sec"))});
  }
  return snapshots;
}

// Format nodes by the file that they have open.
using NodesByFile = std::map<std::string, const json::object*>;

// The layers below `node`, itself first. Each names the file below it, and a node has that open:
// asking for every image with all those below it would take quadratic room.
std::vector<Layer> layers_of(const json::object& head, const NodesByFile& nodes_by_file) {
  std::vector<Layer> layers;
  std::set<const json::object*> seen;
  for (const json::object* node = &head; node != nullptr && seen.insert(node).second;) {
    const json::object* image = object_of(*node, "image");
    if (image == nullptr) break;
    const json::value* read_only = node->if_contains("ro");
    layers.push_back(
        {.node_name = text_of(*node, "node-name"),
         .filename = text_of(*image, "filename"),
         .format = text_of(*image, "format"),
         .virtual_bytes = number_of(*image, "virtual-size"),
         .actual_bytes = number_of(*image, "actual-size"),
         .read_only = read_only != nullptr && read_only->is_bool() && read_only->get_bool(),
         .snapshots = snapshots_of(*image)});
    std::string below = text_of(*image, "full-backing-filename");
    if (below.empty()) below = text_of(*image, "backing-filename");
    if (below.empty()) break;
    const auto found = nodes_by_file.find(below);
    if (found == nodes_by_file.end()) {
      layers.push_back({.filename = below, .format = text_of(*image, "backing-filename-format")});
      break;
    }
    node = found->second;
  }
  return layers;
}

bool is_protocol(const json::object& node) {
  static const std::set<std::string, std::less<>> kProtocols = {"file", "host_device", "nbd"};
  return kProtocols.contains(text_of(node, "drv"));
}

struct Facts {
  json::array nodes, block, exports;
};

std::vector<Chain> chains_of(const Facts& facts) {
  std::map<std::string, const json::object*> nodes;
  NodesByFile by_file;
  for (const json::value& value : facts.nodes) {
    const json::object& node = value.as_object();
    nodes[text_of(node, "node-name")] = &node;
    if (!is_protocol(node)) {
      if (const json::object* image = object_of(node, "image")) {
        by_file[text_of(*image, "filename")] = &node;
      }
    }
  }
  std::map<std::string, std::vector<std::string>> exports;  // by head
  for (const json::value& value : facts.exports) {
    const json::object& entry = value.as_object();
    exports[text_of(entry, "node-name")].push_back(
        fmt::format("{} ({})", text_of(entry, "id"), text_of(entry, "type")));
  }
  std::vector<Chain> chains;
  std::set<std::string> shown;
  auto add = [&](std::string device, const std::string& head) {
    const auto found = nodes.find(head);
    if (found == nodes.end()) return;
    chains.push_back({.device = std::move(device),
                      .head = head,
                      .layers = layers_of(*found->second, by_file),
                      .exports = exports[head]});
    for (const Layer& layer : chains.back().layers) shown.insert(layer.node_name);
  };
  for (const json::value& value : facts.block) {
    const json::object& device = value.as_object();
    const json::object* inserted = object_of(device, "inserted");
    if (inserted != nullptr) add(text_of(device, "device"), text_of(*inserted, "node-name"));
  }
  for (const auto& [head, users] : exports) {
    if (!shown.contains(head)) add("", head);
  }
  // What neither a device nor an export leads to, heads before what lies below them.
  std::set<std::string> below;
  for (const auto& [name, node] : nodes) {
    if (is_protocol(*node)) continue;
    const std::vector<Layer> layers = layers_of(*node, by_file);
    for (size_t i = 1; i < layers.size(); ++i) below.insert(layers[i].node_name);
  }
  for (const auto& [name, node] : nodes) {
    if (!shown.contains(name) && !below.contains(name) && !is_protocol(*node)) add("", name);
  }
  return chains;
}

Task<Result<json::array>> query(QmpClient& client, std::string command,
                                json::object arguments = {}) {
  json::value value = CO_TRY(co_await client.execute(command, std::move(arguments)));
  if (!value.is_array()) {
    co_return base::fail(base::ErrorKind::kGeneric,
                         fmt::format("'{}' did not give a list", command));
  }
  co_return std::move(value.get_array());
}

// One layer against those below it, in as many answers as it takes. Nothing where the server can't.
Task<Result<>> measure(QmpClient& client, Layer& layer) {
  uint64_t data = 0;
  uint64_t zero = 0;
  for (uint64_t offset = 0;;) {
    auto answer = co_await client.execute(
        "query-block-diff",
        {{"node-name", layer.node_name}, {"offset", offset}, {"extents", false}});
    if (!answer && !client.last_error().empty()) co_return Result<>();
    if (!answer) co_return base::fail(answer.error());
    if (!answer->is_object()) co_return Result<>();
    const json::object& diff = answer->get_object();
    data += number_of(diff, "data-bytes");
    zero += number_of(diff, "zero-bytes");
    const uint64_t next = number_of(diff, "next-offset");
    if (next <= offset) break;
    offset = next;
  }
  layer.own_data_bytes = data;
  layer.own_zero_bytes = zero;
  co_return Result<>();
}

}  // namespace

Task<Result<std::vector<Chain>>> load_chains(QmpClient& client) {
  Facts facts;
  facts.nodes = CO_TRY(co_await query(client, "query-named-block-nodes", {{"flat", true}}));
  facts.exports = CO_TRY(co_await query(client, "query-block-exports"));
  facts.block = CO_TRY(co_await query(client, "query-block"));
  co_return chains_of(facts);
}

Task<void> look_at_files(std::vector<Chain>& chains) {
  for (Chain& chain : chains) {
    for (Layer& layer : chain.layers) {
      const auto stat = co_await async::Loop::current().files().stat(layer.filename);
      if (stat) layer.modified_s = stat->modified_ns / 1'000'000'000;
    }
  }
}

Task<Result<>> measure_layers(QmpClient& client, std::vector<Chain>& chains) {
  for (Chain& chain : chains) {
    for (Layer& layer : chain.layers) {
      if (!layer.node_name.empty()) CO_TRY(co_await measure(client, layer));
    }
  }
  co_return Result<>();
}

Result<const Chain*> find_chain(const std::vector<Chain>& chains, const std::string& name) {
  for (const Chain& chain : chains) {
    if (chain.device == name) return &chain;
  }
  for (const Chain& chain : chains) {
    if (chain.head == name) return &chain;
  }
  return base::fail(Error(ErrorKind::kDeviceNotFound, fmt::format("No device '{}'", name))
                        .with_hint("'firn tree' without a name shows them all."));
}

Task<Result<std::string>> find_layer(const std::vector<Chain>& chains, std::string name) {
  for (const Chain& chain : chains) {
    for (const Layer& layer : chain.layers) {
      if (!layer.node_name.empty() && layer.node_name == name) co_return name;
    }
  }
  const auto path = co_await async::Loop::current().files().real_path(name);
  for (const Chain& chain : chains) {
    for (const Layer& layer : chain.layers) {
      if (path && layer.filename == *path && !layer.node_name.empty()) co_return layer.node_name;
    }
  }
  co_return base::fail(
      Error(ErrorKind::kDeviceNotFound,
            fmt::format("No layer has the node-name or the file '{}'", name))
          .with_hint("'firn tree' shows them, with their node-names in brackets."));
}

json::object address_of(const std::vector<Chain>& chains, const std::string& name) {
  bool is_node = false;
  for (const Chain& chain : chains) {
    if (chain.device == name) return {{"device", name}};
    for (const Layer& layer : chain.layers) is_node = is_node || layer.node_name == name;
  }
  if (is_node) return {{"node-name", name}};
  return {{"device", name}};
}

std::string local_time(int64_t seconds) {
  const std::time_t moment = seconds;
  std::tm local{};
  if (localtime_r(&moment, &local) == nullptr) return "?";
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", local);
}

double milliseconds_of(const json::object& data, std::string_view member) {
  const json::value* value = data.if_contains(member);
  if (value == nullptr || !value->is_number()) return 0;
  return value->to_number<double>() / 1e6;
}

}  // namespace firn::cli
