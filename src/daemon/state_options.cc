#include "daemon/state_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <utility>

#include "api/codec.h"
#include "api/keyval.h"
#include "base/json.h"
#include "daemon/chardev_options.h"
#include "daemon/recorder.h"

namespace firn::daemon {

namespace kind = state::kind;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::JsonValue;
using base::Result;

namespace {

template <typename T>
Result<T> decode_option(const Option& option, std::string_view implied_key = {}) {
  api::InputMode mode;
  JsonValue value = TRY(api::parse_option(option.text, implied_key, mode));
  return api::decode_as<T>(value, mode);
}

std::string text_member(const JsonValue& value, std::string_view name) {
  const JsonValue* member = value.is_object() ? value.get_object().if_contains(name) : nullptr;
  if (member == nullptr || !member->is_string()) return {};
  return {member->get_string().data(), member->get_string().size()};
}

struct Decoded {
  JsonValue value;
  std::string id;
  std::string_view kind;  // empty: the recorder sees it by itself
};

Result<Decoded> decode(const Option& option) {
  switch (option.kind) {
    case OptionKind::kBlockdev: {
      JsonValue value = api::encode(TRY(decode_option<api::BlockdevOptions>(option, "driver")));
      std::string id = text_member(value, "node-name");
      return Decoded{std::move(value), std::move(id), {}};
    }
    case OptionKind::kChardev: {
      JsonValue value = TRY(chardev_arguments(option.text));
      std::string id = text_member(value, "id");
      return Decoded{std::move(value), std::move(id), kind::kChardev};
    }
    case OptionKind::kDevice: {
      auto args = TRY(decode_option<api::BlockDeviceAddArgs>(option));
      return Decoded{api::encode(args), args.id, {}};
    }
    case OptionKind::kExport: {
      auto args = TRY(decode_option<api::BlockExportOptions>(option, "type"));
      return Decoded{api::encode(args), args.id, {}};
    }
    case OptionKind::kMonitor: {
      auto args = TRY(decode_option<api::MonitorOptions>(option, "chardev"));
      return Decoded{api::encode(args), args.id.value_or(args.chardev), kind::kMonitor};
    }
    case OptionKind::kNbdServer: {
      JsonValue value = api::encode(TRY(decode_option<api::NbdServerOptions>(option)));
      return Decoded{std::move(value), option.name, kind::kServer};
    }
    case OptionKind::kObject: {
      auto args = TRY(decode_option<api::ObjectOptions>(option, "qom-type"));
      return Decoded{api::encode(args), args.id, kind::kObject};
    }
  }
  return fail(ErrorKind::kInvalidArgument, "unknown option");
}

}  // namespace

Result<StateOption> read_state_option(const Option& option) {
  Decoded decoded = TRY(decode(option));
  StateOption result;
  result.id = std::move(decoded.id);
  result.record = {.name = option.name, .definition = base::print_json(decoded.value)};
  const bool may_be_bound =
      option.kind == OptionKind::kChardev || option.kind == OptionKind::kNbdServer;
  result.is_bound_to_process = may_be_bound && is_bound_to_process(decoded.value);
  if (decoded.kind.empty()) return result;
  if (may_be_bound) make_paths_absolute(decoded.value);
  result.thing = state::Thing{.kind = std::string(decoded.kind),
                              .id = result.id,
                              .definition = base::print_json(decoded.value),
                              .node = {}};
  return result;
}

StateOptions::StateOptions(std::string state_path, const state::Contents& contents)
    : path_(std::move(state_path)), complete_(contents.complete), recorded_(contents.options) {
  for (const state::NodeRecord& node : contents.nodes) present_.insert("--blockdev " + node.name);
  for (const state::Thing& thing : contents.things) {
    const bool is_server = thing.kind == kind::kServer;
    present_.insert(is_server ? "--nbd-server --nbd-server"
                              : fmt::format("--{} {}", thing.kind, thing.id));
  }
}

Result<StateOptions::Verdict> StateOptions::judge(const StateOption& option) {
  const std::string& name = option.record.name;
  if (option.is_bound_to_process) {
    if (name == "--chardev") bound_chardevs_.insert(option.id);
    return Verdict::kBound;
  }
  if (name == "--monitor") {
    const JsonValue value = TRY(base::parse_json(option.record.definition));
    if (bound_chardevs_.contains(text_member(value, "chardev"))) return Verdict::kBound;
  }
  if (const auto at = std::ranges::find(recorded_, option.record); at != recorded_.end()) {
    recorded_.erase(at);
    return Verdict::kSkip;
  }
  // A first start that was cut short goes on where it ended.
  if (!complete_) {
    return present_.contains(name + " " + option.id) ? Verdict::kSkip : Verdict::kCarryOut;
  }
  return fail(
      Error(ErrorKind::kInvalidArgument,
            fmt::format("state file '{}' says what there is, and it was not made with this option",
                        path_))
          .with_hint("leave the option out and give the command to the running daemon, or begin "
                     "with a new state file"));
}

}  // namespace firn::daemon
