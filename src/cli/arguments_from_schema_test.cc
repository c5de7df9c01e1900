#include "cli/arguments_from_schema.h"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>

#include "base/json.h"
#include "cli/live_schema_test_data.h"
#include "cli/shell_words.h"

namespace firn::cli {
namespace {

class ArgumentsTest : public testing::Test {
 protected:
  // The arguments as JSON; or "error: text | hint", with the word that is wrong.
  std::string parse(std::string_view line) {
    std::vector<std::string> words;
    for (const ShellWord& word : split_words(line)) words.push_back(word.text);
    const LiveCommand* command = schema_.command(words.at(0));
    ArgumentParser parser(command);
    auto parsed = parser.parse(std::span(words).subspan(1));
    wrong_ = parser.wrong_word() ? words.at(*parser.wrong_word() + 1) : "";
    if (!parsed) {
      return "error: " + parsed.error().text() +
             (parsed.error().hint().empty() ? "" : " | " + parsed.error().hint());
    }
    return base::print_json(boost::json::value(*std::move(parsed)));
  }

  LiveSchema schema_ = test_schema();
  std::string wrong_;
};

TEST_F(ArgumentsTest, PairsFlagsAndJsonGiveTheSame) {
  const std::string expected = R"({"device": "vda", "size": 67108864})";
  EXPECT_EQ(expected, parse("block_resize device=vda size=64M"));
  EXPECT_EQ(expected, parse("block_resize --device vda --size 64M"));
  EXPECT_EQ(expected, parse("block_resize --device=vda --size=0x4000000"));
  EXPECT_EQ(expected, parse("block_resize {'device': 'vda'} size=67108864"));
  EXPECT_EQ(expected, parse("block_resize {\"device\": \"vda\", \"size\": 67108864}"));
}

TEST_F(ArgumentsTest, StringsStayStrings) {
  EXPECT_EQ(R"({"device": "123", "size": 1})", parse("block_resize device=123 size=1"));
  EXPECT_EQ(R"({"device": "true", "size": 1})", parse("block_resize device=true size=1"));
  EXPECT_EQ(R"({"device": "a b=c", "size": 1})", parse("block_resize device='a b=c' size=1"));
  EXPECT_EQ(R"({"device": "", "size": 1})", parse("block_resize device= size=1"));
}

TEST_F(ArgumentsTest, BooleansAndNumbers) {
  const std::string start = "snapshot --device d --snapshot_file f ";
  const std::string expected = R"({"device": "d", "snapshot-file": "f", )";
  EXPECT_EQ(expected + R"("force": true})", parse(start + "--force"));
  EXPECT_EQ(expected + R"("force": false})", parse(start + "--no-force"));
  EXPECT_EQ(expected + R"("force": false})", parse(start + "--force=off"));
  EXPECT_EQ(expected + R"("force": true})", parse(start + "force=yes"));
  EXPECT_EQ(expected + R"("rate": 0.5})", parse(start + "rate=0.5"));
  EXPECT_EQ("error: 'force' takes on or off, not 'maybe'", parse(start + "force=maybe"));
  EXPECT_EQ("error: 'size' takes an integer, such as 65536, 0x10000 or 64k, not 'big'",
            parse("block_resize device=d size=big"));
  EXPECT_EQ("size=big", wrong_);
  EXPECT_EQ(R"({"size": -5})", parse("block_resize size=-5"));
  EXPECT_EQ(R"({"size": -9223372036854775808})", parse("block_resize size=-9223372036854775808"));
  EXPECT_EQ(R"({"size": 18446744073709551615})", parse("block_resize size=18446744073709551615"));
  EXPECT_TRUE(parse("block_resize size=-9223372036854775809").starts_with("error:"));
}

TEST_F(ArgumentsTest, NestedMembersAndLists) {
  const std::string start = "snapshot device=d snapshot-file=f ";
  const std::string expected = R"({"device": "d", "snapshot-file": "f", )";
  EXPECT_EQ(expected + R"("opts": {"format": "luks", "lazy": true}})",
            parse(start + "--opts.format luks --opts.lazy"));
  EXPECT_EQ(expected + R"("opts": {"format": "luks", "lazy": false}})",
            parse(start + "--opts.format luks --opts.no-lazy"));
  EXPECT_EQ(expected + R"("tags": ["a", "b"]})", parse(start + "tags=a tags=b"));
  EXPECT_EQ(expected + R"("tags": ["a", "b"]})", parse(start + "--tags '[\"a\", \"b\"]'"));
  EXPECT_EQ(expected + R"("nodes": [{"format": "a"}, {"format": "b", "size": 1024}]})",
            parse(start + "nodes.0.format=a nodes.1.format=b nodes.1.size=1k"));
  EXPECT_EQ(expected + R"("nodes": [{"format": "a"}, {"format": "b"}]})",
            parse(start + "nodes={'format':'a'} nodes={'format':'b'}"));
  EXPECT_EQ(expected + R"("opts": {"format": "x"}})", parse(start + "opts={\"format\": \"x\"}"));
  EXPECT_EQ("error: 'nodes' has no element 0, but an element 1", parse(start + "nodes.1.format=a"));
  EXPECT_EQ("error: 'opts' is set both as a whole and by its members",
            parse(start + "opts={} opts.format=x"));
  EXPECT_EQ(
      "error: 'opts' takes object with format, [size], [lazy], not 'x' | Set its members one "
      "by one, opts.NAME=VALUE, or give JSON.",
      parse(start + "opts=x"));
  EXPECT_EQ("error: 'device' takes string and has no member 'x'",
            parse("snapshot device.x=1 snapshot-file=f"));
}

TEST_F(ArgumentsTest, UnionsAndAlternates) {
  EXPECT_EQ(R"({"driver": "qcow2", "file": {"driver": "file", "filename": "x"}})",
            parse("blockdev-add driver=qcow2 file.driver=file file.filename=x"));
  EXPECT_EQ(R"({"driver": "qcow2", "file": "node0"})",
            parse("blockdev-add driver=qcow2 file=node0"));
  EXPECT_EQ(R"({"file": "node0", "driver": "qcow2"})",
            parse("blockdev-add file=node0 --driver qcow2"));
  EXPECT_EQ("error: There is no argument 'filename' with driver=qcow2 | It belongs to driver=file.",
            parse("blockdev-add driver=qcow2 filename=x"));
  EXPECT_EQ("filename=x", wrong_);
  EXPECT_EQ("error: The argument 'file.filename' is missing | It takes string.",
            parse("blockdev-add driver=qcow2 file.driver=file"));
  const std::string start = "snapshot device=d snapshot-file=f ";
  EXPECT_TRUE(parse(start + "backing=null").ends_with(R"("backing": null})"));
  EXPECT_TRUE(parse(start + "backing=b").ends_with(R"("backing": "b"})"));
  EXPECT_TRUE(parse(start + "extra=[1,2]").ends_with(R"("extra": [1, 2]})"));
  EXPECT_TRUE(parse(start + "extra=word").ends_with(R"("extra": "word"})"));
}

TEST_F(ArgumentsTest, ErrorsNameTheArgumentAndWhatIsNear) {
  EXPECT_EQ("error: There is no argument 'devcie' | Did you mean 'device'?",
            parse("block_resize devcie=x size=1"));
  EXPECT_EQ("devcie=x", wrong_);
  EXPECT_EQ("error: There is no argument 'siez' | Did you mean 'size'?",
            parse("block_resize --siez 1"));
  EXPECT_EQ("--siez", wrong_);
  EXPECT_EQ("error: The argument 'size' is missing | It takes int.",
            parse("block_resize device=x"));
  EXPECT_EQ(
      "error: 'mode' takes one of 'existing', 'absolute-paths', not 'exsting' | Did you mean "
      "'existing'?",
      parse("snapshot device=d snapshot-file=f mode=exsting"));
  EXPECT_EQ("mode=exsting", wrong_);
  EXPECT_EQ(
      "error: 'mode' takes one of 'existing', 'absolute-paths', not \"exsting\" | Did you mean "
      "'existing'?",
      parse("snapshot {'device':'d','snapshot-file':'f','mode':'exsting'}"));
  EXPECT_EQ("error: 'size' is given more than once", parse("block_resize size=1 --size 2"));
  EXPECT_EQ("error: 'size' is not of the form key=value | Write size=VALUE.",
            parse("block_resize size 1"));
  EXPECT_EQ("error: '--size' needs a value", parse("block_resize --size"));
  EXPECT_EQ("error: The arguments are an object, {...}, not [1]", parse("block_resize [1]"));
  EXPECT_TRUE(parse("block_resize {'device'").starts_with("error: arguments: JSON parse error"));
  EXPECT_EQ("error: There is no argument 'opts.size2' | Did you mean 'size'?",
            parse("snapshot device=d snapshot-file=f opts.format=x opts.size2=1"));
  EXPECT_EQ("opts.size2=1", wrong_);
}

TEST_F(ArgumentsTest, SomeCommandsTakeMoreThanTheSchemaTells) {
  EXPECT_EQ(R"({"driver": "virtio-blk", "drive": "n0", "num-queues": 4})",
            parse("device_add driver=virtio-blk drive=n0 --num-queues 4"));
  EXPECT_EQ("error: The argument 'driver' is missing | It takes string.",
            parse("device_add drive=n0"));
}

TEST_F(ArgumentsTest, WithoutASchemaTypesAreGuessed) {
  const std::vector<std::string> words = {"a=1", "b.c=x", "--flag", "--name", "v", "d=[1]"};
  auto parsed = ArgumentParser(nullptr).parse(words);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(R"({"a": 1, "b": {"c": "x"}, "flag": true, "name": "v", "d": [1]})",
            base::print_json(boost::json::value(*parsed)));
}

TEST(ShellWords, QuotesAndJson) {
  const auto texts = [](std::string_view line) {
    std::vector<std::string> found;
    for (const ShellWord& word : split_words(line)) found.push_back(word.text);
    return found;
  };
  EXPECT_EQ((std::vector<std::string>{"a", "b c", "d\"e", "f'g"}),
            texts(" a 'b c'  d\\\"e \"f'g\" "));
  EXPECT_EQ((std::vector<std::string>{"x", "{\"a b\": [1, {\"}\": 2}]}", "y={ 'q': 1 }", "z"}),
            texts("x {\"a b\": [1, {\"}\": 2}]} y={ 'q': 1 } z"));
  EXPECT_TRUE(split_words("a 'b").back().open);
  EXPECT_TRUE(split_words("a {b").back().open);
  EXPECT_EQ(2u, split_words("a b")[1].begin);
  for (std::string_view text : {"plain", "with blank", "q\"uo'te\\", "{x", ""}) {
    EXPECT_EQ(std::vector<std::string>{std::string(text)}, texts(quote_word(text)));
  }
}

}  // namespace
}  // namespace firn::cli
