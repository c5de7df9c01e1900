// firn tree: devices, their chains of layers, and what is exported.
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <map>
#include <optional>
#include <set>

#include "base/units.h"
#include "cli/command.h"
#include "cli/endpoint.h"
#include "cli/options.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Result;

namespace {

struct Layer {
  std::string node_name;  // empty: the layer has no node that the daemon names
  std::string filename;
  std::string format;
  uint64_t virtual_bytes = 0;
  uint64_t actual_bytes = 0;
  bool read_only = true;
};

struct Chain {
  std::string device;  // empty: a head that no device names
  std::string head;
  std::vector<Layer> layers;  // the head first
  std::vector<std::string> exports;
};

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
         .read_only = read_only != nullptr && read_only->is_bool() && read_only->get_bool()});
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

std::string draw(const Chain& chain) {
  std::string text = chain.device.empty() ? fmt::format("node {}", chain.head) : chain.device;
  if (!chain.layers.empty()) {
    text += fmt::format("  {}", base::format_size(chain.layers.front().virtual_bytes));
  }
  for (const std::string& entry : chain.exports) text += fmt::format("  exported as {}", entry);
  text += '\n';
  std::string indent;
  for (const Layer& layer : chain.layers) {
    text += fmt::format("{}└─ {}  {}  {} used", indent, layer.filename, layer.format,
                        base::format_size(layer.actual_bytes));
    if (!layer.node_name.empty()) text += fmt::format("  [{}]", layer.node_name);
    text += layer.read_only ? "  read-only\n" : "\n";
    indent += "   ";
  }
  return text;
}

json::value as_json(const std::vector<Chain>& chains) {
  json::array all;
  for (const Chain& chain : chains) {
    json::array layers;
    for (const Layer& layer : chain.layers) {
      layers.push_back({{"node-name", layer.node_name},
                        {"filename", layer.filename},
                        {"format", layer.format},
                        {"virtual-size", layer.virtual_bytes},
                        {"actual-size", layer.actual_bytes},
                        {"read-only", layer.read_only}});
    }
    json::array exports;
    for (const std::string& entry : chain.exports) exports.emplace_back(entry);
    all.push_back({{"device", chain.device},
                   {"head", chain.head},
                   {"layers", std::move(layers)},
                   {"exports", std::move(exports)}});
  }
  return all;
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

Task<Result<>> run(Globals globals, std::vector<std::string> arguments) {
  const Options options = CO_TRY(Options::parse("tree", {{"output"}}, arguments));
  const Output output = CO_TRY(parse_output("tree", options.value("output", "human")));
  if (options.operands().size() > 1) {
    co_return base::fail(usage_error("tree", "one device at most can be named"));
  }
  const std::string only = options.operands().empty() ? "" : options.operands()[0];
  auto client = CO_TRY(co_await connect_daemon(globals.socket, only));
  Facts facts;
  facts.nodes = CO_TRY(co_await query(*client, "query-named-block-nodes", {{"flat", true}}));
  facts.exports = CO_TRY(co_await query(*client, "query-block-exports"));
  facts.block = CO_TRY(co_await query(*client, "query-block"));
  std::vector<Chain> chains = chains_of(facts);
  if (!only.empty()) {
    std::erase_if(chains,
                  [&](const Chain& chain) { return chain.device != only && chain.head != only; });
    if (chains.empty()) {
      co_return base::fail(
          base::Error(base::ErrorKind::kDeviceNotFound, fmt::format("No device '{}'", only))
              .with_hint("'firn tree' without a name shows them all."));
    }
  }
  if (output == Output::kJson) {
    print_out(base::print_json(as_json(chains), base::JsonStyle::kPretty) + "\n");
    co_return Result<>();
  }
  std::string text;
  for (const Chain& chain : chains) text += draw(chain);
  print_out(text.empty() ? "no block devices\n" : text);
  co_return Result<>();
}

}  // namespace

const Command kTreeCommand = {
    .name = "tree",
    .usage = "[DEVICE] [options]",
    .summary = "Show the chain of layers of each device",
    .details =
        "One line for each layer, the head first: file, format, the room it takes, its\n"
        "node-name in brackets.\n"
        "\n"
        "options:\n"
        "  --output human|json  how to print the result\n",
    .run = run,
};

}  // namespace firn::cli
