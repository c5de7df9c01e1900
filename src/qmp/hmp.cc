#include "qmp/hmp.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <utility>

namespace firn::qmp {
namespace {

namespace json = boost::json;

std::string shown_error(const base::Error& error) {
  std::string text = fmt::format("Error: {}\n", error.text());
  if (!error.hint().empty()) text += fmt::format("{}\n", error.hint());
  return text;
}

std::string_view trimmed(std::string_view text) {
  size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

std::string_view take_name(std::string_view& line) {
  line = trimmed(line);
  size_t length = std::min(line.find_first_of(" \t"), line.size());
  std::string_view name = line.substr(0, length);
  line.remove_prefix(length);
  return name;
}

}  // namespace

struct Hmp::Entry {
  std::string_view names;  // "quit|q"
  std::vector<HmpParam> params;
  std::string_view usage;  // the parameters, for help
  std::string_view text;
  Task<std::string> (Hmp::*run)(const HmpArgs& args);

  bool has_name(std::string_view name) const {
    for (std::string_view rest = names; !rest.empty();) {
      size_t end = std::min(rest.find('|'), rest.size());
      if (rest.substr(0, end) == name) return true;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return false;
  }
  std::string help_line(std::string_view prefix) const {
    return fmt::format("{}{}{}{} -- {}\n", prefix, names, usage.empty() ? "" : " ", usage, text);
  }
};

namespace {

const Hmp::Entry* find_entry(const std::vector<Hmp::Entry>& entries, std::string_view name) {
  for (const Hmp::Entry& entry : entries) {
    if (entry.has_name(name)) return &entry;
  }
  return nullptr;
}

}  // namespace

const std::vector<Hmp::Entry>& Hmp::commands() {
  using enum HmpArgType;
  static const std::vector<Entry> entries = {
      {"block_resize",
       {{"device", kBlockDevice}, {"size", kSize}},
       "device size",
       "resize a block image; size is in MiB, or has a suffix",
       &Hmp::block_resize},
      {"help|?", {{"name", kString, true}}, "[cmd]", "show the help", &Hmp::help},
      {"info",
       {{"item", kString, true}},
       "[subcommand]",
       "show various information about the storage",
       &Hmp::info_help},
      {"quit|q", {}, "", "end the daemon", &Hmp::quit},
      {"snapshot_blkdev",
       {{"n", kFlag},
        {"device", kBlockDevice},
        {"snapshot-file", kString, true},
        {"format", kString, true}},
       "[-n] device [new-image-file] [format]",
       "take a live snapshot of a device: the new image becomes its head, the image that it had "
       "becomes the new one's backing file; the format is qcow2 unless it is given; with -n the "
       "new image is there already and is used as it is",
       &Hmp::snapshot_blkdev},
  };
  return entries;
}

const std::vector<Hmp::Entry>& Hmp::info_commands() {
  using enum HmpArgType;
  static const std::vector<Entry> entries = {
      {"block",
       {{"n", kFlag}, {"v", kFlag}, {"device", kBlockDevice, true}},
       "[-n] [-v] [device]",
       "show devices, with -n all named nodes; -v: the images too",
       &Hmp::info_block},
      {"version", {}, "", "show the version", &Hmp::info_version},
  };
  return entries;
}

Task<std::string> Hmp::run(std::string line) {
  std::string_view rest = line;
  std::string_view name = take_name(rest);
  if (name.empty()) co_return std::string();
  const Entry* entry = find_entry(commands(), name);
  if (entry == nullptr) co_return fmt::format("unknown command: '{}'\n", name);
  if (name == "info" && !trimmed(rest).empty()) {
    std::string_view item = take_name(rest);
    entry = find_entry(info_commands(), item);
    if (entry == nullptr) co_return fmt::format("unknown command: 'info {}'\n", item);
    co_return co_await run_entry(*entry, item, rest);
  }
  co_return co_await run_entry(*entry, name, rest);
}

Task<std::string> Hmp::run_entry(const Entry& entry, std::string_view name, std::string_view rest) {
  auto args = parse_hmp_args(name, rest, entry.params);
  if (!args) {
    co_return fmt::format("{}\nTry \"help {}\" for more information\n", args.error().text(), name);
  }
  co_return co_await (this->*entry.run)(*args);
}

Task<std::string> Hmp::help(const HmpArgs& args) {
  std::string name = args.text_or_empty("name");
  std::string text;
  if (name.empty()) {
    for (const Entry& entry : commands()) text += entry.help_line("");
    co_return text;
  }
  if (name == "info") co_return co_await info_help(args);
  const Entry* entry = find_entry(commands(), name);
  if (entry != nullptr) co_return entry->help_line("");
  entry = find_entry(info_commands(), name);
  if (entry != nullptr) co_return entry->help_line("info ");
  co_return fmt::format("unknown command: '{}'\n", name);
}

Task<std::string> Hmp::info_help(const HmpArgs&) {
  std::string text;
  for (const Entry& entry : info_commands()) text += entry.help_line("info ");
  co_return text;
}

Task<std::string> Hmp::info_block(const HmpArgs& args) {
  BlockListView view{
      .nodes = args.flag("n"), .verbose = args.flag("v"), .only = args.text_or_empty("device")};
  std::string text = co_await block_list(view);
  // A name may be a node's as well.
  if (text.empty() && !view.nodes && !view.only.empty()) {
    view.nodes = true;
    text = co_await block_list(view);
  }
  if (text.empty() && !view.only.empty()) {
    text = fmt::format("Error: Cannot find device='{0}' nor node-name='{0}'\n", view.only);
  }
  co_return text;
}

Task<std::string> Hmp::block_list(const BlockListView& view) {
  auto answer = co_await call(view.nodes ? "query-named-block-nodes" : "query-block", {});
  if (!answer) co_return shown_error(answer.error());
  auto text = show_block_list(*answer, view);
  co_return text ? *std::move(text) : shown_error(text.error());
}

Task<std::string> Hmp::info_version(const HmpArgs&) {
  auto answer = co_await call("query-version", {});
  if (!answer) co_return shown_error(answer.error());
  auto text = show_version(*answer);
  co_return text ? *std::move(text) : shown_error(text.error());
}

Task<std::string> Hmp::snapshot_blkdev(const HmpArgs& args) {
  json::object arguments;
  arguments["device"] = args.text_or_empty("device");
  if (auto file = args.text("snapshot-file")) arguments["snapshot-file"] = *file;
  if (auto format = args.text("format")) arguments["format"] = *format;
  arguments["mode"] = args.flag("n") ? "existing" : "absolute-paths";
  co_return co_await call_for_text("blockdev-snapshot-sync", std::move(arguments));
}

Task<std::string> Hmp::block_resize(const HmpArgs& args) {
  json::object arguments;
  arguments["device"] = args.text_or_empty("device");
  arguments["size"] = *args.size_bytes("size");
  co_return co_await call_for_text("block_resize", std::move(arguments));
}

Task<std::string> Hmp::quit(const HmpArgs&) { co_return co_await call_for_text("quit", {}); }

Task<Result<JsonValue>> Hmp::call(std::string_view command, json::object arguments) {
  const api::CommandEntry* info = commands_.find(command);
  if (info == nullptr) {
    co_return base::fail(base::ErrorKind::kCommandNotFound,
                         fmt::format("The command {} has not been found", command));
  }
  co_return co_await commands_.run(*info, std::move(arguments));
}

Task<std::string> Hmp::call_for_text(std::string_view command, json::object arguments) {
  auto answer = co_await call(command, std::move(arguments));
  co_return answer ? std::string() : shown_error(answer.error());
}

}  // namespace firn::qmp
