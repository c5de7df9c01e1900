// The markup within a paragraph: docutils' "reStructuredText Markup Specification", section "Inline
// Markup", and QAPI's @name.
#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "qapi/doc_text.h"

namespace firn::qapi {

namespace {

bool is_word(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t'; }

// Roles whose text is what a user types or sees.
bool is_literal_role(std::string_view role) {
  static constexpr std::array<std::string_view, 8> kRoles = {
      "code", "command", "file", "kbd", "literal", "option", "program", "samp"};
  return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

// Roles that name a definition: `:qapi:cmd:`, `:event:`, ...
bool is_definition_role(std::string_view role) {
  static constexpr std::array<std::string_view, 10> kRoles = {
      "alt", "any", "cmd", "command", "enum", "event", "mod", "obj", "struct", "type"};
  if (role.starts_with("qapi:")) return true;
  return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

class InlineParser {
 public:
  explicit InlineParser(std::string_view text) : text_(text) {}

  Inlines run() {
    while (at_ < text_.size()) {
      if (!take_markup()) plain_ += text_[at_++];
    }
    flush();
    trim_ends();
    return std::move(out_);
  }

 private:
  char peek(size_t offset = 0) const {
    return at_ + offset < text_.size() ? text_[at_ + offset] : '\0';
  }

  // Markup opens behind a blank or an opening mark, and closes before a blank or a closing one.
  bool can_open() const {
    if (at_ == 0) return true;
    const char before = text_[at_ - 1];
    return is_blank(before) || std::string_view("'\"([{<-/:,").contains(before);
  }
  bool can_close(size_t end) const { return end >= text_.size() || !is_word(text_[end]); }

  bool take_markup() {
    switch (peek()) {
      case '\\':
        return take_escape();
      case '`':
        return can_open() && (peek(1) == '`' ? take_literal() : take_backquoted(""));
      case '*':
        return can_open() && take_stars();
      case ':':
        return can_open() && take_role();
      case '@':
        return take_member();
      case 'h':
        return can_open() && take_url();
      default:
        return false;
    }
  }

  bool take_escape() {
    if (!std::string_view("*`\\|_@").contains(peek(1)) || peek(1) == '\0') return false;
    plain_ += peek(1);
    at_ += 2;
    return true;
  }

  bool take_literal() {
    const size_t end = text_.find("``", at_ + 2);
    if (end == std::string_view::npos || end == at_ + 2 || is_blank(text_[at_ + 2])) return false;
    std::string literal(text_.substr(at_ + 2, end - at_ - 2));
    std::replace(literal.begin(), literal.end(), '\n', ' ');
    add(InlineKind::kLiteral, std::move(literal));
    at_ = end + 2;
    return true;
  }

  // *emphasis* and **strong**. A star before a blank, or one that nothing closes, is a star.
  bool take_stars() {
    const size_t stars = peek(1) == '*' ? 2 : 1;
    const std::string_view mark = text_.substr(at_, stars);
    const size_t begin = at_ + stars;
    if (begin >= text_.size() || is_blank(text_[begin]) || text_[begin] == '*') return false;
    size_t end = text_.find(mark, begin + 1);
    while (end != std::string_view::npos && (is_blank(text_[end - 1]) || !can_close(end + stars))) {
      end = text_.find(mark, end + 1);
    }
    if (end == std::string_view::npos) return false;
    add(stars == 2 ? InlineKind::kStrong : InlineKind::kEmphasis,
        std::string(text_.substr(begin, end - begin)));
    at_ = end + stars;
    return true;
  }

  // :role:`text`
  bool take_role() {
    size_t end = at_ + 1;
    while (end < text_.size() &&
           (is_word(text_[end]) || std::string_view(":-+.").contains(text_[end]))) {
      ++end;
    }
    if (end >= text_.size() || text_[end] != '`' || text_[end - 1] != ':' || end < at_ + 3) {
      return false;
    }
    const size_t start = at_;
    const std::string_view role = text_.substr(at_ + 1, end - at_ - 2);
    at_ = end;
    if (take_backquoted(role)) return true;
    at_ = start;
    return false;
  }

  // `text`, `text <target>` and, with a '_' behind it, a link; `role` is empty without one.
  bool take_backquoted(std::string_view role) {
    const size_t begin = at_ + 1;
    if (begin >= text_.size() || is_blank(text_[begin])) return false;
    const size_t end = text_.find('`', begin);
    if (end == std::string_view::npos || end == begin || is_blank(text_[end - 1])) return false;
    std::string_view text = text_.substr(begin, end - begin);
    std::string_view target;
    if (const size_t open = text.rfind('<');
        open != std::string_view::npos && text.ends_with('>')) {
      target = text.substr(open + 1, text.size() - open - 2);
      text = text.substr(0, open);
      while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
      if (text.empty()) text = target;
    }
    at_ = end + 1;
    const bool link = peek() == '_';
    while (peek() == '_') ++at_;
    if (link && role.empty()) {
      add(target.empty() ? InlineKind::kText : InlineKind::kLink, std::string(text), target);
    } else if (is_literal_role(role)) {
      add(InlineKind::kLiteral, std::string(text));
    } else if (role.empty() || is_definition_role(role)) {
      if (target.empty()) target = text;
      while (target.starts_with('~') || target.starts_with('!')) target.remove_prefix(1);
      if (text.starts_with('~') || text.starts_with('!')) text.remove_prefix(1);
      add(InlineKind::kReference, std::string(text), target);
    } else {
      plain_ += text;
    }
    return true;
  }

  bool take_member() {
    if (at_ > 0 && (is_word(text_[at_ - 1]) || text_[at_ - 1] == '@')) return false;
    size_t end = at_ + 1;
    // Names of downstream definitions have a domain in front: __com.example_name.
    const bool downstream = text_.substr(end).starts_with("__");
    while (end < text_.size() && (is_word(text_[end]) || text_[end] == '-' ||
                                  (downstream && text_[end] == '.' && end + 1 < text_.size() &&
                                   is_word(text_[end + 1])))) {
      ++end;
    }
    while (end > at_ + 1 && text_[end - 1] == '-') --end;
    if (end == at_ + 1) return false;
    add(InlineKind::kMember, std::string(text_.substr(at_ + 1, end - at_ - 1)));
    at_ = end;
    return true;
  }

  bool take_url() {
    const std::string_view rest = text_.substr(at_);
    if (!rest.starts_with("http://") && !rest.starts_with("https://")) return false;
    size_t end = rest.find_first_of(" \n\t<>\"`");
    if (end == std::string_view::npos) end = rest.size();
    while (std::string_view(".,;:!?)'*").contains(rest[end - 1])) --end;
    if (end < std::string_view("http://x").size()) return false;
    add(InlineKind::kLink, std::string(rest.substr(0, end)), rest.substr(0, end));
    at_ += end;
    return true;
  }

  static std::string collapse(std::string_view text) {
    std::string out;
    for (char c : text) {
      if (!is_blank(c)) {
        out += c;
      } else if (out.empty() || out.back() != ' ') {
        out += ' ';
      }
    }
    return out;
  }

  void flush() {
    if (!plain_.empty()) out_.push_back({InlineKind::kText, collapse(plain_), {}});
    plain_.clear();
  }

  void add(InlineKind kind, std::string text, std::string_view target = {}) {
    if (kind == InlineKind::kText) {
      plain_ += text;
      return;
    }
    flush();
    if (kind != InlineKind::kLiteral) text = collapse(text);
    out_.push_back({kind, std::move(text), std::string(target)});
  }

  void trim_ends() {
    if (!out_.empty() && out_.front().kind == InlineKind::kText &&
        out_.front().text.starts_with(' ')) {
      out_.front().text.erase(0, 1);
    }
    if (!out_.empty() && out_.back().kind == InlineKind::kText && out_.back().text.ends_with(' ')) {
      out_.back().text.pop_back();
    }
    std::erase_if(out_, [](const Inline& i) { return i.text.empty(); });
  }

  const std::string_view text_;
  size_t at_ = 0;
  std::string plain_;
  Inlines out_;
};

}  // namespace

Inlines parse_inlines(std::string_view text) { return InlineParser(text).run(); }

std::string to_plain_text(const Inlines& inlines) {
  std::string out;
  for (const Inline& span : inlines) {
    out += span.text;
    if (span.kind == InlineKind::kLink && span.text != span.target) out += " <" + span.target + ">";
  }
  return out;
}

}  // namespace firn::qapi
