#include "qapi/condition.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "qapi/lexer.h"
#include "qapi/names.h"

namespace firn::qapi {

namespace {

constexpr int kMaxDepth = 64;  // of parentheses

// "defined(A) && !(defined(B) || C)", for the C preprocessor. A bare symbol is taken for defined().
class CCondition {
 public:
  explicit CCondition(std::string_view text) : rest_(text) {}

  // Nothing if it is malformed.
  std::optional<bool> evaluate(const Symbols& defined) {
    defined_ = &defined;
    const bool value = any(0);
    skip_space();
    if (failed_ || !rest_.empty()) return std::nullopt;
    return value;
  }

 private:
  void skip_space() {
    while (const size_t space = space_length(rest_)) rest_.remove_prefix(space);
  }
  bool take(std::string_view what) {
    skip_space();
    if (!rest_.starts_with(what)) return false;
    rest_.remove_prefix(what.size());
    return true;
  }

  bool any(int depth) {
    bool value = all(depth);
    while (!failed_ && take("||")) value = all(depth) || value;
    return value;
  }
  bool all(int depth) {
    bool value = unary(depth);
    while (!failed_ && take("&&")) value = unary(depth) && value;
    return value;
  }

  bool unary(int depth) {
    if (depth > kMaxDepth) failed_ = true;
    if (failed_) return false;
    if (take("!")) return !unary(depth + 1);
    if (take("(")) {
      const bool value = any(depth + 1);
      if (!take(")")) failed_ = true;
      return value;
    }
    const std::string_view word = identifier();
    if (word != "defined") return symbol(word);
    const bool open = take("(");
    const bool value = symbol(identifier());
    if (open && !take(")")) failed_ = true;
    return value;
  }

  std::string_view identifier() {
    skip_space();
    size_t length = 0;
    while (length < rest_.size() && is_c_identifier(rest_.substr(0, length + 1))) ++length;
    const std::string_view out = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return out;
  }
  bool symbol(std::string_view name) {
    if (name.empty()) failed_ = true;
    return defined_->contains(name);
  }

  std::string_view rest_;
  const Symbols* defined_ = nullptr;
  bool failed_ = false;
};

ConditionError check_text(const Node& condition, Dialect dialect) {
  if (is_symbol(condition.text)) return {};
  if (dialect == Dialect::k2011) {
    if (CCondition(condition.text).evaluate({})) return {};
    return {condition.span, fmt::format("condition '{}' makes no sense", condition.text),
            "it is made of defined(SYMBOL), '!', '&&', '||' and parentheses"};
  }
  std::string hint = "a symbol is made of upper-case letters, digits and '_'";
  if (condition.text.find("defined") != std::string_view::npos) {
    hint = "write the symbol alone, or compile old schemas with --dialect 2011";
  }
  return {condition.span, fmt::format("condition '{}' is no symbol", condition.text),
          std::move(hint)};
}

ConditionError check_operands(const Node& operands, std::string_view name, Dialect dialect) {
  if (operands.kind != Node::Kind::kList) {
    return {operands.span, fmt::format("condition '{}' needs a list", name), {}};
  }
  if (operands.elements.empty()) {
    return {operands.span, fmt::format("the list of condition '{}' is empty", name), {}};
  }
  for (const Node& element : operands.elements) {
    if (ConditionError error = check_condition(element, dialect); !error.text.empty()) {
      return error;
    }
  }
  return {};
}

}  // namespace

ConditionError check_condition(const Node& condition, Dialect dialect) {
  if (condition.kind == Node::Kind::kString) return check_text(condition, dialect);
  if (condition.kind == Node::Kind::kList && dialect == Dialect::k2011) {
    return check_operands(condition, "if", dialect);
  }
  if (condition.kind != Node::Kind::kObject) {
    return {condition.span,
            fmt::format("a condition is a symbol or an object, not {}", condition.kind_name()),
            condition.kind == Node::Kind::kList ? "write {'all': [...]}" : ""};
  }
  for (const Node::Member& member : condition.members) {
    if (member.name != "all" && member.name != "any" && member.name != "not") {
      return {member.name_span, fmt::format("unknown condition '{}'", member.name),
              "there are 'all', 'any' and 'not'"};
    }
  }
  if (condition.members.size() != 1) {
    return {condition.span, "a condition needs exactly one of 'all', 'any' and 'not'", {}};
  }
  const Node::Member& member = condition.members.front();
  if (member.name == "not") return check_condition(member.value, dialect);
  return check_operands(member.value, member.name, dialect);
}

bool condition_holds(const Node* condition, const Symbols& defined) {
  if (!condition) return true;
  const auto holds = [&](const Node& node) { return condition_holds(&node, defined); };
  if (condition->kind == Node::Kind::kString) {
    return CCondition(condition->text).evaluate(defined).value_or(false);
  }
  if (condition->kind == Node::Kind::kList) {
    return std::all_of(condition->elements.begin(), condition->elements.end(), holds);
  }
  const Node::Member& member = condition->members.front();
  const auto& operands = member.value.elements;
  if (member.name == "not") return !holds(member.value);
  if (member.name == "all") return std::all_of(operands.begin(), operands.end(), holds);
  return std::any_of(operands.begin(), operands.end(), holds);
}

std::string condition_text(const Node* condition) {
  if (!condition) return {};
  if (condition->kind == Node::Kind::kString) return std::string(condition->text);
  // What is made of several parts needs parentheses inside of another one.
  const auto inner = [](const Node& node) {
    std::string text = condition_text(&node);
    return text.contains(' ') && !text.starts_with("not ") ? "(" + text + ")" : text;
  };
  const bool list = condition->kind == Node::Kind::kList;
  const std::string_view key = list ? "all" : std::string_view(condition->members.front().name);
  if (key == "not") return "not " + inner(condition->members.front().value);
  const auto& operands = list ? condition->elements : condition->members.front().value.elements;
  if (operands.size() == 1) return condition_text(&operands.front());
  std::string out;
  for (const Node& operand : operands) {
    if (!out.empty()) out += key == "all" ? " and " : " or ";
    out += inner(operand);
  }
  return out;
}

}  // namespace firn::qapi
