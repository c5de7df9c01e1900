// The reference manual as a manual page, NAME-qmp-ref.7, in man(7)'s macros with the few of groff
// that mandoc knows as well (.EX and .EE).
#include <fmt/format.h>

#include <algorithm>

#include "qapi/emit.h"
#include "qapi/manual.h"
#include "qapi/roff.h"

namespace firn::qapi {

namespace {

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  }
  return out;
}

std::string bold(std::string_view text) {
  return fmt::format("\\fB{}\\fR", roff::escape(text, false));
}
std::string italic(std::string_view text) {
  return fmt::format("\\fI{}\\fR", roff::escape(text, false));
}

class ManPage {
 public:
  ManPage(const Schema& schema, const Manual& manual) : schema_(schema), manual_(manual) {}

  std::string run() {
    out_ =
        fmt::format(".TH {} 7 \"\" {} \"QMP reference\"\n",
                    roff::argument(upper(manual_.name) + "-QMP-REF"), roff::argument(manual_.name));
    out_ += fmt::format(".SH NAME\n{}\\-qmp\\-ref \\- {}\n", roff::escape(manual_.name),
                        roff::escape(manual_.title, false));
    for (const ManualItem& item : manual_.items) {
      if (item.is_heading()) {
        heading(item);
      } else if (item.entry) {
        if (!opened_) open_section();
        entry(*item.entry);
      } else {
        if (!opened_) open_section();
        blocks(item.text);
      }
    }
    builtin_types();
    return std::move(out_);
  }

 private:
  void open_section() {
    line(".SH DESCRIPTION");
    opened_ = true;
    fresh_ = true;
  }

  // Text and requests stand on lines of their own; requests that part paragraphs do so only between
  // two of them.
  void line(std::string_view text) {
    out_ += text;
    out_ += '\n';
  }
  // A new paragraph, unless a heading or a tag has just opened one.
  void part() {
    if (!fresh_) line(".PP");
    fresh_ = false;
  }

  void heading(const ManualItem& item) {
    const std::string text = roff::argument(to_plain_text(item.heading));
    if (item.level == 1) {
      line(".SH " + text);
    } else if (item.level == 2) {
      if (!opened_) open_section();
      line(".SS " + text);
    } else {
      part();
      line(bold(to_plain_text(item.heading)));
    }
    opened_ = true;
    fresh_ = true;
  }

  // ---- Text ----

  std::string inlines(const Inlines& spans) const {
    std::string out;
    for (const Inline& span : spans) {
      switch (span.kind) {
        case InlineKind::kText:
          out += roff::escape(span.text, out.empty());
          break;
        case InlineKind::kEmphasis:
          out += italic(span.text);
          break;
        case InlineKind::kLink:
          out += roff::escape(span.text, false);
          if (span.text != span.target) out += " <" + roff::escape(span.target, false) + ">";
          break;
        default:
          out += bold(span.text);
      }
    }
    return out;
  }

  void blocks(const Blocks& all) {
    for (const Block& block : all) one_block(block);
  }

  void one_block(const Block& block) {
    switch (block.kind) {
      case BlockKind::kParagraph:
      case BlockKind::kHeading:
        part();
        line(roff::fill(inlines(block.text)));
        break;
      case BlockKind::kBulletList:
      case BlockKind::kNumberedList:
      case BlockKind::kDefinitionList:
        list(block);
        break;
      case BlockKind::kQuote:
        indented([&] { blocks(block.blocks); });
        break;
      case BlockKind::kLiteral:
        literal(block.literal);
        break;
      case BlockKind::kTable:
        literal(to_plain_text({block}, 80));
        break;
      case BlockKind::kNote:
        part();
        line(
            bold((block.text.empty() ? capitalized(block.name) : to_plain_text(block.text)) + ":"));
        indented([&] { blocks(block.blocks); });
        break;
      case BlockKind::kExample:
        if (block.name.empty()) return literal(block.literal);
        part();
        line(block.text.empty() ? "Example:" : "Example: " + inlines(block.text));
        if (block.literal.empty()) {
          indented([&] { blocks(block.blocks); });
        } else {
          literal(block.literal);
        }
        break;
    }
  }

  template <typename Body>
  void indented(Body body) {
    const size_t start = out_.size();
    const bool was_fresh = fresh_;
    line(".RS 4");
    const size_t empty = out_.size();
    fresh_ = true;
    body();
    if (out_.size() == empty) {
      out_.resize(start);
      fresh_ = was_fresh;
    } else {
      line(".RE");
      fresh_ = false;
    }
  }

  void literal(std::string_view text) {
    if (!fresh_) line(".PP");
    line(".RS 4");
    line(".EX");
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      const std::string_view one = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      line(one.empty() ? "\\&" : roff::escape(one));
    }
    line(".EE");
    line(".RE");
    fresh_ = false;
  }

  void list(const Block& list) {
    int number = list.first_number;
    for (const ListItem& item : list.items) {
      if (!item.term.empty()) {
        tagged(inlines(item.term), [&] { blocks(item.blocks); });
        continue;
      }
      const std::string mark =
          list.kind == BlockKind::kNumberedList ? fmt::format("{}.", number++) : "\\(bu";
      line(fmt::format(".IP {} 3", mark));
      item_body([&] { blocks(item.blocks); });
    }
  }

  // A tag with its text to the right and below.
  template <typename Body>
  void tagged(std::string_view tag, Body body) {
    line(".TP");
    line(tag);
    item_body(body);
  }

  // What stands in an item: its first paragraph right behind the mark, the rest as deep.
  template <typename Body>
  void item_body(Body body) {
    const size_t start = out_.size();
    fresh_ = true;
    body();
    std::string text = out_.substr(start);
    out_.resize(start);
    const size_t first_end = text.find("\n.");
    if (text.empty()) {
      out_ += "\\&\n";
    } else if (text.starts_with('.')) {
      out_ += "\\&\n.RS\n" + text + ".RE\n";
    } else if (first_end == std::string::npos || first_end + 1 == text.size()) {
      out_ += text;
    } else {
      // Deeper blocks need the item's indent as their margin.
      out_ += text.substr(0, first_end + 1) + ".RS\n" + text.substr(first_end + 1) + ".RE\n";
    }
    fresh_ = false;
  }

  // ---- Entries ----

  std::string type_name(const Type& type) const {
    const TypeText text = type_text(type);
    return std::string(text.before) + italic(text.name);
  }

  void entry(const ManualEntry& entry) {
    line(fmt::format(".SS {}",
                     roff::argument(fmt::format("{} ({})", entry.name, kind_name(entry.kind)))));
    fresh_ = true;
    std::string badges;
    for (const char* name : {"deprecated", "unstable"}) {
      if (is_marked(entry.features, name))
        badges += fmt::format("{}{}", badges.empty() ? "" : ", ", name);
    }
    if (!badges.empty()) {
      part();
      line(bold(capitalized(badges) + "."));
    }
    blocks(entry.text);
    members(entry);
    branches(entry);
    returns(entry);
    for (const ManualPart& section : entry.sections) this->section(section);
    if (!entry.feature_texts.empty()) {
      title("Features:");
      for (const ManualPart& feature : entry.feature_texts) {
        tagged(bold(feature.name), [&] { blocks(feature.text); });
      }
    }
    for (const std::string& remark : entry.remarks) {
      part();
      line(roff::escape(remark));
    }
    if (!entry.condition.empty()) {
      part();
      line(bold("If:") + " " + roff::escape(entry.condition, false));
    }
    if (!entry.since.empty()) {
      part();
      line(bold("Since:") + " " + inlines(entry.since));
    }
    uses(entry);
  }

  void title(std::string_view text) {
    part();
    line(bold(text));
  }

  void members(const ManualEntry& entry) {
    static constexpr std::string_view kTitles[] = {"Arguments", "Data",    "Values",
                                                   "Members",   "Members", "One of"};
    for (const MemberGroup& group : entry.members) {
      const std::string_view what = kTitles[static_cast<size_t>(entry.kind)];
      title(group.from ? fmt::format("{}, from {}:", what, group.from->name)
                       : fmt::format("{}:", what));
      for (const ManualMember& member : group.members) this->member(member);
    }
  }

  void member(const ManualMember& member) {
    std::string tag = bold(member.name);
    if (member.type) tag += ": " + type_name(*member.type);
    if (member.optional) tag += " (optional)";
    if (member.secret) tag += " (secret)";
    for (const Feature& feature : member.features) {
      tag += fmt::format(" ({})", roff::escape(feature.name, false));
    }
    if (!member.condition.empty()) {
      tag += fmt::format(" (if {})", roff::escape(member.condition, false));
    }
    tagged(tag, [&] {
      blocks(member.text);
      for (const ManualMember& inner : member.inner) this->member(inner);
    });
  }

  void branches(const ManualEntry& entry) {
    if (entry.tag.empty()) return;
    part();
    if (entry.branches_in) {
      line(fmt::format("More of them depend on {}: see the branches of {}.", bold(entry.tag),
                       italic(entry.branches_in->name)));
      return;
    }
    line(fmt::format("Branches, by the value of {}:", bold(entry.tag)));
    for (const ManualBranch& branch : entry.branches) {
      std::string tag = bold(branch.value);
      if (!branch.condition.empty()) {
        tag += fmt::format(" (if {})", roff::escape(branch.condition, false));
      }
      tagged(tag, [&] {
        if (!branch.type) {
          part();
          line("nothing more");
        } else if (branch.inner.empty()) {
          part();
          line("the members of " + type_name(*branch.type));
        }
        for (const ManualMember& inner : branch.inner) member(inner);
      });
    }
  }

  void returns(const ManualEntry& entry) {
    if (!entry.returns && entry.returns_text.empty()) return;
    part();
    line(bold("Returns:") + (entry.returns ? " " + type_name(*entry.returns) : ""));
    if (!entry.returns_text.empty()) indented([&] { blocks(entry.returns_text); });
  }

  void section(const ManualPart& part) {
    const bool titled =
        !part.name.empty() && !part.name.starts_with("Note") && !part.name.starts_with("Example");
    if (!titled) return blocks(part.text);
    title(part.name + ":");
    indented([&] { blocks(part.text); });
  }

  void uses(const ManualEntry& entry) {
    if (entry.uses.empty()) return;
    part();
    std::string text = bold("Used by:");
    for (const ManualUse& use : entry.uses) {
      text += fmt::format("{} {} ({})", &use == &entry.uses.front() ? "" : ",", italic(use.name),
                          roff::escape(use.place, false));
    }
    line(roff::fill(text));
  }

  void builtin_types() {
    line(".SH \"BUILT\\-IN TYPES\"");
    for (const Type* type : builtin_types_used(schema_)) {
      line(".TP");
      line(bold(type->name));
      line(roff::escape(builtin_summary(type->name)));
    }
  }

  const Schema& schema_;
  const Manual& manual_;
  std::string out_;
  bool opened_ = false;  // whether a section has begun
  bool fresh_ = false;   // whether what follows starts a paragraph already
};

class ManBackend final : public Backend {
 public:
  std::string_view name() const override { return "man"; }
  std::string_view summary() const override {
    return "reference manual as a manual page: NAME-qmp-ref.7";
  }

  void emit(const Schema& schema, Output& output) const override {
    const Manual manual = make_manual(schema);
    output.add(manual.name + "-qmp-ref.7", ManPage(schema, manual).run());
  }
};

}  // namespace

const Backend* man_backend() {
  static const ManBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
