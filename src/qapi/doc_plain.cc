// Documentation as plain text, for comments in generated code.
#include <fmt/format.h>

#include <algorithm>

#include "qapi/doc_text.h"

namespace firn::qapi {

namespace {

// Lines of at most `width` columns; words are not broken.
std::string fill(std::string_view text, size_t width) {
  std::string out;
  size_t column = 0;
  while (!text.empty()) {
    const size_t begin = text.find_first_not_of(" \n");
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(" \n"));
    text.remove_prefix(word.size());
    if (column && column + 1 + word.size() > width) {
      out += '\n';
      column = 0;
    }
    if (column) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

// `text` with `first` before its first line and as many blanks before the others.
std::string hang(std::string_view text, std::string_view first) {
  std::string out(first);
  const std::string indent(first.size(), ' ');
  for (size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] == '\n' && i + 1 < text.size() && text[i + 1] != '\n') out += indent;
  }
  return out;
}

std::string capitalized(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') {
    text[0] = static_cast<char>(text[0] - 'a' + 'A');
  }
  return text;
}

std::string without_newline(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  return std::string(text);
}

class PlainWriter {
 public:
  std::string blocks(const Blocks& blocks, size_t width) const {
    std::string out;
    for (const Block& each : blocks) {
      const std::string text = block(each, std::max<size_t>(width, 20));
      if (text.empty()) continue;
      if (!out.empty()) out += "\n\n";
      out += text;
    }
    return out;
  }

 private:
  std::string block(const Block& block, size_t width) const {
    switch (block.kind) {
      case BlockKind::kParagraph:
      case BlockKind::kHeading:
        return fill(to_plain_text(block.text), width);
      case BlockKind::kBulletList:
      case BlockKind::kNumberedList:
        return list(block, width);
      case BlockKind::kDefinitionList:
        return definitions(block, width);
      case BlockKind::kQuote:
        return hang(blocks(block.blocks, width - 2), "  ");
      case BlockKind::kLiteral:
        return hang(without_newline(block.literal), "    ");
      case BlockKind::kTable:
        return table(block);
      case BlockKind::kNote:
        return note(block, width);
      case BlockKind::kExample:
        return example(block, width);
    }
    return {};
  }

  std::string list(const Block& list, size_t width) const {
    const bool numbered = list.kind == BlockKind::kNumberedList;
    std::string out;
    int number = list.first_number;
    // Where all items are one paragraph, no blank lines stand between them.
    const bool tight = std::all_of(list.items.begin(), list.items.end(),
                                   [](const ListItem& item) { return item.blocks.size() <= 1; });
    for (const ListItem& item : list.items) {
      const std::string mark = numbered ? fmt::format("{}. ", number++) : "- ";
      if (!out.empty()) out += tight ? "\n" : "\n\n";
      out += hang(blocks(item.blocks, width - mark.size()), mark);
    }
    return out;
  }

  std::string definitions(const Block& list, size_t width) const {
    std::string out;
    for (const ListItem& item : list.items) {
      if (!out.empty()) out += "\n\n";
      out += fill(to_plain_text(item.term), width) + '\n';
      out += hang(blocks(item.blocks, width - 4), "    ");
    }
    return out;
  }

  static std::string table(const Block& table) {
    std::vector<size_t> widths;
    for (const auto& row : table.rows) {
      widths.resize(std::max(widths.size(), row.size()));
      for (size_t i = 0; i < row.size(); ++i) {
        widths[i] = std::max(widths[i], to_plain_text(row[i]).size());
      }
    }
    std::string out;
    for (const auto& row : table.rows) {
      std::string line;
      for (size_t i = 0; i < row.size(); ++i) {
        line += fmt::format("{:<{}}  ", to_plain_text(row[i]), widths[i]);
      }
      while (line.ends_with(' ')) line.pop_back();
      if (line.empty()) continue;
      if (!out.empty()) out += '\n';
      out += line;
    }
    return out;
  }

  std::string note(const Block& note, size_t width) const {
    std::string title = to_plain_text(note.text);
    if (title.empty()) title = capitalized(note.name);
    // A short title opens the first paragraph.
    if (!note.blocks.empty() && note.blocks.front().kind == BlockKind::kParagraph) {
      Blocks joined = note.blocks;
      Inlines& text = joined.front().text;
      text.insert(text.begin(), {InlineKind::kText, title + ": ", {}});
      return blocks(joined, width);
    }
    const std::string rest = blocks(note.blocks, width);
    return rest.empty() ? title : title + ":\n\n" + rest;
  }

  std::string example(const Block& example, size_t width) const {
    if (example.name.empty()) return hang(without_newline(example.literal), "    ");
    std::string title = to_plain_text(example.text);
    title = fill("Example" + (title.empty() ? "" : ": " + title), width) + ":\n\n";
    if (!example.blocks.empty()) return title + hang(blocks(example.blocks, width - 2), "  ");
    return title + hang(without_newline(example.literal), "    ");
  }
};

}  // namespace

std::string to_plain_text(const Blocks& blocks, size_t width) {
  return PlainWriter().blocks(blocks, width);
}

}  // namespace firn::qapi
