#include "qapi/source.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace firn::qapi {
namespace {

TEST(Diagnostics, ShowTheLineWithACaret) {
  SourceManager sources;
  const SourceFile* top = sources.add("top.json", "\n{'include': 'x.json'}\n");
  const SourceFile* file = sources.add("x.json", "first\n\tsec\xC3\xB6nd li\x01ne\nlast");
  const_cast<SourceFile*>(file)->included_at = {top, 1, 2};
  Diagnostics diagnostics;
  diagnostics.error({file, 15, 17}, "that", "do this");
  diagnostics.note({file, 0, 5}, "there");
  diagnostics.error({file, 24, 24}, "at the end");
  diagnostics.error({top, 1, 5}, "up here");
  diagnostics.error({}, "nowhere");
  EXPECT_EQ(diagnostics.render(),
            "In file included from top.json:2:\n"
            "x.json:2:10: error: that\n"
            "    2 | \tsec\xC3\xB6nd li?ne\n"
            "      | \t       ^~\n"
            "hint: do this\n"
            "x.json:1:1: note: there\n"
            "    1 | first\n"
            "      | ^~~~~\n"
            "x.json:3:4: error: at the end\n"
            "    3 | last\n"
            "      |    ^\n"
            "top.json:2:1: error: up here\n"
            "    2 | {'include': 'x.json'}\n"
            "      | ^~~~\n"
            "qapic: error: nowhere\n");
}

TEST(Diagnostics, CutLongLines) {
  SourceManager sources;
  const SourceFile* file =
      sources.add("s.json", std::string(5000, 'a') + "HERE" + std::string(5000, 'b'));
  Diagnostics diagnostics;
  diagnostics.error({file, 5000, 5004}, "that");
  EXPECT_EQ(diagnostics.render(), "s.json:1:5001: error: that\n    1 | " + std::string(60, 'a') +
                                      "HERE" + std::string(56, 'b') + "\n      | " +
                                      std::string(60, ' ') + "^~~~\n");
}

TEST(Diagnostics, PointFromTheDefinitionToTheCulprit) {
  SourceManager sources;
  const SourceFile* file = sources.add("s.json", "one\ntwo\n");
  Diagnostics diagnostics;
  diagnostics.error_in({file, 0, 1}, {file, 2, 3}, "same line");
  diagnostics.error_in({file, 0, 1}, {file, 4, 5}, "other line");
  diagnostics.error_in({file, 0, 1}, {file, 4, 5}, "other line");  // told already
  EXPECT_EQ(diagnostics.print(),
            "s.json:1:3: error: same line\ns.json:1:1: error: other line\n"
            "s.json:2:1: note: it is this\n");
}

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "qapicXXXXXX";
    ASSERT_TRUE(mkdtemp(name.data()));
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  SourceManager sources_;
};

TEST_F(Files, AreReadOnceUnderAnyName) {
  std::ofstream(folder_ / "a") << "one\r\ntwo\rthree";
  std::filesystem::create_symlink("a", folder_ / "b");
  const SourceFile* file = sources_.load(folder_ / "a").value();
  EXPECT_EQ(file->text, "one\ntwo\nthree");
  EXPECT_EQ(file->line_starts.size(), 3u);
  EXPECT_EQ(sources_.load(folder_ / "b").value(), file);
}

TEST_F(Files, AreFiles) {
  const auto said = [&](const std::filesystem::path& path, bool include) {
    const SourceFile* top = sources_.add("top", "x");
    auto file = sources_.load(path, include ? Span{top, 0, 1} : Span{});
    return file ? "" : file.error().text();
  };
  EXPECT_NE(said(folder_ / "missing", false).find("No such file"), std::string::npos);
  EXPECT_NE(said(folder_, false).find("Is a directory"), std::string::npos);
  EXPECT_NE(said("/dev/zero", false).find("no regular file"), std::string::npos);
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  // Somebody has to hold the other end, or opening waits.
  std::fstream other(folder_ / "pipe", std::ios::in | std::ios::out);
  EXPECT_NE(said(folder_ / "pipe", true).find("no regular file"), std::string::npos);
  std::filesystem::create_symlink("loop", folder_ / "loop");
  EXPECT_NE(said(folder_ / "loop", false).find("symbolic links"), std::string::npos);
  EXPECT_NE(said(std::string("a\0b", 3), false).find("Invalid argument"), std::string::npos);
}

}  // namespace
}  // namespace firn::qapi
