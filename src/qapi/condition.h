// `if` conditions: 'SYMBOL', {'all': [...]}, {'any': [...]}, {'not': ...}. The dialect of 2011 also
// takes what QEMU had until 6.0: text for the C preprocessor, made of defined(SYMBOL), '!', '&&',
// '||' and parentheses, and lists of such texts, all of which have to hold.
#pragma once

#include <set>
#include <string>

#include "qapi/doc.h"
#include "qapi/node.h"

namespace firn::qapi {

using Symbols = std::set<std::string, std::less<>>;

struct ConditionError {
  Span span;
  std::string text;  // empty: the condition is well-formed
  std::string hint;
};
ConditionError check_condition(const Node& condition, Dialect dialect);

// Whether a well-formed condition holds where `defined` are the symbols given with -D. Null holds.
bool condition_holds(const Node* condition, const Symbols& defined);

// A well-formed condition for people: "CONFIG_A and not (B or C)"; the C preprocessor's text as it
// is. Empty for null.
std::string condition_text(const Node* condition);

}  // namespace firn::qapi
