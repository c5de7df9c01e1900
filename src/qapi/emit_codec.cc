#include <fmt/format.h>

#include <set>

#include "qapi/emit.h"
#include "qapi/names.h"

namespace firn::qapi {

namespace {

bool is_size(const Type& type) {
  if (type.kind == TypeKind::kArray) return is_size(*type.element);
  return type.kind == TypeKind::kBuiltin && type.name == "size";
}

class CodecBackend final : public Backend {
 public:
  std::string_view name() const override { return "codec"; }
  std::string_view summary() const override {
    return "decoding and encoding: codec.h, codec_MODULE.cc";
  }

  void emit(const Schema& schema, Output& output) const override {
    output.add("codec.h", header(schema));
    for (const SourceFile* file : schema.files) {
      output.add(fmt::format("codec_{}.cc", cpp_member(file->module)), source(schema, file));
    }
  }

 private:
  static std::string header(const Schema& schema) {
    std::string out = file_head(
        schema, {"<boost/json/fwd.hpp>", "", "\"api/decoder.h\"", "\"api/types.h\""}, true);
    out +=
        "// A caller decodes with decode_as<T>(value, mode) of api/decoder.h. To use encode(), "
        "include\n"
        "// api/encoder.h as well: it brings boost's headers.\n\n";
    for (const Type* type : named_types(schema)) {
      out += fmt::format("bool decode(Decoder& decoder, const JsonValue& value, {}& out);\n",
                         type->name);
      if (type->kind == TypeKind::kObject) {
        out += fmt::format("bool decode_members(ObjectReader& reader, {}& out);\n", type->name);
        out += fmt::format("void encode_members(boost::json::object& out, const {}& value);\n",
                           type->name);
      }
      if (holds_secret(*type)) {
        out += fmt::format("void hide_secrets({}& value);\n", type->name);
      }
      const bool by_value = type->kind == TypeKind::kEnum;
      out += fmt::format("JsonValue encode({}{}{} value);\n", by_value ? "" : "const ", type->name,
                         by_value ? "" : "&");
    }
    return out + "\n" + file_tail();
  }

  static std::string source(const Schema& schema, const SourceFile* file) {
    std::string out = file_head(schema,
                                {"<utility>", "", "\"api/encoder.h\"", "\"api/secrets.h\"",
                                 "\"base/check.h\"", "\"api/codec.h\""},
                                false);
    for (const Type* type : named_types(schema, file)) {
      if (holds_secret(*type)) out += hide_secrets(*type);
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

  static std::string hide_secrets(const Type& type) {
    std::string out = fmt::format("void hide_secrets({}& value) {{\n", type.name);
    for (const Member& member : type.members) {
      const std::string name = "value." + cpp_member(member.name);
      if (member.secret) {
        out += fmt::format("  hide_secret({});\n", name);
      } else if (holds_secret(*member.type)) {
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
      if (!branch || !holds_secret(*branch)) continue;
      const std::string stored =
          type.is_union() ? branch_type(type, *branch) : stored_type(*branch);
      if (!done.insert(stored).second) continue;
      out += fmt::format("  if (auto* branch = std::get_if<{}>(&value.u)) hide_secrets(*branch);\n",
                         stored);
    }
    return out + "}\n";
  }

  static std::string enumeration(const Type& type) {
    return fmt::format(
        "bool decode(Decoder& decoder, const JsonValue& value, {0}& out) {{\n"
        "  const int index = decode_enum_index(decoder, value, enum_names(out));\n"
        "  if (index < 0) return false;\n"
        "  out = static_cast<{0}>(index);\n"
        "  return true;\n}}\n"
        "JsonValue encode({0} value) {{ return JsonValue(to_string(value)); }}\n\n",
        type.name);
  }

  static std::string object(const Type& type) {
    return fmt::format(
               "bool decode(Decoder& decoder, const JsonValue& value, {0}& out) {{\n"
               "  return decode_object(decoder, value, out);\n}}\n"
               "JsonValue encode(const {0}& value) {{\n"
               "  JsonObject out;\n  encode_members(out, value);\n  return "
               "JsonValue(std::move(out));\n"
               "}}\n",
               type.name) +
           decode_members(type) + encode_members(type);
  }

  static std::string decode_members(const Type& type) {
    const bool empty = type.members.empty() && !type.is_union();
    std::string out = fmt::format("bool decode_members(ObjectReader&{}, {}&{}) {{\n",
                                  empty ? "" : " reader", type.name, empty ? "" : " out");
    for (const Member& member : type.members) {
      const std::string target = "out." + cpp_member(member.name);
      out += fmt::format("  if (!reader.{}(\"{}\", {})) return false;\n",
                         member.optional ? "optional" : "required", member.name,
                         is_size(*member.type) ? "as_size(" + target + ")" : target);
    }
    if (type.is_union()) out += decode_branches(type);
    return out + "  return true;\n}\n";
  }

  static std::string branch_type(const Type& owner, const Type& branch) {
    return needs_box(owner, branch) ? "Boxed<" + branch.name + ">" : branch.name;
  }

  static std::string decode_branches(const Type& type) {
    std::string out = fmt::format("  switch (out.{}) {{\n", cpp_member(type.tag->name));
    for (const Variant& variant : type.variants) {
      out += fmt::format("    case {}::{}:\n", type.tag->type->name, cpp_enumerator(variant.name));
      if (!variant.type) {
        out += "      return true;\n";
      } else {
        const bool boxed = needs_box(type, *variant.type);
        out += fmt::format("      return decode_members(reader, out.u.emplace<{}>(){});\n",
                           branch_type(type, *variant.type), boxed ? ".emplace()" : "");
      }
    }
    return out + "  }\n";
  }

  static std::string encode_members(const Type& type) {
    const bool empty = type.members.empty() && !type.is_union();
    std::string out = fmt::format("void encode_members(JsonObject&{}, const {}&{}) {{\n",
                                  empty ? "" : " out", type.name, empty ? "" : " value");
    for (const Member& member : type.members) {
      out += fmt::format("  encode_member(out, \"{}\", value.{});\n", member.name,
                         cpp_member(member.name));
    }
    if (type.is_union()) {
      out += fmt::format("  switch (value.{}) {{\n", cpp_member(type.tag->name));
      for (const Variant& variant : type.variants) {
        out +=
            fmt::format("    case {}::{}:\n", type.tag->type->name, cpp_enumerator(variant.name));
        if (variant.type) {
          const bool boxed = needs_box(type, *variant.type);
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

  static std::string stored_type(const Type& branch) {
    const std::string cpp = cpp_type(branch);
    return branch.kind == TypeKind::kObject ? "Boxed<" + cpp + ">" : cpp;
  }

  static std::string decode_alternate(const Type& type) {
    std::string out = fmt::format(
        "bool decode(Decoder& decoder, const JsonValue& value, {}& out) {{\n"
        "  switch (json_kind(value)) {{\n",
        type.name);
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
                       type.name);
  }

  static std::string encode_alternate(const Type& type) {
    return fmt::format(
        "JsonValue encode(const {}& value) {{\n"
        "  return std::visit([](const auto& branch) {{ return encode(branch); }}, "
        "value.u);\n}}\n\n",
        type.name);
  }
};

}  // namespace

const Backend* codec_backend() {
  static const CodecBackend kBackend;
  return &kBackend;
}

}  // namespace firn::qapi
