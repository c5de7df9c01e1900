#include "qmp/hmp_args.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>

#include "base/units.h"

namespace firn::qmp {
namespace {

using base::ErrorKind;
using base::fail;
using base::Result;

void skip_space(std::string_view& line) {
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.front())) != 0) {
    line.remove_prefix(1);
  }
}

Result<std::string> take_quoted(std::string_view& line) {
  line.remove_prefix(1);  // the quote
  std::string text;
  while (!line.empty()) {
    char c = line.front();
    line.remove_prefix(1);
    if (c == '"') return text;
    if (c != '\\') {
      text += c;
      continue;
    }
    if (line.empty()) break;
    char escaped = line.front();
    line.remove_prefix(1);
    switch (escaped) {
      case 'n':
        text += '\n';
        break;
      case 'r':
        text += '\r';
        break;
      case '\\':
      case '\'':
      case '"':
        text += escaped;
        break;
      default:
        return fail(ErrorKind::kInvalidArgument,
                    fmt::format("unsupported escape code: '\\{}'", escaped));
    }
  }
  return fail(ErrorKind::kInvalidArgument, "unterminated string");
}

std::string_view what_is_expected(HmpArgType type) {
  switch (type) {
    case HmpArgType::kFilename:
      return "filename expected";
    case HmpArgType::kBlockDevice:
      return "block device name expected";
    default:
      return "string expected";
  }
}

const char* invalid_number(HmpArgType type) {
  return type == HmpArgType::kSize ? "invalid size" : "integer expected";
}

// "64" is 64 MiB here; "64b" is 64 bytes.
Result<uint64_t> parse_size_mib(const std::string& word) {
  bool has_suffix = std::isalpha(static_cast<unsigned char>(word.back())) != 0;
  auto size = base::parse_size(has_suffix ? word : word + "M");
  if (!size) return fail(ErrorKind::kInvalidArgument, "invalid size");
  return size;
}

// A flag that is there is taken off the line; another one is an error.
Result<bool> take_flag(std::string_view command, std::string_view& line, const HmpParam& param,
                       std::span<const HmpParam> params) {
  skip_space(line);
  if (line.size() < 2 || line.front() != '-') return false;
  std::string_view letter = line.substr(1, 1);
  bool ends = line.size() == 2 || std::isspace(static_cast<unsigned char>(line[2])) != 0;
  if (ends && letter == param.name) {
    line.remove_prefix(2);
    return true;
  }
  for (const HmpParam& other : params) {
    if (ends && other.type == HmpArgType::kFlag && other.name == letter) return false;
  }
  return fail(ErrorKind::kInvalidArgument,
              fmt::format("{}: unsupported option -{}", command, letter));
}

}  // namespace

std::optional<std::string> HmpArgs::text(std::string_view name) const {
  auto found = texts_.find(name);
  if (found == texts_.end()) return std::nullopt;
  return found->second;
}

std::optional<uint64_t> HmpArgs::size_bytes(std::string_view name) const {
  auto found = sizes_.find(name);
  if (found == sizes_.end()) return std::nullopt;
  return found->second;
}

Result<std::optional<std::string>> take_hmp_word(std::string_view& line) {
  skip_space(line);
  if (line.empty()) return std::optional<std::string>();
  if (line.front() == '"') return std::optional(TRY(take_quoted(line)));
  size_t length = 0;
  while (length < line.size() && std::isspace(static_cast<unsigned char>(line[length])) == 0) {
    ++length;
  }
  std::string word(line.substr(0, length));
  line.remove_prefix(length);
  return std::optional(std::move(word));
}

Result<HmpArgs> parse_hmp_args(std::string_view command, std::string_view line,
                               std::span<const HmpParam> params) {
  HmpArgs args;
  for (const HmpParam& param : params) {
    if (param.type == HmpArgType::kFlag) {
      if (TRY(take_flag(command, line, param, params))) args.flags_.emplace(param.name, true);
      continue;
    }
    if (param.type == HmpArgType::kRest) {
      skip_space(line);
      const size_t length = line.find_last_not_of(" \t\r\n") + 1;  // npos + 1: nothing
      if (length == 0 && !param.optional) {
        return fail(ErrorKind::kInvalidArgument, fmt::format("{}: string expected", command));
      }
      args.texts_.emplace(param.name, line.substr(0, length));
      line = {};
      continue;
    }
    std::optional<std::string> word = TRY_CONTEXT(take_hmp_word(line), command);
    const bool is_number = param.type == HmpArgType::kSize || param.type == HmpArgType::kNumber;
    if (!word || (word->empty() && is_number)) {
      if (!word && param.optional) break;
      if (is_number) return fail(ErrorKind::kInvalidArgument, invalid_number(param.type));
      return fail(ErrorKind::kInvalidArgument,
                  fmt::format("{}: {}", command, what_is_expected(param.type)));
    }
    if (param.type == HmpArgType::kSize) {
      args.sizes_.emplace(param.name, TRY(parse_size_mib(*word)));
    } else if (param.type == HmpArgType::kNumber) {
      uint64_t number = 0;
      const char* end = word->data() + word->size();
      const auto parsed = std::from_chars(word->data(), end, number);
      if (parsed.ec != std::errc() || parsed.ptr != end) {
        return fail(ErrorKind::kInvalidArgument, invalid_number(param.type));
      }
      args.sizes_.emplace(param.name, number);
    } else {
      args.texts_.emplace(param.name, *std::move(word));
    }
  }
  skip_space(line);
  if (!line.empty()) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("{}: extraneous characters at the end of line", command));
  }
  return args;
}

}  // namespace firn::qmp
