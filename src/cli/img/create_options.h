// What `firn img create -o` takes, by format.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace firn::cli::img {

enum class OptionType { kText, kSwitch, kSize, kNumber };

struct CreateOption {
  std::string_view name;
  OptionType type;
  std::string_view help;
  std::string_view value;  // the default that is shown; empty: none is
};

// In the order in which qemu-img shows values. Empty for what can't be created here.
std::span<const CreateOption> create_options(std::string_view format);

// What -o help prints.
std::string create_options_help(std::string_view format);

using OptionValues = std::vector<std::pair<std::string, std::string>>;

// The pairs of `arguments` (several -o), the last of a name alone. Nothing if one asks for help.
// Errors: "Invalid parameter 'x'", what a type can't be; kUnsupported for what the format has and
// Firn has not.
base::Result<std::optional<OptionValues>> read_create_options(
    std::string_view format, const std::vector<std::string>& arguments);

// "fmt=qcow2 cluster_size=65536 ...": the values given and the defaults.
std::string create_summary(std::string_view format, const OptionValues& values);

}  // namespace firn::cli::img
