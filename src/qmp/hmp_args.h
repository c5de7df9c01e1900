// The human monitor's way to write arguments: words, quoted strings, sizes and flags.
// Source: docs and behaviour of QEMU 7.2's monitor; error texts as there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace firn::qmp {

enum class HmpArgType : uint8_t {
  kString,
  kFilename,
  kBlockDevice,  // a device's name or a node's
  kExport,
  kChardev,
  kFormat,
  kCommand,
  kRest,  // what is left of the line, as it stands
  kNumber,
  kSize,  // bytes; a number without a suffix counts MiB
  kFlag,  // "-n"
};

struct HmpParam {
  std::string_view name;  // of a flag: its letter
  HmpArgType type = HmpArgType::kString;
  bool optional = false;  // flags always are
};

// What a line gave, by parameter.
class HmpArgs {
 public:
  // The text of a string-like argument; nothing if it was left out.
  std::optional<std::string> text(std::string_view name) const;
  std::string text_or_empty(std::string_view name) const { return text(name).value_or(""); }
  std::optional<uint64_t> size_bytes(std::string_view name) const;
  std::optional<uint64_t> number(std::string_view name) const { return size_bytes(name); }
  bool flag(std::string_view name) const { return flags_.contains(name); }

 private:
  friend base::Result<HmpArgs> parse_hmp_args(std::string_view, std::string_view,
                                              std::span<const HmpParam>);
  std::map<std::string, std::string, std::less<>> texts_;
  std::map<std::string, uint64_t, std::less<>> sizes_;  // numbers too
  std::map<std::string, bool, std::less<>> flags_;
};

// Splits what follows the command's name. Errors are texts to show as they are, for instance
// "block_resize: block device name expected".
base::Result<HmpArgs> parse_hmp_args(std::string_view command, std::string_view line,
                                     std::span<const HmpParam> params);

// Takes the next word or quoted string off the front of `line`, with leading white space. Empty
// optional: the line has none. In quotes, \n \r \\ \' \" stand for themselves.
base::Result<std::optional<std::string>> take_hmp_word(std::string_view& line);

}  // namespace firn::qmp
