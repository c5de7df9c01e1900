#include "qapi/pragma.h"

#include <fmt/format.h>

#include <algorithm>

#include "qapi/suggest.h"

namespace firn::qapi {

namespace {

struct BoolPragma {
  std::string_view name;
  bool Pragmas::* value;
};
constexpr BoolPragma kBools[] = {
    {"doc-required", &Pragmas::doc_required},
    {"secret-members", &Pragmas::secret_members},
};

struct ListPragma {
  std::string_view name;
  NameSet Pragmas::* names;
  bool in_2011_only = false;
};
constexpr ListPragma kLists[] = {
    {"command-name-exceptions", &Pragmas::command_name_exceptions},
    {"command-returns-exceptions", &Pragmas::command_returns_exceptions},
    {"documentation-exceptions", &Pragmas::documentation_exceptions},
    {"member-name-exceptions", &Pragmas::member_name_exceptions},
    // Their names until QEMU 6.0.
    {"returns-whitelist", &Pragmas::command_returns_exceptions, true},
    {"name-case-whitelist", &Pragmas::member_name_exceptions, true},
};

bool is_name_list(const Node& value) {
  const auto is_string = [](const Node& e) { return e.kind == Node::Kind::kString; };
  return value.kind == Node::Kind::kList &&
         std::all_of(value.elements.begin(), value.elements.end(), is_string);
}

class PragmaReader {
 public:
  PragmaReader(const Span& start, Dialect dialect, Pragmas& pragmas, Diagnostics& diagnostics)
      : start_(start), dialect_(dialect), pragmas_(pragmas), diagnostics_(diagnostics) {}

  void read(const Node::Member& member) {
    for (const BoolPragma& known : kBools) {
      if (member.name == known.name) return read_bool(member, pragmas_.*known.value);
    }
    for (const ListPragma& known : kLists) {
      if (member.name != known.name) continue;
      if (!known.in_2011_only || dialect_ == Dialect::k2011) {
        return read_list(member, pragmas_.*known.names);
      }
    }
    if (member.name == "role-type") return read_role_type(member);
    unknown(member);
  }

 private:
  void fail(const Span& span, std::string text, std::string hint = {}) {
    diagnostics_.error_in(start_, span, std::move(text), std::move(hint));
  }

  void read_bool(const Node::Member& member, bool& out) {
    if (member.value.kind != Node::Kind::kBool) {
      return fail(member.value.span, fmt::format("pragma '{}' needs true or false", member.name));
    }
    out = member.value.boolean;
  }

  void read_list(const Node::Member& member, NameSet& names) {
    if (!is_name_list(member.value)) {
      return fail(member.value.span,
                  fmt::format("pragma '{}' needs a list of strings", member.name));
    }
    names.clear();
    for (const Node& element : member.value.elements) names.insert(element.text);
  }

  void read_role_type(const Node::Member& member) {
    if (member.value.kind != Node::Kind::kString) {
      return fail(member.value.span, "pragma 'role-type' needs an enum's name");
    }
    pragmas_.role_type = member.value.text;
    pragmas_.role_type_span = member.value.span;
  }

  void unknown(const Node::Member& member) {
    Suggestion suggestion(member.name);
    for (const BoolPragma& known : kBools) suggestion.offer(known.name);
    for (const ListPragma& known : kLists) {
      if (known.name == member.name) {
        return fail(member.name_span, fmt::format("unknown pragma '{}'", member.name),
                    "older schemas compile with --dialect 2011");
      }
      if (!known.in_2011_only) suggestion.offer(known.name);
    }
    fail(member.name_span, fmt::format("unknown pragma '{}'", member.name), suggestion.hint());
  }

  const Span start_;
  const Dialect dialect_;
  Pragmas& pragmas_;
  Diagnostics& diagnostics_;
};

}  // namespace

void read_pragma(const Node& value, const Span& start, Dialect dialect, Pragmas& pragmas,
                 Diagnostics& diagnostics) {
  if (value.kind != Node::Kind::kObject) {
    return diagnostics.error_in(start, value.span, "'pragma' needs an object");
  }
  PragmaReader reader(start, dialect, pragmas, diagnostics);
  for (const Node::Member& member : value.members) reader.read(member);
}

}  // namespace firn::qapi
