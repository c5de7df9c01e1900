#include <fmt/format.h>

#include <set>

#include "qapi/emit.h"
#include "qapi/names.h"

namespace firn::qapi {

namespace {

class TypesBackend final : public Backend {
 public:
  std::string_view name() const override { return "types"; }
  std::string_view summary() const override { return "C++ types: types.h, types.cc"; }

  void emit(const Schema& schema, Output& output) const override {
    output.add("types.h", header(schema));
    output.add("types.cc", source(schema));
  }

 private:
  static std::string header(const Schema& schema) {
    std::string out =
        file_head(schema,
                  {"<cstddef>", "<cstdint>", "<optional>", "<span>", "<string>", "<string_view>",
                   "<variant>", "<vector>", "", "\"api/any_value.h\"", "\"api/boxed.h\""},
                  true);
    for (const Type* type : named_types(schema)) {
      if (type->kind == TypeKind::kEnum) out += enumeration(*type);
    }
    out +=
        "// The value of an enumeration by its name in the schema, if there is one.\n"
        "template <typename Enum>\n"
        "std::optional<Enum> parse_enum(std::string_view name) {\n"
        "  const std::span<const std::string_view> names = enum_names(Enum{});\n"
        "  for (size_t i = 0; i < names.size(); ++i) {\n"
        "    if (names[i] == name) return static_cast<Enum>(i);\n"
        "  }\n"
        "  return std::nullopt;\n"
        "}\n\n";
    for (const Type* type : named_types(schema)) {
      if (type->kind != TypeKind::kEnum) out += fmt::format("struct {};\n", type->name);
    }
    out += "\n";
    std::set<const Type*> done;
    for (const Type* type : named_types(schema)) define(*type, done, out);
    return out + file_tail();
  }

  static std::string source(const Schema& schema) {
    std::string out = file_head(schema, {"\"api/types.h\""}, false);
    for (const Type* type : named_types(schema)) {
      if (type->kind != TypeKind::kEnum) continue;
      std::string names;
      for (const EnumValue& value : type->values)
        names += fmt::format("\n      \"{}\",", value.name);
      if (type->values.empty()) {
        out += fmt::format("std::span<const std::string_view> enum_names({}) {{ return {{}}; }}\n",
                           type->name);
      } else {
        out += fmt::format(
            "std::span<const std::string_view> enum_names({}) {{\n"
            "  static constexpr std::string_view kNames[] = {{{}\n  }};\n"
            "  return kNames;\n}}\n",
            type->name, names);
      }
      out += fmt::format(
          "std::string_view to_string({0} value) {{\n"
          "  const auto names = enum_names(value);\n"
          "  const auto index = static_cast<size_t>(value);\n"
          "  return index < names.size() ? names[index] : std::string_view();\n}}\n\n",
          type->name);
    }
    return out + file_tail();
  }

  static std::string enumeration(const Type& type) {
    std::string out = type.doc ? comment(type.doc->body, 0) : "";
    out += fmt::format("enum class {} : uint16_t {{\n", type.name);
    for (const EnumValue& value : type.values) {
      const DocPart* doc = type.doc ? type.doc->member(value.name) : nullptr;
      if (doc) out += comment(doc->text, 2);
      out += fmt::format("  {},\n", cpp_enumerator(value.name));
    }
    out += "};\n";
    out += fmt::format("std::string_view to_string({} value);\n", type.name);
    out += fmt::format("std::span<const std::string_view> enum_names({});\n\n", type.name);
    return out;
  }

  // What a type holds by value comes before it.
  static void define(const Type& type, std::set<const Type*>& done, std::string& out) {
    if (type.kind == TypeKind::kEnum || type.kind == TypeKind::kBuiltin) return;
    if (type.kind == TypeKind::kArray) return;
    if (!done.insert(&type).second) return;
    if (type.kind == TypeKind::kAlternate) {
      out += alternate(type);
      return;
    }
    for (const Member& member : type.members) {
      if (!needs_box(type, *member.type)) define(*member.type, done, out);
    }
    for (const Variant& variant : type.variants) {
      if (variant.type && !needs_box(type, *variant.type)) define(*variant.type, done, out);
    }
    out += object(type);
  }

  static std::string object(const Type& type) {
    std::string out = type.doc && !type.implicit ? comment(type.doc->body, 0) : "";
    out += fmt::format("struct {} {{\n", type.name);
    for (const Member& member : type.members) {
      out += comment(member.doc, 2);
      std::string cpp = cpp_type(*member.type);
      if (needs_box(type, *member.type)) cpp = "Boxed<" + cpp + ">";
      const bool scalar = member.type->kind == TypeKind::kEnum ||
                          (member.type->kind == TypeKind::kBuiltin && member.type->name != "str" &&
                           member.type->name != "any");
      if (member.optional) {
        out += fmt::format("  std::optional<{}> {};\n", cpp, cpp_member(member.name));
      } else {
        out += fmt::format("  {} {}{};\n", cpp, cpp_member(member.name), scalar ? "{}" : "");
      }
    }
    if (type.is_union()) {
      std::string branches;
      std::set<const Type*> seen;
      for (const Variant& variant : type.variants) {
        if (!variant.type || !seen.insert(variant.type).second) continue;
        std::string cpp = variant.type->name;
        if (needs_box(type, *variant.type)) cpp = "Boxed<" + cpp + ">";
        branches += ",\n               " + cpp;
      }
      out +=
          fmt::format("  // What `{}` selects; monostate where that has no members of its own.\n",
                      cpp_member(type.tag->name));
      out += fmt::format("  std::variant<std::monostate{}>\n      u;\n", branches);
    }
    return out + "};\n\n";
  }

  static std::string alternate(const Type& type) {
    std::string out = type.doc ? comment(type.doc->body, 0) : "";
    out += fmt::format("struct {} {{\n", type.name);
    std::string branches;
    std::string accessors;
    for (const Member& branch : type.own_members) {
      const bool boxed = branch.type->kind == TypeKind::kObject;
      const std::string content = cpp_type(*branch.type);
      const std::string stored = boxed ? "Boxed<" + content + ">" : content;
      branches += (branches.empty() ? "" : ", ") + stored;
      accessors += fmt::format("  const {}* {}() const {{\n", content, cpp_member(branch.name));
      if (boxed) {
        accessors += fmt::format(
            "    const auto* box = std::get_if<{}>(&u);\n    return box ? &**box : nullptr;\n  "
            "}}\n",
            stored);
      } else {
        accessors += fmt::format("    return std::get_if<{}>(&u);\n  }}\n", stored);
      }
    }
    out += fmt::format("  std::variant<{}> u;\n\n", branches);
    out += "  // Each is null unless the value is of its kind.\n";
    return out + accessors + "};\n\n";
  }
};

}  // namespace

const Backend* types_backend() {
  static const TypesBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
