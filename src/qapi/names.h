// Names: what the schema language allows, and how they look in C++.
#pragma once

#include <string>
#include <string_view>

namespace firn::qapi {

// The rules of QEMU, docs/devel/qapi-code-gen, section "Naming rules and reserved names". Names are
// letters, digits, '-' and '_', and start with a letter. A downstream prefix "__DOMAIN_" and then
// "x-" may stand in front; what is behind them is the stem, which the kinds of names differ in.
enum class NameKind : uint8_t {
  kAny,
  kType,       // CamelCase
  kEvent,      // UPPER_CASE
  kLower,      // lower-case, without '_': commands, members, features
  kEnumValue,  // the same, and may start with a digit
};

// What the pragmas of exceptions permit.
struct NameLeave {
  bool underscore = false;
  bool upper_case = false;
};

// Why `name` is none of this kind: "has to start with a letter". Empty if it is one.
std::string name_error(std::string_view name, NameKind kind, NameLeave leave = {});
// A name that would be one of this kind, for a hint; may be empty.
std::string suggest_name(std::string_view name, NameKind kind);

// In the dialect of 2011 names of all kinds are letters, digits, '-', '_' and '.'.
bool is_name_2011(std::string_view name);

// Whether two names are the same to a C compiler, where '-' is '_'.
bool same_in_c(std::string_view left, std::string_view right);

// For hash tables whose keys are the same if same_in_c() says so.
struct HashInC {
  size_t operator()(std::string_view name) const;
};
struct EqualInC {
  bool operator()(std::string_view left, std::string_view right) const {
    return same_in_c(left, right);
  }
};

// A symbol of `if` conditions: upper-case letters, digits and '_'.
bool is_symbol(std::string_view text);
bool is_c_identifier(std::string_view text);

// Whatever C++ does not allow in an identifier becomes '_'; one that starts with a digit gets a '_'
// before it.
std::string cpp_identifier(std::string_view name);
// "snapshot-file" -> "snapshot_file"; C++'s keywords get a '_' behind them.
std::string cpp_member(std::string_view name);
// "absolute-paths" -> "kAbsolutePaths".
std::string cpp_enumerator(std::string_view name);
// "blockdev-snapshot-sync" -> "BlockdevSnapshotSync", "BLOCK_IO_ERROR" -> "BlockIoError".
std::string cpp_pascal(std::string_view name);
// The text as a string literal.
std::string cpp_literal(std::string_view text);

}  // namespace firn::qapi
