// firn snapshot: a live snapshot of one disk or of several at one moment, and what it cost the
// guest.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <chrono>
#include <ctime>
#include <set>

#include "async/file.h"
#include "base/text_width.h"
#include "base/units.h"
#include "cli/chains.h"
#include "cli/command.h"
#include "cli/endpoint.h"
#include "cli/img/image_address.h"
#include "cli/options.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr std::string_view kName = "snapshot";

struct Disk {
  std::string name;     // of a device or a node
  std::string overlay;  // absolute
};

struct Request {
  std::vector<Disk> disks;
  bool group = false;
  json::object members;  // what all disks' snapshots have
};

std::vector<std::string> split_names(std::string_view text) {
  std::vector<std::string> names;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    if (comma != at) names.emplace_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return names;
}

// "20261123-213001".
std::string default_tag() {
  const std::time_t now = async::Loop::current().wall_clock_us() / 1'000'000;
  std::tm local{};
  localtime_r(&now, &local);
  return fmt::format("{:%Y%m%d-%H%M%S}", local);
}

// DIR/DISK-TAG.FORMAT, of which none is there yet.
Task<Result<>> name_overlays(const Options& options, std::vector<Disk>& disks) {
  async::FileSystem& files = async::Loop::current().files();
  const std::string directory = CO_TRY(co_await files.real_path(options.value("dir")));
  const async::FileStat stat = CO_TRY(co_await files.stat(directory));
  if (stat.kind != async::FileKind::kDirectory) {
    co_return fail(ErrorKind::kInvalidArgument, fmt::format("'{}' is no directory", directory));
  }
  const std::string tag = options.value("tag", default_tag());
  if (tag.contains('/')) co_return fail(usage_error(kName, "a tag has no '/'"));
  for (Disk& disk : disks) {
    disk.overlay =
        fmt::format("{}/{}-{}.{}", directory, disk.name, tag, options.value("format", "qcow2"));
    if (co_await files.stat(disk.overlay)) {
      co_return fail(Error(ErrorKind::kExists, fmt::format("'{}' exists already", disk.overlay))
                         .with_hint("Give another --tag or --dir."));
    }
  }
  co_return Result<>();
}

// "cluster-size=128k,extended-l2=off", with '_' for '-' too, as blockdev-snapshot-sync takes it.
json::object overlay_options(const std::vector<std::string>& arguments) {
  json::object object;
  for (const std::string& argument : arguments) {
    for (auto& [name, value] : img::split_options(argument)) {
      std::ranges::replace(name, '_', '-');
      if (value == "on" || value == "off") {
        object[name] = value == "on";
      } else if (const auto number = base::parse_size(value)) {
        object[name] = *number;
      } else {
        object[name] = value;
      }
    }
  }
  return object;
}

Result<json::object> common_members(const Options& options) {
  json::object members;
  for (std::string_view member : {"format", "mode"}) {
    if (options.has(member)) members.emplace(member, options.value(member));
  }
  if (options.has("options")) {
    members.emplace("overlay-options", overlay_options(options.values("options")));
  }
  if (!options.has("deadline-ms")) return members;
  const std::string text = options.value("deadline-ms");
  uint32_t deadline = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), deadline);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(
        usage_error(kName, fmt::format("--deadline-ms takes milliseconds, not '{}'", text)));
  }
  members.emplace("deadline-ms", deadline);
  return members;
}

Task<Result<Request>> make_request(const Options& options) {
  Request request;
  request.members = CO_TRY(common_members(options));
  request.group = options.has("group");
  const std::vector<std::string>& operands = options.operands();
  if (request.group) {
    std::set<std::string> seen;
    for (std::string& name : split_names(options.value("group"))) {
      if (!seen.insert(name).second) {
        co_return fail(usage_error(kName, fmt::format("'{}' is named twice", name)));
      }
      request.disks.push_back({.name = std::move(name), .overlay = {}});
    }
    if (request.disks.empty()) co_return fail(usage_error(kName, "--group names no disk"));
    if (!operands.empty() || !options.has("dir")) {
      co_return fail(usage_error(kName, "--group goes with --dir, and with nothing else to name"));
    }
    if (options.has("snapshot-node-name")) {
      co_return fail(usage_error(kName, "--snapshot-node-name is for one disk"));
    }
  } else if (operands.size() != (options.has("dir") ? 1 : 2)) {
    co_return fail(
        usage_error(kName, "a device, and an overlay file or --dir DIRECTORY, are needed"));
  } else {
    request.disks.push_back({.name = operands[0], .overlay = {}});
  }
  if (options.has("dir")) {
    CO_TRY(co_await name_overlays(options, request.disks));
  } else {
    // The daemon's directory need not be this one.
    request.disks[0].overlay =
        CO_TRY(co_await async::Loop::current().files().real_path(operands[1]));
  }
  if (options.has("snapshot-node-name")) {
    request.members.emplace("snapshot-node-name", options.value("snapshot-node-name"));
  }
  co_return request;
}

// The arguments of blockdev-snapshot-sync for one disk. The overlay of a node without a device
// needs a name.
Result<json::object> arguments_of(const Request& request, const Disk& disk,
                                  const std::vector<Chain>& chains) {
  json::object arguments = address_of(chains, disk.name);
  if (arguments.contains("node-name") && !request.members.contains("snapshot-node-name")) {
    return fail(
        usage_error(kName, fmt::format("'{}' is a node without a device: name the overlay's node "
                                       "with --snapshot-node-name",
                                       disk.name)));
  }
  arguments.emplace("snapshot-file", disk.overlay);
  for (const auto& member : request.members) arguments.emplace(member.key(), member.value());
  return arguments;
}

Task<Result<>> execute(QmpClient& client, const Request& request,
                       const std::vector<Chain>& chains) {
  if (!request.group) {
    json::object arguments = CO_TRY(arguments_of(request, request.disks[0], chains));
    CO_TRY(co_await client.execute("blockdev-snapshot-sync", std::move(arguments)));
    co_return Result<>();
  }
  json::array actions;
  for (const Disk& disk : request.disks) {
    actions.push_back({{"type", "blockdev-snapshot-sync"},
                       {"data", CO_TRY(arguments_of(request, disk, chains))}});
  }
  CO_TRY(co_await client.execute("transaction", {{"actions", std::move(actions)}}));
  co_return Result<>();
}

// What a disk's event tells of its snapshot. Other clients' snapshots give events too.
json::object report_of(const Disk& disk, const std::vector<json::object>& events) {
  json::object report{{"device", disk.name}, {"overlay", disk.overlay}};
  for (const json::object& event : events) {
    if (event.at("event") != "BLOCK_SNAPSHOT_COMPLETED") continue;
    const json::object& data = event.at("data").as_object();
    const auto names_it = [&](std::string_view member) {
      const json::value* name = data.if_contains(member);
      return name != nullptr && name->is_string() && name->get_string() == disk.name;
    };
    if (!names_it("device") && !names_it("node-name")) continue;
    for (const auto& member : data) {
      if (member.key() == "device" || member.key() == "node-name") continue;
      report.emplace(member.key() == "overlay" ? "overlay-node-name" : member.key(),
                     member.value());
    }
  }
  return report;
}

std::string line_of(const json::object& report) {
  std::string text =
      fmt::format("{} now writes to {}\n", std::string_view(report.at("device").as_string()),
                  base::printable(std::string_view(report.at("overlay").as_string())));
  if (report.contains("pause-ns")) {
    text += fmt::format("pause {:.3f} ms, ", milliseconds_of(report, "pause-ns"));
  }
  return text;
}

Task<Result<>> run(Globals globals, std::vector<std::string> arguments) {
  const Options options = CO_TRY(Options::parse(kName,
                                                {{"format", 'f'},
                                                 {"mode"},
                                                 {"snapshot-node-name"},
                                                 {"group", 'g'},
                                                 {"dir", 'd'},
                                                 {"tag", 't'},
                                                 {"deadline-ms"},
                                                 {"options", 'o'},
                                                 {"output"}},
                                                arguments));
  const Output output = CO_TRY(parse_output(kName, options.value("output", "human")));
  const Request request = CO_TRY(co_await make_request(options));
  auto client = CO_TRY(co_await connect_daemon(globals.socket, request.disks[0].name));
  const std::vector<Chain> chains = CO_TRY(co_await load_chains(*client));
  const async::TimePoint start = async::Loop::current().now();
  CO_TRY(co_await execute(*client, request, chains));
  const async::Duration total = async::Loop::current().now() - start;
  const int64_t total_ns = std::chrono::nanoseconds(total).count();

  // The events leave before the reply.
  const std::vector<json::object> events = client->take_events();
  json::array reports;
  std::string text;
  for (const Disk& disk : request.disks) {
    json::object report = report_of(disk, events);
    text += line_of(report);
    if (request.group && text.ends_with(", ")) text.replace(text.size() - 2, 2, "\n");
    if (!request.group) report.emplace("total-ns", total_ns);
    reports.emplace_back(std::move(report));
  }
  if (output == Output::kJson) {
    const json::value whole =
        request.group
            ? json::value(json::object{{"disks", std::move(reports)}, {"total-ns", total_ns}})
            : std::move(reports[0]);
    print_out(base::print_json(whole) + "\n");
    co_return Result<>();
  }
  print_out(text + fmt::format("total {:.3f} ms\n", static_cast<double>(total_ns) / 1e6));
  co_return Result<>();
}

}  // namespace

const Command kSnapshotCommand = {
    .name = "snapshot",
    .usage = "DEVICE OVERLAY | DEVICE --dir DIR | --group DEVICE,... --dir DIR  [options]",
    .summary = "Take a live snapshot of one disk, or of several at one moment",
    .details =
        "The device's image is frozen as it is now and becomes the backing file of OVERLAY,\n"
        "which takes all writes from here on. Clients stay connected and don't wait.\n"
        "DEVICE is a device's or a node's name. OVERLAY is created; an existing file that no\n"
        "open disk uses is overwritten.\n"
        "\n"
        "With --dir, the overlay is DIR/DEVICE-TAG.qcow2 and must not be there yet. With --group,\n"
        "the snapshots of all devices are of one point in time, or none is taken.\n"
        "\n"
        "options:\n"
        "  -g, --group DEVICE,...     the devices of a group\n"
        "  -d, --dir DIRECTORY        where overlays are created\n"
        "  -t, --tag TAG              what tells overlays apart (default: date and time)\n"
        "  -f, --format FORMAT        the overlay's image format (default: qcow2)\n"
        "  --mode MODE                'absolute-paths' creates the overlay (default), 'existing'\n"
        "                             uses an overlay that was made before, 'exclusive' refuses\n"
        "                             a file that is there, 'relative-paths' stores the way\n"
        "                             from the overlay to its backing file\n"
        "  --snapshot-node-name NAME  the overlay's node-name (default: made up)\n"
        "  -o, --options NAME=VALUE   how the overlay is laid out (cluster-size, extended-l2,\n"
        "                             refcount-bits, compression-type, preallocation)\n"
        "  --deadline-ms MS           give up, with nothing changed, if it can't be made ready\n"
        "                             in this time\n"
        "  --output human|json        how to print the result\n"
        "\n"
        "examples:\n"
        "  firn snapshot vda /var/lib/disks/monday.qcow2\n"
        "  firn snapshot vda --dir /snaps --tag before-upgrade\n"
        "  firn snapshot --group vda,vdb --dir /snaps\n",
    .run = run,
};

}  // namespace firn::cli
