#include "state/definitions.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "base/json.h"

namespace firn::state {

namespace json = boost::json;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

Result<json::object> object_of(const std::string& text, const std::string& whose) {
  auto value = base::parse_json(text);
  if (value && value->is_object()) return std::move(value->get_object());
  return fail(ErrorKind::kCorrupt, fmt::format("{}: its definition can't be read", whose));
}

Result<json::object> node_object(const Contents& contents, const NodeRecord& node, int depth);

// A name where somebody gave one, else all of it.
Result<json::value> child_value(const Contents& contents, const std::string& name, int depth) {
  constexpr int kMaxDepth = 10000;
  const NodeRecord* child = contents.find_node(name);
  if (child == nullptr || depth == kMaxDepth) {
    return fail(ErrorKind::kCorrupt, fmt::format("node '{}' is not there", name));
  }
  if (child->added) return json::value(name);
  return json::value(TRY(node_object(contents, *child, depth + 1)));
}

Result<json::object> node_object(const Contents& contents, const NodeRecord& node, int depth) {
  const std::string whose = fmt::format("node '{}'", node.name);
  json::object object{{"driver", node.driver}};
  if (!node.name.starts_with('#')) object["node-name"] = node.name;
  for (auto& member : TRY(object_of(node.own, whose))) {
    object.insert_or_assign(member.key(), std::move(member.value()));
  }
  if (!node.path.empty()) object["filename"] = node.path;
  object["read-only"] = node.read_only;
  for (auto& member : TRY(object_of(node.options, whose))) {
    object.insert_or_assign(member.key(), std::move(member.value()));
  }
  if (!node.file.empty()) object["file"] = TRY(child_value(contents, node.file, depth));
  if (!node.backing.empty()) {
    object["backing"] = TRY(child_value(contents, node.backing, depth));
  } else if (node.driver == "qcow2") {
    object["backing"] = nullptr;
  }
  return object;
}

// The older form of an address, which nbd-server-start takes: {"type": ..., "data": {...}}.
json::object with_older_address(json::object arguments) {
  json::value* address = arguments.if_contains("addr");
  if (address == nullptr || !address->is_object() || address->get_object().contains("data")) {
    return arguments;
  }
  json::object rest = std::move(address->get_object());
  json::value type = rest["type"];
  rest.erase("type");
  *address = json::object{{"type", std::move(type)}, {"data", std::move(rest)}};
  return arguments;
}

json::object with_newer_address(json::object arguments) {
  json::value* address = arguments.if_contains("addr");
  json::value* data = address != nullptr && address->is_object()
                          ? address->get_object().if_contains("data")
                          : nullptr;
  if (data == nullptr || !data->is_object()) return arguments;
  json::object flat = std::move(data->get_object());
  flat["type"] = address->get_object()["type"];
  *address = std::move(flat);
  return arguments;
}

std::string_view text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

const json::object* object_in(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_object();
}

// As key=value options have it: a comma in a value is written twice.
void append_options(std::string& text, const json::object& members) {
  for (const auto& member : members) {
    const json::value& value = member.value();
    if (value.is_object() || value.is_array() || value.is_null()) continue;
    text += fmt::format(",{}=", std::string_view(member.key()));
    if (value.is_bool()) {
      text += value.get_bool() ? "on" : "off";
    } else if (value.is_string()) {
      for (const char letter : value.get_string()) text.append(letter == ',' ? 2 : 1, letter);
    } else {
      text += base::print_json(value);
    }
  }
}

// "socket,id=c,path=/run/x,server=on": the members of chardev-add's arguments, side by side.
std::string chardev_text(const json::object& arguments) {
  const json::object* backend = object_in(arguments, "backend");
  if (backend == nullptr) return {};
  std::string text(text_of(*backend, "type"));
  append_options(text, {{"id", text_of(arguments, "id")}});
  const json::object* data = object_in(*backend, "data");
  if (data == nullptr) return text;
  if (const json::object* address = object_in(*data, "addr")) {
    if (const json::object* inner = object_in(*address, "data")) append_options(text, *inner);
  }
  append_options(text, *data);
  return text;
}

class Writer {
 public:
  explicit Writer(const Contents& contents) : contents_(contents) {}

  Result<std::vector<Definition>> run() {
    TRY(things(kind::kObject, "--object", "object-add"));
    TRY(things(kind::kChardev, "--chardev", "chardev-add"));
    TRY(nodes());
    TRY(things(kind::kDevice, "--device", "block-device-add"));
    TRY(things(kind::kServer, "--nbd-server", "nbd-server-start"));
    TRY(things(kind::kExport, "--export", "block-export-add"));
    TRY(things(kind::kMonitor, "--monitor", ""));
    return std::move(list_);
  }

 private:
  // A node comes after those that it names.
  Result<> nodes() {
    std::vector<const NodeRecord*> left;
    for (const NodeRecord& node : contents_.nodes) {
      if (node.added) left.push_back(&node);
    }
    std::vector<const NodeRecord*> later;
    while (!left.empty()) {
      for (const NodeRecord* node : left) {
        if (!needs_one_of(*node, left)) {
          add("--blockdev", "blockdev-add", TRY(node_object(contents_, *node, 0)));
        } else {
          later.push_back(node);
        }
      }
      if (later.size() == left.size()) {
        return fail(ErrorKind::kCorrupt, "the nodes of the state lead in a circle");
      }
      left = std::exchange(later, {});
    }
    return {};
  }

  bool needs_one_of(const NodeRecord& node, const std::vector<const NodeRecord*>& others) const {
    for (const std::string& name : {node.file, node.backing}) {
      const NodeRecord* child = name.empty() ? nullptr : contents_.find_node(name);
      if (child == nullptr) continue;
      if (std::ranges::find(others, child) != others.end()) return true;
      if (!child->added && needs_one_of(*child, others)) return true;
    }
    return false;
  }

  Result<> things(std::string_view of, std::string_view option, std::string_view command) {
    for (const Thing& thing : contents_.things) {
      if (thing.kind != of) continue;
      json::object arguments =
          TRY(object_of(thing.definition, fmt::format("{} '{}'", thing.kind, thing.id)));
      if (!thing.node.empty()) arguments["node-name"] = thing.node;
      add(option, command, std::move(arguments));
    }
    return {};
  }

  void add(std::string_view option, std::string_view command, json::object arguments) {
    Definition definition{.option = std::string(option), .command = std::string(command)};
    if (option == "--chardev") {
      definition.arguments = base::print_json(arguments);
      definition.option_text = chardev_text(arguments);
    } else if (option == "--nbd-server") {
      definition.arguments = base::print_json(with_newer_address(arguments));
      definition.older_arguments = base::print_json(with_older_address(std::move(arguments)));
    } else {
      definition.arguments = base::print_json(arguments);
    }
    list_.push_back(std::move(definition));
  }

  const Contents& contents_;
  std::vector<Definition> list_;
};

}  // namespace

Result<std::vector<Definition>> definitions(const Contents& contents) {
  return Writer(contents).run();
}

}  // namespace firn::state
