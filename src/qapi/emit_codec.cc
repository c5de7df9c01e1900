#include <fmt/format.h>

#include <set>

#include "qapi/cpp_model.h"
#include "qapi/emit.h"
#include "qapi/names.h"

namespace firn::qapi {

namespace {

bool is_size(const Type& type) {
  if (type.kind == TypeKind::kArray) return is_size(*type.element);
  return type.kind == TypeKind::kBuiltin && type.name == "size";
}

class CodecEmitter {
 public:
  explicit CodecEmitter(const Schema& schema) : schema_(schema), cpp_(schema) {}

  const CppModel& cpp() const { return cpp_; }

  std::string header() const {
    std::string out = file_head(
        schema_, {"<boost/json/fwd.hpp>", "", "\"api/decoder.h\"", "\"api/types.h\""}, true);
    out +=
        "// A caller decodes with decode_as<T>(value, mode) of api/decoder.h. To use encode(), "
        "include\n"
        "// api/encoder.h as well: it brings boost's headers.\n\n";
    for (const Type* type : cpp_.types()) {
      out += fmt::format("bool decode(Decoder& decoder, const JsonValue& value, {}& out);\n",
                         cpp_.name(*type));
      if (type->kind == TypeKind::kObject) {
        out +=
            fmt::format("bool decode_members(ObjectReader& reader, {}& out);\n", cpp_.name(*type));
        out += fmt::format("void encode_members(boost::json::object& out, const {}& value);\n",
                           cpp_.name(*type));
      }
      if (cpp_.holds_secret(*type)) {
        out += fmt::format("void hide_secrets({}& value);\n", cpp_.name(*type));
      }
      const bool by_value = type->kind == TypeKind::kEnum;
      out += fmt::format("JsonValue encode({}{}{} value);\n", by_value ? "" : "const ",
                         cpp_.name(*type), by_value ? "" : "&");
    }
    return out + "\n" + file_tail();
  }

  std::string source(const SourceFile* file) const {
    std::string out = file_head(schema_,
                                {"<utility>", "", "\"api/encoder.h\"", "\"api/secrets.h\"",
                                 "\"base/check.h\"", "\"api/codec.h\""},
                                false);
    for (const Type* type : cpp_.types()) {
      if (type->file != file) continue;
      if (cpp_.holds_secret(*type)) out += hide_secrets(*type);
      switch (type->kind) {
        case TypeKind::kEnum:
          out += enumeration(*type);
          break;
        case TypeKind::kObject:
          out += object(*type);
          break;
        case TypeKind::kAlternate:
          out += decode_alternate(*type) + encode_alternate(*type);
          break;
        default:
          break;
      }
    }
    return out + file_tail();
  }

 private:
  std::string hide_secrets(const Type& type) const {
    std::string out = fmt::format("void hide_secrets({}& value) {{\n", cpp_.name(type));
    for (const Member& member : type.members) {
      const std::string name = "value." + cpp_member(member.name);
      if (member.secret) {
        out += fmt::format("  hide_secret({});\n", name);
      } else if (cpp_.holds_secret(*member.type)) {
        out += fmt::format("  hide_secrets({});\n", name);
      }
    }
    std::vector<const Type*> branches;
    if (type.kind == TypeKind::kAlternate) {
      for (const Member& branch : type.own_members) branches.push_back(branch.type);
    } else {
      for (const Variant& variant : type.variants) branches.push_back(variant.type);
    }
    std::set<std::string> done;  // several branches may have one type
    for (const Type* branch : branches) {
      if (!branch || !cpp_.holds_secret(*branch)) continue;
      const std::string stored =
          type.is_union() ? branch_type(type, *branch) : stored_type(*branch);
      if (!done.insert(stored).second) continue;
      out += fmt::format("  if (auto* branch = std::get_if<{}>(&value.u)) hide_secrets(*branch);\n",
                         stored);
    }
    return out + "}\n";
  }

  std::string enumeration(const Type& type) const {
    return fmt::format(
        "bool decode(Decoder& decoder, const JsonValue& value, {0}& out) {{\n"
        "  const int index = decode_enum_index(decoder, value, enum_names(out));\n"
        "  if (index < 0) return false;\n"
        "  out = static_cast<{0}>(index);\n"
        "  return true;\n}}\n"
        "JsonValue encode({0} value) {{ return JsonValue(to_string(value)); }}\n\n",
        cpp_.name(type));
  }

  std::string object(const Type& type) const {
    return fmt::format(
               "bool decode(Decoder& decoder, const JsonValue& value, {0}& out) {{\n"
               "  return decode_object(decoder, value, out);\n}}\n"
               "JsonValue encode(const {0}& value) {{\n"
               "  JsonObject out;\n  encode_members(out, value);\n  return "
               "JsonValue(std::move(out));\n"
               "}}\n",
               cpp_.name(type)) +
           decode_members(type) + encode_members(type);
  }

  std::string decode_members(const Type& type) const {
    const bool empty = type.members.empty() && !type.is_union();
    std::string out = fmt::format("bool decode_members(ObjectReader&{}, {}&{}) {{\n",
                                  empty ? "" : " reader", cpp_.name(type), empty ? "" : " out");
    for (const Member& member : type.members) {
      const std::string target = "out." + cpp_member(member.name);
      out += fmt::format("  if (!reader.{}(\"{}\", {})) return false;\n",
                         member.optional ? "optional" : "required", member.name,
                         is_size(*member.type) ? "as_size(" + target + ")" : target);
    }
    if (type.is_union()) out += decode_branches(type);
    return out + "  return true;\n}\n";
  }

  std::string branch_type(const Type& owner, const Type& branch) const {
    return cpp_.needs_box(owner, branch) ? "Boxed<" + cpp_.name(branch) + ">" : cpp_.name(branch);
  }

  std::string decode_branches(const Type& type) const {
    std::string out = fmt::format("  switch (out.{}) {{\n", cpp_member(type.tag->name));
    for (const Variant& variant : type.variants) {
      out += fmt::format("    case {}::{}:\n", cpp_.name(*type.tag->type),
                         cpp_.enumerator(*type.tag->type, variant.name));
      if (!variant.type) {
        out += "      return true;\n";
      } else {
        const bool boxed = cpp_.needs_box(type, *variant.type);
        out += fmt::format("      return decode_members(reader, out.u.emplace<{}>(){});\n",
                           branch_type(type, *variant.type), boxed ? ".emplace()" : "");
      }
    }
    return out + "  }\n";
  }

  std::string encode_members(const Type& type) const {
    const bool empty = type.members.empty() && !type.is_union();
    std::string out = fmt::format("void encode_members(JsonObject&{}, const {}&{}) {{\n",
                                  empty ? "" : " out", cpp_.name(type), empty ? "" : " value");
    for (const Member& member : type.members) {
      out += fmt::format("  encode_member(out, \"{}\", value.{});\n", member.name,
                         cpp_member(member.name));
    }
    if (type.is_union()) {
      out += fmt::format("  switch (value.{}) {{\n", cpp_member(type.tag->name));
      for (const Variant& variant : type.variants) {
        out += fmt::format("    case {}::{}:\n", cpp_.name(*type.tag->type),
                           cpp_.enumerator(*type.tag->type, variant.name));
        if (variant.type) {
          const bool boxed = cpp_.needs_box(type, *variant.type);
          const std::string stored = branch_type(type, *variant.type);
          out += fmt::format("      CHECK(std::holds_alternative<{}>(value.u));\n", stored);
          out += fmt::format("      encode_members(out, {}std::get<{}>(value.u));\n",
                             boxed ? "*" : "", stored);
        }
        out += "      break;\n";
      }
      out += "  }\n";
    }
    return out + "}\n\n";
  }

  // The JSON kind by which an alternate knows a branch.
  static std::string_view kind_of(const Type& type) {
    switch (type.kind) {
      case TypeKind::kEnum:
        return "kString";
      case TypeKind::kArray:
        return "kArray";
      case TypeKind::kBuiltin:
        if (type.name == "str") return "kString";
        if (type.name == "bool") return "kBool";
        return type.name == "null" ? "kNull" : "kNumber";
      default:
        return "kObject";
    }
  }

  std::string stored_type(const Type& branch) const {
    const std::string cpp = cpp_.type(branch);
    return branch.kind == TypeKind::kObject ? "Boxed<" + cpp + ">" : cpp;
  }

  std::string decode_alternate(const Type& type) const {
    std::string out = fmt::format(
        "bool decode(Decoder& decoder, const JsonValue& value, {}& out) {{\n"
        "  switch (json_kind(value)) {{\n",
        cpp_.name(type));
    for (const Member& branch : type.own_members) {
      const std::string target = fmt::format("out.u.emplace<{}>()", stored_type(*branch.type));
      out += fmt::format("    case JsonKind::{}:\n", kind_of(*branch.type));
      if (is_size(*branch.type)) {
        out += fmt::format("      return decode(decoder, value, as_size({}));\n", target);
      } else {
        out += fmt::format("      return decode(decoder, value, {});\n", target);
      }
    }
    return out +
           fmt::format("    default:\n      return decoder.fail_alternate(\"{}\");\n  }}\n}}\n",
                       cpp_.name(type));
  }

  std::string encode_alternate(const Type& type) const {
    return fmt::format(
        "JsonValue encode(const {}& value) {{\n"
        "  return std::visit([](const auto& branch) {{ return encode(branch); }}, "
        "value.u);\n}}\n\n",
        cpp_.name(type));
  }

  const Schema& schema_;
  const CppModel cpp_;
};

class CodecBackend final : public Backend {
 public:
  std::string_view name() const override { return "codec"; }
  std::string_view summary() const override {
    return "decoding and encoding: codec.h, codec_MODULE.cc";
  }

  void emit(const Schema& schema, Output& output) const override {
    const CodecEmitter emitter(schema);
    output.add("codec.h", emitter.header());
    for (const SourceFile* file : schema.files) {
      output.add(fmt::format("codec_{}.cc", emitter.cpp().module(file)), emitter.source(file));
    }
  }
};

}  // namespace

const Backend* codec_backend() {
  static const CodecBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
