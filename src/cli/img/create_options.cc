#include "cli/img/create_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/units.h"
#include "cli/img/image_address.h"

namespace firn::cli::img {

using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr std::array kQcow2Options = {
    CreateOption{"cluster_size", OptionType::kSize, "qcow2 cluster size", "65536"},
    CreateOption{"extended_l2", OptionType::kSwitch, "Extended L2 tables", "off"},
    CreateOption{"preallocation", OptionType::kText,
                 "Preallocation mode (allowed values: off, metadata, falloc, full)", ""},
    CreateOption{"compression_type", OptionType::kText,
                 "Compression method used for image cluster compression", "zlib"},
    CreateOption{"size", OptionType::kSize, "Virtual disk size", ""},
    CreateOption{"compat", OptionType::kText, "Compatibility level (v2 [0.10] or v3 [1.1])", ""},
    CreateOption{"backing_file", OptionType::kText, "File name of a base image", ""},
    CreateOption{"backing_fmt", OptionType::kText, "Image format of the base image", ""},
    CreateOption{"lazy_refcounts", OptionType::kSwitch, "Postpone refcount updates", "off"},
    CreateOption{"refcount_bits", OptionType::kNumber, "Width of a reference count entry in bits",
                 "16"},
};

constexpr std::array kRawOptions = {
    CreateOption{"size", OptionType::kSize, "Virtual disk size", ""},
    CreateOption{"preallocation", OptionType::kText,
                 "Preallocation mode (allowed values: off, falloc, full)", ""},
};

std::string_view type_text(OptionType type) {
  switch (type) {
    case OptionType::kText:
      return "<str>";
    case OptionType::kSwitch:
      return "<bool (on/off)>";
    case OptionType::kSize:
      return "<size>";
    case OptionType::kNumber:
      return "<num>";
  }
  return "";
}

// What QEMU's formats take and Firn's don't.
bool is_foreign(std::string_view name) {
  return name == "encryption" || name.starts_with("encrypt.") || name == "data_file" ||
         name == "data_file_raw" || name == "nocow" || name == "extent_size_hint";
}

// The value as it is shown and given on: sizes in bytes, switches as on and off.
Result<std::string> plain_value(const CreateOption& option, const std::string& value) {
  const auto expects = [&](std::string_view what) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("Parameter '{}' expects {}", option.name, what));
  };
  switch (option.type) {
    case OptionType::kText:
      return value;
    case OptionType::kSwitch:
      if (value == "on" || value == "yes" || value == "true" || value == "y") return "on";
      if (value == "off" || value == "no" || value == "false" || value == "n") return "off";
      return expects("'on' or 'off'");
    case OptionType::kNumber:
      if (value.empty() ||
          !std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; })) {
        return expects("a number");
      }
      return value;
    case OptionType::kSize: {
      const auto size = base::parse_size(value);
      if (size) return fmt::format("{}", *size);
      return fail(
          base::Error(
              ErrorKind::kInvalidArgument,
              fmt::format("Parameter '{}' expects a non-negative number below 2^64", option.name))
              .with_hint("Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                         "peta- and exabytes, respectively."));
    }
  }
  return value;
}

std::string escaped(std::string_view value) {
  std::string result;
  for (const char letter : value) {
    result += letter;
    if (letter == ',') result += ',';
  }
  return result;
}

}  // namespace

std::span<const CreateOption> create_options(std::string_view format) {
  if (format == "qcow2") return kQcow2Options;
  if (format == "raw") return kRawOptions;
  return {};
}

std::string create_options_help(std::string_view format) {
  std::vector<CreateOption> sorted(create_options(format).begin(), create_options(format).end());
  std::ranges::sort(sorted, {}, &CreateOption::name);
  std::string text = fmt::format("Supported {} options:\n", format);
  for (const CreateOption& option : sorted) {
    text += fmt::format("  {:<22} - {}\n",
                        fmt::format("{}={}", option.name, type_text(option.type)), option.help);
  }
  return text;
}

Result<std::optional<OptionValues>> read_create_options(std::string_view format,
                                                        const std::vector<std::string>& arguments) {
  OptionValues values;
  const std::span<const CreateOption> known = create_options(format);
  for (const std::string& argument : arguments) {
    for (auto& [name, value] : split_options(argument)) {
      if (value == "on" && (name == "help" || name == "?")) return std::nullopt;
      if (is_foreign(name)) {
        return fail(ErrorKind::kUnsupported,
                    fmt::format("Option '{}' is not supported by Firn", name));
      }
      const auto option = std::ranges::find(known, name, &CreateOption::name);
      if (option == known.end()) {
        return fail(ErrorKind::kInvalidArgument, fmt::format("Invalid parameter '{}'", name));
      }
      std::string plain = TRY(plain_value(*option, value));
      std::erase_if(values, [&](const auto& pair) { return pair.first == name; });
      values.emplace_back(name, std::move(plain));
    }
  }
  return values;
}

std::string create_summary(std::string_view format, const OptionValues& values) {
  std::string text = fmt::format("fmt={}", format);
  for (const CreateOption& option : create_options(format)) {
    const auto given = std::ranges::find(values, option.name, &OptionValues::value_type::first);
    const std::string_view value = given != values.end() ? given->second : option.value;
    if (given == values.end() && option.value.empty()) continue;
    text += fmt::format(" {}={}", option.name, escaped(value));
  }
  return text;
}

}  // namespace firn::cli::img
