#include "cli/completion.h"

#include <gtest/gtest.h>

#include <array>
#include <boost/json/value.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "cli/live_schema_test_data.h"
#include "cli/result_text.h"
#include "cli/schema_text.h"

namespace firn::cli {
namespace {

constexpr std::array<ShellVerb, 2> kVerbs = {
    {{"help", "help [NAME]", "explain"}, {"exit", "exit", "leave"}}};

class CompletionTest : public testing::Test {
 protected:
  // What stands before the bar is typed. "from: candidate, candidate+suffix"; the kind of names.
  std::string plan(std::string_view with_bar) {
    const size_t cursor = with_bar.find('|');
    const std::string line(with_bar.substr(0, cursor));
    CompletionPlan found = plan_completion(schema_, kVerbs, line, line.size());
    names_ = found.names;
    typed_ = found.typed;
    std::string text = std::to_string(found.completion.from) + ":";
    for (const auto& candidate : found.completion.candidates) {
      text += " " + candidate.text + (candidate.suffix == " " ? "_" : candidate.suffix);
    }
    return text;
  }
  std::string hint(const std::string& line) { return hint_for(schema_, kVerbs, line, line.size()); }

  LiveSchema schema_ = test_schema();
  NameKind names_ = NameKind::kNone;
  std::string typed_;
};

TEST_F(CompletionTest, Commands) {
  EXPECT_EQ("0: block-export-del_ block_resize_ blockdev-add_", plan("blo|"));
  EXPECT_EQ("1: help_", plan(" he|"));
  EXPECT_EQ("5: query-block_", plan("help que|"));
  EXPECT_EQ("0: block-export-del_", plan("block_exp|"));
  EXPECT_EQ("8:", plan("no-such a|"));
}

TEST_F(CompletionTest, ArgumentNames) {
  EXPECT_EQ("13: size= device= node-name=", plan("block_resize |"));
  EXPECT_EQ("13: node-name=", plan("block_resize node_|"));
  EXPECT_EQ("24: size= node-name=", plan("block_resize device=vda |"));
  EXPECT_EQ("13: --size_ --device_ --node-name_", plan("block_resize --|"));
  EXPECT_EQ("22: opts.format= opts.size= opts.lazy=",
            plan("snapshot device=d mode opts.|").replace(0, 2, "22"));
  EXPECT_EQ("9: opts.", plan("snapshot op|"));
  EXPECT_EQ("9: nodes.0.", plan("snapshot no|"));
  EXPECT_EQ("9: nodes.0.format=", plan("snapshot nodes.0.fo|"));
  EXPECT_EQ("9: --opts.lazy_", plan("snapshot --opts.la|"));
}

TEST_F(CompletionTest, BranchesFollowTheTag) {
  EXPECT_EQ("13: driver= node-name=", plan("blockdev-add |"));
  EXPECT_EQ("25: filename= node-name= read-only=", plan("blockdev-add driver=file |"));
  EXPECT_EQ("26: file= node-name=", plan("blockdev-add driver=qcow2 |"));
  EXPECT_EQ("43: file.filename=", plan("blockdev-add driver=qcow2 file.driver=file file.fil|"));
}

TEST_F(CompletionTest, Values) {
  EXPECT_EQ("20: file_ qcow2_ null-co_", plan("blockdev-add driver=|"));
  EXPECT_EQ("22: qcow2_", plan("blockdev-add --driver q|"));
  EXPECT_EQ("15: on_ off_", plan("snapshot force=|"));
  EXPECT_EQ("15: off_", plan("snapshot force=of|"));
  plan("block_resize device=v|");
  EXPECT_EQ(NameKind::kDevice, names_);
  EXPECT_EQ("v", typed_);
  plan("block_resize --node-name |");
  EXPECT_EQ(NameKind::kNode, names_);
  plan("block-export-del id=|");
  EXPECT_EQ(NameKind::kExport, names_);
  plan("blockdev-add driver=file node-name=|");
  EXPECT_EQ(NameKind::kNone, names_);
  plan("snapshot snapshot-file=/tmp/|");
  EXPECT_EQ(NameKind::kFile, names_);
}

TEST_F(CompletionTest, NamesAreQuotedWhereTheyMustBe) {
  CompletionPlan found = plan_completion(schema_, kVerbs, "block_resize device=\"a", 22);
  EXPECT_EQ(20u, found.completion.from);
  add_names(found, {"a b", "ac", "x"});
  ASSERT_EQ(2u, found.completion.candidates.size());
  EXPECT_EQ("\"a b\"", found.completion.candidates[0].text);
  EXPECT_EQ("ac", found.completion.candidates[1].text);
}

TEST_F(CompletionTest, FilesAreAbsolute) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(testing::TempDir()) / "firn-completion";
  fs::create_directories(folder / "sub");
  std::ofstream(folder / "disk.qcow2").put('x');
  std::ofstream(folder / ".hidden").put('x');
  const auto files = [&](const std::string& typed) {
    const std::string line = "snapshot snapshot-file=" + typed;
    CompletionPlan found = plan_completion(schema_, kVerbs, line, line.size());
    add_files(found);
    std::string text;
    for (const auto& each : found.completion.candidates) text += each.text + each.suffix + ";";
    return text;
  };
  EXPECT_EQ((folder / "disk.qcow2").string() + " ;" + (folder / "sub").string() + "/;",
            files(folder.string() + "/"));
  const fs::path before = fs::current_path();
  fs::current_path(folder);
  EXPECT_EQ((folder / "disk.qcow2").string() + " ;", files("di"));
  fs::current_path(before);
  EXPECT_EQ("", files("/no/such/folder/"));
  fs::remove_all(folder);
}

TEST_F(CompletionTest, Hints) {
  EXPECT_EQ("", hint("blo"));
  EXPECT_EQ("no command 'xyzzy'", hint("xyzzy"));
  EXPECT_EQ("no command 'blockresize': Did you mean 'block_resize'?", hint("blockresize device"));
  EXPECT_EQ("size=int [device=str] [node-name=str]", hint("block_resize "));
  EXPECT_EQ("[device=str]", hint("block_resize size=1 dev"));
  EXPECT_EQ("size: int", hint("block_resize size="));
  EXPECT_EQ("mode: one of 'existing', 'absolute-paths', optional", hint("snapshot mode="));
  EXPECT_EQ("no argument 'foo'", hint("snapshot foo"));
  EXPECT_EQ("no argument 'foo'", hint("snapshot foo=1"));
  EXPECT_EQ("driver=file|qcow2|null-co [node-name=str]", hint("blockdev-add "));
  EXPECT_EQ("exit leave", hint("exit "));
  EXPECT_EQ("", hint("query-block "));
}

TEST_F(CompletionTest, NamesInAnswers) {
  const auto names = [](NameKind kind, std::string_view text) {
    return names_in(kind, *base::parse_json(text));
  };
  EXPECT_EQ((std::vector<std::string>{"a", "b"}),
            names(NameKind::kNode, "[{'node-name': 'b'}, {'node-name': 'a'}, {'x': 1}, 7]"));
  EXPECT_EQ(std::vector<std::string>{"vda"},
            names(NameKind::kDevice, "[{'device': 'vda'}, {'device': ''}]"));
  EXPECT_EQ(std::vector<std::string>{"o"}, names(NameKind::kObject,
                                                 "[{'name': 'o', 'type': 'child<secret>'}, "
                                                 "{'name': 'type', 'type': 'string'}]"));
}

TEST_F(CompletionTest, HelpShowsShapes) {
  EXPECT_EQ(
      "block_resize\n\narguments:\n  device     string, optional\n  node-name  string, optional\n"
      "  size       int\n",
      command_text(*schema_.command("block_resize")));
  const std::string text = command_text(*schema_.command("blockdev-add"));
  EXPECT_NE(std::string::npos, text.find("more with driver= file, qcow2")) << text;
  const std::vector<std::string> words = {"blockdev-add", "driver=qcow2", "file.driver=file"};
  const std::string opened = command_text(*schema_.command("blockdev-add"), words);
  EXPECT_NE(std::string::npos, opened.find("file.filename")) << opened;
  EXPECT_EQ("query-block\n\nNo arguments.\n\nreturns: list of string\n",
            command_text(*schema_.command("query-block")));
  EXPECT_NE(std::string::npos, event_text(*schema_.event("JOB_DONE")).find("id  string"));
}

TEST(SchemaDocs, SaysWhatTheSchemaSays) {
  const SchemaDocs& docs = SchemaDocs::own();
  EXPECT_NE("", docs.command("blockdev-snapshot-sync"));
  EXPECT_NE("", docs.argument("blockdev-snapshot-sync", "snapshot-file"));
  EXPECT_NE("", docs.argument("blockdev-add", "filename"));  // of a branch
  EXPECT_EQ(docs.argument("blockdev-add", "filename"),
            docs.argument("blockdev-add", "file.filename"));
  EXPECT_EQ("", docs.argument("blockdev-add", "no-such"));
  EXPECT_NE("", docs.event("BLOCK_EXPORT_DELETED"));
  EXPECT_NE("", docs.event_member("BLOCK_EXPORT_DELETED", "id"));
  EXPECT_EQ("", SchemaDocs(base::JsonValue(7)).command("quit"));
}

TEST(SchemaDocs, LinesAndSentences) {
  EXPECT_EQ("One thing, v1.5", first_sentence("One thing,\nv1.5. Another."));
  EXPECT_EQ("No stop", first_sentence("No stop\n\nMore."));
  EXPECT_EQ("  aa bb\n  cc\n\n  dd\n", wrapped("aa bb cc\n\ndd", 2, 8));
  EXPECT_EQ("", wrapped("", 2, 8));
}

TEST(ResultText, TablesTextsAndJson) {
  const auto text = [](std::string_view json) {
    return result_text(*base::parse_json(json), {.width = 40});
  };
  EXPECT_EQ("", text("{}"));
  EXPECT_EQ("a\nb\n", text("\"a\\r\\nb\""));
  EXPECT_EQ("name   size  ok\nvda    5\nsda雪  17    true\n",
            text("[{'name': 'vda', 'size': 5}, {'name': 'sda雪', 'size': 17, 'ok': true}]"));
  EXPECT_EQ("{\n  \"a\": [1, 2],\n  \"b\": {}\n}\n", text("{'a': [1, 2], 'b': {}}"));
  EXPECT_EQ("[\n  {\n    \"a\": {\n      \"b\": 1\n    }\n  }\n]\n", text("[{'a': {'b': 1}}]"));
  EXPECT_EQ(std::string::npos, text("{'a': '\\u001b[2J', '\\u001b': 1}").find('\x1b'));
  EXPECT_EQ(std::string::npos, text("[{'a': '\\u001b[2J'}]").find('\x1b'));
}

TEST(ResultText, EventsAndErrors) {
  const auto event = *base::parse_json(
      "{'event': 'JOB_DONE', 'data': {'id': 'j', 'n': [1]}, "
      "'timestamp': {'seconds': 0, 'microseconds': 5000}}");
  const std::string line = event_line(event.get_object(), {});
  EXPECT_TRUE(line.ends_with(".005 JOB_DONE id=j n=[1]\n")) << line;
  const base::Error error = base::Error(base::ErrorKind::kGeneric, "no").with_hint("try this");
  EXPECT_EQ("error: no\ntry this\n", error_text(error, "GenericError", {}));
  EXPECT_EQ("error: no (DeviceNotFound)\ntry this\n", error_text(error, "DeviceNotFound", {}));
  EXPECT_EQ("     ^^\n", pointer_line("a bc", 2, 4, 3, {}));
  EXPECT_EQ("", pointer_line("a bc", 2, 4, 3, {.width = 6}));
}

}  // namespace
}  // namespace firn::cli
