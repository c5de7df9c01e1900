// firn revert and firn fork: a running disk back to an earlier state, and a new device on one.
#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "async/file.h"
#include "base/text_width.h"
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

// The daemon's directory need not be this one.
Task<Result<std::string>> absolute(std::string path) {
  co_return co_await async::Loop::current().files().real_path(std::move(path));
}

void copy_options(const Options& options, std::initializer_list<std::string_view> names,
                  json::object& arguments) {
  for (const std::string_view name : names) {
    if (options.has(name)) arguments.emplace(name, options.value(name));
  }
}

// The data of the event `name` whose `member` is `value`. Other clients' work gives events too.
json::object event_data(QmpClient& client, std::string_view name, std::string_view member,
                        const json::value& value) {
  for (json::object& event : client.take_events()) {
    if (event["event"] != json::value(name) || !event["data"].is_object()) continue;
    const json::value* found = event["data"].get_object().if_contains(member);
    if (found != nullptr && *found == value) return std::move(event["data"].get_object());
  }
  return {};
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? base::printable(value->get_string()) : "";
}

// revert ----------------------------------------------------------------------------------------

constexpr std::string_view kRevert = "revert";

Task<Result<json::object>> revert_arguments(const Options& options,
                                            const std::vector<Chain>& chains) {
  const std::vector<std::string>& operands = options.operands();
  json::object arguments = address_of(chains, operands[0]);
  if (options.has("snapshot") || options.has("id")) {
    if (options.has("snapshot")) arguments.emplace("name", options.value("snapshot"));
    if (options.has("id")) arguments.emplace("id", options.value("id"));
    co_return arguments;
  }
  arguments.emplace("layer", CO_TRY(co_await find_layer(chains, operands[1])));
  arguments.emplace("overlay-file", CO_TRY(co_await absolute(operands[2])));
  copy_options(options, {"overlay-node-name", "format", "mode"}, arguments);
  co_return arguments;
}

Task<Result<>> run_revert(Globals globals, std::vector<std::string> words) {
  const Options options = CO_TRY(Options::parse(
      kRevert,
      {{"snapshot", 's'}, {"id"}, {"overlay-node-name"}, {"format", 'f'}, {"mode"}, {"output"}},
      words));
  const Output output = CO_TRY(parse_output(kRevert, options.value("output", "human")));
  const bool internal = options.has("snapshot") || options.has("id");
  if (options.operands().size() != (internal ? 1 : 3)) {
    co_return fail(usage_error(
        kRevert, "a device is needed, and a layer with an overlay file, or --snapshot NAME"));
  }
  const std::string& device = options.operands()[0];
  auto client = CO_TRY(co_await connect_daemon(globals.socket, device));
  const std::vector<Chain> chains = CO_TRY(co_await load_chains(*client));
  json::object arguments = CO_TRY(co_await revert_arguments(options, chains));
  const std::string_view named_by = arguments.contains("device") ? "device" : "node-name";
  CO_TRY(co_await client->execute("blockdev-snapshot-revert", arguments));
  json::object report =
      event_data(*client, "BLOCK_SNAPSHOT_REVERTED", named_by, json::value(device));
  if (report.empty()) report = {{"device", device}};
  if (output == Output::kJson) {
    print_out(base::print_json(json::value(report)) + "\n");
    co_return Result<>();
  }
  std::string text = fmt::format(
      "{} is back at {}\n", device,
      internal
          ? fmt::format("snapshot {}",
                        base::printable(options.value(options.has("snapshot") ? "snapshot" : "id")))
          : base::printable(options.operands()[1]));
  if (const std::string left = text_of(report, "left"); !left.empty()) {
    text += fmt::format("what it had is kept, read-only, in node {}\n", left);
  }
  if (report.contains("pause-ns")) {
    text += fmt::format("pause {:.3f} ms\n", milliseconds_of(report, "pause-ns"));
  }
  print_out(text);
  co_return Result<>();
}

// fork ------------------------------------------------------------------------------------------

constexpr std::string_view kFork = "fork";

Task<Result<json::object>> fork_arguments(const Options& options,
                                          const std::vector<Chain>& chains) {
  const std::string& source = options.operands()[0];
  const std::string& id = options.operands()[1];
  json::object arguments{{"id", id}};
  if (const auto chain = find_chain(chains, source); chain && (*chain)->device == source) {
    arguments.emplace("device", source);
  } else {
    arguments.emplace("node-name", CO_TRY(co_await find_layer(chains, source)));
    arguments.emplace("overlay-node-name", id + "-head");
  }
  if (options.has("overlay-node-name")) {
    arguments["overlay-node-name"] = options.value("overlay-node-name");
  }
  arguments.emplace("overlay-file", CO_TRY(co_await absolute(options.operands()[2])));
  if (options.has("snapshot-file")) {
    arguments.emplace("snapshot-file", CO_TRY(co_await absolute(options.value("snapshot-file"))));
  }
  copy_options(options, {"snapshot-node-name", "format", "mode"}, arguments);
  co_return arguments;
}

Task<Result<>> run_fork(Globals globals, std::vector<std::string> words) {
  const Options options = CO_TRY(Options::parse(kFork,
                                                {{"snapshot-file", 's'},
                                                 {"snapshot-node-name"},
                                                 {"overlay-node-name"},
                                                 {"format", 'f'},
                                                 {"mode"},
                                                 {"output"}},
                                                words));
  const Output output = CO_TRY(parse_output(kFork, options.value("output", "human")));
  if (options.operands().size() != 3) {
    co_return fail(usage_error(
        kFork, "a device or a layer, the new device's name, and its overlay file are needed"));
  }
  auto client = CO_TRY(co_await connect_daemon(globals.socket, options.operands()[0]));
  const std::vector<Chain> chains = CO_TRY(co_await load_chains(*client));
  json::object arguments = CO_TRY(co_await fork_arguments(options, chains));
  const json::value id = arguments.at("id");
  const std::string overlay(arguments.at("overlay-file").as_string());
  const bool has_snapshot = arguments.contains("snapshot-file");
  auto forked = co_await client->execute("block-device-fork", std::move(arguments));
  if (!forked && !has_snapshot && forked.error().text().ends_with("stands on a snapshot of it")) {
    co_return fail(std::move(forked).error().with_hint(
        "A disk that is being written to needs --snapshot-file FILE, its own new image."));
  }
  CO_TRY(std::move(forked));
  json::object report = event_data(*client, "BLOCK_DEVICE_FORKED", "id", id);
  if (report.empty()) report.emplace("id", id);
  report.emplace("overlay", overlay);
  if (output == Output::kJson) {
    print_out(base::print_json(json::value(report)) + "\n");
    co_return Result<>();
  }
  std::string text = fmt::format("{} starts from {} and writes to {}\n", options.operands()[1],
                                 base::printable(options.operands()[0]), base::printable(overlay));
  if (const std::string node = text_of(report, "node-name"); !node.empty()) {
    text += fmt::format("its head is node {}: export that one\n", node);
  }
  if (report.contains("total-ns")) {
    text += fmt::format("total {:.3f} ms\n", milliseconds_of(report, "total-ns"));
  }
  print_out(text);
  co_return Result<>();
}

}  // namespace

const Command kRevertCommand = {
    .name = "revert",
    .usage = "DEVICE LAYER OVERLAY | DEVICE --snapshot NAME  [options]",
    .summary = "Take a running disk back to an earlier state",
    .details =
        "Back to a layer: LAYER, a node-name or a file, stays as it is; OVERLAY is created on\n"
        "top of it and takes the writes. What the disk had is kept in the images that it left.\n"
        "\n"
        "Back to an internal snapshot: what was written since is gone, unless another snapshot\n"
        "has it.\n"
        "\n"
        "Clients stay connected and wait meanwhile. A guest that has the disk mounted must not\n"
        "go on with what it remembers of it: stop it first, or let it start anew.\n"
        "\n"
        "options:\n"
        "  -s, --snapshot NAME       the internal snapshot's name\n"
        "  --id ID                   the internal snapshot's ID\n"
        "  -f, --format FORMAT       OVERLAY's image format (default: qcow2)\n"
        "  --mode MODE               what to do about a file that is there, as for 'snapshot'\n"
        "  --overlay-node-name NAME  the overlay's node-name (default: made up)\n"
        "  --output human|json       how to print the result\n"
        "\n"
        "examples:\n"
        "  firn revert vda /var/lib/disks/monday.qcow2 /var/lib/disks/again.qcow2\n"
        "  firn revert vda --snapshot before-upgrade\n",
    .run = run_revert,
};

const Command kForkCommand = {
    .name = "fork",
    .usage = "DEVICE|LAYER NEW OVERLAY [options]",
    .summary = "Make a new device that starts from a layer of another",
    .details =
        "NEW stands on the same layers and goes its own way in OVERLAY, which is created;\n"
        "nothing is copied. A LAYER is named by its node-name or its file. Of a disk that is\n"
        "being written to, a snapshot is taken first, into the file that --snapshot-file names.\n"
        "\n"
        "options:\n"
        "  -s, --snapshot-file FILE   the new image of a disk that is written to\n"
        "  --snapshot-node-name NAME  that image's node-name (default: made up)\n"
        "  --overlay-node-name NAME   OVERLAY's node-name (default: made up, or NEW-head)\n"
        "  -f, --format FORMAT        the new images' format (default: qcow2)\n"
        "  --mode MODE                what to do about files that are there, as for 'snapshot'\n"
        "  --output human|json        how to print the result\n"
        "\n"
        "examples:\n"
        "  firn fork /var/lib/disks/monday.qcow2 test1 /var/lib/disks/test1.qcow2\n"
        "  firn fork vda test2 /snaps/test2.qcow2 --snapshot-file /snaps/vda-2.qcow2\n",
    .run = run_fork,
};

}  // namespace firn::cli
