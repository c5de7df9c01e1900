#include "qapi/doc.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace firn::qapi {

namespace {

constexpr std::array<std::string_view, 10> kTags = {"Returns",
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

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

const DocPart* find(const std::vector<DocPart>& parts, std::string_view name) {
  const auto found =
      std::find_if(parts.begin(), parts.end(), [&](const DocPart& p) { return p.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

// The name in "@name: rest" at the front of `line`, and what follows the colon.
struct AtName {
  std::string_view name;
  std::string_view rest;
};
std::optional<AtName> parse_at_name(std::string_view line) {
  if (!line.starts_with('@')) return std::nullopt;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 1) return std::nullopt;
  const std::string_view name = line.substr(1, colon - 1);
  if (name.find_first_of(" \t@") != std::string_view::npos) return std::nullopt;
  return AtName{name, trim(line.substr(colon + 1))};
}

class DocParser {
 public:
  DocParser(const Span& span, Dialect dialect, Diagnostics& diagnostics)
      : dialect_(dialect), diagnostics_(diagnostics) {
    doc_.span = span;
  }

  Doc run(const std::vector<Token>& lines) {
    for (const Token& line : lines) add(line);
    finish_part();
    return std::move(doc_);
  }

 private:
  enum class Place : uint8_t { kBody, kMember, kFeature, kSection };

  void add(const Token& token) {
    // The text after `#` and one blank.
    std::string_view line = token.text;
    line.remove_prefix(1);
    if (!line.empty() && line.front() != ' ' && line.front() != '\t' &&
        dialect_ == Dialect::kToday) {
      diagnostics_.error(token.span, "a documentation line needs a blank after '#'");
    }
    if (line.starts_with(' ')) line.remove_prefix(1);
    const bool first = first_line_ && !trim(line).empty();
    if (first) first_line_ = false;
    // 2011 named what it documents without a colon.
    const std::string symbol_line(first && dialect_ == Dialect::k2011 && line.starts_with('@') &&
                                          line.find(':') == std::string_view::npos
                                      ? std::string(trim(line)) + ":"
                                      : "");
    if (auto at = parse_at_name(symbol_line.empty() ? line : symbol_line)) {
      const uint32_t begin = token.span.begin + static_cast<uint32_t>(token.text.find('@') + 1);
      const Span span{token.span.file, begin, begin + static_cast<uint32_t>(at->name.size())};
      if (first) {
        doc_.symbol = at->name;
        doc_.symbol_span = span;
        append(at->rest);
        return;
      }
      if (!doc_.symbol.empty() && (place_ == Place::kBody || place_ == Place::kMember ||
                                   place_ == Place::kFeature || dialect_ == Dialect::k2011)) {
        begin_part(in_features_ ? Place::kFeature : Place::kMember, std::string(at->name), span);
        append_member(at->rest);
        return;
      }
    }
    if (!doc_.symbol.empty() && begin_section(line, token.span)) return;
    if (ends_part(line)) begin_part(Place::kSection, "", token.span);
    append(line);
  }

  // Whether `line` is text of its own: behind a blank line, and not indented as the text of a part
  // is. What older schemas write that way below an empty `Example:` or in notes belongs there.
  bool ends_part(std::string_view line) const {
    if (dialect_ == Dialect::k2011 || place_ == Place::kBody || lines_.empty()) return false;
    if (trim(line).empty() || line.front() == ' ' || line.front() == '\t') return false;
    if (!trim(lines_.back()).empty()) return false;
    if (place_ == Place::kFeature && part_.name.empty()) return true;
    if (place_ != Place::kSection) return true;
    const bool old_style = part_.name.starts_with("Note") || part_.name.starts_with("Example");
    const bool empty =
        std::all_of(lines_.begin(), lines_.end(), [](const auto& l) { return trim(l).empty(); });
    return !part_.name.empty() && !old_style && !empty;
  }

  // `Since: 1.0`, or in 2011 `Since 0.14.0`, at the start of a line.
  bool begin_section(std::string_view line, const Span& span) {
    if (trim(line) == "Features:") {
      finish_part();
      place_ = Place::kFeature;
      in_features_ = true;
      return true;
    }
    for (std::string_view tag : kTags) {
      if (!line.starts_with(tag)) continue;
      std::string_view rest = line.substr(tag.size());
      if (rest.starts_with(':')) {
        rest.remove_prefix(1);
      } else if (dialect_ != Dialect::k2011 || tag != "Since" || !rest.starts_with(' ')) {
        continue;
      }
      begin_part(Place::kSection, std::string(tag), span);
      append(trim(rest));
      return true;
    }
    return false;
  }

  void append_member(std::string_view text) {
    if (dialect_ == Dialect::k2011 && text.starts_with("#optional")) {
      part_.optional = true;
      text = trim(text.substr(std::string_view("#optional").size()));
    }
    append(text);
  }

  void begin_part(Place place, std::string name, const Span& span) {
    finish_part();
    place_ = place;
    part_ = {std::move(name), span, {}, false};
  }

  void finish_part() {
    std::string text = take_text();
    switch (place_) {
      case Place::kBody:
        doc_.body = std::move(text);
        break;
      case Place::kMember:
        keep(doc_.members, std::move(text));
        break;
      case Place::kFeature:
        if (!part_.name.empty()) keep(doc_.features, std::move(text));
        break;
      case Place::kSection:
        if (part_.name.empty() && text.empty()) break;
        part_.text = std::move(text);
        doc_.sections.push_back(std::move(part_));
        break;
    }
    part_ = {};
  }

  void keep(std::vector<DocPart>& parts, std::string text) {
    if (find(parts, part_.name)) {
      diagnostics_.error(part_.span, fmt::format("'{}' is documented twice", part_.name));
      return;
    }
    part_.text = std::move(text);
    parts.push_back(std::move(part_));
  }

  void append(std::string_view line) { lines_.emplace_back(line); }

  // The lines since the last call: outer blank lines off, the common indent off. Where the first
  // stood behind a name or a tag it has no indent to go by.
  std::string take_text() {
    while (!lines_.empty() && trim(lines_.back()).empty()) lines_.pop_back();
    size_t begin = 0;
    while (begin < lines_.size() && trim(lines_[begin]).empty()) ++begin;
    const bool plain = doc_.symbol.empty() || (place_ == Place::kSection && part_.name.empty());
    size_t indent = std::string::npos;
    for (size_t i = begin + (begin == 0 && !plain ? 1 : 0); i < lines_.size(); ++i) {
      if (!trim(lines_[i]).empty()) indent = std::min(indent, lines_[i].find_first_not_of(" \t"));
    }
    std::string out;
    for (size_t i = begin; i < lines_.size(); ++i) {
      std::string_view line = lines_[i];
      const size_t own = std::min(line.find_first_not_of(" \t"), line.size());
      line.remove_prefix(std::min(i == 0 && !plain ? own : indent, own));
      if (i > begin) out += '\n';
      out += line.substr(0, line.find_last_not_of(" \t\r") + 1);
    }
    lines_.clear();
    return out;
  }

  const Dialect dialect_;
  Diagnostics& diagnostics_;
  Doc doc_;
  Place place_ = Place::kBody;
  bool first_line_ = true;
  bool in_features_ = false;
  DocPart part_;
  std::vector<std::string> lines_;
};

}  // namespace

const DocPart* Doc::member(std::string_view name) const { return find(members, name); }
const DocPart* Doc::feature(std::string_view name) const { return find(features, name); }
const DocPart* Doc::section(std::string_view tag) const { return find(sections, tag); }

Doc parse_doc(const std::vector<Token>& lines, const Span& span, Dialect dialect,
              Diagnostics& diagnostics) {
  return DocParser(span, dialect, diagnostics).run(lines);
}

}  // namespace firn::qapi
