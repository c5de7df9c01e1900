// The reference manual in Markdown (CommonMark with GitHub's tables): a page for each module, and
// index.md, which lists what is on them. Anchors are explicit, so that they don't hang on how a
// site makes them from headings.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "qapi/emit.h"
#include "qapi/manual.h"

namespace firn::qapi {

namespace {

bool is_word(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// Text that Markdown prints as it is.
std::string escape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool in_word =
        i > 0 && is_word(text[i - 1]) && i + 1 < text.size() && is_word(text[i + 1]);
    if (std::string_view("\\`*[]|~").contains(c) || (c == '_' && !in_word)) {
      out += '\\';
      out += c;
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

// At the start of a paragraph some characters make it something else.
std::string escape_start(std::string text) {
  const size_t digits = text.find_first_not_of("0123456789");
  if (!text.empty() && std::string_view("#+-=>").contains(text[0])) {
    text.insert(0, "\\");
  } else if (digits > 0 && digits != std::string::npos &&
             (text[digits] == '.' || text[digits] == ')')) {
    text.insert(digits, "\\");
  }
  return text;
}

// How many backquotes in a row the text has at most.
size_t longest_run(std::string_view text) {
  size_t longest = 0;
  size_t run = 0;
  for (char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

std::string code(std::string_view text) {
  const size_t run = longest_run(text);
  if (run == 0) return fmt::format("`{}`", text);
  const std::string fence(run + 1, '`');
  return fmt::format("{} {} {}", fence, text, fence);
}

std::string fenced(std::string_view text, std::string_view language = {}) {
  const std::string fence(std::max<size_t>(3, longest_run(text) + 1), '`');
  return fmt::format("{}{}\n{}{}", fence, language, text, fence);
}

// Every line behind `rest`, the first one behind `first`; blank lines get no trailing blanks.
std::string prefixed(std::string_view text, std::string_view first, std::string_view rest) {
  std::string out(first);
  while (true) {
    const size_t end = text.find('\n');
    out += text.substr(0, end);
    while (out.ends_with(' ')) out.pop_back();
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
    out += '\n';
    out += rest;
  }
}

std::string file_of(const SourceFile* file) {
  const std::string module = file ? file->module : "";
  return module == "index" ? "index-module.md" : module + ".md";
}

// The page's address: characters that would end a link's target, or mean something in it, escaped.
std::string address_of(const SourceFile* file) {
  std::string out;
  for (const char c : file_of(file)) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

class MarkdownPage {
 public:
  MarkdownPage(const Manual& manual, const SourceFile* file) : manual_(manual), file_(file) {}

  std::string run() {
    for (const ManualItem& item : manual_.items) {
      if (item.file != file_) continue;
      if (item.is_heading()) {
        anchor(item.anchor);
        paragraph(fmt::format("{} {}",
                              std::string(static_cast<size_t>(std::min(item.level, 6)), '#'),
                              inlines(item.heading)));
      } else if (item.entry) {
        entry(*item.entry, item.level);
      } else {
        paragraph(blocks(item.text));
      }
    }
    return std::move(out_);
  }

  std::string inlines(const Inlines& spans) const {
    std::string out;
    for (const Inline& span : spans) out += inline_text(span);
    return out;
  }

  std::string link(const ManualEntry& entry, std::string_view text) const {
    const std::string page = entry.file == file_ ? "" : address_of(entry.file);
    return fmt::format("[{}]({}#{})", text, page, entry.anchor);
  }

 private:
  void paragraph(std::string_view text) {
    if (text.empty()) return;
    if (!out_.empty()) out_ += '\n';
    out_ += text;
    out_ += '\n';
  }
  void anchor(std::string_view id) { paragraph(fmt::format("<a id=\"{}\"></a>", id)); }

  // ---- Text ----

  std::string inline_text(const Inline& span) const {
    switch (span.kind) {
      case InlineKind::kText:
        return escape(span.text);
      case InlineKind::kLiteral:
        return code(span.text);
      case InlineKind::kEmphasis:
        return "*" + escape(span.text) + "*";
      case InlineKind::kStrong:
        return "**" + escape(span.text) + "**";
      case InlineKind::kLink:
        if (!is_web_link(span.target)) return escape(span.text);
        return span.text == span.target ? "<" + span.target + ">"
                                        : fmt::format("[{}](<{}>)", escape(span.text), span.target);
      case InlineKind::kMember:
      case InlineKind::kReference:
        break;
    }
    const Reference reference = resolve(manual_, here_, span);
    if (reference.member || !reference.entry || reference.entry == here_) return code(span.text);
    return link(*reference.entry, code(span.text));
  }

  std::string blocks(const Blocks& all) const {
    std::string out;
    for (const Block& block : all) {
      const std::string text = one_block(block);
      if (text.empty()) continue;
      if (!out.empty()) out += "\n\n";
      out += text;
    }
    return out;
  }

  std::string one_block(const Block& block) const {
    switch (block.kind) {
      case BlockKind::kParagraph:
      case BlockKind::kHeading:
        return escape_start(inlines(block.text));
      case BlockKind::kBulletList:
      case BlockKind::kNumberedList:
      case BlockKind::kDefinitionList:
        return list(block);
      case BlockKind::kQuote:
        return prefixed(blocks(block.blocks), "> ", "> ");
      case BlockKind::kLiteral:
        return fenced(block.literal, block.language);
      case BlockKind::kTable:
        return table(block);
      case BlockKind::kNote:
        return note(block);
      case BlockKind::kExample:
        return example(block);
    }
    return {};
  }

  std::string list(const Block& list) const {
    std::string out;
    int number = list.first_number;
    const bool tight = std::all_of(list.items.begin(), list.items.end(), [](const ListItem& item) {
      return item.blocks.size() <= 1 && item.term.empty();
    });
    for (const ListItem& item : list.items) {
      const std::string mark =
          list.kind == BlockKind::kNumberedList ? fmt::format("{}. ", number++) : "- ";
      std::string text = item.term.empty() ? "" : "**" + inlines(item.term) + "**\n\n";
      text += blocks(item.blocks);
      if (!out.empty()) out += tight ? "\n" : "\n\n";
      out += prefixed(text, mark, std::string(mark.size(), ' '));
    }
    return out;
  }

  std::string table(const Block& table) const {
    std::string out;
    for (size_t i = 0; i < table.rows.size(); ++i) {
      std::string line = "|";
      std::string rule = "|";
      for (const Inlines& cell : table.rows[i]) {
        line += " " + inlines(cell) + " |";
        rule += " --- |";
      }
      out += (i ? "\n" : "") + line;
      if (i == 0) out += "\n" + rule;
    }
    return out;
  }

  std::string note(const Block& note) const {
    const std::string title = note.text.empty() ? capitalized(note.name) : inlines(note.text);
    return prefixed(fmt::format("**{}**\n\n{}", title, blocks(note.blocks)), "> ", "> ");
  }

  std::string example(const Block& example) const {
    if (example.name.empty()) return fenced(example.literal);
    std::string out = example.text.empty() ? "Example:" : "Example: " + inlines(example.text);
    return out + "\n\n" +
           (example.literal.empty() ? blocks(example.blocks) : fenced(example.literal));
  }

  // ---- Entries ----

  std::string type_link(const Type& type) const {
    const TypeText text = type_text(type);
    const ManualEntry* entry = manual_.find(text.type);
    return std::string(text.before) + (entry ? link(*entry, code(text.name)) : code(text.name));
  }

  void entry(const ManualEntry& entry, int level) {
    here_ = &entry;
    anchor(entry.anchor);
    paragraph(fmt::format("{} {} {}",
                          std::string(static_cast<size_t>(std::clamp(level + 1, 2, 6)), '#'),
                          capitalized(kind_name(entry.kind)), code(entry.name)));
    badges(entry.features);
    paragraph(blocks(entry.text));
    members(entry);
    branches(entry);
    returns(entry);
    for (const ManualPart& part : entry.sections) section(part);
    if (!entry.feature_texts.empty()) {
      paragraph("**Features**");
      std::string list;
      for (const ManualPart& part : entry.feature_texts) {
        list += (list.empty() ? "" : "\n") +
                prefixed(code(part.name) + (part.text.empty() ? "" : ": " + blocks(part.text)),
                         "- ", "  ");
      }
      paragraph(list);
    }
    for (const std::string& remark : entry.remarks) paragraph(escape(remark));
    if (!entry.condition.empty()) paragraph("**If:** " + code(entry.condition));
    if (!entry.since.empty()) paragraph("**Since:** " + inlines(entry.since));
    uses(entry);
    here_ = nullptr;
  }

  void badges(const Features& features) {
    std::string text;
    for (const char* name : {"deprecated", "unstable"}) {
      if (is_marked(features, name))
        text += fmt::format("{}**{}**", text.empty() ? "" : ", ", name);
    }
    paragraph(text);
  }

  static std::string_view members_title(const ManualEntry& entry) {
    switch (entry.kind) {
      case EntryKind::kCommand:
        return "Arguments";
      case EntryKind::kEvent:
        return "Data";
      case EntryKind::kEnum:
        return "Values";
      case EntryKind::kAlternate:
        return "One of";
      default:
        return "Members";
    }
  }

  void members(const ManualEntry& entry) {
    for (const MemberGroup& group : entry.members) {
      const ManualEntry* from = group.from ? manual_.find(group.from) : nullptr;
      paragraph(fmt::format("**{}**{}", members_title(entry),
                            from ? ", from " + link(*from, code(from->name)) : ""));
      paragraph(member_list(group.members, entry.kind));
    }
  }

  std::string member_list(const std::vector<ManualMember>& members, EntryKind kind) const {
    std::string out;
    for (const ManualMember& member : members) {
      std::string text = code(member.name);
      if (member.type) text += ": " + type_link(*member.type);
      if (member.optional) text += ", optional";
      if (member.secret) text += ", secret";
      for (const Feature& feature : member.features) text += fmt::format(", **{}**", feature.name);
      if (!member.condition.empty()) text += ", if " + code(member.condition);
      if (!member.text.empty()) text += "\n\n" + blocks(member.text);
      if (!member.inner.empty()) text += "\n\n" + member_list(member.inner, kind);
      if (!out.empty()) out += "\n";
      out += prefixed(text, "- ", "  ");
    }
    return out;
  }

  void branches(const ManualEntry& entry) {
    if (entry.tag.empty()) return;
    if (entry.branches_in) {
      const ManualEntry* in = manual_.find(entry.branches_in);
      paragraph(fmt::format("More of them depend on {}: see the branches of {}.", code(entry.tag),
                            in ? link(*in, code(in->name)) : code(entry.branches_in->name)));
      return;
    }
    paragraph(fmt::format("**Branches**, by the value of {}", code(entry.tag)));
    std::string list;
    for (const ManualBranch& branch : entry.branches) {
      std::string text = code(branch.value);
      text += branch.condition.empty() ? ": " : ", if " + code(branch.condition) + ": ";
      if (!branch.type) {
        text += "nothing more";
      } else if (branch.inner.empty()) {
        text += "the members of " + type_link(*branch.type);
      } else {
        text += "\n\n" + member_list(branch.inner, entry.kind);
      }
      list += (list.empty() ? "" : "\n") + prefixed(text, "- ", "  ");
    }
    paragraph(list);
  }

  // The type, and in the same line what is said of it, if that is one paragraph.
  void returns(const ManualEntry& entry) {
    if (!entry.returns && entry.returns_text.empty()) return;
    std::string text = "**Returns:**";
    if (entry.returns) text += " " + type_link(*entry.returns);
    if (is_paragraph(entry.returns_text)) {
      text += (entry.returns ? ", " : " ") + inlines(entry.returns_text.front().text);
      return paragraph(text);
    }
    paragraph(text);
    paragraph(blocks(entry.returns_text));
  }

  static bool is_paragraph(const Blocks& blocks) {
    return blocks.size() == 1 && blocks.front().kind == BlockKind::kParagraph;
  }

  void section(const ManualPart& part) {
    const bool titled =
        !part.name.empty() && !part.name.starts_with("Note") && !part.name.starts_with("Example");
    const bool inline_title =
        titled && part.text.size() == 1 && part.text.front().kind == BlockKind::kParagraph;
    if (inline_title) return paragraph(fmt::format("**{}:** {}", part.name, blocks(part.text)));
    if (titled) paragraph(fmt::format("**{}:**", part.name));
    paragraph(blocks(part.text));
  }

  void uses(const ManualEntry& entry) {
    if (entry.uses.empty()) return;
    std::string text;
    for (const ManualUse& use : entry.uses) {
      const ManualEntry* user = manual_.find(use.name);
      text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", link(*user, code(use.name)),
                          escape(use.place));
    }
    paragraph("**Used by:** " + text);
  }

  const Manual& manual_;
  const SourceFile* const file_;
  const ManualEntry* here_ = nullptr;
  std::string out_;
};

// The list of what there is, heading by heading.
std::string index_page(const Schema& schema, const Manual& manual) {
  const MarkdownPage page(manual, nullptr);
  std::string out = fmt::format("# {}\n", escape(manual.title));
  std::string list;
  const auto flush = [&] {
    if (!list.empty()) out += "\n" + list;
    list.clear();
  };
  for (const ManualItem& item : manual.items) {
    if (item.is_heading()) {
      flush();
      out += fmt::format("\n{} [{}]({}#{})\n",
                         std::string(static_cast<size_t>(std::min(item.level + 1, 6)), '#'),
                         page.inlines(item.heading), address_of(item.file), item.anchor);
    } else if (item.entry) {
      const std::string summary = escape(summary_of(*item.entry));
      list += fmt::format("- {} {}{}\n", page.link(*item.entry, code(item.entry->name)),
                          kind_name(item.entry->kind), summary.empty() ? "" : ": " + summary);
    }
  }
  flush();
  out += "\n## Built-in types\n\n| type | what it is |\n| --- | --- |\n";
  for (const Type* type : builtin_types_used(schema)) {
    out += fmt::format("| {} | {} |\n", code(type->name), builtin_summary(type->name));
  }
  return out;
}

class MarkdownBackend final : public Backend {
 public:
  std::string_view name() const override { return "markdown"; }
  std::string_view summary() const override {
    return "reference manual in Markdown: index.md, MODULE.md";
  }

  void emit(const Schema& schema, Output& output) const override {
    const Manual manual = make_manual(schema);
    output.add("index.md", index_page(schema, manual));
    for (const SourceFile* file : schema.files) {
      std::string text = MarkdownPage(manual, file).run();
      if (!text.empty()) output.add(file_of(file), std::move(text));
    }
  }
};

}  // namespace

const Backend* markdown_backend() {
  static const MarkdownBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
