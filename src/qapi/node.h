// A piece of JSON as it stands in a schema.
#pragma once

#include <string_view>
#include <vector>

#include "qapi/source.h"

namespace firn::qapi {

// Its strings belong to the SourceFile or to the ParsedSchema that it came from.
struct Node {
  enum class Kind : uint8_t { kObject, kList, kString, kBool };
  struct Member;

  Kind kind = Kind::kObject;
  bool boolean = false;  // kBool
  Span span;
  std::string_view text;        // kString
  std::vector<Member> members;  // kObject, in order
  std::vector<Node> elements;   // kList

  const Member* member(std::string_view name) const;
  const char* kind_name() const;  // "an object", "a list", "a string", "true or false"
};

struct Node::Member {
  std::string_view name;
  Span name_span;
  Node value;
};

}  // namespace firn::qapi
