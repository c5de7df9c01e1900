#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "qapi/emit_client.h"
#include "qapi/names.h"

namespace firn::qapi {

// runtime/typescript/, as the build embeds it.
extern const std::string_view kTypescriptRuntime_connection_ts;
extern const std::string_view kTypescriptRuntime_json_ts;
extern const std::string_view kTypescriptRuntime_transport_ts;

namespace {

constexpr size_t kWidth = 100;

// ---- Names ----

std::string type_name(const Type& type) { return client_name(type.name, "N"); }
std::string base_name(const Type& type) { return type_name(type) + "_Base"; }

std::string leaf_name(const Type& type, const UnionLeaf& leaf) {
  std::string out = type_name(type) + "_" + leaf.suffix;
  if (out == base_name(type)) out += '_';
  return out;
}

// "blockdev-add" -> "blockdevAdd". What every client or every object has gets a '_' behind it.
std::string method(std::string_view name) {
  static const std::set<std::string_view> kTaken = {"close",
                                                    "closed",
                                                    "connect",
                                                    "constructor",
                                                    "events",
                                                    "execute",
                                                    "greeting",
                                                    "isOpen",
                                                    "off",
                                                    "on",
                                                    "onAny",
                                                    "once",
                                                    "open",
                                                    "over",
                                                    "then",
                                                    "hasOwnProperty",
                                                    "isPrototypeOf",
                                                    "toString",
                                                    "toLocaleString",
                                                    "valueOf",
                                                    "executeWithoutReply"};
  const std::string all = client_name(name, "n");
  std::string out;
  bool upper = false;
  for (char c : all) {
    if (c == '_') {
      upper = !out.empty();
      continue;
    }
    out += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = false;
  }
  if (kTaken.contains(out)) out += '_';
  return out;
}

// A name in quotes unless it is an identifier.
std::string property(std::string_view name) {
  const bool plain =
      std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) || c == '_'; }) &&
      !(name.front() >= '0' && name.front() <= '9');
  return plain ? std::string(name) : fmt::format("'{}'", name);
}

// Names of what the package exports, each only once.
class Exports {
 public:
  explicit Exports(const std::vector<const Type*>& types) {
    for (const Type* type : types) {
      names_.insert(type_name(*type));
      if (!type->is_union()) continue;
      names_.insert(base_name(*type));
      for (const UnionLeaf& leaf : union_leaves(*type)) names_.insert(leaf_name(*type, leaf));
    }
  }
  std::string add(std::string name) {
    while (!names_.insert(name).second) name += '_';
    return name;
  }

 private:
  std::set<std::string> names_ = {"Client", "Events"};
};

// ---- Types ----

// `from` is what stands before names of the schema's types: "T." outside of types.ts.
std::string ts_type(const Type& type, std::string_view from) {
  static const std::map<std::string_view, std::string_view> kBuiltins = {
      {"str", "string"},   {"number", "number"}, {"bool", "boolean"}, {"any", "unknown"},
      {"null", "null"},    {"int8", "number"},   {"int16", "number"}, {"int32", "number"},
      {"uint8", "number"}, {"uint16", "number"}, {"uint32", "number"}};
  switch (type.kind) {
    case TypeKind::kBuiltin: {
      const auto found = kBuiltins.find(type.name);
      return std::string(found == kBuiltins.end() ? "number | bigint" : found->second);
    }
    case TypeKind::kArray: {
      const std::string element = ts_type(*type.element, from);
      return element.find(' ') == std::string::npos ? element + "[]" : "(" + element + ")[]";
    }
    default:
      return std::string(from) + type_name(type);
  }
}

std::string comment(std::string_view text, size_t indent) {
  if (text.empty()) return {};
  std::string safe;
  for (char c : text) {
    if (c == '/' && safe.ends_with('*')) safe += '\\';
    safe += c;
  }
  if (safe.find('\n') == std::string::npos) {
    return fmt::format("{:{}}/** {} */\n", "", indent, safe);
  }
  std::string lines;
  std::string_view rest = safe;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    lines += end ? fmt::format(" * {}\n", rest.substr(0, end)) : " *\n";
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return indented("/**\n" + lines + " */", indent);
}

std::string deprecated_tag(const Features& features, std::string_view text) {
  if (!has_feature(features, "deprecated")) return std::string(text);
  constexpr std::string_view kMark = "(deprecated)";  // of a member's text; the tag says it too
  if (text.starts_with(kMark)) text.remove_prefix(std::min(kMark.size() + 1, text.size()));
  std::string out(text);
  return out + (out.empty() ? "" : "\n\n") + "@deprecated";
}

// The properties of an interface.
std::string properties(const std::vector<Member>& members, std::string_view from, size_t indent) {
  std::string out;
  for (const Member& member : members) {
    out += comment(deprecated_tag(member.features, client_member_doc(member, kWidth - indent - 3)),
                   indent);
    const std::string type = ts_type(*member.type, from);
    out += fmt::format("{:{}}{}{}: {}{};\n", "", indent, property(member.name),
                       member.optional ? "?" : "", type,
                       member.optional && type != "unknown" ? " | undefined" : "");
  }
  return out;
}

std::string interface(std::string_view name, const std::vector<std::string>& bases,
                      std::string_view body) {
  std::string list;
  for (const std::string& base : bases) list += (list.empty() ? " extends " : ", ") + base;
  return fmt::format("export interface {}{} {{{}{}}}\n", name, list, body.empty() ? "" : "\n",
                     body);
}

std::string file_head(const Schema& schema, std::string_view what) {
  return fmt::format(
      "/**\n * {}\n *\n * Made by qapic from {}.json. Changes belong into the schema.\n */\n", what,
      schema.files.empty() ? "" : schema.files.front()->module);
}

std::string definition_doc(const Type& type, std::string members) {
  return deprecated_tag(type.features,
                        client_doc({type.doc, std::move(members), "", true}, kWidth - 3));
}

std::string enumeration(const Type& type) {
  std::string values;
  std::string list;
  for (const EnumValue& value : type.values) {
    const std::string text = client_value_doc(type, value, kWidth - 9);
    if (!text.empty()) list += markdown_item(value.name, text);
    values += fmt::format("\n  | '{}'", value.name);
  }
  if (!list.empty()) list.insert(0, "Values:\n");
  return "\n" + comment(definition_doc(type, list), 0) +
         fmt::format("export type {} ={};\n", type_name(type), values.empty() ? " never" : values);
}

std::string structure(const Type& type) {
  std::vector<std::string> bases;
  if (type.base) bases.push_back(type_name(*type.base));
  return "\n" + comment(definition_doc(type, ""), 0) +
         interface(type_name(type), bases, properties(type.own_members, "", 2));
}

// The interface of one branch of a union.
std::string branch(const Type& type, const UnionLeaf& leaf, const std::string& base) {
  std::vector<std::string> bases = {base};
  const Type* own = leaf.path.front()->type;
  if (leaf.path.size() > 1) {
    const std::vector<const Variant*> below(leaf.path.begin() + 1, leaf.path.end());
    for (const UnionLeaf& inner : union_leaves(*own)) {
      if (inner.path == below) bases.push_back(leaf_name(*own, inner));
    }
  } else if (own && !own->members.empty()) {
    bases.push_back(type_name(*own));
  }
  return "\n" +
         comment(fmt::format("A {} whose {} is {}.", type.name, type.tag->name,
                             leaf.path.front()->name),
                 0) +
         interface(leaf_name(type, leaf), bases,
                   fmt::format("  {}: '{}';\n", property(type.tag->name), leaf.path.front()->name));
}

std::string union_type(const Type& type) {
  std::string out;
  std::string base;
  if (type.base && !type.base->implicit) {
    base = type_name(*type.base);
  } else {
    base = base_name(type);
    out += "\n" + comment(fmt::format("What all branches of {} have.", type.name), 0) +
           interface(base, {}, properties(type.members, "", 2));
  }
  std::string branches;
  for (const UnionLeaf& leaf : union_leaves(type)) {
    out += branch(type, leaf, base);
    branches += fmt::format("\n  | {}", leaf_name(type, leaf));
  }
  return out + "\n" + comment(definition_doc(type, ""), 0) +
         fmt::format("export type {} ={};\n", type_name(type),
                     branches.empty() ? " never" : branches);
}

std::string alternate(const Type& type) {
  std::string branches;
  std::string list;
  for (const Member& branch : type.own_members) {
    const std::string name = ts_type(*branch.type, "");
    const std::string text = client_member_doc(branch, kWidth - 11);
    if (!text.empty()) list += markdown_item(name, text);
    branches += (branches.empty() ? "" : " | ") + name;
  }
  return "\n" + comment(definition_doc(type, list), 0) +
         fmt::format("export type {} = {};\n", type_name(type), branches);
}

std::string types_file(const Schema& schema, const std::vector<const Type*>& types) {
  std::string out = file_head(schema, "The schema's types.");
  for (const Type* type : types) {
    if (type->kind == TypeKind::kEnum) {
      out += enumeration(*type);
    } else if (type->kind == TypeKind::kAlternate) {
      out += alternate(*type);
    } else {
      out += type->is_union() ? union_type(*type) : structure(*type);
    }
  }
  return types.empty() ? out + "\nexport {};\n" : out;
}

// ---- Events ----

std::string events_file(const Schema& schema, Exports& exports) {
  std::string interfaces;
  std::string map;
  for (const auto& event : schema.events) {
    std::string data = "undefined";
    if (event->data && !event->data->implicit) {
      data = ts_type(*event->data, "T.");
    } else if (event->data) {
      data = exports.add(cpp_pascal(client_name(event->name, "N")) + "Data");
      interfaces += "\n" + comment(fmt::format("What {} tells.", event->name), 0) +
                    interface(data, {}, properties(event->data->members, "T.", 2));
    }
    map += comment(
        deprecated_tag(event->features, client_doc({event->doc, "", "", true}, kWidth - 5)), 2);
    map += fmt::format("  {}: {};\n", property(event->name), data);
  }
  return file_head(schema, "The schema's events.") + "\nimport type * as T from './types.js';\n" +
         interfaces + "\n/** What each event's `data` is. */\n" + interface("Events", {}, map);
}

// ---- Commands ----

class ClientFile {
 public:
  ClientFile(const Schema& schema, Exports& exports) : schema_(schema), exports_(exports) {}

  std::string text() {
    std::string methods;
    for (const auto& command : schema_.commands) methods += "\n" + method_text(*command);
    return file_head(schema_, "The client: a method for each command.") +
           "\nimport { BaseClient } from './connection.js';\n"
           "import type { CallOptions, OobCallOptions } from './connection.js';\n"
           "import type { Events } from './events.js';\n"
           "import type * as T from './types.js';\n" +
           interfaces_ +
           "\n/**\n * A connection to a server of this schema.\n *\n"
           " * Each command is a method. It rejects with CommandError if the server refuses, with\n"
           " * ConnectionLost if the connection ends before the answer.\n */\n"
           "export class Client extends BaseClient<Events> {" +
           methods + "}\n";
  }

 private:
  std::string method_text(const Command& command) {
    std::string name = method(command.name);
    while (!methods_.insert(name).second) name += '_';
    const std::string arguments = arguments_type(command);
    const bool optional =
        !command.arguments || (is_struct(*command.arguments) &&
                               std::ranges::all_of(command.arguments->members, &Member::optional));
    Parameters parameters;
    if (!arguments.empty()) {
      parameters.push_back(fmt::format("args: {}{}", arguments, optional ? " = {}" : ""));
    }
    parameters.push_back(
        fmt::format("options: {} = {{}}", command.allow_oob ? "OobCallOptions" : "CallOptions"));
    const bool returns = command.returns && command.success_response;
    const std::string result = returns ? ts_type(*command.returns, "T.") : "void";
    const std::string call = fmt::format(
        "this.{}('{}', {}, options)", command.success_response ? "execute" : "executeWithoutReply",
        command.name, arguments.empty() ? "{}" : "args");
    const std::string role =
        schema_.role_type ? schema_.role_type->values[command.role].name : std::string();
    const std::string doc = client_doc({command.doc, "", role, true}, kWidth - 5);
    return comment(deprecated_tag(command.features, doc), 2) + head(name, parameters, result) +
           fmt::format("    {};\n  }}\n", returns
                                              ? fmt::format("return (await {}) as {}", call, result)
                                              : fmt::format("await {}", call));
  }

  using Parameters = std::vector<std::string>;

  static std::string head(std::string_view name, const Parameters& parameters,
                          std::string_view result) {
    std::string line;
    std::string lines;
    for (const std::string& parameter : parameters) {
      line += (line.empty() ? "" : ", ") + parameter;
      lines += fmt::format("    {},\n", parameter);
    }
    line = fmt::format("  async {}({}): Promise<{}> {{\n", name, line, result);
    if (line.size() <= kWidth + 1) return line;
    return fmt::format("  async {}(\n{}  ): Promise<{}> {{\n", name, lines, result);
  }

  // The type of a command's `args`; "" if it takes none.
  std::string arguments_type(const Command& command) {
    std::string out;
    if (command.arguments && !command.arguments->implicit) {
      out = ts_type(*command.arguments, "T.");
    } else if (command.arguments && !command.arguments->members.empty()) {
      out = exports_.add(cpp_pascal(client_name(command.name, "N")) + "Arguments");
      interfaces_ += "\n" + comment(fmt::format("What {} takes.", command.name), 0) +
                     interface(out, {}, properties(command.arguments->members, "T.", 2));
    }
    if (!takes_more(command)) return out;
    // Members that the schema doesn't name are taken too.
    return (out.empty() ? out : out + " & ") + "{ [name: string]: unknown }";
  }

  const Schema& schema_;
  Exports& exports_;
  std::set<std::string> methods_;
  std::string interfaces_;
};

// ---- The package ----

constexpr std::string_view kIndex = R"(
export { Client } from './client.js';
export * from './client.js';
export {
  ClientError,
  CommandError,
  ConnectionFailed,
  ConnectionLost,
  EventStream,
  EventsLost,
  ProtocolError,
  TimedOut,
} from './connection.js';
export type {
  CallOptions,
  ConnectOptions,
  EventMessage,
  EventOf,
  Greeting,
  OobCallOptions,
  Signal,
  StreamOptions,
  Timestamp,
  UnknownEvent,
  WaitOptions,
} from './connection.js';
export type { Events } from './events.js';
export * from './events.js';
export type { Address, Receiver, Transport } from './transport.js';
export * from './types.js';
)";

constexpr std::string_view kCompilerOptions = R"({
  "compilerOptions": {
    "target": "es2020",
    "lib": ["es2020"],
    "types": [],
    "module": "node16",
    "moduleResolution": "node16",
    "rootDir": "src",
    "outDir": "dist",
    "declaration": true,
    "sourceMap": true,
    "strict": true,
    "noUncheckedIndexedAccess": true
  },
  "include": ["src"]
}
)";

std::string package_file(const Schema& schema) {
  std::string name = client_package(schema);
  std::ranges::replace(name, '_', '-');
  return fmt::format(R"({{
  "name": "{}",
  "version": "0.0.0",
  "description": "A typed QMP client",
  "type": "module",
  "exports": {{
    ".": {{
      "types": "./dist/index.d.ts",
      "default": "./dist/index.js"
    }}
  }},
  "types": "./dist/index.d.ts",
  "files": ["dist", "src"],
  "sideEffects": false,
  "engines": {{
    "node": ">=18"
  }},
  "scripts": {{
    "build": "tsc -p .",
    "prepare": "tsc -p ."
  }},
  "devDependencies": {{
    "typescript": ">=4.8"
  }}
}}
)",
                     name);
}

class TypescriptBackend final : public Backend {
 public:
  std::string_view name() const override { return "typescript"; }
  std::string_view summary() const override {
    return "a typed client for TypeScript and Node: package.json, src/";
  }

  void emit(const Schema& schema, Output& output) const override {
    const std::vector<const Type*> types = client_types(schema);
    Exports exports(types);
    output.add("src/types.ts", types_file(schema, types));
    output.add("src/events.ts", events_file(schema, exports));
    output.add("src/client.ts", ClientFile(schema, exports).text());
    output.add("src/index.ts",
               file_head(schema, "A typed client. See Client.") + std::string(kIndex));
    output.add("src/connection.ts", std::string(kTypescriptRuntime_connection_ts));
    output.add("src/json.ts", std::string(kTypescriptRuntime_json_ts));
    output.add("src/transport.ts", std::string(kTypescriptRuntime_transport_ts));
    output.add("package.json", package_file(schema));
    output.add("tsconfig.json", std::string(kCompilerOptions));
  }
};

}  // namespace

const Backend* typescript_backend() {
  static const TypescriptBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
