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

// What is refused, and with which words, is in compiler_refused_test.cc.

TEST(Parser, TakesCommentsAndSpaceAnywhere) {
  EXPECT_EQ(errors_of("{'a': 'b', # a comment\n 'c': ['d', true]}\n# another\n"), "");
  EXPECT_EQ(errors_of("#\n{#\n'a'#\n:#\n[#\n]#\n}#"), "");
  EXPECT_EQ(errors_of(" {\r\n'a'\f:\v'b'\r}\xC2\xA0{}"), "");
  EXPECT_EQ(errors_of(""), "");
  EXPECT_EQ(errors_of("\n\n"), "");
  EXPECT_EQ(errors_of("#"), "");
}

TEST(Parser, GoesOnWithTheNextDefinition) {
  EXPECT_EQ(errors_of("{'a'\n{'b': 'c'}\n{'d' 'e'}\n##\n# @x:\n"),
            "s.json:2:1: error: expected ':', not '{'\n"
            "s.json:3:6: error: expected ':', not string 'e'\n"
            "s.json:5:6: error: this documentation has to end with a line '##'\n");
}

TEST(Parser, RefusesWhatIsNoText) {
  EXPECT_EQ(errors_of("{'a': 'b'}\n# caf\xE9\n"), "s.json:2:6: error: byte 0xe9 is no UTF-8\n");
  for (const char* bad : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\xFF"}) {
    EXPECT_NE(errors_of(std::string("# ") + bad + "\n"), "") << bad;
  }
  EXPECT_EQ(errors_of("# \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBE\n"), "");
  EXPECT_EQ(errors_of(std::string("# a\0b\n", 6)), "");
  EXPECT_EQ(errors_of(std::string("{'a\0': 'b'}", 11)),
            "s.json:1:4: error: byte 0x00 in a string\n");
}

// Nothing here may take long, or a deep stack.
TEST(Parser, TakesHostileText) {
  const size_t many = 50'000;
  std::string text;
  for (size_t i = 0; i < many; ++i) text += "{'a': ";
  EXPECT_NE(errors_of(text), "");
  EXPECT_NE(errors_of(std::string(many, '[')), "");
  text = "{'a': 'b'";
  for (size_t i = 0; i < many; ++i) text += ", 'a" + std::to_string(i) + "': 'b'";
  EXPECT_EQ(errors_of(text + "}"), "");
  text.clear();
  for (size_t i = 0; i < many; ++i) text += "{'a' 'b'}\n";
  EXPECT_NE(errors_of(text), "");
  text = "##\n# @a:\n#\n";
  for (size_t i = 0; i < many; ++i) text += "# @a" + std::to_string(i) + ": b\n";
  EXPECT_EQ(errors_of(text + "##\n{'a': 'b'}"), "");
  text.clear();
  for (size_t i = 0; i < many; ++i) text += "##\n";
  EXPECT_EQ(errors_of(text), "");
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
            "a.json:1:1: note: by way of this include\n");
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
            "a.json:1:41: error: 'include' needs a file's name\n");
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
                  "# .. qmp-example::\n#\n#   -> { }\n#\n# Returns:\n#   @name:\n#\n"
                  "# Since: 1.0\n#\n# .. note:: So it is.\n#\n#    Really.\n#\n"
                  "# TO"
                  "DO: finish\n##\n"
                  "{'command': 'thing-add'}\n"
                  "##\n# = Last\n##\n");
  const ParsedSchema parsed = parse_schema(sources, *file, Dialect::kToday, diagnostics);
  EXPECT_EQ(diagnostics.print(), "");
  const Doc& doc = *parsed.definitions.at(0).doc;
  EXPECT_EQ(doc.member("name")->text, "its name");
  ASSERT_EQ(doc.sections.size(), 5u);
  EXPECT_EQ(doc.sections[0].name, "");
  EXPECT_EQ(doc.sections[0].text, "More about it.\n\n.. qmp-example::\n\n  -> { }");
  EXPECT_EQ(doc.section("Returns")->text, "@name:");
  EXPECT_EQ(doc.section("Since")->text, "1.0");
  EXPECT_EQ(doc.sections[3].text, ".. note:: So it is.\n\n   Really.");
  EXPECT_EQ(doc.sections[4].text, "finish");
  ASSERT_EQ(parsed.free_docs.size(), 1u);
  EXPECT_EQ(parsed.free_docs[0].before, 1u);
}

TEST(Doc, OfOlderSchemasHasItsPartsToo) {
  SourceManager sources;
  Diagnostics diagnostics;
  const SourceFile* file =
      sources.add("s.json",
                  "##\n# @thing-add:\n#\n# Adds a thing.\n#\n# @name: #optional its name\n"
                  "# @size: its size\n#\n# More about it.\n#\n# Returns: Nothing.\n"
                  "#          If not, an error.\n# Since: 2.4\n#\n"
                  "# Notes: 1. One.\n#\n# 2. Two.\n#\n"
                  "# Example:\n#\n# -> { }\n#\n# <- { }\n#\n"
                  "# Features:\n# @new: it is new\n# @name: again\n##\n"
                  "{'command': 'thing-add'}\n");
  const ParsedSchema parsed = parse_schema(sources, *file, Dialect::k2011, diagnostics);
  EXPECT_EQ(diagnostics.print(), "");
  const Doc& doc = *parsed.definitions.at(0).doc;
  EXPECT_EQ(doc.body, "Adds a thing.");
  EXPECT_EQ(doc.member("name")->text, "its name");
  EXPECT_TRUE(doc.member("name")->optional);
  EXPECT_EQ(doc.member("size")->text, "its size");
  ASSERT_EQ(doc.sections.size(), 5u);
  EXPECT_EQ(doc.sections[0].text, "More about it.");
  EXPECT_EQ(doc.section("Returns")->text, "Nothing.\nIf not, an error.");
  EXPECT_EQ(doc.section("Since")->text, "2.4");
  EXPECT_EQ(doc.section("Notes")->text, "1. One.\n\n2. Two.");
  EXPECT_EQ(doc.section("Example")->text, "-> { }\n\n<- { }");
  EXPECT_EQ(doc.feature("new")->text, "it is new");
}

}  // namespace
}  // namespace firn::qapi
