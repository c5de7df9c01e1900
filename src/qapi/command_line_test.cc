#include "qapi/command_line.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "qapi/subcommand.h"

namespace firn::qapi {
namespace {

const std::filesystem::path kGolden = FIRN_GOLDEN_FOLDER;

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

  static std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(in)), {});
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
      {"-o"},
      {"-D", "X"},
      {"bogus", "--help"},
      {"emit", "types", "-o", "x"},
      {"emit", "types", "a", "b", "-o", "x"},
      {"check", "--", "a", "-D"},
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
  for (const Subcommand* command : subcommands()) {
    const std::string name(command->name);
    EXPECT_EQ(run({"-h"}), 0);
    EXPECT_NE(out_.find("qapic " + name), std::string::npos);
    EXPECT_EQ(run({name, "--help"}), 0);
    EXPECT_TRUE(out_.starts_with("Usage: qapic " + name));
    for (const Option& option : command->options) {
      EXPECT_NE(out_.find(option.name), std::string::npos) << option.name;
    }
    EXPECT_EQ(err_, "");
  }
}

TEST_F(CommandLine, TheManualPageIsTheProgramsOwn) {
  EXPECT_EQ(run({"--manual-page"}), 0);
  EXPECT_EQ(out_, read(FIRN_SOURCE_DIR "/docs/man/qapic.1"))
      << "make it anew: qapic --manual-page > docs/man/qapic.1";
}

TEST_F(CommandLine, TakesAllAmongBackEnds) {
  std::ofstream(folder_ / "a.json") << "{'command': 'x'}\n";
  for (const std::string names : {"all", "all,html", "html,all,html"}) {
    const std::filesystem::path out = folder_ / names;
    EXPECT_EQ(run({"emit", names, folder_ / "a.json", "-o", out}), 0) << err_;
    EXPECT_EQ(read(out / "a-qmp-ref.html"), read(folder_ / "all" / "a-qmp-ref.html"));
    EXPECT_TRUE(std::filesystem::exists(out / "types.h"));
  }
}

TEST_F(CommandLine, EmitsTypedPythonWithoutTypes) {
  std::ofstream(folder_ / "a.json") << "{'command': 'x'}\n";
  EXPECT_EQ(run({"emit", "python", folder_ / "a.json", "-o", folder_}), 0) << err_;
  EXPECT_TRUE(read(folder_ / "a_client" / "types.py").contains("\n__all__: list[str] = []\n"));
}

TEST_F(CommandLine, LinksToPagesOfAnyName) {
  std::ofstream(folder_ / "a.json") << "{'include': 'b (c)#d%.json'}\n{'command': 'x'}\n";
  std::ofstream(folder_ / "b (c)#d%.json") << "{'command': 'y'}\n";
  EXPECT_EQ(run({"emit", "markdown", folder_ / "a.json", "-o", folder_ / "out"}), 0) << err_;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out" / "b (c)#d%.md"));
  const std::string index = read(folder_ / "out" / "index.md");
  EXPECT_TRUE(index.contains("](b%20%28c%29%23d%25.md#command-y)")) << index;
  EXPECT_TRUE(index.contains("](b%20%28c%29%23d%25.md#section-")) << index;
}

TEST_F(CommandLine, HintsAtWhatToWrite) {
  const auto hint = [&](const std::string& text) {
    std::ofstream(folder_ / "a.json") << text;
    EXPECT_EQ(run({"check", folder_ / "a.json"}), 1);
    const size_t at = err_.find("hint: ");
    return at == std::string::npos ? err_ : err_.substr(at + 6, err_.find('\n', at) - at - 6);
  };
  EXPECT_EQ(hint("##\n# @x: what it does\n##\n{'command': 'x'}\n"), "write '# @x:'");
  EXPECT_EQ(hint("##\n# @x does it\n##\n{'command': 'x'}\n"), "write '# @x:'");
  EXPECT_EQ(hint("{'command': 'x', 'data': {'a': 'string'}}\n"), "did you mean 'str'?");
  EXPECT_EQ(hint("{'command': 'x', 'data': {'a': 'integer'}}\n"), "did you mean 'int'?");
  EXPECT_EQ(hint("{'command': 'x', 'data': {'a': ['boolean']}}\n"), "did you mean 'bool'?");
}

TEST_F(CommandLine, EmitsWhatAnyConditionHolds) {
  std::ofstream(folder_ / "a.json")
      << "{'command': 'x', 'if': 'X'}\n{'command': 'y', 'if': {'not': 'X'}}\n";
  const auto index = [&](std::vector<std::string> options) {
    std::vector<std::string> words = {"emit", "markdown", folder_ / "a.json", "-o",
                                      folder_ / "out"};
    words.insert(words.end(), options.begin(), options.end());
    EXPECT_EQ(run(words), 0) << err_;
    const std::string text = read(folder_ / "out" / "index.md");
    return std::string(text.contains("`x`") ? "x" : "") + (text.contains("`y`") ? "y" : "");
  };
  EXPECT_EQ(index({}), "y");
  EXPECT_EQ(index({"-D", "X"}), "x");
  EXPECT_EQ(index({"--all-conditions"}), "xy");
}

TEST_F(CommandLine, TakesOptionsAnywhere) {
  EXPECT_EQ(run({"-D", "HAVE_3D", "check", kGolden / "sample.json"}), 0) << err_;
  EXPECT_EQ(run({"--dialect", "2011", "check", "--", kGolden / "contract-2011.json"}), 0) << err_;
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
