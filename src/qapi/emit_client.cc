#include "qapi/emit_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "qapi/doc_text.h"

namespace firn::qapi {

namespace {

void add_leaves(const Type& type, const UnionLeaf& before, std::vector<UnionLeaf>& out) {
  for (const Variant& variant : type.variants) {
    UnionLeaf leaf = before;
    leaf.path.push_back(&variant);
    leaf.suffix += (leaf.suffix.empty() ? "" : "_") + client_name(variant.name, "");
    if (variant.type && variant.type->is_union()) {
      add_leaves(*variant.type, leaf, out);
    } else {
      out.push_back(std::move(leaf));
    }
  }
}

// Implicit types that the bindings take apart: they have no definition of their own.
std::set<const Type*> taken_apart(const Schema& schema) {
  std::set<const Type*> out;
  const auto add = [&](const Type* type) {
    if (type && type->implicit) out.insert(type);
  };
  for (const auto& command : schema.commands) add(command->arguments);
  for (const auto& event : schema.events) add(event->data);
  for (const auto& type : schema.types) {
    if (type->is_union()) add(type->base);
  }
  return out;
}

void place(const Type* type, const std::set<const Type*>& without, std::set<const Type*>& done,
           std::vector<const Type*>& out) {
  if (!type || without.contains(type) || !done.insert(type).second) return;
  place(type->base, without, done, out);
  for (const Variant& variant : type->variants) place(variant.type, without, done, out);
  out.push_back(type);
}

std::string parts(std::string_view title, const std::vector<DocPart>& list, size_t width,
                  bool markdown) {
  std::string out;
  for (const DocPart& part : list) {
    std::string text = to_plain_text(parse_doc_text(part.text), width - 8);
    if (markdown) {
      out += markdown_item(part.name, text);
      continue;
    }
    out += fmt::format("    {}{}\n", part.name, text.empty() ? "" : ":");
    out += indented(text, 8);
  }
  return out.empty() ? out : fmt::format("{}:\n{}", title, out);
}

void add_block(std::string& out, std::string_view block) {
  while (block.ends_with('\n')) block.remove_suffix(1);
  if (block.empty()) return;
  if (!out.empty()) out += "\n\n";
  out += block;
}

std::string section(const DocPart& part, size_t width, bool markdown) {
  if (part.name.empty()) return to_plain_text(parse_doc_section(part), width);
  const std::string text = to_plain_text(parse_doc_section(part), width - 4);
  if (part.name == "Since") return fmt::format("Since: {}", text);
  if (markdown) return fmt::format("{}:\n\n{}", part.name, text);
  return fmt::format("{}:\n{}", part.name, indented(text, 4));
}

}  // namespace

std::string client_package(const Schema& schema) {
  std::string name = schema.name;
  if (name.empty() && !schema.files.empty()) name = schema.files.front()->module;
  std::string out;
  for (unsigned char c : name) {
    if (c < 0x80 && std::isalnum(c)) {
      out += static_cast<char>(std::tolower(c));
    } else if (!out.empty() && out.back() != '_') {
      out += '_';
    }
  }
  if (out.empty()) out = "schema";
  if (out.front() >= '0' && out.front() <= '9') out.insert(0, "schema_");
  return out + (out.back() == '_' ? "client" : "_client");
}

std::string client_name(std::string_view name, std::string_view digit_prefix) {
  while (name.starts_with('_')) name.remove_prefix(1);
  std::string out;
  if (!name.empty() && name.front() >= '0' && name.front() <= '9') out = digit_prefix;
  for (char c : name) out += c == '-' || c == '.' ? '_' : c;
  return out;
}

std::vector<UnionLeaf> union_leaves(const Type& type) {
  std::vector<UnionLeaf> out;
  add_leaves(type, {}, out);
  return out;
}

std::vector<const Type*> client_types(const Schema& schema) {
  const std::set<const Type*> without = taken_apart(schema);
  std::set<const Type*> done;
  std::vector<const Type*> out;
  for (const auto& type : schema.types) {
    if (type->kind == TypeKind::kBuiltin || type->kind == TypeKind::kArray) continue;
    place(type.get(), without, done, out);
  }
  return out;
}

bool has_feature(const Features& features, std::string_view name) {
  return std::ranges::find(features, name, &Feature::name) != features.end();
}

std::string client_doc(const ClientDoc& doc, size_t width) {
  std::string out;
  if (doc.doc) add_block(out, to_plain_text(parse_doc_text(doc.doc->body), width));
  add_block(out, doc.members);
  if (doc.doc) {
    add_block(out, parts("Features", doc.doc->features, width, doc.markdown));
    for (const DocPart& part : doc.doc->sections) {
      if (part.name !=
          "TO"
          "DO")
        add_block(out, section(part, width, doc.markdown));
    }
  }
  if (!doc.role.empty()) add_block(out, fmt::format("Needs the role {}.", doc.role));
  return out;
}

std::string client_member_doc(const Member& member, size_t width) {
  std::string marks;
  for (const Feature& feature : member.features) {
    marks += fmt::format("{}{}", marks.empty() ? "" : ", ", feature.name);
  }
  std::string text = member.doc;
  if (!marks.empty()) text = fmt::format("({}) {}", marks, text);
  return to_plain_text(parse_doc_text(text), width);
}

std::string client_value_doc(const Type& enumeration, const EnumValue& value, size_t width) {
  const DocPart* part = enumeration.doc ? enumeration.doc->member(value.name) : nullptr;
  return part ? to_plain_text(parse_doc_text(part->text), width) : std::string();
}

std::string markdown_item(std::string_view name, std::string_view text) {
  if (text.empty()) return fmt::format("- {}\n", name);
  std::string lines = indented(text, 2);
  return fmt::format("- {}: {}", name, std::string_view(lines).substr(2));
}

std::string indented(std::string_view text, size_t indent) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (!line.empty()) out.append(indent, ' ');
    out += line;
    out += '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace firn::qapi
