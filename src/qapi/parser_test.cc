#include "qapi/parser.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace firn::qapi {
namespace {

std::string errors_of(std::string text) {
  SourceManager sources;
  Diagnostics diagnostics;
  parse_schema(sources, *sources.add("s.json", std::move(text)), Dialect::kToday, diagnostics);
  return diagnostics.print();
}

TEST(Parser, SaysWhereSyntaxIsWrong) {
  EXPECT_EQ(errors_of("{'a': 'b', # a comment\n 'c': ['d', true]}\n# another\n"), "");
  EXPECT_EQ(errors_of("'a'"),
            "s.json:1:1: error: expected '{' to start a definition, not string 'a'\n");
  EXPECT_EQ(errors_of("{'a' 'b'}"), "s.json:1:6: error: expected ':', not string 'b'\n");
  EXPECT_EQ(errors_of("{'a': }"),
            "s.json:1:7: error: expected '{', '[', a string, true or false, not '}'\n");
  EXPECT_EQ(errors_of("{'a': ['b' 'c']}"),
            "s.json:1:12: error: expected ',' or ']', not string 'c'\n");
  EXPECT_EQ(errors_of("{'a': 'b'"), "s.json:1:10: error: expected ',' or '}', not end of file\n");
  EXPECT_EQ(errors_of("{'a': 'b', 'a': 'c'}"), "s.json:1:12: error: 'a' stands here twice\n");
  EXPECT_EQ(errors_of("{\"a\": 'b'}"),
            "s.json:1:2: error: strings stand in apostrophes, not in quotation marks\n");
  EXPECT_EQ(errors_of("{'a': nul}"),
            "s.json:1:7: error: unknown word 'nul': names stand in apostrophes\n"
            "s.json:1:10: error: expected '{', '[', a string, true or false, not '}'\n");
  EXPECT_EQ(errors_of("{'a': 'b\n}"),
            "s.json:1:7: error: this string does not end on its line\n"
            "s.json:2:1: error: expected '{', '[', a string, true or false, not '}'\n");
  EXPECT_EQ(errors_of(std::string(70, '[')),
            "s.json:1:1: error: expected '{' to start a "
            "definition, not '['\n");
  std::string deep = "{'a': " + std::string(70, '[');
  EXPECT_EQ(errors_of(deep), "s.json:1:71: error: expected less nesting, not '['\n");
}

TEST(Parser, GoesOnWithTheNextDefinition) {
  EXPECT_EQ(errors_of("{'a'\n{'b': 'c'}\n{'d' 'e'}\n##\n# @x:\n"),
            "s.json:2:1: error: expected ':', not '{'\n"
            "s.json:3:6: error: expected ':', not string 'e'\n"
            "s.json:4:1: error: this documentation block has no closing '##'\n");
}

TEST(Parser, KnowsItsPragmas) {
  EXPECT_EQ(errors_of("{'pragma': {'doc-required': 'x', 'bogus': true, "
                      "'command-name-exceptions': 'x'}}"),
            "s.json:1:29: error: pragma 'doc-required' needs true or false\n"
            "s.json:1:34: error: unknown pragma 'bogus'\n"
            "s.json:1:76: error: pragma 'command-name-exceptions' needs a list of strings\n");
  EXPECT_EQ(errors_of("{'pragma': {}, 'x': 'y'}"),
            "s.json:1:16: error: 'pragma' stands alone, without 'x'\n");
}

class Includes : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "qapicXXXXXX";
    ASSERT_TRUE(mkdtemp(name.data()));
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  // Parses a.json; what is said has no folder before the files' names.
  ParsedSchema parse() {
    Diagnostics diagnostics;
    const SourceFile* top = sources_.load((folder_ / "a.json").string()).value();
    ParsedSchema parsed = parse_schema(sources_, *top, Dialect::kToday, diagnostics);
    said_ = diagnostics.print();
    const std::string prefix = folder_.string() + "/";
    for (size_t at; (at = said_.find(prefix)) != std::string::npos;) said_.erase(at, prefix.size());
    return parsed;
  }

  std::filesystem::path folder_;
  SourceManager sources_;
  std::string said_;
};

TEST_F(Includes, ReadAFileOnce) {
  write("a.json", "{'include': 'sub/b.json'} {'include': 'c.json'} {'a': 'a'}");
  write("sub/b.json", "{'include': '../c.json'} {'b': 'b'}");
  write("c.json", "{'c': 'c'}");
  const ParsedSchema parsed = parse();
  EXPECT_EQ(said_, "");
  ASSERT_EQ(parsed.files.size(), 3u);
  EXPECT_EQ(parsed.files[1]->module, "b");
  ASSERT_EQ(parsed.definitions.size(), 3u);
  EXPECT_TRUE(parsed.definitions[0].node.member("c"));
  EXPECT_TRUE(parsed.definitions[2].node.member("a"));
}

TEST_F(Includes, RefuseCycles) {
  write("a.json", "{'include': 'b.json'}");
  write("b.json", "\n {'include': 'a.json'}");
  parse();
  EXPECT_EQ(said_,
            "b.json:2:14: error: 'a.json' includes itself\n"
            "a.json:1:13: note: by way of this include\n");
  write("a.json", "{'include': 'a.json'}");
  sources_ = {};
  parse();
  EXPECT_EQ(said_, "a.json:1:13: error: 'a.json' includes itself\n");
}

TEST_F(Includes, NameTheMissingFile) {
  write("a.json", "{'include': 'missing.json'} {'include': ['x']}");
  parse();
  EXPECT_EQ(said_,
            "a.json:1:13: error: cannot read 'missing.json': No such file or directory\n"
            "a.json:1:41: error: 'include' needs a file name\n");
}

TEST(Doc, HasItsParts) {
  SourceManager sources;
  Diagnostics diagnostics;
  const SourceFile* file =
      sources.add("s.json",
                  "##\n# = Free text\n##\n\n"
                  "##\n# @thing-add:\n#\n# Adds a thing.\n#\n"
                  "# @name: its name,\n#     whatever that is\n#\n"
                  "# @size: its size\n#\n# Features:\n#\n# @new: it is new\n#\n"
                  "# Returns: - one\n#          - two\n#\n# Since: 1.0\n##\n"
                  "{'command': 'thing-add'}\n");
  const ParsedSchema parsed = parse_schema(sources, *file, Dialect::kToday, diagnostics);
  EXPECT_EQ(diagnostics.print(), "");
  ASSERT_EQ(parsed.free_docs.size(), 1u);
  EXPECT_EQ(parsed.free_docs[0].doc.body, "= Free text");
  ASSERT_TRUE(parsed.definitions.at(0).doc);
  const Doc& doc = *parsed.definitions[0].doc;
  EXPECT_EQ(doc.symbol, "thing-add");
  EXPECT_EQ(doc.body, "Adds a thing.");
  ASSERT_EQ(doc.members.size(), 2u);
  EXPECT_EQ(doc.member("name")->text, "its name,\nwhatever that is");
  EXPECT_EQ(doc.member("size")->text, "its size");
  EXPECT_EQ(doc.feature("new")->text, "it is new");
  EXPECT_EQ(doc.section("Returns")->text, "- one\n- two");
  EXPECT_EQ(doc.section("Since")->text, "1.0");
}

TEST(Doc, KeepsTextBehindItsParts) {
  SourceManager sources;
  Diagnostics diagnostics;
  const SourceFile* file =
      sources.add("s.json",
                  "##\n# @thing-add:\n#\n# @name: its name\n#\n# More about it.\n#\n"
                  "# Example:\n#\n# -> { }\n#\n# <- { }\n#\n"
                  "# Since: 1.0\n#\n# .. note:: So it is.\n#\n#    Really.\n##\n"
                  "{'command': 'thing-add'}\n"
                  "##\n# = Last\n##\n");
  const ParsedSchema parsed = parse_schema(sources, *file, Dialect::kToday, diagnostics);
  EXPECT_EQ(diagnostics.print(), "");
  const Doc& doc = *parsed.definitions.at(0).doc;
  EXPECT_EQ(doc.member("name")->text, "its name");
  ASSERT_EQ(doc.sections.size(), 4u);
  EXPECT_EQ(doc.sections[0].name, "");
  EXPECT_EQ(doc.sections[0].text, "More about it.");
  EXPECT_EQ(doc.sections[1].text, "-> { }\n\n<- { }");
  EXPECT_EQ(doc.section("Since")->text, "1.0");
  EXPECT_EQ(doc.sections[3].text, ".. note:: So it is.\n\n   Really.");
  ASSERT_EQ(parsed.free_docs.size(), 1u);
  EXPECT_EQ(parsed.free_docs[0].before, 1u);
}

}  // namespace
}  // namespace firn::qapi
