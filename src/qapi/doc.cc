#include "qapi/doc.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "qapi/doc_builder.h"

namespace firn::qapi {

namespace {

const DocPart* find(const std::vector<DocPart>& parts, std::string_view name) {
  const auto found =
      std::find_if(parts.begin(), parts.end(), [&](const DocPart& p) { return p.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

// The words that open a section when a colon follows. The last four are of the past.
constexpr std::string_view kTags[] = {"Returns",
                                      "Errors",
                                      "Since",
                                      "TO"
                                      "DO",
                                      "Note",
                                      "Notes",
                                      "Example",
                                      "Examples"};

// `Tag: rest` at the front of a line. `Tag::` is markup of another kind.
struct Tagged {
  std::string_view tag;  // empty: none
  std::string_view rest;
};
Tagged match_tag(std::string_view line) {
  for (const std::string_view tag : kTags) {
    if (!line.starts_with(tag)) continue;
    std::string_view rest = line.substr(tag.size());
    if (!rest.starts_with(':') || rest.starts_with("::")) continue;
    rest.remove_prefix(std::min(rest.find_first_not_of(' ', 1), rest.size()));
    return {line.substr(0, tag.size()), rest};
  }
  return {};
}

size_t indent_of(std::string_view line) {
  std::string_view rest = line;
  size_t columns = 0;
  while (const size_t space = space_length(rest)) {
    rest.remove_prefix(space);
    ++columns;
  }
  return columns;
}

// Reads a block line by line. The order in which it looks at things, and what ends what, is that of
// QEMU's generator, so that the first error is the same.
class DocParser {
 public:
  DocParser(const DocLines& lines, Diagnostics& diagnostics)
      : lines_(lines), diagnostics_(diagnostics) {}

  ParsedDoc run() {
    builder_.doc().span = {lines_.opening.span.file, lines_.opening.span.begin,
                           lines_.closing.span.end};
    if (lines_.opening.text != "##") {
      fail(lines_.opening.span, "junk behind the '##' that opens documentation");
    }
    next();
    if (!at_end_ && line_.starts_with('@')) {
      definition();
    } else {
      free_text();
    }
    ParsedDoc out = builder_.finish();
    out.broken = broken_;
    return out;
  }

 private:
  using Place = DocBuilder::Place;
  using FirstSpans = std::unordered_map<std::string_view, Span>;

  void fail(const Span& span, std::string text, std::string hint = {}) {
    diagnostics_.error(span, std::move(text), std::move(hint));
  }
  Span line_span() const { return span_of(*token_, line_); }

  // Sets line_ to the next line without its `# `, or at_end_.
  void next() {
    if (position_ == lines_.lines.size()) return end();
    token_ = &lines_.lines[position_++];
    line_ = token_->text.substr(1);
    if (line_.empty()) return;
    if (line_.starts_with(' ')) {
      line_.remove_prefix(1);
    } else {
      fail(token_->span, "a documentation line needs a blank behind its '#'");
    }
    line_ = trim_end(line_);
  }

  void end() {
    at_end_ = true;
    const Token& closing = lines_.closing;
    if (closing.kind == TokenKind::kBad) return;  // it has been reported
    if (closing.kind != TokenKind::kComment) {
      fail(closing.span, "this documentation has to end with a line '##'",
           fmt::format("it started on line {}", line_of(lines_.opening.span)));
    } else if (closing.text != "##") {
      fail(closing.span, "junk behind the '##' that ends documentation");
    }
  }

  void definition() {
    Doc& doc = builder_.doc();
    if (!line_.ends_with(':')) {
      fail(line_span(), "this line names what is documented, so it has to end with ':'",
           fmt::format("write '# {}:'", line_.substr(0, line_.find_first_of(" :"))));
      broken_ = true;
    } else if (line_.size() == 2) {
      fail(line_span(), "a name has to stand behind '@'");
      broken_ = true;
    } else {
      doc.symbol_span = span_of(*token_, line_.substr(1, line_.size() - 2));
      doc.symbol = doc.symbol_span.text();
    }
    next();
    while (!at_end_) {
      if (line_.empty()) {
        next();
      } else if (line_ == "Features:") {
        features();
      } else if (match_at_name(line_).found) {
        descriptions();
      } else if (const Tagged tagged = match_tag(line_); !tagged.tag.empty()) {
        section(tagged);
      } else {
        paragraph();
      }
    }
  }

  void features() {
    if (has_features_) fail(line_span(), "a second line 'Features:'");
    const Span heading = line_span();
    next();
    while (!at_end_ && line_.empty()) next();
    while (!at_end_ && match_at_name(line_).found) {
      described(Place::kFeature, feature_names_);
      has_features_ = true;
    }
    if (!has_features_) {
      fail(at_end_ ? lines_.closing.span : line_span(),
           "descriptions of features have to stand behind 'Features:'", "write '# @name: text'");
      if (!at_end_) diagnostics_.note(heading, "behind this");
    }
    members_are_over_ = true;
  }

  void descriptions() {
    if (members_are_over_) {
      fail(line_span(),
           fmt::format("the description of '@{}' stands behind a section",
                       match_at_name(line_).name),
           "describe members in one run, in front of 'Features:', 'Returns:' and the like");
    }
    while (!at_end_ && match_at_name(line_).found) described(Place::kMember, member_names_);
    members_are_over_ = true;
  }

  void described(Place place, FirstSpans& names) {
    const AtName at = match_at_name(line_);
    const Span span = span_of(*token_, at.name);
    if (at.name.empty()) {
      fail(line_span(), "a name has to stand between '@' and ':'");
    } else if (const auto [first, inserted] = names.emplace(at.name, span); !inserted) {
      fail(span, fmt::format("'{}' is documented twice", at.name));
      diagnostics_.note(first->second, "the first time is here");
    }
    builder_.begin(place, at.name, span);
    builder_.append(at.rest);
    indented();
  }

  void section(const Tagged& tagged) {
    const Span span = span_of(*token_, tagged.tag);
    const std::string_view tag = tagged.tag;
    if (tag.starts_with("Note") || tag.starts_with("Example")) {
      fail(span, fmt::format("there are no '{}:' sections any more", tag),
           tag.starts_with("Note")
               ? "write '.. note::', or compile old schemas with --dialect 2011"
               : "write '.. qmp-example::', or compile old schemas with --dialect 2011");
    } else if (tag !=
               "TO"
               "DO") {
      const auto [first, inserted] = first_sections_.emplace(tag, span);
      if (!inserted) {
        fail(span, fmt::format("a second section '{}:'", tag));
        diagnostics_.note(first->second, "the first one is here");
      }
    }
    builder_.begin(Place::kSection, tag, span);
    builder_.append(tagged.rest);
    indented();
    members_are_over_ = true;
  }

  // The lines that belong to the part at hand by their indent. Only the second of them is held to
  // the first one's; any other that is indented less ends the part.
  void indented() {
    next();
    while (!at_end_ && line_.empty()) take();
    if (at_end_) return;
    const size_t indent = indent_of(line_);
    if (indent == 0) return;
    take();
    for (bool second = true;; second = false) {
      if (at_end_ || match_at_name(line_).found) return;
      if (!line_.empty() && indent_of(line_) < indent) {
        if (!second) return;
        fail(line_span(),
             fmt::format("this line has to be indented by {} like the one above it", indent));
        if (indent_of(line_) == 0) return;
      }
      take();
    }
  }

  void paragraph() {
    if (!builder_.plain()) {
      builder_.begin(Place::kSection, "", line_span());
    } else {
      builder_.append("");
    }
    while (!at_end_ && !line_.empty()) take();
  }

  void take() {
    builder_.append(line_);
    next();
  }

  void free_text() {
    while (!at_end_) {
      if (const AtName at = match_at_name(line_); at.found) {
        fail(line_span(), fmt::format("free text can't describe '@{}'", at.name),
             "the documentation of a definition starts with '# @name:' on its first line");
      }
      take();
    }
  }

  const DocLines& lines_;
  Diagnostics& diagnostics_;
  DocBuilder builder_;
  size_t position_ = 0;
  const Token* token_ = nullptr;
  std::string_view line_;
  bool at_end_ = false;
  bool broken_ = false;
  bool members_are_over_ = false;
  bool has_features_ = false;
  FirstSpans member_names_;
  FirstSpans feature_names_;
  FirstSpans first_sections_;
};

}  // namespace

const DocPart* Doc::member(std::string_view name) const { return find(members, name); }
const DocPart* Doc::feature(std::string_view name) const { return find(features, name); }
const DocPart* Doc::section(std::string_view tag) const { return find(sections, tag); }

ParsedDoc parse_doc(const DocLines& lines, Dialect dialect, Diagnostics& diagnostics) {
  if (dialect == Dialect::k2011) return parse_doc_2011(lines);
  return DocParser(lines, diagnostics).run();
}

}  // namespace firn::qapi
