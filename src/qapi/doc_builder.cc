#include "qapi/doc_builder.h"

#include <algorithm>

namespace firn::qapi {

std::string_view trim(std::string_view text) {
  text = trim_end(text);
  while (const size_t space = space_length(text)) text.remove_prefix(space);
  return text;
}

AtName match_at_name(std::string_view line) {
  if (!line.starts_with('@')) return {};
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return {};
  std::string_view rest = line.substr(colon + 1);
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  return {true, line.substr(1, colon - 1), rest};
}

Span span_of(const Token& token, std::string_view piece) {
  const auto offset = static_cast<uint32_t>(piece.data() - token.text.data());
  const uint32_t begin = token.span.begin + offset;
  return {token.span.file, begin, begin + static_cast<uint32_t>(piece.size())};
}

void DocBuilder::begin(Place place, std::string_view name, const Span& span) {
  close();
  place_ = place;
  part_ = {std::string(name), span, {}, false};
}

ParsedDoc DocBuilder::finish() {
  close();
  return {std::move(doc_), false, std::move(empty_parts_)};
}

void DocBuilder::close() {
  const bool tagged = !plain();
  std::string text = take_text();
  if (place_ == Place::kBody) {
    doc_.body = std::move(text);
  } else {
    if (text.empty()) {
      if (tagged) empty_parts_.emplace_back(part_.span, part_.name);
      if (!tagged) return;
    }
    part_.text = std::move(text);
    auto& parts = place_ == Place::kMember    ? doc_.members
                  : place_ == Place::kFeature ? doc_.features
                                              : doc_.sections;
    parts.push_back(std::move(part_));
  }
  part_ = {};
}

// The lines since the last call: outer blank lines off, the common indent off. A line behind a tag
// has no indent to go by.
std::string DocBuilder::take_text() {
  const bool first_is_bare = !plain();
  while (!lines_.empty() && trim(lines_.back()).empty()) lines_.pop_back();
  size_t begin = 0;
  while (begin < lines_.size() && trim(lines_[begin]).empty()) ++begin;
  size_t indent = std::string::npos;
  size_t length = 0;
  for (size_t i = begin; i < lines_.size(); ++i) {
    length += lines_[i].size() + 1;
    if (i == 0 && first_is_bare) continue;
    indent = std::min(indent, lines_[i].find_first_not_of(" \t"));
  }
  std::string out;
  out.reserve(length);
  for (size_t i = begin; i < lines_.size(); ++i) {
    std::string_view line = lines_[i];
    const size_t own = std::min(line.find_first_not_of(" \t"), line.size());
    line.remove_prefix(i == 0 && first_is_bare ? own : std::min(indent, own));
    if (i > begin) out += '\n';
    out += trim_end(line);
  }
  lines_.clear();
  return out;
}

}  // namespace firn::qapi
