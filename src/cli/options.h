// Options of one command: `--name value`, `--name=value`, `--flag`, and what is left over.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace firn::cli {

struct OptionSpec {
  std::string_view name;  // "format", without dashes
  char short_name = 0;    // 'f', or none
  bool takes_value = true;
};

class Options final {
 public:
  // Options may stand before, between and behind the operands; `--` ends them. Errors name the
  // option and the command's --help.
  static base::Result<Options> parse(std::string_view command, const std::vector<OptionSpec>& specs,
                                     const std::vector<std::string>& arguments);

  bool has(std::string_view name) const { return values_.contains(name); }
  // The last value given, or `otherwise`.
  std::string value(std::string_view name, std::string_view otherwise = {}) const;
  // All values given, in their order.
  std::vector<std::string> values(std::string_view name) const;
  const std::vector<std::string>& operands() const { return operands_; }

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
  std::vector<std::string> operands_;
};

}  // namespace firn::cli
