// firn tree: devices, their chains of layers, and what is exported.
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/text_width.h"
#include "base/units.h"
#include "cli/chains.h"
#include "cli/command.h"
#include "cli/endpoint.h"
#include "cli/options.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Result;

namespace {

std::string draw(const Chain& chain) {
  std::string text = chain.device.empty() ? fmt::format("node {}", chain.head) : chain.device;
  if (!chain.layers.empty()) {
    text += fmt::format("  {}", base::format_size(chain.layers.front().virtual_bytes));
  }
  for (const std::string& entry : chain.exports) text += fmt::format("  exported as {}", entry);
  text += '\n';
  std::string indent;
  for (const Layer& layer : chain.layers) {
    text += fmt::format("{}└─ {}  {}  {} used", indent, base::printable(layer.filename),
                        layer.format, base::format_size(layer.actual_bytes));
    if (layer.own_data_bytes) {
      text += fmt::format(", {} own", base::format_size(*layer.own_data_bytes));
    }
    if (layer.modified_s) text += fmt::format("  {}", local_time(*layer.modified_s));
    if (!layer.node_name.empty()) text += fmt::format("  [{}]", layer.node_name);
    text += layer.read_only ? "  read-only\n" : "\n";
    indent += "   ";
    for (const InternalSnapshot& snapshot : layer.snapshots) {
      text += fmt::format("{}• {}  snapshot {}  {}\n", indent, base::printable(snapshot.name),
                          base::printable(snapshot.id), local_time(snapshot.date_s));
    }
  }
  return text;
}

json::object as_json(const Layer& layer) {
  json::object object{{"node-name", layer.node_name},
                      {"filename", layer.filename},
                      {"format", layer.format},
                      {"virtual-size", layer.virtual_bytes},
                      {"actual-size", layer.actual_bytes},
                      {"read-only", layer.read_only}};
  if (layer.own_data_bytes) object.emplace("own-data-bytes", *layer.own_data_bytes);
  if (layer.own_zero_bytes) object.emplace("own-zero-bytes", *layer.own_zero_bytes);
  if (layer.modified_s) object.emplace("modified", *layer.modified_s);
  if (!layer.snapshots.empty()) {
    json::array snapshots;
    for (const InternalSnapshot& snapshot : layer.snapshots) {
      snapshots.push_back(
          {{"id", snapshot.id}, {"name", snapshot.name}, {"date", snapshot.date_s}});
    }
    object.emplace("snapshots", std::move(snapshots));
  }
  return object;
}

json::value as_json(const std::vector<Chain>& chains) {
  json::array all;
  for (const Chain& chain : chains) {
    json::array layers;
    for (const Layer& layer : chain.layers) layers.emplace_back(as_json(layer));
    json::array exports;
    for (const std::string& entry : chain.exports) exports.emplace_back(entry);
    all.push_back({{"device", chain.device},
                   {"head", chain.head},
                   {"layers", std::move(layers)},
                   {"exports", std::move(exports)}});
  }
  return all;
}

Task<Result<>> run(Globals globals, std::vector<std::string> arguments) {
  const Options options =
      CO_TRY(Options::parse("tree", {{"output"}, {"fast", 0, false}}, arguments));
  const Output output = CO_TRY(parse_output("tree", options.value("output", "human")));
  if (options.operands().size() > 1) {
    co_return base::fail(usage_error("tree", "one device at most can be named"));
  }
  const std::string only = options.operands().empty() ? "" : options.operands()[0];
  auto client = CO_TRY(co_await connect_daemon(globals.socket, only));
  std::vector<Chain> chains = CO_TRY(co_await load_chains(*client));
  if (!only.empty()) {
    const Chain chosen = *CO_TRY(find_chain(chains, only));
    chains.assign(1, chosen);
  }
  co_await look_at_files(chains);
  if (!options.has("fast")) CO_TRY(co_await measure_layers(*client, chains));
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
        "One line for each layer, the head first: file, format, the room it takes in its store,\n"
        "the data that it has and the layers below it have not (own), when the file was changed\n"
        "last, its node-name in brackets; and below it its internal snapshots. A sealed layer\n"
        "was changed last when the snapshot was taken.\n"
        "\n"
        "options:\n"
        "  --fast               leave out what takes a walk through the images' tables\n"
        "  --output human|json  how to print the result\n"
        "\n"
        "example:\n"
        "  firn tree vda\n",
    .run = run,
};

}  // namespace firn::cli
