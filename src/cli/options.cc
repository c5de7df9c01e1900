#include "cli/options.h"

#include <fmt/format.h>
#include <getopt.h>

#include "cli/command.h"

namespace firn::cli {

base::Result<Options> Options::parse(std::string_view command, const std::vector<OptionSpec>& specs,
                                     const std::vector<std::string>& arguments) {
  std::vector<std::string> names;
  names.reserve(specs.size());
  std::vector<option> longs;
  std::string shorts = ":";  // a missing value is told from an unknown option
  constexpr int kFirstLong = 256;
  for (size_t i = 0; i < specs.size(); ++i) {
    names.emplace_back(specs[i].name);
    longs.push_back({names.back().c_str(), specs[i].takes_value ? required_argument : no_argument,
                     nullptr, kFirstLong + static_cast<int>(i)});
    if (specs[i].short_name != 0) {
      shorts += specs[i].short_name;
      if (specs[i].takes_value) shorts += ':';
    }
  }
  longs.push_back({nullptr, 0, nullptr, 0});

  std::vector<std::string> copies = arguments;
  std::string program(command);
  std::vector<char*> argv{program.data()};
  for (std::string& copy : copies) argv.push_back(copy.data());
  argv.push_back(nullptr);

  Options options;
  opterr = 0;
  optind = 0;
  for (;;) {
    const int argc = static_cast<int>(argv.size()) - 1;
    const int found = getopt_long(argc, argv.data(), shorts.c_str(), longs.data(), nullptr);
    if (found == -1) break;
    if (found == ':') {
      return base::fail(
          usage_error(command, fmt::format("option '{}' needs a value", argv[optind - 1])));
    }
    if (found == '?') {
      // getopt names an unknown short option, and leaves a long one behind it.
      const std::string unknown = optopt > 0 && optopt < kFirstLong
                                      ? fmt::format("-{}", static_cast<char>(optopt))
                                      : argv[optind - 1];
      return base::fail(usage_error(command, fmt::format("unknown option '{}'", unknown)));
    }
    for (size_t i = 0; i < specs.size(); ++i) {
      if (found == kFirstLong + static_cast<int>(i) || found == specs[i].short_name) {
        options.values_[names[i]].emplace_back(optarg != nullptr ? optarg : "");
      }
    }
  }
  for (size_t i = static_cast<size_t>(optind); i + 1 < argv.size(); ++i) {
    options.operands_.emplace_back(argv[i]);
  }
  return options;
}

std::string Options::value(std::string_view name, std::string_view otherwise) const {
  const auto found = values_.find(name);
  return found != values_.end() ? found->second.back() : std::string(otherwise);
}

std::vector<std::string> Options::values(std::string_view name) const {
  const auto found = values_.find(name);
  return found != values_.end() ? found->second : std::vector<std::string>();
}

}  // namespace firn::cli
