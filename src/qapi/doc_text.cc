#include "qapi/doc_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace firn::qapi {

namespace {

// A line without its indent; a blank one has no text.
struct Line {
  size_t indent = 0;
  std::string_view text;

  bool blank() const { return text.empty(); }
};
using Lines = std::vector<Line>;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

Lines split(std::string_view text) {
  Lines out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t indent = line.find_first_not_of(" \t");
    out.push_back(indent == std::string_view::npos ? Line{} : Line{indent, trim(line)});
  }
  return out;
}

size_t least_indent(const Lines& lines) {
  size_t least = std::string_view::npos;
  for (const Line& line : lines) {
    if (!line.blank()) least = std::min(least, line.indent);
  }
  return least == std::string_view::npos ? 0 : least;
}

// The lines as they stood, without the common indent and without blank lines around them.
std::string literal_of(Lines lines) {
  while (!lines.empty() && lines.back().blank()) lines.pop_back();
  while (!lines.empty() && lines.front().blank()) lines.erase(lines.begin());
  const size_t least = least_indent(lines);
  std::string out;
  for (const Line& line : lines) {
    if (!line.blank()) out.append(line.indent - least, ' ').append(line.text);
    out += '\n';
  }
  return out;
}

// Length of a marker with the blanks behind it, such as "- "; 0: the line starts no item.
size_t bullet_length(std::string_view text) {
  for (std::string_view mark : {"- ", "* ", "+ ", "\u2022 "}) {
    if (text.starts_with(mark)) return text.find_first_not_of(' ', mark.size() - 1);
  }
  return 0;
}

struct Number {
  int value;
  size_t length;
};
// "1. ", "1) ", "(1) " and "#. ".
std::optional<Number> number_mark(std::string_view text) {
  if (text.starts_with("#. ")) return Number{1, text.find_first_not_of(' ', 2)};
  const bool bracket = text.starts_with('(');
  size_t end = bracket ? 1 : 0;
  while (end < text.size() && is_digit(text[end])) ++end;
  const size_t begin = bracket ? 1 : 0;
  if (end == begin || end - begin > 4 || end + 1 >= text.size() || text[end + 1] != ' ') return {};
  if (text[end] != ')' && (bracket || text[end] != '.')) return {};
  int value = 0;
  std::from_chars(text.data() + begin, text.data() + end, value);
  return Number{value, text.find_first_not_of(' ', end + 1)};
}

// QMP traffic: what one side sends.
bool is_traffic(std::string_view text) {
  return text.starts_with("-> ") || text.starts_with("<- ") || text == "->" || text == "<-";
}

// A line of one repeated punctuation mark, as stands over and under headings.
bool is_rule(std::string_view text) {
  return text.size() >= 3 && std::string_view("=-~^\"*+#'`:._").contains(text.front()) &&
         text.find_first_not_of(text.front()) == std::string_view::npos;
}

// "====  ====": the borders of a simple table.
bool is_table_border(std::string_view text) {
  return text.starts_with('=') && text.contains(' ') &&
         text.find_first_not_of("= ") == std::string_view::npos;
}

bool is_note(std::string_view directive) {
  static constexpr std::array<std::string_view, 14> kNotes = {
      "admonition", "attention", "caution", "danger", "deprecated",   "error",          "hint",
      "important",  "note",      "seealso", "tip",    "versionadded", "versionchanged", "warning"};
  return std::find(kNotes.begin(), kNotes.end(), directive) != kNotes.end();
}

struct Directive {
  std::string name;
  std::string_view arguments;
};
std::optional<Directive> parse_directive(std::string_view text) {
  if (!text.starts_with(".. ")) return {};
  text = trim(text.substr(3));
  const size_t end = text.find("::");
  if (end == std::string_view::npos || end == 0 || !is_letter(text.front())) return {};
  std::string name(text.substr(0, end));
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!is_letter(c) && !is_digit(c) && c != '-' && c != '_' && c != ':') return {};
  }
  return Directive{std::move(name), trim(text.substr(end + 2))};
}

Block paragraph(std::string_view text) {
  return {.kind = BlockKind::kParagraph, .text = parse_inlines(text)};
}

class BlockParser {
 public:
  BlockParser(Lines lines, HeadingStyles* styles, int depth)
      : lines_(std::move(lines)), styles_(styles), depth_(depth), base_(least_indent(lines_)) {}

  Blocks run() {
    while (at_ < lines_.size()) {
      if (lines_[at_].blank()) {
        ++at_;
      } else if (lines_[at_].indent > base_) {
        out_.push_back({.kind = BlockKind::kQuote, .blocks = parse(take_indented())});
      } else {
        block();
      }
    }
    return std::move(out_);
  }

 private:
  static constexpr int kMaxDepth = 32;

  Blocks parse(Lines lines) const {
    if (depth_ >= kMaxDepth) return {{.kind = BlockKind::kLiteral, .literal = literal_of(lines)}};
    return BlockParser(std::move(lines), nullptr, depth_ + 1).run();
  }

  const Line* next(size_t offset = 1) const {
    return at_ + offset < lines_.size() ? &lines_[at_ + offset] : nullptr;
  }

  // Blank and deeper lines from here on; the blank ones at the end are left.
  Lines take_indented() {
    size_t end = at_;
    size_t last = at_;
    while (end < lines_.size() && (lines_[end].blank() || lines_[end].indent > base_)) {
      if (!lines_[end++].blank()) last = end;
    }
    Lines out(lines_.begin() + static_cast<ptrdiff_t>(at_),
              lines_.begin() + static_cast<ptrdiff_t>(last));
    at_ = last;
    return out;
  }

  void block() {
    const std::string_view text = lines_[at_].text;
    if (heading()) return;
    if (text.starts_with(".. ") || text == "..") return directive();
    if (bullet_length(text)) return bullets();
    if (number_mark(text)) return numbers();
    if (text.starts_with("| ") || text == "|") return old_literal();
    if (is_traffic(text)) return traffic();
    if (is_table_border(text) && table()) return;
    if (text.starts_with("+--")) return grid();
    if (starts_definition()) return definitions();
    paragraphs();
  }

  // ---- Headings ----

  bool heading() {
    const std::string_view text = lines_[at_].text;
    if (!styles_ || is_table_border(text)) return false;
    if (const size_t marks = text.find_first_not_of('=');
        text.starts_with('=') && marks != std::string_view::npos && text[marks] == ' ') {
      add_heading(trim(text.substr(marks)), static_cast<int>(marks));
      at_ += 1;
      return true;
    }
    const Line* second = next(1);
    if (!second || second->blank()) return false;
    if (is_rule(text)) {
      const Line* third = next(2);
      if (!third || third->text != text) return false;
      add_heading(second->text, styles_->level_of(std::string(2, text.front())));
      at_ += 3;
      return true;
    }
    if (second->indent != base_ || !is_rule(second->text) ||
        second->text.size() + 2 < text.size()) {
      return false;
    }
    add_heading(text, styles_->level_of(std::string(1, second->text.front())));
    at_ += 2;
    return true;
  }

  void add_heading(std::string_view text, int level) {
    out_.push_back({.kind = BlockKind::kHeading, .text = parse_inlines(text), .level = level});
  }

  // ---- Directives ----

  void directive() {
    const std::string_view first = lines_[at_].text;
    const size_t start = at_++;
    Lines content = take_indented();
    const auto found = parse_directive(first);
    if (!found) return;  // a comment, or a label
    Block block;
    if (is_note(found->name)) {
      block = {.kind = BlockKind::kNote, .name = found->name};
      if (found->name == "admonition") {
        block.text = parse_inlines(found->arguments);
      } else if (!found->arguments.empty()) {
        add_first_line(content, found->arguments);
      }
      block.blocks = parse(std::move(content));
    } else if (found->name == "qmp-example") {
      block = example(std::move(content));
    } else if (found->name == "code-block" || found->name == "code" ||
               found->name == "sourcecode" || found->name == "parsed-literal") {
      take_options(content);
      block = {.kind = BlockKind::kLiteral,
               .language = std::string(found->arguments),
               .literal = literal_of(std::move(content))};
    } else if (found->name == "table") {
      take_options(content);
      if (!found->arguments.empty()) out_.push_back(paragraph(found->arguments));
      for (Block& inner : parse(std::move(content))) out_.push_back(std::move(inner));
      return;
    } else {
      Lines raw(lines_.begin() + static_cast<ptrdiff_t>(start),
                lines_.begin() + static_cast<ptrdiff_t>(at_));
      block = {.kind = BlockKind::kLiteral, .literal = literal_of(std::move(raw))};
    }
    out_.push_back(std::move(block));
  }

  // Puts the text behind a directive's `::` before its other lines. A paragraph that goes on below
  // stays one.
  static void add_first_line(Lines& content, std::string_view text) {
    content.insert(content.begin(), {least_indent(content), text});
  }

  using Options = std::vector<std::pair<std::string_view, std::string_view>>;
  // Takes ":name: value" lines off the front.
  static Options take_options(Lines& content) {
    Options out;
    size_t taken = 0;
    for (; taken < content.size() && content[taken].text.starts_with(':'); ++taken) {
      const std::string_view text = content[taken].text.substr(1);
      const size_t colon = text.find(':');
      if (colon == std::string_view::npos) break;
      out.emplace_back(text.substr(0, colon), trim(text.substr(colon + 1)));
    }
    content.erase(content.begin(), content.begin() + static_cast<ptrdiff_t>(taken));
    return out;
  }

  Block example(Lines content) const {
    Block block{.kind = BlockKind::kExample, .name = "example"};
    bool annotated = false;
    for (const auto& [name, value] : take_options(content)) {
      if (name == "annotated") annotated = true;
      if (name == "title") block.text = parse_inlines(value);
    }
    if (annotated) {
      block.blocks = parse(std::move(content));
    } else {
      block.literal = literal_of(std::move(content));
    }
    return block;
  }

  // ---- Lists ----

  // The lines of the item whose marker of `length` bytes stands here, and a blank line behind it.
  Lines take_item(size_t length) {
    Line first = lines_[at_++];
    const size_t indent = base_ + length;
    Lines item = {{indent, trim(first.text.substr(std::min(length, first.text.size())))}};
    // A line that goes on without indent belongs to the item's first paragraph.
    while (at_ < lines_.size() && !lines_[at_].blank() && !starts_item(lines_[at_]) &&
           lines_[at_].indent <= indent) {
      item.push_back({indent, lines_[at_++].text});
    }
    for (Line& line : take_indented()) item.push_back(line);
    return item;
  }

  bool starts_item(const Line& line) const {
    return bullet_length(line.text) || number_mark(line.text) || is_traffic(line.text) ||
           line.text.starts_with(".. ");
  }

  void skip_blank() {
    while (at_ < lines_.size() && lines_[at_].blank()) ++at_;
  }
  bool stands_here() const { return at_ < lines_.size() && lines_[at_].indent == base_; }

  void bullets() {
    Block list{.kind = BlockKind::kBulletList};
    while (stands_here() && bullet_length(lines_[at_].text)) {
      list.items.push_back({{}, parse(take_item(bullet_length(lines_[at_].text)))});
      skip_blank();
    }
    out_.push_back(std::move(list));
  }

  void numbers() {
    Block list{.kind = BlockKind::kNumberedList,
               .first_number = number_mark(lines_[at_].text)->value};
    while (stands_here() && number_mark(lines_[at_].text)) {
      list.items.push_back({{}, parse(take_item(number_mark(lines_[at_].text)->length))});
      skip_blank();
    }
    out_.push_back(std::move(list));
  }

  // A short line with an indented one right below it. A line that ends as a sentence or a clause
  // does is none: its paragraph merely hangs.
  bool starts_definition() const {
    const Line* below = next();
    if (!below || below->blank() || below->indent <= base_) return false;
    const std::string_view term = lines_[at_].text;
    return term.size() <= 60 && !std::string_view(".,;:").contains(term.back()) &&
           !starts_item(*below);
  }

  void definitions() {
    Block list{.kind = BlockKind::kDefinitionList};
    while (stands_here() && starts_definition() && !starts_item(lines_[at_])) {
      Inlines term = parse_inlines(lines_[at_++].text);
      list.items.push_back({std::move(term), parse(take_indented())});
      skip_blank();
    }
    out_.push_back(std::move(list));
  }

  // ---- Literal text ----

  // Lines behind bars, as schemas of some years have them.
  void old_literal() {
    Lines lines;
    while (stands_here() && (lines_[at_].text.starts_with("| ") || lines_[at_].text == "|")) {
      const std::string_view text = lines_[at_++].text.substr(1);
      const size_t indent = text.find_first_not_of(' ');
      lines.push_back(indent == std::string_view::npos ? Line{} : Line{indent, trim(text)});
    }
    out_.push_back(literal_block(std::move(lines)));
  }

  static Block literal_block(Lines lines) {
    const size_t least = least_indent(lines);
    const bool example = std::any_of(lines.begin(), lines.end(), [&](const Line& line) {
      return line.indent == least && is_traffic(line.text);
    });
    return {.kind = example ? BlockKind::kExample : BlockKind::kLiteral,
            .literal = literal_of(std::move(lines))};
  }

  // From a `->` line up to where ordinary text goes on.
  void traffic() {
    Lines lines;
    while (at_ < lines_.size()) {
      const Line& line = lines_[at_];
      const bool goes_on = line.blank() || line.indent > base_ || is_traffic(line.text) ||
                           std::string_view("{}[]\"'").contains(line.text.front()) ||
                           line.text == "..." || !lines.back().blank();
      if (!goes_on || (!line.blank() && starts_other_block(line))) break;
      lines.push_back(line);
      ++at_;
    }
    out_.push_back({.kind = BlockKind::kExample, .literal = literal_of(std::move(lines))});
  }

  bool starts_other_block(const Line& line) const {
    return line.indent == base_ && parse_directive(line.text).has_value();
  }

  void grid() {
    Lines lines;
    while (stands_here() &&
           (lines_[at_].text.starts_with('+') || lines_[at_].text.starts_with('|'))) {
      lines.push_back(lines_[at_++]);
    }
    out_.push_back({.kind = BlockKind::kLiteral, .literal = literal_of(std::move(lines))});
  }

  // Up to the last border before a blank line or a lesser indent.
  bool table() {
    const std::string_view border = lines_[at_].text;
    std::vector<size_t> starts;
    for (size_t i = 0; i < border.size(); ++i) {
      if (border[i] == '=' && (i == 0 || border[i - 1] == ' ')) starts.push_back(i);
    }
    size_t end = at_;
    size_t borders = 0;
    while (end < lines_.size() && !lines_[end].blank()) {
      if (is_table_border(lines_[end++].text)) ++borders;
    }
    if (borders < 2 || !is_table_border(lines_[end - 1].text)) return false;
    Block table{.kind = BlockKind::kTable};
    size_t seen = 0;
    std::vector<std::string> row;
    const auto flush = [&] {
      if (row.empty()) return;
      auto& cells = table.rows.emplace_back();
      for (const std::string& cell : row) cells.push_back(parse_inlines(cell));
      row.clear();
    };
    for (; at_ < end; ++at_) {
      const Line& line = lines_[at_];
      if (is_table_border(line.text)) {
        flush();
        if (++seen == 1 && borders == 2) table.rows.emplace_back(starts.size());  // no head
        continue;
      }
      const std::string whole = std::string(line.indent - base_, ' ').append(line.text);
      const bool goes_on = line.indent > base_ && !row.empty();
      if (!goes_on) {
        flush();
        row.resize(starts.size());
      }
      for (size_t i = 0; i < starts.size() && starts[i] < whole.size(); ++i) {
        const size_t length = i + 1 < starts.size() ? starts[i + 1] - starts[i] : std::string::npos;
        const std::string_view cell = trim(std::string_view(whole).substr(starts[i], length));
        if (!row[i].empty() && !cell.empty()) row[i] += ' ';
        row[i] += cell;
      }
    }
    flush();
    out_.push_back(std::move(table));
    return true;
  }

  // ---- Paragraphs ----

  void paragraphs() {
    std::string text;
    while (at_ < lines_.size() && !lines_[at_].blank()) {
      const Line& line = lines_[at_];
      if (!text.empty() && ends_paragraph(text, line)) break;
      if (!text.empty()) text += '\n';
      text += line.text;
      ++at_;
    }
    const bool literal = text.ends_with("::") && literal_follows();
    if (literal) {
      text.pop_back();
      if (text == ":" || text.ends_with(" :") || text.ends_with("\n:")) text.pop_back();
    }
    if (!trim(text).empty()) out_.push_back(paragraph(text));
    if (!literal) return;
    skip_blank();
    out_.push_back(literal_block(take_indented()));
  }

  bool literal_follows() const {
    for (size_t i = at_; i < lines_.size(); ++i) {
      if (!lines_[i].blank()) return lines_[i].indent > base_;
    }
    return false;
  }

  // Older schemas set lists and traffic right below their introduction.
  bool ends_paragraph(std::string_view text, const Line& line) const {
    if (line.indent > base_ && text.ends_with("::")) return true;
    if (is_traffic(line.text) || parse_directive(line.text)) return true;
    return text.ends_with(':') && (bullet_length(line.text) || number_mark(line.text));
  }

  const Lines lines_;
  HeadingStyles* const styles_;
  const int depth_;
  const size_t base_;
  size_t at_ = 0;
  Blocks out_;
};

}  // namespace

int HeadingStyles::level_of(std::string_view style) {
  const auto found = std::find(known.begin(), known.end(), style);
  const auto level = static_cast<int>(found - known.begin()) + 1;
  if (found == known.end()) known.emplace_back(style);
  return level;
}

Blocks parse_doc_text(std::string_view text, HeadingStyles* styles) {
  return BlockParser(split(text), styles, 0).run();
}

Blocks parse_doc_section(const DocPart& section) {
  if (section.name.starts_with("Example")) {
    const Lines lines = split(section.text);
    const bool marked_up = std::any_of(lines.begin(), lines.end(), [](const Line& line) {
      return line.text.ends_with("::") || parse_directive(line.text);
    });
    if (!marked_up) {
      return {{.kind = BlockKind::kExample, .name = "example", .literal = literal_of(lines)}};
    }
  }
  Blocks blocks = parse_doc_text(section.text);
  if (!section.name.starts_with("Note")) return blocks;
  return {{.kind = BlockKind::kNote, .name = "note", .blocks = std::move(blocks)}};
}

}  // namespace firn::qapi
