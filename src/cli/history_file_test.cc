#include "cli/history_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/json/value.hpp>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "cli/live_schema_test_data.h"
#include "cli/shell_line.h"

namespace firn::cli {
namespace {

namespace fs = std::filesystem;

TEST(HistoryFile, KeepsLinesForItsOwnerAlone) {
  const fs::path folder = fs::path(testing::TempDir()) / "firn-history-test";
  fs::remove_all(folder);
  HistoryFile file(folder / "deep" / "history");
  EXPECT_TRUE(file.load().empty());
  file.append("one");
  file.append("two");
  EXPECT_EQ((std::vector<std::string>{"one", "two"}), file.load());
  struct stat stat{};
  ASSERT_EQ(0, ::stat((folder / "deep" / "history").c_str(), &stat));
  EXPECT_EQ(0600u, stat.st_mode & 0777u);
  {
    std::ofstream many(folder / "deep" / "history");
    for (size_t i = 0; i <= 2 * HistoryFile::kMaxLines; ++i) many << i << '\n';
  }
  EXPECT_EQ(HistoryFile::kMaxLines, file.load().size());
  EXPECT_EQ("2000", file.load().back());
  size_t left = 0;
  std::ifstream cut(folder / "deep" / "history");
  for (std::string line; std::getline(cut, line);) ++left;
  EXPECT_EQ(HistoryFile::kMaxLines, left);
  fs::remove_all(folder);
  HistoryFile none("");
  none.append("x");
  EXPECT_TRUE(none.load().empty());
}

TEST(HistoryFile, SecretsAreToldByTheirNames) {
  for (std::string_view line :
       {"x password=hunter2", "x --password hunter2", "x opts.passphrase=a", "object-add data=x",
        "object-add qom-type=secret id=s --data x", "x {'a': {'secret': 'b'}}",
        "x opts={\"password\": \"a\"}", "x {'broken",
        "{'execute': 'object-add', 'arguments': {'data': 'x'}}", "x old_passwd=1",
        "ringbuf-write device=r data=x", "ringbuf-write --device r --data x",
        "human-monitor-command command-line=\"ringbuf_write r x\"",
        "blockdev-add filename=https://u:p@h/x", "{'filename': 'https://u:p@h/x'}"}) {
    EXPECT_TRUE(looks_secret(line)) << line;
  }
  for (std::string_view line : {"query-block", "blockdev-add encrypt.key-secret=s0 driver=qcow2",
                                "x data=5", "x {'a': 1}", "", "snapshot device=password"}) {
    EXPECT_FALSE(looks_secret(line)) << line;
  }
}

class ShellLineTest : public testing::Test {
 protected:
  std::string read(std::string_view line) {
    wrong_ = "";
    std::optional<Span> wrong;
    const auto read = read_shell_line(&schema_, line, wrong);
    if (wrong) wrong_ = line.substr(wrong->begin, wrong->end - wrong->begin);
    if (!read) return "error: " + read.error().text();
    if (read->kind == ShellLine::Kind::kNothing) return "nothing";
    return (read->kind == ShellLine::Kind::kVerb ? "verb " : "command ") + read->name +
           base::print_json(boost::json::value(read->arguments));
  }

  LiveSchema schema_ = test_schema();
  std::string wrong_;
};

TEST_F(ShellLineTest, ReadsCommandsVerbsAndJson) {
  EXPECT_EQ("nothing", read("  "));
  EXPECT_EQ("nothing", read("# block_resize"));
  EXPECT_EQ("verb exit{}", read("exit"));
  EXPECT_EQ("command block_resize{\"size\": 1024}", read("block_resize size=1k"));
  EXPECT_EQ("command any{\"a\": 1}", read("{'execute': 'any', 'arguments': {'a': 1}}"));
  EXPECT_EQ("error: The JSON is no QMP command", read("{'a': 1}"));
  EXPECT_EQ("error: A quote or a bracket is not closed", read("block_resize 'x"));
  EXPECT_EQ("'x", wrong_);
  EXPECT_EQ("error: There is no command 'blockresize'", read(" blockresize x=1"));
  EXPECT_EQ("blockresize", wrong_);
  EXPECT_EQ("error: 'size' takes an integer, such as 65536, 0x10000 or 64k, not 'a b'",
            read("block_resize --size 'a b'"));
  EXPECT_EQ("--size", wrong_);
}

TEST_F(ShellLineTest, FindsTheWordThatAServersErrorNames) {
  const std::string line = "block_resize device=vda --size 5";
  const auto word = [&](std::string_view error) {
    const auto span = find_named_word(line, error);
    return span ? line.substr(span->begin, span->end - span->begin) : std::string();
  };
  EXPECT_EQ("device=vda", word("Cannot find device='vda' nor node-name=''"));
  EXPECT_EQ("--size", word("Parameter 'size' is too small"));
  EXPECT_EQ("", word("Something else isn't right"));
  EXPECT_EQ("", word(""));
}

}  // namespace
}  // namespace firn::cli
