#include "qmp/hmp_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <utility>

#include "api/codec.h"
#include "api/encoder.h"
#include "api/keyval.h"
#include "qmp/hmp_block.h"
#include "qmp/hmp_jobs.h"

namespace firn::qmp {
namespace {

namespace json = boost::json;
using base::ErrorKind;
using base::fail;

// Copies the arguments that were given, under the names that QMP has for them.
json::object texts(const HmpArgs& args, std::initializer_list<std::string_view> names) {
  json::object out;
  for (std::string_view name : names) {
    if (auto text = args.text(name)) out[name] = *text;
  }
  return out;
}

// ---- Block devices ----

Task<std::string> block_resize(HmpCaller& caller, const HmpArgs& args) {
  json::object arguments = texts(args, {"device"});
  arguments["size"] = *args.size_bytes("size");
  co_return co_await caller.call_for_text("block_resize", std::move(arguments));
}

Task<std::string> snapshot_blkdev(HmpCaller& caller, const HmpArgs& args) {
  json::object arguments = texts(args, {"device", "snapshot-file", "format"});
  arguments["mode"] = args.flag("n") ? "existing" : "absolute-paths";
  co_return co_await caller.call_for_text("blockdev-snapshot-sync", std::move(arguments));
}

Task<std::string> snapshot_blkdev_internal(HmpCaller& caller, const HmpArgs& args) {
  co_return co_await caller.call_for_text("blockdev-snapshot-internal-sync",
                                          texts(args, {"device", "name"}));
}

Task<std::string> snapshot_delete_blkdev_internal(HmpCaller& caller, const HmpArgs& args) {
  co_return co_await caller.call_for_text("blockdev-snapshot-delete-internal-sync",
                                          texts(args, {"device", "name", "id"}));
}

// ---- The NBD server ----

// "HOST:PORT", "[V6]:PORT" or ":PORT", with or without "tcp:", or "unix:PATH", as nbd-server-start
// takes it.
Result<json::object> parse_address(std::string text) {
  if (text.starts_with("tcp:")) text.erase(0, 4);
  if (text.starts_with("unix:")) {
    if (text.size() == 5) return fail(ErrorKind::kInvalidArgument, "invalid Unix socket address");
    return json::object{{"type", "unix"}, {"data", json::object{{"path", text.substr(5)}}}};
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon + 1 == text.size()) {
    return fail(
        base::Error(ErrorKind::kInvalidArgument, fmt::format("error parsing address '{}'", text))
            .with_hint("Use HOST:PORT or unix:PATH."));
  }
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return json::object{{"type", "inet"},
                      {"data", json::object{{"host", host}, {"port", text.substr(colon + 1)}}}};
}

// Exports every device that has a medium, under its name. The first error's text, or nothing.
Task<std::string> export_all(HmpCaller& caller, bool writable) {
  auto answer = co_await caller.call("query-block", {});
  if (!answer) co_return shown_error(answer.error());
  auto devices = api::decode_as<std::vector<api::BlockInfo>>(*answer);
  if (!devices) co_return shown_error(devices.error());
  for (const api::BlockInfo& device : *devices) {
    if (!device.inserted) continue;
    std::string failed = co_await caller.call_for_text(
        "nbd-server-add", {{"device", device.device}, {"writable", writable}});
    if (!failed.empty()) co_return failed;
  }
  co_return std::string();
}

Task<std::string> nbd_server_start(HmpCaller& caller, const HmpArgs& args) {
  if (args.flag("w") && !args.flag("a")) {
    co_return "Error: -w only valid together with -a\n";
  }
  auto address = parse_address(args.text_or_empty("uri"));
  if (!address) co_return shown_error(address.error());
  std::string failed =
      co_await caller.call_for_text("nbd-server-start", {{"addr", *std::move(address)}});
  if (!failed.empty() || !args.flag("a")) co_return failed;
  failed = co_await export_all(caller, args.flag("w"));
  if (!failed.empty()) (void)co_await caller.call("nbd-server-stop", {});
  co_return failed;
}

Task<std::string> nbd_server_add(HmpCaller& caller, const HmpArgs& args) {
  json::object arguments = texts(args, {"device", "name"});
  arguments["writable"] = args.flag("w");
  co_return co_await caller.call_for_text("nbd-server-add", std::move(arguments));
}

Task<std::string> nbd_server_remove(HmpCaller& caller, const HmpArgs& args) {
  json::object arguments = texts(args, {"name"});
  arguments["mode"] = args.flag("f") ? "hard" : "safe";
  co_return co_await caller.call_for_text("nbd-server-remove", std::move(arguments));
}

Task<std::string> nbd_server_stop(HmpCaller& caller, const HmpArgs&) {
  return caller.call_for_text("nbd-server-stop", {});
}

// ---- Objects ----

Result<json::object> object_arguments(const std::string& text) {
  api::InputMode mode;
  const JsonValue tree = TRY(api::parse_option(text, "qom-type", mode));
  const auto options = TRY(api::decode_as<api::ObjectOptions>(tree, mode));
  return std::move(api::encode(options).as_object());
}

Task<std::string> object_add(HmpCaller& caller, const HmpArgs& args) {
  auto arguments = object_arguments(args.text_or_empty("object"));
  if (!arguments) co_return shown_error(arguments.error());
  co_return co_await caller.call_for_text("object-add", *std::move(arguments));
}

Task<std::string> object_del(HmpCaller& caller, const HmpArgs& args) {
  co_return co_await caller.call_for_text("object-del", texts(args, {"id"}));
}

// ---- Character devices ----

Result<json::object> chardev_arguments(const HmpCaller& caller, const std::string& text) {
  if (caller.host.chardev_arguments == nullptr) {
    return fail(ErrorKind::kCommandNotFound, "there are no character devices here");
  }
  return caller.host.chardev_arguments(text);
}

Task<std::string> chardev_add(HmpCaller& caller, const HmpArgs& args) {
  auto arguments = chardev_arguments(caller, args.text_or_empty("args"));
  if (!arguments) co_return shown_error(arguments.error());
  co_return co_await caller.call_for_text("chardev-add", *std::move(arguments));
}

// The text has no id: it stands before it.
Task<std::string> chardev_change(HmpCaller& caller, const HmpArgs& args) {
  const std::string id = args.text_or_empty("id");
  const std::string text = args.text_or_empty("args");
  auto arguments = chardev_arguments(caller, fmt::format("{},id={}", text, id));
  if (!arguments) co_return shown_error(arguments.error());
  co_return co_await caller.call_for_text("chardev-change", *std::move(arguments));
}

Task<std::string> chardev_remove(HmpCaller& caller, const HmpArgs& args) {
  co_return co_await caller.call_for_text("chardev-remove", texts(args, {"id"}));
}

Task<std::string> chardev_send_break(HmpCaller& caller, const HmpArgs& args) {
  co_return co_await caller.call_for_text("chardev-send-break", texts(args, {"id"}));
}

Task<std::string> ringbuf_write(HmpCaller& caller, const HmpArgs& args) {
  co_return co_await caller.call_for_text("ringbuf-write", texts(args, {"device", "data"}));
}

// Bytes that would drive the terminal are shown by their numbers, as QEMU does.
std::string shown_bytes(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      out += "\\\\";
    } else if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      out += fmt::format("\\u{:04X}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

Task<std::string> ringbuf_read(HmpCaller& caller, const HmpArgs& args) {
  json::object arguments = texts(args, {"device"});
  arguments["size"] = *args.number("size");
  auto answer = co_await caller.call("ringbuf-read", std::move(arguments));
  if (!answer) co_return shown_error(answer.error());
  co_return shown_bytes(std::string_view(answer->as_string())) + "\n";
}

Task<std::string> info_chardev(HmpCaller& caller, const HmpArgs&) {
  auto answer = co_await caller.call("query-chardev", {});
  if (!answer) co_return shown_error(answer.error());
  auto list = api::decode_as<std::vector<api::ChardevInfo>>(*answer);
  if (!list) co_return shown_error(list.error());
  std::string text;
  for (const api::ChardevInfo& info : *list) {
    text += fmt::format("{}: filename={}\n", info.label, info.filename);
  }
  co_return text;
}

// ---- File descriptors ----

Task<std::string> getfd(HmpCaller& caller, const HmpArgs& args) {
  co_return co_await caller.call_for_text("getfd", texts(args, {"fdname"}));
}

Task<std::string> closefd(HmpCaller& caller, const HmpArgs& args) {
  co_return co_await caller.call_for_text("closefd", texts(args, {"fdname"}));
}

// ---- The monitor ----

Task<std::string> info_history(HmpCaller& caller, const HmpArgs&) {
  std::string text;
  if (caller.host.history == nullptr) co_return text;
  for (size_t i = 0; i < caller.host.history->size(); ++i) {
    text += fmt::format("{}: '{}'\n", i, (*caller.host.history)[i]);
  }
  co_return text;
}

Task<std::string> quit(HmpCaller& caller, const HmpArgs&) {
  return caller.call_for_text("quit", {});
}

// ---- info ----

Task<std::string> block_list(HmpCaller& caller, const BlockListView& view) {
  auto answer = co_await caller.call(view.nodes ? "query-named-block-nodes" : "query-block", {});
  if (!answer) co_return shown_error(answer.error());
  auto text = show_block_list(*answer, view);
  co_return text ? *std::move(text) : shown_error(text.error());
}

Task<std::string> info_block(HmpCaller& caller, const HmpArgs& args) {
  BlockListView view{
      .nodes = args.flag("n"), .verbose = args.flag("v"), .only = args.text_or_empty("device")};
  std::string text = co_await block_list(caller, view);
  // A name may be a node's as well.
  if (text.empty() && !view.nodes && !view.only.empty()) {
    view.nodes = true;
    text = co_await block_list(caller, view);
  }
  if (text.empty() && !view.only.empty()) {
    text = fmt::format("Error: Cannot find device='{0}' nor node-name='{0}'\n", view.only);
  }
  co_return text;
}

Task<std::string> info_version(HmpCaller& caller, const HmpArgs&) {
  auto answer = co_await caller.call("query-version", {});
  if (!answer) co_return shown_error(answer.error());
  auto text = show_version(*answer);
  co_return text ? *std::move(text) : shown_error(text.error());
}

}  // namespace

bool HmpCommand::has_name(std::string_view name) const {
  const auto all = all_names();
  return std::ranges::find(all, name) != all.end();
}

std::vector<std::string_view> HmpCommand::all_names() const {
  std::vector<std::string_view> out;
  for (std::string_view rest = names; !rest.empty();) {
    const size_t end = std::min(rest.find('|'), rest.size());
    out.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out;
}

std::string HmpCommand::help_line(std::string_view prefix) const {
  return fmt::format("{}{}{}{} -- {}\n", prefix, names, usage.empty() ? "" : " ", usage, text);
}

std::span<const HmpCommand> hmp_commands() {
  using enum HmpArgType;
  static const std::vector<HmpCommand> entries = {
      {"block_job_cancel",
       {{"f", kFlag}, {"device", kString}},
       "[-f] device",
       "stop a job; -f: even if it is ready, or paused",
       block_job_cancel},
      {"block_job_complete",
       {{"device", kString}},
       "device",
       "let a job that is ready end",
       block_job_complete},
      {"block_job_pause", {{"device", kString}}, "device", "pause a job", block_job_pause},
      {"block_job_resume",
       {{"device", kString}},
       "device",
       "let a paused job go on",
       block_job_resume},
      {"block_job_set_speed",
       {{"device", kString}, {"speed", kSize}},
       "device speed",
       "limit a job's speed; speed is in MiB per second, or has a suffix, 0: no limit",
       block_job_set_speed},
      {"block_resize",
       {{"device", kBlockDevice}, {"size", kSize}},
       "device size",
       "resize a block image; size is in MiB, or has a suffix",
       block_resize},
      {"chardev-add", {{"args", kRest}}, "args", "make a character device", chardev_add},
      {"chardev-change",
       {{"id", kChardev}, {"args", kRest}},
       "id args",
       "let a character device lead to something else",
       chardev_change},
      {"chardev-remove",
       {{"id", kChardev}},
       "id",
       "remove a character device that no monitor sits on",
       chardev_remove},
      {"chardev-send-break",
       {{"id", kChardev}},
       "id",
       "send a break on a character device",
       chardev_send_break},
      {"closefd", {{"fdname", kString}}, "name", "close a file descriptor that was sent", closefd},
      {"getfd",
       {{"fdname", kString}},
       "name",
       "name the file descriptor that came with this line",
       getfd},
      {"help|?", {{"name", kCommand, true}}, "[cmd]", "show the help"},
      {"info",
       {{"item", kString, true}},
       "[subcommand]",
       "show various information about the storage"},
      {"nbd_server_add",
       {{"w", kFlag}, {"device", kBlockDevice}, {"name", kString, true}},
       "[-w] device [name]",
       "export a device or node over NBD; -w: for writing too",
       nbd_server_add},
      {"nbd_server_remove",
       {{"f", kFlag}, {"name", kExport}},
       "[-f] name",
       "end an NBD export; -f: even while clients use it",
       nbd_server_remove},
      {"nbd_server_start",
       {{"a", kFlag}, {"w", kFlag}, {"uri", kString}},
       "[-a] [-w] host:port|unix:path",
       "start the NBD server; -a: export every device, -w: for writing too",
       nbd_server_start},
      {"nbd_server_stop", {}, "", "stop the NBD server; its exports go with it", nbd_server_stop},
      {"object_add",
       {{"object", kRest}},
       "[qom-type=]type,id=str[,prop=value][,...]",
       "make an object",
       object_add},
      {"object_del", {{"id", kString}}, "id", "remove an object that nothing uses", object_del},
      {"quit|q", {}, "", "end the daemon", quit},
      {"ringbuf_read",
       {{"device", kChardev}, {"size", kNumber}},
       "device size",
       "take the oldest bytes out of a ring buffer",
       ringbuf_read},
      {"ringbuf_write",
       {{"device", kChardev}, {"data", kString}},
       "device data",
       "write to a ring buffer",
       ringbuf_write},
      {"snapshot_blkdev",
       {{"n", kFlag},
        {"device", kBlockDevice},
        {"snapshot-file", kFilename, true},
        {"format", kFormat, true}},
       "[-n] device [new-image-file] [format]",
       "take a live snapshot of a device: the new image becomes its head, the image that it had "
       "becomes the new one's backing file; the format is qcow2 unless it is given; with -n the "
       "new image is there already and is used as it is",
       snapshot_blkdev},
      {"snapshot_blkdev_internal",
       {{"device", kBlockDevice}, {"name", kString}},
       "device name",
       "take a live snapshot of a device inside its image",
       snapshot_blkdev_internal},
      {"snapshot_delete_blkdev_internal",
       {{"device", kBlockDevice}, {"name", kString}, {"id", kString, true}},
       "device name [id]",
       "delete a snapshot that a device has inside its image",
       snapshot_delete_blkdev_internal},
  };
  return entries;
}

std::span<const HmpCommand> hmp_info_commands() {
  using enum HmpArgType;
  static const std::vector<HmpCommand> entries = {
      {"block",
       {{"n", kFlag}, {"v", kFlag}, {"device", kBlockDevice, true}},
       "[-n] [-v] [device]",
       "show devices, with -n all named nodes; -v: the images too",
       info_block},
      {"block-jobs", {}, "", "show the jobs that work on nodes", info_block_jobs},
      {"blockstats",
       {},
       "",
       "show what was read from devices and written to them",
       info_blockstats},
      {"chardev", {}, "", "show the character devices", info_chardev},
      {"history", {}, "", "show the lines typed here", info_history},
      {"version", {}, "", "show the version", info_version},
  };
  return entries;
}

const HmpCommand* find_hmp_command(std::span<const HmpCommand> commands, std::string_view name) {
  for (const HmpCommand& command : commands) {
    if (command.has_name(name)) return &command;
  }
  return nullptr;
}

}  // namespace firn::qmp
