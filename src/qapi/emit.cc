#include "qapi/emit.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "qapi/names.h"

namespace firn::qapi {

namespace {

// Blanks in place of control characters, but for line feeds.
std::string without_controls(std::string_view text) {
  std::string out(text);
  std::ranges::replace_if(out, [](char c) { return c >= 0 && c < ' ' && c != '\n'; }, ' ');
  return out;
}

// One paragraph as comment lines of at most 100 columns.
void append_wrapped(std::string& out, std::string_view paragraph, size_t indent) {
  const size_t width = 100 - indent - 3;
  while (!paragraph.empty()) {
    size_t length = paragraph.size();
    if (length > width) {
      const size_t blank = paragraph.rfind(' ', width);
      if (blank != std::string_view::npos && blank > 0) length = blank;
    }
    const std::string_view line = paragraph.substr(0, length);
    // A backslash at the end would take the next line into the comment.
    out += fmt::format("{:{}}// {}{}\n", "", indent, line, line.ends_with('\\') ? "." : "");
    paragraph.remove_prefix(std::min(length + 1, paragraph.size()));
  }
}

}  // namespace

std::string comment(std::string_view text, size_t indent) {
  std::string out;
  std::string paragraph;
  // What would end a line for a compiler ends none here.
  const std::string clean = without_controls(text);
  text = clean;
  const auto flush = [&] {
    append_wrapped(out, paragraph, indent);
    paragraph.clear();
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const bool joins = !line.empty() && line.front() != ' ' && line.front() != '-';
    if (!joins) flush();
    if (line.empty()) {
      out += fmt::format("{:{}}//\n", "", indent);
    } else {
      paragraph += paragraph.empty() ? "" : " ";
      paragraph += line;
    }
  }
  flush();
  return out;
}

std::string feature_list(const Features& features) {
  std::string out;
  for (const Feature& feature : features) {
    out += fmt::format("{}\"{}\"", out.empty() ? "" : ", ", feature.name);
  }
  return out;
}

std::string file_head(const Schema& schema, const std::vector<std::string>& includes, bool header) {
  std::string from = schema.files.empty() ? "" : without_controls(schema.files.front()->module);
  std::ranges::replace(from, '\n', ' ');
  std::string out =
      fmt::format("// Made by qapic from {}.json. Changes belong into the schema.\n", from);
  out += header ? "#pragma once\n\n" : "\n";
  for (const std::string& include : includes) {
    out += include.empty() ? "\n" : fmt::format("#include {}\n", include);
  }
  return out + "\nnamespace firn::api {\n\n";
}

std::string file_tail() { return "}  // namespace firn::api\n"; }

}  // namespace firn::qapi
