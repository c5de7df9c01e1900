// Everything that a schema can do wrong, one file for each rule: tests/golden/qapi/refused/*.json.
// What the compiler has to say of a file stands at its end in comments that start with "#! ",
// without the file's name. To take over a change that is meant, run this test with
// FIRN_UPDATE_GOLDEN=1 and read the difference.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "qapi/compiler.h"

namespace firn::qapi {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(FIRN_GOLDEN_FOLDER) / "refused";
constexpr std::string_view kMark = "#! ";

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

// Lines of diagnostics without the name of the file that is checked, without the folder before
// those of others.
std::string without_paths(std::string said, const std::filesystem::path& file) {
  for (const std::string& prefix : {file.string() + ":", kFolder.string() + "/"}) {
    for (size_t at; (at = said.find(prefix)) != std::string::npos;) said.erase(at, prefix.size());
  }
  return said;
}

std::string as_comments(const std::string& said) {
  std::string out;
  for (size_t begin = 0; begin < said.size();) {
    const size_t end = said.find('\n', begin) + 1;
    out += std::string(kMark) + said.substr(begin, end - begin);
    begin = end;
  }
  return out;
}

class Refused : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(Refused, WithExactlyTheseWords) {
  const std::filesystem::path path = kFolder / GetParam();
  SourceManager sources;
  Diagnostics diagnostics;
  check_file(sources, path, {}, diagnostics);
  EXPECT_FALSE(diagnostics.ok());
  const std::string said = as_comments(without_paths(diagnostics.print(), path));
  const std::string text = read(path);
  const size_t mark = text.find(kMark);
  if (std::getenv("FIRN_UPDATE_GOLDEN")) {
    std::ofstream(path, std::ios::binary) << text.substr(0, mark) << said;
    return;
  }
  EXPECT_EQ(said, mark == std::string::npos ? "" : text.substr(mark));
}

std::set<std::filesystem::path> cases() {
  std::set<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".json") out.insert(entry.path().filename());
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, Refused, testing::ValuesIn(cases()), [](const auto& info) {
  std::string name = info.param.stem().string();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace firn::qapi
