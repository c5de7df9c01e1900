// Names: what the schema language allows, and how they look in C++.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace firn::qapi {

// The whole text is a name: letters, digits, '-' and '_', starting with a letter; downstream names
// start with "__DOMAIN_". Values of enumerations may start with a digit.
bool is_name(std::string_view text);
bool is_enum_value_name(std::string_view text);
bool is_type_name(std::string_view text);   // CamelCase
bool is_event_name(std::string_view text);  // UPPER_CASE
bool is_lower_name(std::string_view text);  // lower-case, without '_': commands and members

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
