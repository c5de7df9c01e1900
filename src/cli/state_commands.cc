// firn state: what a daemon's state file holds, whether a start would find all of it, and what to
// say to make it again. The file may be in use.
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/json.h"
#include "base/text_width.h"
#include "cli/chains.h"
#include "cli/command.h"
#include "cli/options.h"
#include "state/definitions.h"
#include "state/store.h"
#include "state/view.h"

namespace firn::cli {

namespace json = boost::json;
namespace kind = state::kind;
using async::Task;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

struct Opened {
  std::string path;
  state::View view;
};

Task<Result<Opened>> open_view(std::string_view command, const Options& options) {
  if (options.operands().size() != 1) {
    co_return fail(usage_error(command, "a state file is needed"));
  }
  Opened opened{.path = options.operands().front(), .view = {}};
  opened.view = CO_TRY(co_await async::Loop::current().on_worker(
      [&] { return state::view(state::posix_files(), opened.path); }));
  co_return opened;
}

// The file below a node, and its path.
const state::NodeRecord* file_of(const state::Contents& contents, const state::NodeRecord& node) {
  const state::NodeRecord* at = &node;
  while (at != nullptr && !at->file.empty()) at = contents.find_node(at->file);
  return at;
}

// show -------------------------------------------------------------------------------------------

std::string node_line(const state::Contents& contents, const state::NodeRecord& node) {
  const state::NodeRecord* file = file_of(contents, node);
  const std::string path = file == nullptr ? "" : base::printable(file->path);
  std::string text = fmt::format("  {}  {}  {}", node.name, node.driver, path);
  if (!node.backing.empty()) text += fmt::format("  on {}", node.backing);
  if (node.seal != state::Seal::kNone) text += fmt::format("  {}", state::seal_name(node.seal));
  if (node.read_only && node.seal != state::Seal::kSealed) text += "  read-only";
  return text + "\n";
}

std::string human(const Opened& opened) {
  const state::Contents& contents = opened.view.contents;
  std::string text = fmt::format(
      "{}: {}\n", base::printable(opened.path),
      contents.clean ? "the last daemon ended in order" : "in use, or its daemon ended in a crash");
  text += "nodes\n";
  for (const state::NodeRecord& node : contents.nodes) {
    if (node.added) text += node_line(contents, node);
  }
  text += "devices and the rest\n";
  for (const state::Thing& thing : contents.things) {
    text += fmt::format("  {} {}{}\n", thing.kind, base::printable(thing.id),
                        thing.node.empty() ? "" : "  " + thing.node);
  }
  for (const state::Intent& intent : contents.intents) {
    text += fmt::format("under way  {}  {}\n", local_time(intent.recorded_us / 1'000'000),
                        base::printable(state::describe(intent.change)));
  }
  for (const state::Intent& intent : contents.recovered) {
    text += fmt::format("carried out after a crash  {}  {}\n",
                        local_time(intent.recovered_us / 1'000'000),
                        base::printable(state::describe(intent.change)));
  }
  return text;
}

json::value parsed(const std::string& text) {
  auto value = base::parse_json(text);
  return value ? *std::move(value) : json::value(text);
}

json::object as_json(const state::NodeRecord& node) {
  json::object object{{"node-name", node.name},
                      {"driver", node.driver},
                      {"options", parsed(node.options)},
                      {"own-options", parsed(node.own)},
                      {"read-only", node.read_only},
                      {"added", node.added},
                      {"seal", state::seal_name(node.seal)}};
  if (!node.file.empty()) object["file"] = node.file;
  if (!node.backing.empty()) object["backing"] = node.backing;
  if (!node.io_thread.empty()) object["iothread"] = node.io_thread;
  if (!node.path.empty()) object["filename"] = node.path;
  if (node.identity) {
    object["identity"] = {{"device", node.identity->device},
                          {"inode", node.identity->inode},
                          {"size", node.identity->size_bytes},
                          {"modified-ns", node.identity->modified_ns}};
  }
  return object;
}

json::array as_json(const std::vector<state::Intent>& intents) {
  json::array list;
  for (const state::Intent& intent : intents) {
    json::object object{{"number", intent.number},
                        {"recorded-us", intent.recorded_us},
                        {"change", parsed(state::print_change(intent.change))}};
    if (intent.recovered_us != 0) object["recovered-us"] = intent.recovered_us;
    list.push_back(std::move(object));
  }
  return list;
}

json::value as_json(const state::Contents& contents) {
  json::array nodes;
  for (const state::NodeRecord& node : contents.nodes) nodes.push_back(as_json(node));
  json::array things;
  for (const state::Thing& thing : contents.things) {
    json::object object{
        {"kind", thing.kind}, {"id", thing.id}, {"definition", parsed(thing.definition)}};
    if (!thing.node.empty()) object["node-name"] = thing.node;
    things.push_back(std::move(object));
  }
  return json::object{{"complete", contents.complete},
                      {"clean", contents.clean},
                      {"nodes", std::move(nodes)},
                      {"things", std::move(things)},
                      {"intents", as_json(contents.intents)},
                      {"recovered", as_json(contents.recovered)}};
}

Task<Result<>> show(Globals, std::vector<std::string> arguments) {
  constexpr std::string_view kName = "state show";
  const Options options = CO_TRY(Options::parse(kName, {{"output"}}, arguments));
  const Output output = CO_TRY(parse_output(kName, options.value("output", "human")));
  const Opened opened = CO_TRY(co_await open_view(kName, options));
  print_out(output == Output::kHuman
                ? human(opened)
                : base::print_json(as_json(opened.view.contents), base::JsonStyle::kPretty) + "\n");
  co_return Result<>();
}

// check ------------------------------------------------------------------------------------------

Task<Result<>> check(Globals, std::vector<std::string> arguments) {
  constexpr std::string_view kName = "state check";
  const Options options = CO_TRY(Options::parse(kName, {{"output"}}, arguments));
  const Output output = CO_TRY(parse_output(kName, options.value("output", "human")));
  const Opened opened = CO_TRY(co_await open_view(kName, options));
  const auto findings = co_await async::Loop::current().on_worker(
      [&] { return state::check(state::posix_files(), opened.view); });
  std::string text;
  json::array list;
  size_t errors = 0;
  for (const state::Finding& finding : findings) {
    errors += finding.is_error;
    text +=
        fmt::format("{}: {}\n", finding.is_error ? "error" : "note", base::printable(finding.text));
    if (!finding.hint.empty()) text += fmt::format("  {}\n", base::printable(finding.hint));
    list.push_back({{"error", finding.is_error}, {"text", finding.text}, {"hint", finding.hint}});
  }
  if (findings.empty()) text = "all is as the state says\n";
  print_out(output == Output::kHuman ? text
                                     : base::print_json(list, base::JsonStyle::kPretty) + "\n");
  if (errors == 0) co_return Result<>();
  co_return fail(ErrorKind::kCorrupt,
                 fmt::format("{} error{} found", errors, errors == 1 ? "" : "s"));
}

// export -----------------------------------------------------------------------------------------

std::string shell_quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char letter : text) {
    if (letter == '\'') {
      quoted += "'\\''";
    } else {
      quoted += letter;
    }
  }
  return quoted + "'";
}

Task<Result<>> export_state(Globals, std::vector<std::string> arguments) {
  constexpr std::string_view kName = "state export";
  const Options options = CO_TRY(Options::parse(kName, {{"as"}}, arguments));
  const std::string form = options.value("as", "options");
  if (form != "options" && form != "qmp") {
    co_return fail(
        usage_error(kName, fmt::format("--as takes 'options' or 'qmp', not '{}'", form)));
  }
  const Opened opened = CO_TRY(co_await open_view(kName, options));
  std::string text = form == "qmp" ? "" : "firnd";
  for (const auto& one : CO_TRY(state::definitions(opened.view.contents))) {
    if (form == "options") {
      text += fmt::format(" \\\n  {} {}", one.option,
                          shell_quoted(one.option_text.empty() ? one.arguments : one.option_text));
    } else if (!one.command.empty()) {
      text += fmt::format("{{\"execute\": \"{}\", \"arguments\": {}}}\n", one.command,
                          one.older_arguments.empty() ? one.arguments : one.older_arguments);
    }
  }
  print_out(form == "qmp" ? text : text + "\n");
  co_return Result<>();
}

// accept -----------------------------------------------------------------------------------------

Task<Result<>> accept(Globals, std::vector<std::string> arguments) {
  constexpr std::string_view kName = "state accept";
  const Options options = CO_TRY(Options::parse(kName, {{"node"}}, arguments));
  const Opened opened = CO_TRY(co_await open_view(kName, options));
  const std::string node = options.value("node");
  if (!node.empty() && opened.view.contents.find_node(node) == nullptr) {
    co_return fail(ErrorKind::kNotFound,
                   fmt::format("state file '{}' has no node '{}'", opened.path, node));
  }
  auto store = co_await state::Store::open(opened.path, state::posix_files());
  if (!store && store.error().kind() == ErrorKind::kBusy) {
    co_return fail(Error(std::move(store).error()).with_hint("end the daemon first"));
  }
  if (!store) co_return fail(std::move(store).error());
  state::Store::Update update;
  update.accept(node);
  auto written = co_await (*store)->write(std::move(update));
  auto closed = co_await (*store)->close(false);
  CO_TRY(written);
  co_return closed;
}

}  // namespace

const Command kStateShowCommand = {
    .name = "state show",
    .usage = "FILE [options]",
    .summary = "Show what a daemon's state file holds",
    .details =
        "Nodes, devices, exports and the rest, as a start with 'firnd --state FILE' brings them\n"
        "back; what is under way, and what starts after crashes carried out. The file may be in\n"
        "use: it is copied first.\n"
        "\n"
        "options:\n"
        "  --output human|json  how to print it\n"
        "\n"
        "examples:\n"
        "  firn state show /var/lib/firn/state\n",
    .run = show,
};

const Command kStateCheckCommand = {
    .name = "state check",
    .usage = "FILE [options]",
    .summary = "Check whether a start would find all that a state file names",
    .details =
        "The file itself, and the images: are they there, and are sealed layers as they were?\n"
        "Exits with 1 if a start would be refused.\n"
        "\n"
        "options:\n"
        "  --output human|json  how to print it\n"
        "\n"
        "examples:\n"
        "  firn state check /var/lib/firn/state\n",
    .run = check,
};

const Command kStateExportCommand = {
    .name = "state export",
    .usage = "FILE [options]",
    .summary = "Print what makes the same disks without the state file",
    .details =
        "A command line for firnd, or commands for a daemon that runs. Changes that are under\n"
        "way are not in it.\n"
        "\n"
        "options:\n"
        "  --as options|qmp  firnd's options (the default), or QMP, one command a line\n"
        "\n"
        "examples:\n"
        "  firn state export /var/lib/firn/state\n",
    .run = export_state,
};

const Command kStateAcceptCommand = {
    .name = "state accept",
    .usage = "FILE [options]",
    .summary = "Take images as they are, although they were changed from outside",
    .details =
        "firnd refuses to start with an image that is not as its state knows it: what lies above\n"
        "a layer that was changed may be damaged. If you know that it is right as it is, this\n"
        "makes it what the state knows. The daemon must have ended.\n"
        "\n"
        "options:\n"
        "  --node NAME  only the image of this node\n"
        "\n"
        "examples:\n"
        "  firn state accept /var/lib/firn/state --node disk0\n",
    .run = accept,
};

}  // namespace firn::cli
