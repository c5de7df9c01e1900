#include "cli/schema_docs.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <utility>

#include "base/text_width.h"

namespace firn::cli {

namespace json = boost::json;

// Made of schema/ at build time.
extern const std::string_view kDocs_firn_schema_json;

namespace {

// The deepest nesting of references that is followed.
constexpr size_t kMaxDepth = 12;

const json::object* object_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_object() ? &value->get_object() : nullptr;
}

std::string description_of(const json::object& node) {
  const json::value* text = node.if_contains("description");
  return text != nullptr && text->is_string() ? std::string(text->get_string()) : std::string();
}

class Search {
 public:
  explicit Search(const json::object& definitions) : definitions_(definitions) {}

  const json::object* definition(const std::string& name) const {
    return object_at(definitions_, name);
  }

  // The property `name` of what `node` describes, in whatever branch; one with words first.
  const json::object* property(const json::object& node, const std::string& name,
                               size_t depth) const {
    if (depth > kMaxDepth) return nullptr;
    if (const json::object* properties = object_at(node, "properties")) {
      if (const json::object* found = object_at(*properties, name)) return found;
    }
    if (const json::object* target = referred(node)) {
      if (const json::object* found = property(*target, name, depth + 1)) return found;
    }
    for (std::string_view key : {"then", "else", "items"}) {
      const json::object* inner = object_at(node, key);
      if (inner == nullptr) continue;
      if (const json::object* found = property(*inner, name, depth + 1)) return found;
    }
    for (std::string_view key : {"allOf", "anyOf", "oneOf"}) {
      const json::value* list = node.if_contains(key);
      if (list == nullptr || !list->is_array()) continue;
      for (const json::value& each : list->get_array()) {
        if (!each.is_object()) continue;
        if (const json::object* found = property(each.get_object(), name, depth + 1)) return found;
      }
    }
    return nullptr;
  }

 private:
  const json::object* referred(const json::object& node) const {
    constexpr std::string_view kPrefix = "#/$defs/";
    const json::value* reference = node.if_contains("$ref");
    if (reference == nullptr || !reference->is_string()) return nullptr;
    const std::string_view text = reference->get_string();
    return text.starts_with(kPrefix) ? object_at(definitions_, text.substr(kPrefix.size()))
                                     : nullptr;
  }

  const json::object& definitions_;
};

const json::object& definitions_of(const base::JsonValue& schema) {
  static const json::object kNone;
  const json::object* found =
      schema.is_object() ? object_at(schema.get_object(), "$defs") : nullptr;
  return found == nullptr ? kNone : *found;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

const SchemaDocs& SchemaDocs::own() {
  static const SchemaDocs kOwn(
      base::parse_json(kDocs_firn_schema_json).value_or(base::JsonValue()));
  return kOwn;
}

SchemaDocs::SchemaDocs(base::JsonValue json_schema)
    : schema_(std::make_unique<base::JsonValue>(std::move(json_schema))) {}

SchemaDocs::~SchemaDocs() = default;

std::string SchemaDocs::command(std::string_view name) const {
  const auto* found = Search(definitions_of(*schema_)).definition(fmt::format("command:{}", name));
  return found == nullptr ? std::string() : description_of(*found);
}

std::string SchemaDocs::event(std::string_view name) const {
  const auto* found = Search(definitions_of(*schema_)).definition(fmt::format("event:{}", name));
  return found == nullptr ? std::string() : description_of(*found);
}

std::string SchemaDocs::argument(std::string_view command, std::string_view path) const {
  return member(fmt::format("arguments:{}", command), path);
}

std::string SchemaDocs::event_member(std::string_view event, std::string_view path) const {
  return member(fmt::format("data:{}", event), path);
}

std::string SchemaDocs::member(const std::string& definition, std::string_view path) const {
  const Search search(definitions_of(*schema_));
  const json::object* node = search.definition(definition);
  while (node != nullptr && !path.empty()) {
    const std::string name(path.substr(0, path.find('.')));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    if (!is_number(name)) node = search.property(*node, name, 0);
  }
  return node == nullptr ? std::string() : description_of(*node);
}

std::string first_sentence(std::string_view text) {
  size_t end = text.find("\n\n");
  for (size_t at = 0; (at = text.find('.', at)) < std::min(end, text.size()); ++at) {
    if (at + 1 == text.size() || text[at + 1] == ' ' || text[at + 1] == '\n') {
      end = at;
      break;
    }
  }
  std::string sentence(text.substr(0, end));
  std::ranges::replace(sentence, '\n', ' ');
  return sentence;
}

std::string wrapped(std::string_view text, size_t indent, size_t width) {
  std::string out;
  size_t column = 0;
  size_t breaks = 0;
  while (!text.empty()) {
    if (text.front() == ' ' || text.front() == '\n') {
      breaks += text.front() == '\n' ? 1 : 0;
      text.remove_prefix(1);
      continue;
    }
    const std::string_view word = text.substr(0, text.find_first_of(" \n"));
    text.remove_prefix(word.size());
    const size_t word_width = base::text_width(word);
    const bool paragraph = breaks > 1 && !out.empty();
    breaks = 0;
    if (paragraph) out += "\n\n";
    if (column != 0 && !paragraph && column + 1 + word_width <= width) {
      out += ' ';
      ++column;
    } else {
      if (column != 0 && !paragraph) out += '\n';
      out.append(indent, ' ');
      column = indent;
    }
    out += word;
    column += word_width;
  }
  if (!out.empty()) out += '\n';
  return out;
}

}  // namespace firn::cli
