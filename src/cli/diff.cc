// firn diff: what changed between two layers of a disk.
#include <fmt/format.h>

#include <algorithm>
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
using base::fail;
using base::Result;

namespace {

constexpr std::string_view kName = "diff";

uint64_t number_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_number() ? value->to_number<uint64_t>() : 0;
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

bool is_zero(const json::object& extent) {
  const json::value* zero = extent.if_contains("zero");
  return zero != nullptr && zero->is_bool() && zero->get_bool();
}

// Adds an extent; one that only the end of an answer cut off goes on.
void append(json::array& extents, json::object extent) {
  if (!extents.empty()) {
    json::object& last = extents.back().get_object();
    const uint64_t end = number_of(last, "offset") + number_of(last, "length");
    if (end == number_of(extent, "offset") && is_zero(last) == is_zero(extent) &&
        text_of(last, "node-name") == text_of(extent, "node-name")) {
      last["length"] = number_of(last, "length") + number_of(extent, "length");
      return;
    }
  }
  extents.emplace_back(std::move(extent));
}

// All answers of query-block-diff as one.
Task<Result<json::object>> collect(QmpClient& client, json::object arguments) {
  json::object whole;
  json::array extents;
  uint64_t data = 0;
  uint64_t zero = 0;
  for (uint64_t offset = 0;;) {
    arguments["offset"] = offset;
    json::value answer = CO_TRY(co_await client.execute("query-block-diff", arguments));
    if (!answer.is_object()) {
      co_return fail(base::ErrorKind::kGeneric, "'query-block-diff' did not give an object");
    }
    json::object& part = answer.get_object();
    data += number_of(part, "data-bytes");
    zero += number_of(part, "zero-bytes");
    if (json::value* list = part.if_contains("extents"); list != nullptr && list->is_array()) {
      for (json::value& extent : list->get_array()) {
        if (extent.is_object()) append(extents, std::move(extent.get_object()));
      }
    }
    const uint64_t next = number_of(part, "next-offset");
    if (whole.empty()) whole = std::move(part);
    if (next <= offset) break;
    offset = next;
  }
  whole.erase("next-offset");
  whole["data-bytes"] = data;
  whole["zero-bytes"] = zero;
  if (whole.contains("extents")) whole["extents"] = std::move(extents);
  co_return whole;
}

// The file of a layer, where it has one.
std::string file_of(const std::vector<Chain>& chains, const std::string& node_name) {
  for (const Chain& chain : chains) {
    for (const Layer& layer : chain.layers) {
      if (layer.node_name == node_name) return layer.filename;
    }
  }
  return {};
}

std::string layer_text(const std::vector<Chain>& chains, const std::string& node_name) {
  const std::string file = file_of(chains, node_name);
  return file.empty() ? node_name : fmt::format("{} [{}]", base::printable(file), node_name);
}

std::string human(const json::object& diff, const std::vector<Chain>& chains) {
  std::string text = layer_text(chains, text_of(diff, "node-name"));
  const std::string base = text_of(diff, "base-node");
  text += base.empty() ? ", which stands on nothing\n"
                       : fmt::format("\nagainst {}\n", layer_text(chains, base));
  if (const json::value* list = diff.if_contains("extents")) {
    // Which layer it is, only where there are several.
    const bool one_layer = std::ranges::all_of(list->as_array(), [&](const json::value& extent) {
      return text_of(extent.as_object(), "node-name") == text_of(diff, "node-name");
    });
    for (const json::value& value : list->as_array()) {
      const json::object& extent = value.as_object();
      text += fmt::format("{:>16} {:>12}  {}", number_of(extent, "offset"),
                          base::format_size(number_of(extent, "length")),
                          is_zero(extent) ? "zero" : "data");
      text += one_layer ? "\n" : fmt::format("  [{}]\n", text_of(extent, "node-name"));
    }
    text += fmt::format("{} extents, ", list->as_array().size());
  }
  text += fmt::format(
      "{} of data, {} of zeroes, of {}\n", base::format_size(number_of(diff, "data-bytes")),
      base::format_size(number_of(diff, "zero-bytes")), base::format_size(number_of(diff, "size")));
  return text;
}

Task<Result<>> run(Globals globals, std::vector<std::string> arguments) {
  const Options options =
      CO_TRY(Options::parse(kName, {{"output"}, {"summary", 's', false}}, arguments));
  const Output output = CO_TRY(parse_output(kName, options.value("output", "human")));
  const std::vector<std::string>& operands = options.operands();
  if (operands.empty() || operands.size() > 2) {
    co_return fail(
        usage_error(kName, "a device or a layer is needed, and a layer below it at most"));
  }
  auto client = CO_TRY(co_await connect_daemon(globals.socket, operands[0]));
  const std::vector<Chain> chains = CO_TRY(co_await load_chains(*client));
  json::object request = address_of(chains, operands[0]);
  if (request.contains("device") && !find_chain(chains, operands[0])) {
    // A file, then.
    request = {{"node-name", CO_TRY(co_await find_layer(chains, operands[0]))}};
  }
  if (operands.size() == 2) {
    request["base-node"] = CO_TRY(co_await find_layer(chains, operands[1]));
  }
  if (options.has("summary")) request["extents"] = false;
  const json::object diff = CO_TRY(co_await collect(*client, std::move(request)));
  if (output == Output::kJson) {
    print_out(base::print_json(json::value(diff), base::JsonStyle::kPretty) + "\n");
  } else {
    print_out(human(diff, chains));
  }
  co_return Result<>();
}

}  // namespace

const Command kDiffCommand = {
    .name = "diff",
    .usage = "DEVICE|LAYER [LOWER] [options]",
    .summary = "Show what changed between two layers of a disk",
    .details =
        "Lists the parts of the disk that were written, zeroed or discarded after LOWER was\n"
        "frozen, up to LAYER or to what the device has now: offset, length, and whether it is\n"
        "data. Without LOWER it is the layer right below. A layer is named by its node-name or\n"
        "its file. It goes by the images' tables: what was overwritten with the same bytes is\n"
        "there too, and the smallest part is a cluster or a subcluster.\n"
        "\n"
        "options:\n"
        "  -s, --summary        only the sums\n"
        "  --output human|json  how to print the result\n"
        "\n"
        "examples:\n"
        "  firn diff vda\n"
        "  firn diff vda /var/lib/disks/monday.qcow2\n"
        "  firn diff vda disk0 --output json\n",
    .run = run,
};

}  // namespace firn::cli
