#include "qapi/emit.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "qapi/names.h"

namespace firn::qapi {

namespace {

// The types that stand inside a value of `type`, not behind a box or a vector.
std::vector<const Type*> held_by_value(const Type& type) {
  std::vector<const Type*> out;
  const auto add = [&](const Type* held) {
    if (held && (held->kind == TypeKind::kObject || held->kind == TypeKind::kAlternate)) {
      out.push_back(held);
    }
  };
  if (type.kind == TypeKind::kObject) {
    for (const Member& member : type.members) add(member.type);
    for (const Variant& variant : type.variants) add(variant.type);
  }
  return out;  // an alternate keeps its objects in boxes
}

bool reaches(const Type* from, const Type* to, std::set<const Type*>& seen) {
  if (from == to) return true;
  if (!seen.insert(from).second) return false;
  for (const Type* held : held_by_value(*from)) {
    if (reaches(held, to, seen)) return true;
  }
  return false;
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
    out += fmt::format("{:{}}// {}\n", "", indent, paragraph.substr(0, length));
    paragraph.remove_prefix(std::min(length + 1, paragraph.size()));
  }
}

}  // namespace

bool needs_box(const Type& owner, const Type& member_type) {
  if (member_type.kind != TypeKind::kObject && member_type.kind != TypeKind::kAlternate)
    return false;
  std::set<const Type*> seen;
  return reaches(&member_type, &owner, seen);
}

namespace {

bool holds_secret(const Type& type, std::set<const Type*>& seen) {
  if (!seen.insert(&type).second) return false;
  if (type.element) return holds_secret(*type.element, seen);
  const auto in_member = [&](const Member& member) {
    return member.secret || holds_secret(*member.type, seen);
  };
  const auto in_variant = [&](const Variant& variant) {
    return variant.type && holds_secret(*variant.type, seen);
  };
  const auto& members = type.kind == TypeKind::kAlternate ? type.own_members : type.members;
  return std::ranges::any_of(members, in_member) || std::ranges::any_of(type.variants, in_variant);
}

}  // namespace

bool holds_secret(const Type& type) {
  std::set<const Type*> seen;
  return holds_secret(type, seen);
}

std::string cpp_type(const Type& type) {
  static const std::map<std::string_view, std::string_view> kBuiltins = {
      {"str", "std::string"}, {"number", "double"},   {"int", "int64_t"},
      {"int8", "int8_t"},     {"int16", "int16_t"},   {"int32", "int32_t"},
      {"int64", "int64_t"},   {"uint8", "uint8_t"},   {"uint16", "uint16_t"},
      {"uint32", "uint32_t"}, {"uint64", "uint64_t"}, {"size", "uint64_t"},
      {"bool", "bool"},       {"any", "AnyValue"},    {"null", "std::nullptr_t"},
  };
  switch (type.kind) {
    case TypeKind::kBuiltin:
      return std::string(kBuiltins.at(type.name));
    case TypeKind::kArray:
      return "std::vector<" + cpp_type(*type.element) + ">";
    default:
      return type.name;
  }
}

const std::string& module_of(const SourceFile* file) {
  static const std::string kNone;
  return file ? file->module : kNone;
}

std::vector<const Type*> named_types(const Schema& schema, const SourceFile* only_file) {
  std::vector<const Type*> out;
  for (const auto& type : schema.types) {
    if (type->kind == TypeKind::kBuiltin || type->kind == TypeKind::kArray) continue;
    if (!only_file || type->file == only_file) out.push_back(type.get());
  }
  return out;
}

std::string comment(std::string_view text, size_t indent) {
  std::string out;
  std::string paragraph;
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
  std::string from = schema.files.empty() ? "" : schema.files.front()->module;
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
