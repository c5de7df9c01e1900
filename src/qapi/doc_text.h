// The markup inside documentation comments, as a tree of blocks: what a back end that writes for
// people needs to know of it.
//
// The markup is today's (reStructuredText as docs/devel/qapi-code-gen of QEMU asks for it) and that
// of the years before it: `= Title` headings, `| literal` lines, bare `->` and `<-` lines. Nothing
// is ever refused or lost: what the markup does not explain stays in the tree as text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "qapi/doc.h"

namespace firn::qapi {

enum class InlineKind : uint8_t {
  kText,
  kLiteral,    // ``text``
  kEmphasis,   // *text*
  kStrong,     // **text**
  kMember,     // @text: a member, or a definition; which one depends on where it stands
  kReference,  // `text`: a definition, or (roles) a text that means something elsewhere
  kLink,       // `text <target>`_, or a bare URL
};

struct Inline {
  InlineKind kind = InlineKind::kText;
  std::string text;    // newlines and runs of blanks are one blank, but in kLiteral
  std::string target;  // kLink: the URL; kReference: the name of the definition

  bool operator==(const Inline&) const = default;
};
using Inlines = std::vector<Inline>;

enum class BlockKind : uint8_t {
  kParagraph,       // text
  kHeading,         // text, level
  kBulletList,      // items
  kNumberedList,    // items, first_number
  kDefinitionList,  // items with terms
  kQuote,           // blocks: indented text
  kLiteral,         // literal, language
  kTable,           // rows
  kNote,            // name (note, caution, ...), text (the title, may be empty), blocks
  kExample,         // QMP traffic: text (the title), literal; or blocks, if it is annotated; name
                    // is "example" where it is announced as one
};

struct Block;

struct ListItem {
  Inlines term;  // kDefinitionList
  std::vector<Block> blocks;
};

struct Block {
  BlockKind kind = BlockKind::kParagraph;
  Inlines text;
  int level = 0;  // 1 is the highest
  int first_number = 1;
  std::string name;      // of the directive that made a kNote, in lower case; kExample
  std::string language;  // of a kLiteral; empty: unknown
  std::string literal;   // lines, each closed by a newline
  std::vector<ListItem> items;
  std::vector<Block> blocks;
  std::vector<std::vector<Inlines>> rows;  // kTable; the first one is its head
};
using Blocks = std::vector<Block>;

// Which underlines stand for which level, in the order in which they are met. A manual keeps one
// for all of its free text.
struct HeadingStyles {
  std::vector<std::string> known;  // "=" underlined; "==" under- and overlined
  int level_of(std::string_view style);
};

// The tree of a text: a free doc's or a definition's body, a part's or a section's text. Headings
// are known only where `styles` is given: definitions have none.
Blocks parse_doc_text(std::string_view text, HeadingStyles* styles = nullptr);

// The same for a tagged section. An old-style `Example:` is QMP traffic from end to end, a `Note:`
// is a note.
Blocks parse_doc_section(const DocPart& section);

// The spans of one paragraph.
Inlines parse_inlines(std::string_view text);

// Without any markup, for comments in generated code: paragraphs filled to `width` columns, `@name`
// and references by their bare names, literal blocks indented, notes behind "Note: ". Blank lines
// between blocks, no newline at the end.
std::string to_plain_text(const Blocks& blocks, size_t width);
std::string to_plain_text(const Inlines& inlines);

}  // namespace firn::qapi
