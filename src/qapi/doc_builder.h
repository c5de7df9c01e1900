// Puts a Doc together from lines, for the two readers of documentation: doc.cc and doc_2011.cc.
#pragma once

#include <string_view>
#include <vector>

#include "qapi/doc.h"

namespace firn::qapi {

class DocBuilder {
 public:
  enum class Place : uint8_t { kBody, kMember, kFeature, kSection };

  Doc& doc() { return doc_; }
  Place place() const { return place_; }
  const DocPart& part() const { return part_; }
  // The part at hand is running text: the body, or a section without a tag.
  bool plain() const {
    return place_ == Place::kBody || (place_ == Place::kSection && part_.name.empty());
  }
  const std::vector<std::string_view>& lines() const { return lines_; }

  // Closes the part at hand and starts another one.
  void begin(Place place, std::string_view name, const Span& span);
  // In a tagged part, the first line is what stands behind the tag.
  void append(std::string_view line) { lines_.push_back(line); }
  void mark_optional() { part_.optional = true; }
  // Closes the last part. Tagged parts without text are in `empty_parts`.
  ParsedDoc finish();

 private:
  void close();
  std::string take_text();

  Doc doc_;
  Place place_ = Place::kBody;
  DocPart part_;
  std::vector<std::string_view> lines_;
  std::vector<std::pair<Span, std::string>> empty_parts_;
};

// "@name: rest" at the front of a line.
struct AtName {
  bool found = false;
  std::string_view name;
  std::string_view rest;
};
AtName match_at_name(std::string_view line);

std::string_view trim(std::string_view text);

// Where `piece`, a part of the token's text, stands in the file.
Span span_of(const Token& token, std::string_view piece);

// Reads a block in the dialect of 2011.
ParsedDoc parse_doc_2011(const DocLines& lines);

}  // namespace firn::qapi
