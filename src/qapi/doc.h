// Documentation comments: blocks between `##` lines.
//
// A block whose first line is `# @name:` documents the definition after it; any other block is free
// text of the manual. Inside a definition's block stand, in this order, its text, one part per
// member
// (`@member: text`), per feature (after a line `Features:`), and tagged sections (`Returns:`,
// `Since:`, `Notes:`, ...). A paragraph behind them that is not indented is a section without a
// tag. In the dialect of 2011 a tag may stand without its colon
// (`Since 0.14.0`), and `#optional` may stand at the front of a member's text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "qapi/lexer.h"

namespace firn::qapi {

enum class Dialect : uint8_t { kToday, k2011 };

struct DocPart {
  std::string
      name;   // of the member or feature; the tag of a section, without colon; empty: plain text
  Span span;  // of the name
  std::string text;       // lines without their `# `, without common indent, no newline at the end
  bool optional = false;  // 2011: marked with #optional
};

struct Doc {
  Span span;
  std::string symbol;  // empty: free text
  Span symbol_span;
  std::string body;
  std::vector<DocPart> members;
  std::vector<DocPart> features;
  std::vector<DocPart> sections;

  const DocPart* member(std::string_view name) const;
  const DocPart* feature(std::string_view name) const;
  const DocPart* section(std::string_view tag) const;
};

// `lines` are the comments between the two `##`; `span` covers the block.
Doc parse_doc(const std::vector<Token>& lines, const Span& span, Dialect dialect,
              Diagnostics& diagnostics);

}  // namespace firn::qapi
