// Documentation comments: blocks between `##` lines.
//
// A block whose first line is `# @name:` documents the definition after it; any other block is free
// text of the manual. Inside a definition's block stand its text, one part per member
// (`@member: text`), per feature (after a line `Features:`), and tagged sections (`Returns:`,
// `Errors:`, `Since:` and the like). A paragraph behind them that is not indented is a section
// without a tag. What stands inside a part is doc_text.h's business.
//
// The dialect of 2011 takes all forms from then until today: a tag may stand without its colon
// (`Since 0.14.0`), there are `Note:`, `Notes:`, `Example:`, `Examples:`, `Bugs:`, `#optional` may
// stand at the front of a member's text, and nothing is refused.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "qapi/lexer.h"

namespace firn::qapi {

// kToday is the language of QEMU 10; k2011 is that of December 2011 with everything that came and
// went in between.
enum class Dialect : uint8_t { kToday, k2011 };

struct DocPart {
  std::string name;       // of the member or feature; the tag of a section, without colon, or empty
  Span span;              // of the name
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

// A block as it stands in the file.
struct DocLines {
  Token opening;             // the `##` line
  std::vector<Token> lines;  // the comments behind it
  Token closing;             // what ends it; the right thing is a `##` line
};

struct ParsedDoc {
  Doc doc;
  bool broken = false;  // an error left its symbol unknown
  // Tagged parts without text. They are judged only after the token behind the block is read.
  std::vector<std::pair<Span, std::string>> empty_parts;
};

ParsedDoc parse_doc(const DocLines& lines, Dialect dialect, Diagnostics& diagnostics);

}  // namespace firn::qapi
