#include <fmt/format.h>

#include <set>

#include "qapi/cpp_model.h"
#include "qapi/emit.h"
#include "qapi/names.h"

namespace firn::qapi {

namespace {

class TypesEmitter {
 public:
  explicit TypesEmitter(const Schema& schema) : schema_(schema), cpp_(schema) {}

  std::string header() const {
    std::string out =
        file_head(schema_,
                  {"<cstddef>", "<cstdint>", "<optional>", "<span>", "<string>", "<string_view>",
                   "<variant>", "<vector>", "", "\"api/any_value.h\"", "\"api/boxed.h\""},
                  true);
    for (const Type* type : cpp_.types()) {
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
    for (const Type* type : cpp_.types()) {
      if (type->kind != TypeKind::kEnum) out += fmt::format("struct {};\n", cpp_.name(*type));
    }
    out += "\n";
    for (const Type* type : cpp_.definition_order()) {
      out += type->kind == TypeKind::kAlternate ? alternate(*type) : object(*type);
    }
    return out + file_tail();
  }

  std::string source() const {
    std::string out = file_head(schema_, {"\"api/types.h\""}, false);
    for (const Type* type : cpp_.types()) {
      if (type->kind != TypeKind::kEnum) continue;
      std::string names;
      for (const EnumValue& value : type->values)
        names += fmt::format("\n      \"{}\",", value.name);
      if (type->values.empty()) {
        out += fmt::format("std::span<const std::string_view> enum_names({}) {{ return {{}}; }}\n",
                           cpp_.name(*type));
      } else {
        out += fmt::format(
            "std::span<const std::string_view> enum_names({}) {{\n"
            "  static constexpr std::string_view kNames[] = {{{}\n  }};\n"
            "  return kNames;\n}}\n",
            cpp_.name(*type), names);
      }
      out += fmt::format(
          "std::string_view to_string({0} value) {{\n"
          "  const auto names = enum_names(value);\n"
          "  const auto index = static_cast<size_t>(value);\n"
          "  return index < names.size() ? names[index] : std::string_view();\n}}\n\n",
          cpp_.name(*type));
    }
    return out + file_tail();
  }

 private:
  std::string enumeration(const Type& type) const {
    std::string out = type.doc ? comment(type.doc->body, 0) : "";
    out += fmt::format("enum class {} : uint16_t {{\n", cpp_.name(type));
    for (const EnumValue& value : type.values) {
      const DocPart* doc = type.doc ? type.doc->member(value.name) : nullptr;
      if (doc) out += comment(doc->text, 2);
      out += fmt::format("  {},\n", cpp_.enumerator(type, value.name));
    }
    out += "};\n";
    out += fmt::format("std::string_view to_string({} value);\n", cpp_.name(type));
    out += fmt::format("std::span<const std::string_view> enum_names({});\n\n", cpp_.name(type));
    return out;
  }

  std::string object(const Type& type) const {
    std::string out = type.doc && !type.implicit ? comment(type.doc->body, 0) : "";
    out += fmt::format("struct {} {{\n", cpp_.name(type));
    for (const Member& member : type.members) {
      out += comment(member.doc, 2);
      std::string cpp = cpp_.type(*member.type);
      if (cpp_.needs_box(type, *member.type)) cpp = "Boxed<" + cpp + ">";
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
        std::string cpp = cpp_.name(*variant.type);
        if (cpp_.needs_box(type, *variant.type)) cpp = "Boxed<" + cpp + ">";
        branches += ",\n               " + cpp;
      }
      out +=
          fmt::format("  // What `{}` selects; monostate where that has no members of its own.\n",
                      cpp_member(type.tag->name));
      out += fmt::format("  std::variant<std::monostate{}>\n      u;\n", branches);
    }
    return out + "};\n\n";
  }

  std::string alternate(const Type& type) const {
    std::string out = type.doc ? comment(type.doc->body, 0) : "";
    out += fmt::format("struct {} {{\n", cpp_.name(type));
    std::string branches;
    std::string accessors;
    for (const Member& branch : type.own_members) {
      const bool boxed = branch.type->kind == TypeKind::kObject;
      const std::string content = cpp_.type(*branch.type);
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

  const Schema& schema_;
  const CppModel cpp_;
};

class TypesBackend final : public Backend {
 public:
  std::string_view name() const override { return "types"; }
  std::string_view summary() const override { return "C++ types: types.h, types.cc"; }

  void emit(const Schema& schema, Output& output) const override {
    const TypesEmitter emitter(schema);
    output.add("types.h", emitter.header());
    output.add("types.cc", emitter.source());
  }
};

}  // namespace

const Backend* types_backend() {
  static const TypesBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
