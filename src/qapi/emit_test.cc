// What the back ends make, against files of what they made before (tests/golden/qapi/sample). To
// take over a change that is meant, run this test with FIRN_UPDATE_GOLDEN=1 and read the
// difference.
#include "qapi/emit.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "qapi/command_line.h"
#include "qapi/compiler.h"

namespace firn::qapi {
namespace {

const std::filesystem::path kGolden = FIRN_GOLDEN_FOLDER;

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

TEST(Emit, MakesWhatItMadeBefore) {
  SourceManager sources;
  Diagnostics diagnostics;
  const Schema schema = compile(sources, kGolden / "sample.json", {}, diagnostics);
  ASSERT_EQ(diagnostics.print(), "");
  Output output;
  for (const Backend* backend : backends()) backend->emit(schema, output);
  // With another extension, so that no tool takes them for sources.
  Output golden;
  for (const auto& [name, text] : output.files()) golden.add(name + ".golden", text);
  if (std::getenv("FIRN_UPDATE_GOLDEN")) {
    ASSERT_TRUE(golden.write(kGolden / "sample"));
  }
  std::set<std::string> names;
  for (const auto& [name, text] : golden.files()) {
    names.insert(name);
    EXPECT_EQ(text, read(kGolden / "sample" / name)) << name;
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kGolden / "sample")) {
    if (entry.is_directory()) continue;
    EXPECT_TRUE(names.contains(entry.path().lexically_relative(kGolden / "sample")))
        << entry.path() << " is no longer made";
  }
}

class CommandLine : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "qapicXXXXXX";
    ASSERT_TRUE(mkdtemp(name.data()));
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  int run(const std::vector<std::string>& arguments) {
    out_.clear();
    err_.clear();
    return run_command_line(arguments, out_, err_);
  }

  std::filesystem::path folder_;
  std::string out_;
  std::string err_;
};

TEST_F(CommandLine, RefusesBadUsage) {
  const std::vector<std::string> bad[] = {
      {},
      {"bogus"},
      {"check"},
      {"check", "a", "b"},
      {"check", "a", "-o", "x"},
      {"emit", "types", "a"},
      {"emit", "bogus", "a", "-o", "x"},
      {"emit", "types,bogus", "a", "-o", "x"},
      {"emit", "types,", "a", "-o", "x"},
      {"check", "a", "--bogus"},
      {"check", "a", "--dialect", "1999"},
      {"check", "a", "--dialect"},
      {"check", "a", "-D"},
      {"check", "a", "-D", "1"},
      {"emit", "types", "a", "-o"},
  };
  for (const auto& arguments : bad) {
    EXPECT_EQ(run(arguments), 2) << testing::PrintToString(arguments);
    EXPECT_TRUE(err_.starts_with("qapic: error: ")) << err_;
    EXPECT_NE(err_.find("--help"), std::string::npos);
    EXPECT_EQ(out_, "");
  }
}

TEST_F(CommandLine, HelpsAndTellsItsVersion) {
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_NE(out_.find("introspection"), std::string::npos);
  EXPECT_EQ(run({"check", "--version"}), 0);
  EXPECT_TRUE(out_.starts_with("qapic "));
}

TEST_F(CommandLine, ChecksFiles) {
  EXPECT_EQ(run({"check", kGolden / "sample.json", "-D", "HAVE_3D", "-DHAVE_HIDING"}), 0) << err_;
  EXPECT_EQ(run({"check", kGolden / "contract-2011.json", "--dialect=2011"}), 0) << err_;
  EXPECT_EQ(run({"check", kGolden / "contract-2011.json"}), 1);
  EXPECT_NE(err_.find("contract-2011.json:18:1: error: "), std::string::npos) << err_;
  EXPECT_EQ(run({"check", folder_ / "missing.json"}), 1);
  EXPECT_EQ(err_, "qapic: error: cannot read '" + (folder_ / "missing.json").string() +
                      "': No such file or directory\n");
}

TEST_F(CommandLine, LeavesUnchangedFilesAlone) {
  const std::filesystem::path out = folder_ / "x" / "y";
  ASSERT_EQ(run({"emit", "types", kGolden / "sample.json", "-o", out}), 0) << err_;
  EXPECT_TRUE(std::filesystem::exists(out / "types.h"));
  EXPECT_FALSE(std::filesystem::exists(out / "codec.h"));
  const auto past = std::filesystem::last_write_time(out / "types.h") - std::chrono::hours(1);
  std::filesystem::last_write_time(out / "types.h", past);
  std::filesystem::last_write_time(out / "types.cc", past);
  std::ofstream(out / "types.cc", std::ios::app) << "changed";
  ASSERT_EQ(run({"emit", "types,introspection", kGolden / "sample.json", "-o", out}), 0) << err_;
  EXPECT_EQ(std::filesystem::last_write_time(out / "types.h"), past);
  EXPECT_EQ(read(out / "types.cc").find("changed"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(out / "introspection.cc"));
  std::ofstream(folder_ / "file") << "";
  EXPECT_EQ(run({"emit", "types", kGolden / "sample.json", "-o", folder_ / "file" / "z"}), 1);
  EXPECT_TRUE(err_.starts_with("qapic: error: cannot make folder")) << err_;
}

}  // namespace
}  // namespace firn::qapi
