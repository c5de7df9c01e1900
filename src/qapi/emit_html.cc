// The reference manual as one HTML page that needs nothing else: no network, no other file.
#include <fmt/format.h>

#include <algorithm>

#include "qapi/emit.h"
#include "qapi/html_page.h"
#include "qapi/manual.h"

namespace firn::qapi {

namespace {

using html::escape;

std::string code(std::string_view text) { return "<code>" + escape(text) + "</code>"; }

// What a link to an anchor has to look like.
std::string href(std::string_view anchor) { return "#" + escape(anchor); }

class HtmlBody {
 public:
  HtmlBody(const Schema& schema, const Manual& manual) : schema_(schema), manual_(manual) {}

  std::string run() {
    for (const ManualItem& item : manual_.items) {
      if (item.is_heading()) {
        const int level = std::min(item.level + 1, 6);
        line(fmt::format(
            "<h{} id=\"{}\">{}<a class=\"self\" href=\"{}\" "
            "aria-label=\"Link to this heading\">#</a></h{}>",
            level, escape(item.anchor), inlines(item.heading), href(item.anchor), level));
      } else if (item.entry) {
        entry(*item.entry, item.level);
      } else {
        blocks(item.text);
      }
    }
    builtin_types();
    return std::move(out_);
  }

  std::string inlines(const Inlines& spans) const {
    std::string out;
    for (const Inline& span : spans) out += inline_text(span);
    return out;
  }

 private:
  void line(std::string_view text) {
    out_ += text;
    out_ += '\n';
  }

  // ---- Text ----

  std::string inline_text(const Inline& span) const {
    switch (span.kind) {
      case InlineKind::kText:
        return escape(span.text);
      case InlineKind::kLiteral:
        return code(span.text);
      case InlineKind::kEmphasis:
        return "<em>" + escape(span.text) + "</em>";
      case InlineKind::kStrong:
        return "<strong>" + escape(span.text) + "</strong>";
      case InlineKind::kLink:
        if (!is_web_link(span.target)) return escape(span.text);
        return fmt::format("<a href=\"{}\">{}</a>", escape(span.target), escape(span.text));
      case InlineKind::kMember:
      case InlineKind::kReference:
        break;
    }
    const Reference reference = resolve(manual_, here_, span);
    if (reference.member) {
      return fmt::format("<a href=\"{}\">{}</a>",
                         href(member_anchor(*reference.entry, reference.member->name)),
                         code(span.text));
    }
    if (!reference.entry || reference.entry == here_) return code(span.text);
    return link(*reference.entry, span.text);
  }

  static std::string link(const ManualEntry& entry, std::string_view text) {
    return fmt::format("<a href=\"{}\">{}</a>", href(entry.anchor), code(text));
  }

  void blocks(const Blocks& all) {
    for (const Block& block : all) one_block(block);
  }

  void one_block(const Block& block) {
    switch (block.kind) {
      case BlockKind::kParagraph:
      case BlockKind::kHeading:
        line("<p>" + inlines(block.text) + "</p>");
        break;
      case BlockKind::kBulletList:
        list(block, "<ul>", "</ul>");
        break;
      case BlockKind::kNumberedList:
        list(
            block,
            block.first_number == 1 ? "<ol>" : fmt::format("<ol start=\"{}\">", block.first_number),
            "</ol>");
        break;
      case BlockKind::kDefinitionList:
        line("<dl>");
        for (const ListItem& item : block.items) {
          line("<dt>" + inlines(item.term) + "</dt>\n<dd>");
          blocks(item.blocks);
          line("</dd>");
        }
        line("</dl>");
        break;
      case BlockKind::kQuote:
        line("<blockquote>");
        blocks(block.blocks);
        line("</blockquote>");
        break;
      case BlockKind::kLiteral:
        preformatted(block.literal);
        break;
      case BlockKind::kTable:
        table(block);
        break;
      case BlockKind::kNote:
        note(block);
        break;
      case BlockKind::kExample:
        example(block);
        break;
    }
  }

  void list(const Block& list, std::string_view open, std::string_view close) {
    line(open);
    for (const ListItem& item : list.items) {
      // One paragraph needs no <p> of its own.
      if (is_paragraph(item.blocks)) {
        line("<li>" + inlines(item.blocks.front().text) + "</li>");
        continue;
      }
      line("<li>");
      blocks(item.blocks);
      line("</li>");
    }
    line(close);
  }

  void preformatted(std::string_view text) {
    while (text.ends_with('\n')) text.remove_suffix(1);
    line("<pre><code>" + escape(text) + "</code></pre>");
  }

  // What the client sends and what it gets differ in colour; the arrows say the same without it.
  void traffic(std::string_view text) {
    while (text.ends_with('\n')) text.remove_suffix(1);
    std::string out;
    std::string_view side;
    const auto close = [&] {
      if (!side.empty()) out += "</span>";
    };
    for (bool first = true; first || !text.empty(); first = false) {
      const size_t end = std::min(text.find('\n'), text.size());
      const std::string_view one = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (!first) out += '\n';
      const std::string_view now = one.starts_with("->")   ? "sent"
                                   : one.starts_with("<-") ? "got"
                                                           : "";
      if (!now.empty()) {
        close();
        side = now;
        out += fmt::format("<span class=\"{}\">", side);
      }
      out += escape(one);
    }
    close();
    line("<pre><code>" + out + "</code></pre>");
  }

  void table(const Block& table) {
    line("<table>");
    for (size_t i = 0; i < table.rows.size(); ++i) {
      const bool head = i == 0;
      std::string row;
      bool empty = true;
      for (const Inlines& cell : table.rows[i]) {
        empty = empty && cell.empty();
        row += fmt::format("<{}>{}</{}>", head ? "th scope=\"col\"" : "td", inlines(cell),
                           head ? "th" : "td");
      }
      if (!head || !empty) line("<tr>" + row + "</tr>");
    }
    line("</table>");
  }

  void note(const Block& note) {
    line(fmt::format("<div class=\"note {}\" role=\"note\">", escape(note.name)));
    line("<p class=\"title\">" +
         (note.text.empty() ? escape(capitalized(note.name)) : inlines(note.text)) + "</p>");
    blocks(note.blocks);
    line("</div>");
  }

  void example(const Block& example) {
    if (example.name.empty()) return traffic(example.literal);
    line("<figure>\n<figcaption>Example" +
         (example.text.empty() ? "" : ": " + inlines(example.text)) + "</figcaption>");
    if (example.literal.empty()) {
      blocks(example.blocks);
    } else {
      traffic(example.literal);
    }
    line("</figure>");
  }

  // ---- Entries ----

  std::string type_link(const Type& type) const {
    const TypeText text = type_text(type);
    const ManualEntry* entry = manual_.find(text.type);
    if (entry) return std::string(text.before) + link(*entry, text.name);
    if (text.type->kind == TypeKind::kBuiltin) {
      return fmt::format("{}<a href=\"#type-{}\">{}</a>", text.before, text.name, code(text.name));
    }
    return std::string(text.before) + escape(text.name);
  }

  static std::string_view section_class(EntryKind kind) {
    if (kind == EntryKind::kCommand) return "command";
    return kind == EntryKind::kEvent ? "event" : "type";
  }

  static std::string tags(const Features& features) {
    std::string out;
    for (const Feature& feature : features) {
      out += fmt::format(" <span class=\"tag {0}\">{0}</span>", escape(feature.name));
    }
    return out;
  }

  static std::string condition_tag(std::string_view condition) {
    if (condition.empty()) return {};
    return fmt::format(" <span class=\"tag\">if {}</span>", escape(condition));
  }

  void entry(const ManualEntry& entry, int level) {
    here_ = &entry;
    const int heading = std::clamp(level + 2, 2, 6);
    line(fmt::format("<section class=\"entry {}\" id=\"{}\" data-name=\"{}\">",
                     section_class(entry.kind), escape(entry.anchor), escape(entry.name)));
    line(
        fmt::format("<h{0}><span class=\"kind\">{1}</span> {2}{3}<a class=\"self\" href=\"{4}\" "
                    "aria-label=\"Link to {5}\">#</a></h{0}>",
                    heading, kind_name(entry.kind), code(entry.name), tags(entry.features),
                    href(entry.anchor), escape(entry.name)));
    blocks(entry.text);
    members(entry);
    branches(entry);
    returns(entry);
    for (const ManualPart& part : entry.sections) section(part);
    if (!entry.feature_texts.empty()) {
      title("Features");
      line("<dl>");
      for (const ManualPart& part : entry.feature_texts) {
        line("<dt>" + code(part.name) + "</dt>");
        description(part.text);
      }
      line("</dl>");
    }
    for (const std::string& remark : entry.remarks) {
      line("<p class=\"remark\">" + escape(remark) + "</p>");
    }
    if (!entry.condition.empty()) {
      line("<p class=\"remark\">If " + code(entry.condition) + "</p>");
    }
    if (!entry.since.empty()) {
      line("<p class=\"remark\">Since " + inlines(entry.since) + "</p>");
    }
    uses(entry);
    line("</section>");
    here_ = nullptr;
  }

  void title(std::string_view text) { line(fmt::format("<p class=\"part\">{}</p>", text)); }

  void description(const Blocks& text) {
    if (text.empty()) return;
    line("<dd>");
    blocks(text);
    line("</dd>");
  }

  void members(const ManualEntry& entry) {
    static constexpr std::string_view kTitles[] = {"Arguments", "Data",    "Values",
                                                   "Members",   "Members", "One of"};
    for (const MemberGroup& group : entry.members) {
      const ManualEntry* from = group.from ? manual_.find(group.from) : nullptr;
      title(fmt::format("{}{}", kTitles[static_cast<size_t>(entry.kind)],
                        from ? ", from " + link(*from, from->name) : ""));
      member_list(group.members, &entry);
    }
  }

  // `owner`: whose members they are, for anchors; null for those of anonymous objects.
  void member_list(const std::vector<ManualMember>& members, const ManualEntry* owner) {
    line("<dl>");
    for (const ManualMember& member : members) {
      std::string text = code(member.name);
      if (member.type) text += ": " + type_link(*member.type);
      if (member.optional) text += " <span class=\"tag\">optional</span>";
      if (member.secret) text += " <span class=\"tag\">secret</span>";
      text += tags(member.features) + condition_tag(member.condition);
      const std::string id =
          owner ? fmt::format(" id=\"{}\"", escape(member_anchor(*owner, member.name))) : "";
      line(fmt::format("<dt{}>{}</dt>", id, text));
      if (member.text.empty() && member.inner.empty()) continue;
      line("<dd>");
      blocks(member.text);
      if (!member.inner.empty()) member_list(member.inner, nullptr);
      line("</dd>");
    }
    line("</dl>");
  }

  void branches(const ManualEntry& entry) {
    if (entry.tag.empty()) return;
    if (entry.branches_in) {
      const ManualEntry* in = manual_.find(entry.branches_in);
      line(fmt::format("<p>More of them depend on {}: see the branches of {}.</p>", code(entry.tag),
                       in ? link(*in, in->name) : code(entry.branches_in->name)));
      return;
    }
    title("Branches, by the value of " + code(entry.tag));
    line("<dl>");
    for (const ManualBranch& branch : entry.branches) {
      std::string text = code(branch.value) + condition_tag(branch.condition);
      if (!branch.type) {
        text += ": nothing more";
      } else if (branch.inner.empty()) {
        text += ": the members of " + type_link(*branch.type);
      }
      line("<dt>" + text + "</dt>");
      if (branch.inner.empty()) continue;
      line("<dd>");
      member_list(branch.inner, nullptr);
      line("</dd>");
    }
    line("</dl>");
  }

  // The type, and in the same line what is said of it, if that is one paragraph.
  void returns(const ManualEntry& entry) {
    if (!entry.returns && entry.returns_text.empty()) return;
    std::string text = "<span class=\"part\">Returns:</span>";
    if (entry.returns) text += " " + type_link(*entry.returns);
    const bool short_text = is_paragraph(entry.returns_text);
    if (short_text) {
      text += (entry.returns ? ", " : " ") + inlines(entry.returns_text.front().text);
    }
    line("<p>" + text + "</p>");
    if (!short_text) blocks(entry.returns_text);
  }

  static bool is_paragraph(const Blocks& blocks) {
    return blocks.size() == 1 && blocks.front().kind == BlockKind::kParagraph;
  }

  void section(const ManualPart& part) {
    const bool titled =
        !part.name.empty() && !part.name.starts_with("Note") && !part.name.starts_with("Example");
    if (!titled) return blocks(part.text);
    if (is_paragraph(part.text)) {
      line(fmt::format("<p><span class=\"part\">{}:</span> {}</p>", escape(part.name),
                       inlines(part.text.front().text)));
      return;
    }
    title(escape(part.name));
    blocks(part.text);
  }

  void uses(const ManualEntry& entry) {
    if (entry.uses.empty()) return;
    std::string text;
    for (const ManualUse& use : entry.uses) {
      text += fmt::format("{}{} ({})", text.empty() ? "" : ", ",
                          link(*manual_.find(use.name), use.name), escape(use.place));
    }
    line("<p class=\"uses\">Used by " + text + "</p>");
  }

  void builtin_types() {
    const std::vector<const Type*> used = builtin_types_used(schema_);
    if (used.empty()) return;
    line("<h2 id=\"built-in-types\">Built-in types</h2>\n<dl>");
    for (const Type* type : used) {
      line(fmt::format("<dt id=\"type-{}\">{}</dt>\n<dd>{}</dd>", type->name, code(type->name),
                       escape(builtin_summary(type->name))));
    }
    line("</dl>");
  }

  const Schema& schema_;
  const Manual& manual_;
  const ManualEntry* here_ = nullptr;
  std::string out_;
};

// Nested lists of links: each heading folds what stands below it.
class HtmlContents {
 public:
  explicit HtmlContents(const Manual& manual) : manual_(manual) {}

  std::string run() {
    out_ = "<ul>\n";
    size_t at = 0;
    while (at < manual_.items.size()) at = item(at);
    out_ += "<li><a href=\"#built-in-types\">Built-in types</a></li>\n";
    return out_ + "</ul>\n";
  }

 private:
  static constexpr size_t kFewEntries = 40;  // so many need no folding

  // Prints the item and what is below it; returns the index of the next one.
  size_t item(size_t at) {
    const ManualItem& item = manual_.items[at];
    if (item.entry) {
      out_ += fmt::format("<li><a data-entry href=\"{}\">{}</a></li>\n", href(item.entry->anchor),
                          code(item.entry->name));
      return at + 1;
    }
    if (!item.is_heading()) return at + 1;
    const size_t start = out_.size();
    out_ += fmt::format("<li><details{}><summary><a href=\"{}\">{}</a></summary>\n<ul>\n",
                        manual_.entries.size() <= kFewEntries ? " open" : "", href(item.anchor),
                        escape(to_plain_text(item.heading)));
    const size_t empty = out_.size();
    size_t next = at + 1;
    while (next < manual_.items.size() && below(manual_.items[next], item.level)) {
      next = this->item(next);
    }
    if (out_.size() == empty) {
      out_.resize(start);
      out_ += fmt::format("<li><a href=\"{}\">{}</a></li>\n", href(item.anchor),
                          escape(to_plain_text(item.heading)));
    } else {
      out_ += "</ul>\n</details></li>\n";
    }
    return next;
  }

  static bool below(const ManualItem& item, int level) {
    return !item.is_heading() || item.level > level;
  }

  const Manual& manual_;
  std::string out_;
};

class HtmlBackend final : public Backend {
 public:
  std::string_view name() const override { return "html"; }
  std::string_view summary() const override {
    return "reference manual as one page for browsers: NAME-qmp-ref.html";
  }

  void emit(const Schema& schema, Output& output) const override {
    const Manual manual = make_manual(schema);
    const std::string body = HtmlBody(schema, manual).run();
    const std::string contents = HtmlContents(manual).run();
    output.add(manual.name + "-qmp-ref.html",
               html::print({.title = manual.title, .contents = contents, .body = body}));
  }
};

}  // namespace

const Backend* html_backend() {
  static const HtmlBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
