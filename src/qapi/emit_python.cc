#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "qapi/emit_client.h"
#include "qapi/names.h"

namespace firn::qapi {

// runtime/python/, as the build embeds it.
extern const std::string_view kPythonRuntime_connection_py;
extern const std::string_view kPythonRuntime_values_py;

namespace {

constexpr size_t kWidth = 100;

// ---- Names ----

bool is_keyword(std::string_view name) {
  static const std::set<std::string_view> kKeywords = {
      "False", "None",   "True",  "and",      "as",    "assert", "async", "await",  "break",
      "class", "def",    "del",   "continue", "elif",  "else",   "for",   "except", "finally",
      "from",  "global", "if",    "import",   "in",    "is",     "not",   "lambda", "nonlocal",
      "or",    "pass",   "raise", "return",   "while", "try",    "with",  "yield"};
  return kKeywords.contains(name);
}

// Of a member: an attribute of a class and a parameter of a method.
std::string attribute(std::string_view name) {
  static const std::set<std::string_view> kTaken = {
      "self",      "from_json",  "to_json",  "unknown_members",
      "timestamp", "event_name", "exec_oob", "more_arguments"};
  std::string out = client_name(name, "n");
  if (is_keyword(out) || kTaken.contains(out)) out += '_';
  return out;
}

std::string method(std::string_view name) {
  // What every client has: see BaseClient in runtime/python/connection.py.
  static const std::set<std::string_view> kTaken = {"close",   "connect",      "connect_tcp",
                                                    "execute", "from_streams", "greeting",
                                                    "is_open", "listen",       "wait_closed"};
  std::string out = client_name(name, "n");
  if (is_keyword(out) || kTaken.contains(out)) out += '_';
  return out;
}

std::string class_name(std::string_view name) {
  std::string out = client_name(name, "N");
  if (is_keyword(out) || out == "Client") out += '_';
  return out;
}

std::string decoder_name(const Type& type) { return class_name(type.name) + "_from_json"; }
std::string base_name(const Type& type) { return class_name(type.name) + "_Base"; }
std::string unknown_name(const Type& type) { return class_name(type.name) + "_Unknown"; }

std::string leaf_name(const Type& type, const UnionLeaf& leaf) {
  std::string out = class_name(type.name) + "_" + leaf.suffix;
  if (out == base_name(type) || out == unknown_name(type)) out += '_';
  return out;
}

// The constants of an enumeration. Values that differ in case alone are refused before.
std::map<std::string, std::string> constants(const Type& type) {
  std::map<std::string, std::string> out;
  for (const EnumValue& value : type.values) {
    std::string name = client_name(value.name, "VALUE_");
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    out.emplace(value.name, name);
  }
  return out;
}

std::string docstring(std::string_view text, size_t indent) {
  if (text.empty()) return {};
  const bool several = text.find('\n') != std::string::npos;
  std::string safe;
  size_t quotes = 0;  // in a row
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    quotes = c == '"' ? quotes + 1 : 0;
    const bool ends = c == '"' && (quotes == 3 || (i + 1 == text.size() && !several));
    if (c == '\\' || ends) safe += '\\';
    if (ends) quotes = 0;
    safe += c;
  }
  return indented("\"\"\"" + safe + (several ? "\n" : "") + "\"\"\"", indent);
}

// ---- Types ----

// Names that a class or a module gives another meaning: there, what Python builds in is qualified.
using Scope = std::set<std::string>;

std::string builtin(std::string_view name, const Scope& scope) {
  return (scope.contains(std::string(name)) ? "builtins." : "") + std::string(name);
}

std::string annotation(const Type& type, const Scope& scope, bool result = false) {
  static const std::map<std::string_view, std::string_view> kBuiltins = {{"str", "str"},
                                                                         {"number", "float"},
                                                                         {"bool", "bool"},
                                                                         {"any", "_t.Any"},
                                                                         {"null", "_v.Null"}};
  switch (type.kind) {
    case TypeKind::kBuiltin: {
      const auto found = kBuiltins.find(type.name);
      if (found == kBuiltins.end()) return builtin("int", scope);
      return found->second.starts_with('_') ? std::string(found->second)
                                            : builtin(found->second, scope);
    }
    case TypeKind::kArray:
      return fmt::format("{}[{}]", result ? builtin("list", scope) : "_Sequence",
                         annotation(*type.element, scope, result));
    default:
      return class_name(type.name);
  }
}

std::string decoder(const Type& type) {
  static const std::map<std::string_view, std::string_view> kBuiltins = {
      {"str", "str"}, {"number", "float"}, {"bool", "bool"}, {"any", "any"}, {"null", "null"}};
  switch (type.kind) {
    case TypeKind::kBuiltin: {
      const auto found = kBuiltins.find(type.name);
      return fmt::format("_v.decode_{}", found == kBuiltins.end() ? "int" : found->second);
    }
    case TypeKind::kArray:
      return fmt::format("_v.decode_list({})", decoder(*type.element));
    case TypeKind::kEnum:
      return class_name(type.name) + ".from_json";
    default:
      return is_struct(type) ? class_name(type.name) + ".from_json" : decoder_name(type);
  }
}

Scope scope_of(const std::vector<Member>& members) {
  Scope out;
  for (const Member& member : members) out.insert(attribute(member.name));
  return out;
}

// The attributes of a class.
std::string fields(const std::vector<Member>& members) {
  const Scope scope = scope_of(members);
  std::string out;
  for (const Member& member : members) {
    out += fmt::format("    {}: {}{}\n", attribute(member.name), annotation(*member.type, scope),
                       member.optional ? " | None = None" : "");
    out += docstring(client_member_doc(member, kWidth - 8), 4);
  }
  return out;
}

// A line of a class's table of members.
std::string row(const Member& member, bool fixed = false) {
  return fmt::format("    _v.Member(\"{}\", \"{}\", {}{}{}),\n", attribute(member.name),
                     member.name, decoder(*member.type), member.optional ? ", optional=True" : "",
                     fixed ? ", fixed=True" : "");
}

std::string table(std::string_view name, const std::vector<std::string>& bases,
                  std::string_view rows) {
  std::string out = fmt::format("{}._members = (\n", name);
  for (const std::string& base : bases) out += fmt::format("    *{}._members,\n", base);
  return out + std::string(rows) + ")\n";
}

std::string rows(const std::vector<Member>& members) {
  std::string out;
  for (const Member& member : members) out += row(member);
  return out;
}

std::string class_head(std::string_view name, const std::vector<std::string>& bases) {
  std::string list;
  for (const std::string& base : bases) list += (list.empty() ? "" : ", ") + base;
  return fmt::format("@_dataclass(frozen=True, kw_only=True)\nclass {}({}):\n", name, list);
}

std::string or_pass(std::string body) { return body.empty() ? "    pass\n" : body; }

std::string file_head(const Schema& schema, std::string_view what, std::string_view imports) {
  return fmt::format(
      "\"\"\"{}\n\nMade by qapic from {}.json. Changes belong into the schema.\n\"\"\"\n\n"
      "from __future__ import annotations\n\n{}\n",
      what, schema.files.empty() ? "" : schema.files.front()->module, imports);
}

std::string export_list(const std::vector<std::string>& names) {
  if (names.empty()) return "__all__: list[str] = []\n";  // mypy can't tell of what it is empty
  std::string out = "__all__ = [\n";
  for (const std::string& name : names) out += fmt::format("    \"{}\",\n", name);
  return out + "]\n";
}

// types.py: classes in the order in which Python needs them; then decoders of unions and
// alternates; then the tables of members, which may refer to any of them.
class TypesFile {
 public:
  explicit TypesFile(const Schema& schema) : schema_(schema) {}

  std::string text() {
    const std::vector<const Type*> types = client_types(schema_);
    for (const Type* type : types) {
      if (type->kind == TypeKind::kEnum) enumeration(*type);
    }
    for (const Type* type : types) {
      if (type->kind == TypeKind::kObject) type->is_union() ? union_type(*type) : structure(*type);
    }
    for (const Type* type : types) {
      if (type->kind == TypeKind::kAlternate) alternate(*type);
    }
    std::ranges::sort(exports_);
    return file_head(schema_, "The schema's types.",
                     "import builtins\n"
                     "import typing as _t\n"
                     "from collections.abc import Callable as _Callable\n"
                     "from collections.abc import Sequence as _Sequence\n"
                     "from dataclasses import dataclass as _dataclass\n"
                     "from dataclasses import field as _field\n\n"
                     "from . import values as _v\n") +
           export_list(exports_) + classes_ + decoders_ + "\n\n" + tables_;
  }

  // Known after text().
  const std::vector<std::string>& exports() const { return exports_; }

 private:
  void enumeration(const Type& type) {
    const auto names = constants(type);
    std::string body = docstring(client_doc({type.doc, "", ""}, kWidth - 4), 4);
    if (!body.empty() && !type.values.empty()) body += "\n";
    for (const EnumValue& value : type.values) {
      body += fmt::format("    {} = \"{}\"\n", names.at(value.name), value.name);
      body += docstring(client_value_doc(type, value, kWidth - 8), 4);
    }
    classes_ += fmt::format("\n\nclass {}(_v.QapiEnum):\n{}", class_name(type.name), or_pass(body));
    exports_.push_back(class_name(type.name));
  }

  void structure(const Type& type) {
    const std::string name = class_name(type.name);
    const bool derived = type.base != nullptr;
    std::vector<std::string> bases;
    if (derived) bases.push_back(class_name(type.base->name));
    define(name, derived ? bases : std::vector<std::string>{"_v.Struct"},
           client_doc({type.doc, "", ""}, kWidth - 4), fields(type.own_members));
    tables_ += table(name, bases, rows(type.own_members));
  }

  void define(const std::string& name, const std::vector<std::string>& bases, std::string_view doc,
              const std::string& body) {
    std::string text = docstring(doc, 4);
    if (!text.empty() && !body.empty()) text += "\n";
    classes_ += "\n\n" + class_head(name, bases) + or_pass(text + body);
    exports_.push_back(name);
  }

  // What all branches have: the base, if it has a name, or a class made for it.
  std::string base_class(const Type& type) {
    if (type.base && !type.base->implicit) return class_name(type.base->name);
    const std::string name = base_name(type);
    define(name, {"_v.Struct"}, fmt::format("What all branches of {} have.", type.name),
           fields(type.members));
    tables_ += table(name, {}, rows(type.members));
    return name;
  }

  void union_type(const Type& type) {
    const std::string name = class_name(type.name);
    const std::string base = base_class(type);
    const std::vector<UnionLeaf> leaves = union_leaves(type);
    std::string members;
    std::string branches;
    for (const UnionLeaf& leaf : leaves) {
      members += fmt::format("    {},\n", branch(type, leaf, base));
    }
    define(unknown_name(type), {base, "_v.UnknownBranch"},
           fmt::format("A {} whose tag this schema doesn't have.", type.name), "");
    for (const Variant& variant : type.variants) {
      branches += fmt::format("    \"{}\": {},\n", variant.name, branch_decoder(type, variant));
    }
    classes_ += fmt::format("\n\n{}: _t.TypeAlias = _t.Union[\n{}    {},\n]\n", name, members,
                            unknown_name(type));
    classes_ += docstring(client_doc({type.doc, "", ""}, kWidth), 0);
    decoders_ += fmt::format(
        "\n\n{0}: _Callable[[object], {1}] = _v.Union[{1}](\"{2}\", {{\n{3}}}, {4}.from_json)\n",
        decoder_name(type), name, type.tag->name, branches, unknown_name(type));
    exports_.push_back(name);
    exports_.push_back(decoder_name(type));
  }

  // The class of one branch; gives its name.
  std::string branch(const Type& type, const UnionLeaf& leaf, const std::string& base) {
    const std::string name = leaf_name(type, leaf);
    std::vector<std::string> bases;
    // A branch that is a union gives its leaf, which stands for what is below it.
    std::string content;
    if (leaf.path.size() > 1) {
      UnionLeaf inner{{leaf.path.begin() + 1, leaf.path.end()}, ""};
      for (const UnionLeaf& other : union_leaves(*leaf.path.front()->type)) {
        if (other.path == inner.path) content = leaf_name(*leaf.path.front()->type, other);
      }
    } else if (const Type* own = leaf.path.front()->type; own && !own->members.empty()) {
      content = class_name(own->name);
    }
    bases.push_back(base);
    if (!content.empty()) bases.push_back(content);
    const std::string value = fmt::format("{}.{}", class_name(type.tag->type->name),
                                          constants(*type.tag->type).at(leaf.path.front()->name));
    const std::string tag = attribute(type.tag->name);
    define(name, bases,
           fmt::format("A {} whose {} is {}.", type.name, type.tag->name, leaf.path.front()->name),
           fmt::format("    {0}: _t.Literal[{1}] = _field(default={1}, init=False)\n", tag, value));
    std::string list;
    for (const Member& member : type.members) {
      list += row(member, member.name == type.tag->name);
    }
    std::vector<std::string> inherited;
    if (!content.empty()) inherited.push_back(content);
    tables_ += table(name, inherited, list);
    return name;
  }

  static std::string branch_decoder(const Type& type, const Variant& variant) {
    std::vector<UnionLeaf> leaves;
    for (UnionLeaf& leaf : union_leaves(type)) {
      if (leaf.path.front() == &variant) leaves.push_back(std::move(leaf));
    }
    return nested_decoder(type, leaves, 0);
  }

  // The decoder for leaves that share their path up to `depth`.
  static std::string nested_decoder(const Type& type, const std::vector<UnionLeaf>& leaves,
                                    size_t depth) {
    const Type* inner = leaves.front().path[depth]->type;
    if (!inner || !inner->is_union()) return leaf_name(type, leaves.front()) + ".from_json";
    std::string branches;
    for (const Variant& variant : inner->variants) {
      std::vector<UnionLeaf> below;
      for (const UnionLeaf& leaf : leaves) {
        if (leaf.path[depth + 1] == &variant) below.push_back(leaf);
      }
      branches += fmt::format("\"{}\": {}, ", variant.name, nested_decoder(type, below, depth + 1));
    }
    return fmt::format("_v.Union[{}](\"{}\", {{{}}}, {}.from_json)", class_name(type.name),
                       inner->tag->name, branches, unknown_name(type));
  }

  void alternate(const Type& type) {
    std::string members;
    std::string branches;
    for (const Member& branch : type.own_members) {
      members += fmt::format("    {},\n", annotation(*branch.type, {}));
      branches += fmt::format("    {}: {},\n", json_type(*branch.type), decoder(*branch.type));
    }
    const std::string name = class_name(type.name);
    classes_ += fmt::format("\n\n{}: _t.TypeAlias = _t.Union[\n{}]\n", name, members);
    classes_ += docstring(client_doc({type.doc, alternate_branches(type), ""}, kWidth), 0);
    decoders_ += fmt::format("\n\n{0}: _Callable[[object], {1}] = _v.Alternate[{1}]({{\n{2}}})\n",
                             decoder_name(type), name, branches);
    exports_.push_back(name);
    exports_.push_back(decoder_name(type));
  }

  static std::string alternate_branches(const Type& type) {
    std::string out;
    for (const Member& branch : type.own_members) {
      const std::string doc = client_member_doc(branch, kWidth - 8);
      if (doc.empty()) continue;
      out += fmt::format("    {}:\n{}", annotation(*branch.type, {}), indented(doc, 8));
    }
    return out;
  }

  // The type that JSON's parser gives for a branch's values.
  static std::string json_type(const Type& type) {
    static const std::map<std::string_view, std::string_view> kBuiltins = {
        {"str", "str"}, {"number", "float"}, {"bool", "bool"}, {"null", "type(None)"}};
    switch (type.kind) {
      case TypeKind::kBuiltin: {
        const auto found = kBuiltins.find(type.name);
        return found == kBuiltins.end() ? "int" : std::string(found->second);
      }
      case TypeKind::kArray:
        return "list";
      case TypeKind::kEnum:
        return "str";
      default:
        return "dict";
    }
  }

  const Schema& schema_;
  std::vector<std::string> exports_;
  std::string classes_;
  std::string decoders_;
  std::string tables_;
};

// ---- Events ----

std::string event_class(const Event& event, const std::set<std::string>& taken) {
  std::string out = class_name(cpp_pascal(client_name(event.name, "N"))) + "Event";
  while (taken.contains(out)) out += '_';
  return out;
}

// Types of the schema that a file names.
class Imports {
 public:
  void add(const Type& type) {
    if (type.kind == TypeKind::kArray) return add(*type.element);
    if (type.kind == TypeKind::kBuiltin) return;
    names_.insert(class_name(type.name));
  }
  void add_decoder(const Type& type) {
    if (type.kind == TypeKind::kArray) return add_decoder(*type.element);
    if (type.kind == TypeKind::kBuiltin) return;
    const bool function = type.kind == TypeKind::kAlternate || type.is_union();
    names_.insert(function ? decoder_name(type) : class_name(type.name));
  }
  std::string text() const {
    std::string out;
    for (const std::string& name : names_) out += fmt::format("    {},\n", name);
    return out.empty() ? out : fmt::format("from .types import (\n{})\n", out);
  }

 private:
  std::set<std::string> names_;
};

std::string events_file(const Schema& schema, const std::vector<std::string>& types,
                        std::vector<std::string>& exports) {
  const std::set<std::string> taken(types.begin(), types.end());
  Imports imports;
  std::string classes;
  std::string tables;
  std::string list;
  for (const auto& event : schema.events) {
    const std::string name = event_class(*event, taken);
    std::vector<std::string> bases = {"_c.Event"};
    std::vector<Member> members;
    Member whole;
    if (event->data && event->data->is_union()) {
      whole.name = "data";
      whole.type = event->data;
      members.push_back(whole);
    } else if (event->data && event->data->implicit) {
      members = event->data->members;
    } else if (event->data) {
      bases.push_back(class_name(event->data->name));
      imports.add(*event->data);
    }
    for (const Member& member : members) {
      imports.add(*member.type);
      imports.add_decoder(*member.type);
    }
    std::string body = docstring(client_doc({event->doc, "", ""}, kWidth - 4), 4);
    body += fmt::format("{}    event_name: _t.ClassVar[{}] = \"{}\"\n", body.empty() ? "" : "\n",
                        builtin("str", scope_of(members)), event->name);
    if (!members.empty()) body += "\n" + fields(members);
    classes += "\n\n" + class_head(name, bases) + body;
    if (whole.type) {
      classes += fmt::format(
          "\n    @classmethod\n    def _attributes(cls, value: object) -> dict[str, _t.Any]:\n"
          "        return {{\"data\": {}(value)}}\n",
          decoder(*whole.type));
    } else if (!members.empty()) {
      tables += table(name, {}, rows(members));
    }
    list += fmt::format("    {}.event_name: {},\n", name, name);
    exports.push_back(name);
  }
  std::ranges::sort(exports);
  std::vector<std::string> all = exports;
  all.push_back("EVENTS");
  std::ranges::sort(all);
  return file_head(schema, "The schema's events.",
                   "import builtins\nimport typing as _t\n"
                   "from collections.abc import Sequence as _Sequence\n"
                   "from dataclasses import dataclass as _dataclass\n\n"
                   "from . import connection as _c\nfrom . import values as _v\n" +
                       imports.text()) +
         export_list(all) + classes + (tables.empty() ? "" : "\n\n" + tables) +
         fmt::format(
             "\nEVENTS: _t.Final[dict[str, type[_c.Event]]] = {{\n{}}}\n"
             "\"\"\"All of them by their names.\"\"\"\n",
             list);
}

// ---- Commands ----

class ClientFile {
 public:
  explicit ClientFile(const Schema& schema) : schema_(schema) {
    for (const auto& command : schema.commands) scope_.insert(method(command->name));
  }

  std::string text() {
    std::string methods;
    for (const auto& command : schema_.commands) methods += "\n" + method_text(*command);
    return file_head(schema_, "The client: a method for each command.",
                     "import builtins\nimport typing as _t\nimport warnings as _warnings\n"
                     "from collections.abc import Mapping as _Mapping\n"
                     "from collections.abc import Sequence as _Sequence\n\n"
                     "from . import connection as _c\nfrom . import values as _v\n"
                     "from .events import EVENTS as _EVENTS\n" +
                         imports_.text()) +
           "__all__ = [\"Client\"]\n\n\n"
           "class Client(_c.BaseClient):\n"
           "    \"\"\"A connection to a server of this schema.\n\n"
           "    Each command is a method. It raises CommandError if the server refuses, "
           "ConnectionLost\n"
           "    if the connection ends before the answer, ProtocolError if the answer isn't as "
           "the\n"
           "    schema says.\n"
           "    \"\"\"\n\n"
           "    _events = _EVENTS\n" +
           methods;
  }

 private:
  std::string method_text(const Command& command) {
    const bool whole = command.arguments && command.arguments->is_union();
    std::string parameters;
    Entries required;
    Entries optional;
    if (whole) {
      imports_.add(*command.arguments);
      parameters = fmt::format("arguments: {}, /", class_name(command.arguments->name));
    } else if (command.arguments) {
      for (const Member& member : command.arguments->members) {
        imports_.add(*member.type);
        parameters += fmt::format("{}        {}: {}{},\n", parameters.empty() ? "\n" : "",
                                  attribute(member.name), annotation(*member.type, scope_),
                                  member.optional ? " | None = None" : "");
        (member.optional ? optional : required)
            .push_back(fmt::format("\"{}\": {}", member.name, attribute(member.name)));
      }
    }
    std::string extra;
    if (command.allow_oob) {
      extra += fmt::format("        exec_oob: {} = False,\n", builtin("bool", scope_));
    }
    if (takes_more(command)) {
      extra += fmt::format("        more_arguments: _Mapping[{}, _t.Any] | None = None,\n",
                           builtin("str", scope_));
    }
    return head(command, whole, parameters, extra) + docstring(doc(command), 8) +
           warnings(command) + body(command, whole, required, optional);
  }

  std::string head(const Command& command, bool whole, const std::string& parameters,
                   const std::string& extra) {
    std::string list = "self";
    if (whole) {
      list += ", " + parameters;
      if (!extra.empty()) list += fmt::format(", *,\n{}    ", extra);
    } else if (!parameters.empty() || !extra.empty()) {
      list = fmt::format("\n        self,\n        *,\n{}{}    ",
                         std::string_view(parameters).substr(parameters.empty() ? 0 : 1), extra);
    }
    std::string returns = "None";
    if (command.returns && command.success_response) {
      imports_.add(*command.returns);
      imports_.add_decoder(*command.returns);
      returns = annotation(*command.returns, scope_, true);
    }
    return fmt::format("    async def {}({}) -> {}:\n", method(command.name), list, returns);
  }

  std::string doc(const Command& command) const {
    std::string arguments;
    if (command.arguments && is_struct(*command.arguments)) {
      for (const Member& member : command.arguments->members) {
        const std::string text = client_member_doc(member, kWidth - 16);
        if (text.empty()) continue;
        arguments += fmt::format("    {}:\n{}", attribute(member.name), indented(text, 8));
      }
    }
    if (takes_more(command)) {
      arguments += "    more_arguments:\n        others that it takes, named as in QMP\n";
    }
    if (command.allow_oob) {
      arguments += "    exec_oob:\n        run it at once, before what other calls wait for\n";
    }
    if (!arguments.empty()) arguments.insert(0, "Args:\n");
    const std::string role =
        schema_.role_type ? schema_.role_type->values[command.role].name : std::string();
    return client_doc({command.doc, arguments, role}, kWidth - 8);
  }

  static std::string warnings(const Command& command) {
    constexpr std::string_view kWarn =
        "_warnings.warn(\"{} is deprecated\", DeprecationWarning, stacklevel=2)\n";
    std::string out;
    if (has_feature(command.features, "deprecated")) {
      out += "        " + fmt::format(fmt::runtime(kWarn), command.name);
    }
    if (!command.arguments || command.arguments->is_union()) return out;
    for (const Member& member : command.arguments->members) {
      if (!has_feature(member.features, "deprecated")) continue;
      const std::string what = fmt::format("{}: {}", command.name, member.name);
      std::string indent = "        ";
      if (member.optional) {
        out += fmt::format("        if {} is not None:\n", attribute(member.name));
        indent += "    ";
      }
      out += indent + fmt::format(fmt::runtime(kWarn), what);
    }
    return out;
  }

  using Entries = std::vector<std::string>;

  // "{a, b}", over several lines if one has no room for it.
  static std::string dictionary(const Entries& entries, size_t indent) {
    std::string line;
    std::string lines;
    for (const std::string& entry : entries) {
      line += (line.empty() ? "" : ", ") + entry;
      lines += fmt::format("{:{}}{},\n", "", indent + 4, entry);
    }
    if (indent + line.size() + 3 <= kWidth) return fmt::format("{{{}}}", line);
    return fmt::format("{{\n{}{:{}}}}", lines, "", indent);
  }

  static std::string body(const Command& command, bool whole, Entries required,
                          const Entries& optional) {
    if (whole) required = {"**arguments.to_json()"};
    if (takes_more(command)) required.push_back("**(more_arguments or {})");
    Entries arguments = {
        fmt::format("\"{}\"", command.name),
        whole && !takes_more(command) ? "arguments.to_json()" : dictionary(required, 12),
        dictionary(optional, 12)};
    std::string function = "await self._execute_without_reply";
    if (command.success_response) {
      function = command.returns ? "return await self._execute" : "await self._execute";
      arguments.push_back(command.returns ? decoder(*command.returns) : "_v.decode_nothing");
      if (command.allow_oob) arguments.push_back("oob=exec_oob");
    }
    std::string line;
    std::string lines;
    for (const std::string& argument : arguments) {
      line += (line.empty() ? "" : ", ") + argument;
      lines += fmt::format("            {},\n", argument);
    }
    line = fmt::format("        {}({})\n", function, line);
    if (line.size() <= kWidth + 1 && line.find('\n') == line.size() - 1) return line;
    return fmt::format("        {}(\n{}        )\n", function, lines);
  }

  const Schema& schema_;
  Scope scope_;
  Imports imports_;
};

// ---- The package ----

std::string package_file(const Schema& schema, const std::vector<std::string>& types,
                         const std::vector<std::string>& events) {
  const std::set<std::string> taken(types.begin(), types.end());
  std::string out = file_head(schema, "A typed asyncio client. See Client.", "");
  out.pop_back();
  std::vector<std::string> all;
  const auto import = [&](std::string_view module, const std::vector<std::string>& names) {
    out += fmt::format("from .{} import (\n", module);
    for (const std::string& name : names) out += fmt::format("    {},\n", name);
    out += ")\n";
    all.insert(all.end(), names.begin(), names.end());
  };
  const auto runtime = [&](std::vector<std::string> names) {
    // A type of the schema that has the same name is the one that users of the schema mean.
    std::erase_if(names, [&](const std::string& name) { return taken.contains(name); });
    return names;
  };
  import("client", {"Client"});
  import("connection",
         runtime({"CommandError", "ConnectionFailed", "ConnectionLost", "Event", "EventStream",
                  "EventsLost", "Greeting", "Timestamp", "UnknownEvent"}));
  if (!events.empty()) import("events", events);
  if (!types.empty()) import("types", types);
  import("values", runtime({"NULL", "ClientError", "Null", "ProtocolError"}));
  std::ranges::sort(all);
  return out + "\n" + export_list(all);
}

std::string project_file(const std::string& package) {
  std::string name = package;
  std::ranges::replace(name, '_', '-');
  return fmt::format(
      "[build-system]\n"
      "requires = [\"setuptools>=61\"]\n"
      "build-backend = \"setuptools.build_meta\"\n\n"
      "[project]\n"
      "name = \"{}\"\n"
      "version = \"0.0.0\"\n"
      "description = \"A typed asyncio client\"\n"
      "requires-python = \">=3.11\"\n\n"
      "[tool.setuptools]\n"
      "packages = [\"{}\"]\n\n"
      "[tool.setuptools.package-data]\n"
      "{} = [\"py.typed\"]\n",
      name, package, package);
}

class PythonBackend final : public Backend {
 public:
  std::string_view name() const override { return "python"; }
  std::string_view summary() const override {
    return "a typed asyncio client for Python: NAME_client/, pyproject.toml";
  }

  void emit(const Schema& schema, Output& output) const override {
    const std::string package = client_package(schema);
    TypesFile types(schema);
    std::vector<std::string> events;
    output.add(package + "/types.py", types.text());
    output.add(package + "/events.py", events_file(schema, types.exports(), events));
    output.add(package + "/client.py", ClientFile(schema).text());
    output.add(package + "/__init__.py", package_file(schema, types.exports(), events));
    output.add(package + "/connection.py", std::string(kPythonRuntime_connection_py));
    output.add(package + "/values.py", std::string(kPythonRuntime_values_py));
    output.add(package + "/py.typed", "");
    output.add("pyproject.toml", project_file(package));
  }
};

}  // namespace

const Backend* python_backend() {
  static const PythonBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
