#include "qapi/condition.h"

#include <fmt/format.h>

#include <algorithm>

namespace firn::qapi {

namespace {

bool is_symbol(std::string_view text) {
  const auto word = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !text.empty() && !(text.front() >= '0' && text.front() <= '9') &&
         std::all_of(text.begin(), text.end(), word);
}

}  // namespace

bool evaluate_condition(const Node& condition, const Symbols& defined, Diagnostics& diagnostics) {
  if (condition.kind == Node::Kind::kString) {
    if (!is_symbol(condition.text)) {
      diagnostics.error(
          condition.span,
          fmt::format("'{}' is no symbol: it takes letters, digits and '_'", condition.text));
      return true;
    }
    return defined.contains(condition.text);
  }
  if (condition.kind != Node::Kind::kObject || condition.members.size() != 1) {
    diagnostics.error(condition.span,
                      "a condition is a symbol or an object with one of 'all', 'any' and 'not'");
    return true;
  }
  const Node::Member& member = condition.members.front();
  if (member.name == "not") return !evaluate_condition(member.value, defined, diagnostics);
  if (member.name != "all" && member.name != "any") {
    diagnostics.error(
        member.name_span,
        fmt::format("unknown condition '{}': known are 'all', 'any' and 'not'", member.name));
    return true;
  }
  if (member.value.kind != Node::Kind::kList || member.value.elements.empty()) {
    diagnostics.error(member.value.span,
                      fmt::format("'{}' needs a list of conditions", member.name));
    return true;
  }
  const bool all = member.name == "all";
  bool holds = all;
  for (const Node& element : member.value.elements) {
    const bool one = evaluate_condition(element, defined, diagnostics);
    holds = all ? holds && one : holds || one;
  }
  return holds;
}

}  // namespace firn::qapi
