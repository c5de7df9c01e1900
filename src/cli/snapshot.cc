// firn snapshot: a live snapshot, and what it cost the guest.
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <chrono>

#include "async/file.h"
#include "cli/command.h"
#include "cli/endpoint.h"
#include "cli/options.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Result;

namespace {

double milliseconds(const json::object& data, std::string_view member) {
  const json::value* value = data.if_contains(member);
  if (value == nullptr || !value->is_number()) return 0;
  return value->to_number<double>() / 1e6;
}

// The members that name the disk: `device`, or `node-name` for a node that no device stands for.
Task<Result<json::object>> address(QmpClient& client, std::string name, bool overlay_is_named) {
  const json::value block = CO_TRY(co_await client.execute("query-block"));
  for (const json::value& device : block.as_array()) {
    if (json::value(name) == device.at("device")) co_return json::object{{"device", name}};
  }
  const json::value nodes = CO_TRY(co_await client.execute("query-named-block-nodes"));
  for (const json::value& node : nodes.as_array()) {
    if (json::value(name) != node.at("node-name")) continue;
    if (overlay_is_named) co_return json::object{{"node-name", name}};
    co_return base::fail(
        usage_error("snapshot", fmt::format("'{}' is a node without a device: name the overlay's "
                                            "node with --snapshot-node-name",
                                            name)));
  }
  // Let the daemon say it in its own words.
  co_return json::object{{"device", name}};
}

Task<Result<json::object>> take(Globals globals, std::string device, std::string overlay,
                                Options options) {
  // The daemon's directory need not be this one.
  overlay = CO_TRY(co_await async::Loop::current().files().real_path(overlay));
  auto client = CO_TRY(co_await connect_daemon(globals.socket, device));
  json::object arguments =
      CO_TRY(co_await address(*client, device, options.has("snapshot-node-name")));
  arguments.emplace("snapshot-file", overlay);
  for (std::string_view member : {"format", "mode", "snapshot-node-name"}) {
    if (options.has(member)) arguments.emplace(member, options.value(member));
  }
  const async::TimePoint start = async::Loop::current().now();
  CO_TRY(co_await client->execute("blockdev-snapshot-sync", std::move(arguments)));
  const async::Duration total = async::Loop::current().now() - start;

  json::object report{
      {"device", device}, {"overlay", overlay}, {"total-ns", static_cast<int64_t>(total.count())}};
  // The event leaves before the reply.
  for (json::object& event : client->take_events()) {
    if (event["event"] != "BLOCK_SNAPSHOT_COMPLETED") continue;
    const json::object& data = event["data"].as_object();
    // Other clients' snapshots give events too.
    const auto names_it = [&](std::string_view member) {
      const json::value* name = data.if_contains(member);
      return name != nullptr && name->is_string() && name->get_string() == device;
    };
    if (!names_it("device") && !names_it("node-name")) continue;
    for (std::string_view member : {"pause-ns", "prepare-ns", "seal-ns", "in-flight"}) {
      if (const json::value* value = data.if_contains(member)) report.emplace(member, *value);
    }
  }
  co_return report;
}

Task<Result<>> run(Globals globals, std::vector<std::string> arguments) {
  const Options options = CO_TRY(Options::parse(
      "snapshot", {{"format", 'f'}, {"mode"}, {"snapshot-node-name"}, {"output"}}, arguments));
  if (options.operands().size() != 2) {
    co_return base::fail(usage_error("snapshot", "a device and an overlay file are needed"));
  }
  const Output output = CO_TRY(parse_output("snapshot", options.value("output", "human")));
  const json::object report =
      CO_TRY(co_await take(globals, options.operands()[0], options.operands()[1], options));
  if (output == Output::kJson) {
    print_out(base::print_json(json::value(report)) + "\n");
    co_return Result<>();
  }
  std::string text = fmt::format("{} now writes to {}\n", options.operands()[0],
                                 std::string_view(report.at("overlay").as_string()));
  if (report.contains("pause-ns")) {
    text += fmt::format("pause {:.3f} ms, ", milliseconds(report, "pause-ns"));
  }
  print_out(text + fmt::format("total {:.3f} ms\n", milliseconds(report, "total-ns")));
  co_return Result<>();
}

}  // namespace

const Command kSnapshotCommand = {
    .name = "snapshot",
    .usage = "DEVICE OVERLAY [options]",
    .summary = "Take a live snapshot of a device",
    .details =
        "The device's image is frozen as it is now and becomes the backing file of OVERLAY,\n"
        "which takes all writes from here on. Clients stay connected and don't wait.\n"
        "DEVICE is a device's or a node's name. OVERLAY is created; an existing file that no\n"
        "open disk uses is overwritten.\n"
        "\n"
        "options:\n"
        "  -f, --format FORMAT        the overlay's image format (default: qcow2)\n"
        "  --mode MODE                'absolute-paths' creates the overlay (default),\n"
        "                             'existing' uses an overlay that was made before\n"
        "  --snapshot-node-name NAME  the overlay's node-name (default: made up)\n"
        "  --output human|json        how to print the result\n"
        "\n"
        "example:\n"
        "  firn snapshot vda /var/lib/disks/monday.qcow2\n",
    .run = run,
};

}  // namespace firn::cli
