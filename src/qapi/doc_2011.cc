// Documentation in the dialect of 2011. It was written for people alone, in forms that changed over
// the years, so whatever stands in a block has a meaning and nothing is an error.
#include <algorithm>
#include <optional>

#include "qapi/doc_builder.h"

namespace firn::qapi {

namespace {

constexpr std::string_view kTags[] = {"Returns",
                                      "Since",
                                      "Note",
                                      "Notes",
                                      "Example",
                                      "Examples",
                                      "Errors",
                                      "To"
                                      "do",
                                      "TO"
                                      "DO",
                                      "Bugs"};

class OldDocParser {
 public:
  ParsedDoc run(const DocLines& block) {
    Doc& doc = builder_.doc();
    doc.span = {block.opening.span.file, block.opening.span.begin, block.closing.span.end};
    for (const Token& token : block.lines) add(token);
    ParsedDoc out = builder_.finish();
    out.empty_parts.clear();
    // 2011's blocks may name a member twice; the first one counts.
    for (auto* parts : {&out.doc.members, &out.doc.features}) drop_repeated(*parts);
    return out;
  }

 private:
  using Place = DocBuilder::Place;

  static void drop_repeated(std::vector<DocPart>& parts) {
    std::vector<DocPart> kept;
    for (DocPart& part : parts) {
      const auto same = [&](const DocPart& other) { return other.name == part.name; };
      if (std::none_of(kept.begin(), kept.end(), same)) kept.push_back(std::move(part));
    }
    parts = std::move(kept);
  }

  void add(const Token& token) {
    std::string_view line = token.text.substr(1);
    if (line.starts_with(' ')) line.remove_prefix(1);
    line = trim_end(line);
    const bool first = first_line_ && !line.empty();
    if (first) first_line_ = false;
    if (first && take_symbol(token, line)) return;
    if (builder_.doc().symbol.empty()) return builder_.append(line);
    if (line == "Features:") {
      in_features_ = true;
      return;
    }
    const AtName at = match_at_name(line);
    if (at.found && !at.name.empty() && at.name.find_first_of(" \t@") == at.name.npos) {
      builder_.begin(in_features_ ? Place::kFeature : Place::kMember, at.name,
                     span_of(token, at.name));
      return append_description(at.rest);
    }
    if (begin_section(token, line)) return;
    if (ends_part(line)) builder_.begin(Place::kSection, "", span_of(token, line));
    builder_.append(line);
  }

  // `@name:`, or as 2011 has it `@name`.
  bool take_symbol(const Token& token, std::string_view line) {
    AtName at = match_at_name(line);
    if (!at.found && line.starts_with('@')) at = {true, line.substr(1), {}};
    if (!at.found || at.name.empty() || at.name.find_first_of(" \t") != at.name.npos) return false;
    builder_.doc().symbol = at.name;
    builder_.doc().symbol_span = span_of(token, at.name);
    builder_.append(at.rest);
    return true;
  }

  void append_description(std::string_view text) {
    constexpr std::string_view kMark = "#optional";
    if (text.starts_with(kMark)) {
      builder_.mark_optional();
      text = trim(text.substr(kMark.size()));
    }
    builder_.append(text);
  }

  bool begin_section(const Token& token, std::string_view line) {
    for (const std::string_view tag : kTags) {
      if (!line.starts_with(tag)) continue;
      std::string_view rest = line.substr(tag.size());
      const bool colon = rest.starts_with(':') && !rest.starts_with("::");
      if (!colon && !(tag == "Since" && rest.starts_with(' '))) continue;
      builder_.begin(Place::kSection, line.substr(0, tag.size()),
                     span_of(token, line.substr(0, tag.size())));
      builder_.append(trim(rest.substr(1)));
      in_features_ = false;
      return true;
    }
    return false;
  }

  // Whether `line` is text of its own: behind a blank line, and not indented as the text of a part
  // is. What stands that way below an empty `Example:` or in notes belongs there.
  bool ends_part(std::string_view line) const {
    const auto& lines = builder_.lines();
    if (builder_.plain() || lines.empty() || line.empty() || space_length(line) > 0) return false;
    if (!trim(lines.back()).empty()) return false;
    if (builder_.place() != Place::kSection) return true;
    const std::string_view tag = builder_.part().name;
    const bool long_tag = tag.starts_with("Note") || tag.starts_with("Example");
    const auto blank = [](std::string_view l) { return trim(l).empty(); };
    return !long_tag && !std::all_of(lines.begin(), lines.end(), blank);
  }

  DocBuilder builder_;
  bool first_line_ = true;
  bool in_features_ = false;
};

}  // namespace

ParsedDoc parse_doc_2011(const DocLines& lines) { return OldDocParser().run(lines); }

}  // namespace firn::qapi
