#include "base/json.h"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>
#include <limits>
#include <string>
#include <vector>

namespace firn::base {
namespace {

// Every value and error of a stream, printed; errors by their text.
std::vector<std::string> read_all(std::string_view stream, size_t piece_bytes,
                                  JsonParser::Limits limits = {}) {
  JsonParser parser(limits);
  std::vector<std::string> out;
  const auto keep = [&](const Result<JsonValue>& value) {
    out.push_back(value ? print_json(*value) : value.error().text());
  };
  while (!stream.empty()) {
    std::string piece(stream.substr(0, piece_bytes));
    stream.remove_prefix(piece.size());
    std::string_view rest = piece;
    while (auto value = parser.next(rest)) keep(*value);
    EXPECT_TRUE(rest.empty());
  }
  while (auto value = parser.finish()) keep(*value);
  return out;
}

std::vector<std::string> expect_same_in_pieces(std::string_view stream) {
  std::vector<std::string> whole = read_all(stream, stream.size());
  for (size_t bytes : {1, 2, 3, 7}) EXPECT_EQ(read_all(stream, bytes), whole) << stream;
  return whole;
}

struct Case {
  std::string_view input;
  std::vector<std::string> output;
};

// What qemu-storage-daemon 7.2 says to the same lines.
TEST(JsonParser, SaysWhatQemuSays) {
  const std::string p = "JSON parse error, ";
  const Case cases[] = {
      {"{\"execute\": \"x\",\"x\":1,\"x\":2}\n", {p + "duplicate key"}},
      {"{\"a\" 1}\n", {p + "missing : in object pair"}},
      {"{1:2}\n", {p + "key is not a string in object"}},
      {"{\"a\":}\n", {p + "expecting value"}},
      {"{\"a\":1 2}\n", {p + "expected separator in dict"}},
      {"[1 2]\n", {p + "expected separator in list"}},
      {"[1,]\n", {p + "expecting value"}},
      {"nul\n", {p + "invalid keyword 'nul'"}},
      {"{\"a\":\"\\q\"}\n", {p + "invalid escape sequence in string"}},
      {"{\"a\":\"\\u12g4\"}\n", {p + "\\u12g4 is not a valid Unicode character"}},
      {"{\"a\":\"\\ud800\"}\n", {p + "\\ud800 is not a valid Unicode character"}},
      {"{\"a\":\"\xff\"}\n", {p + "stray '\"\xff'", p + "expecting value"}},
      {"Bla {\"a\":1}\n", {p + "stray 'B'", "{\"a\": 1}"}},
      {"@ \"foo\" \n", {p + "stray '@'"}},
      {"\"foo\n1 ", {p + "stray '\"foo\n'"}},
      {"\"foo\n\n1\n", {p + "stray '\"foo\n'", "1"}},
      {"01\n", {p + "stray '01'"}},
      {"0e5\n", {"0", p + "invalid keyword 'e'", "5"}},
      {"}\n", {p + "expecting value"}},
      {"{]}\n", {p + "expecting value", p + "expecting value"}},
      {"%d\n", {p + "stray '%'"}},
      {"\xff\xff", {p + "stray '\xff'", p + "stray '\xff'"}},
      {"\"\\udbff\\udfff\"", {p + "\\udbff\\udfff is not a valid Unicode character"}},
      {std::string_view("-\0 ", 3), {p + "stray '-'"}},
      {"\"\\ufffe\"", {p + "\\ufffe is not a valid Unicode character"}},
      {"\"\xef\xbf\xbe\"", {p + "invalid UTF-8 sequence in string"}},
      {"-\n", {p + "stray '-\n'"}},
      {"{\"a\":tru}", {p + "invalid keyword 'tru'"}},
  };
  for (const Case& c : cases) EXPECT_EQ(expect_same_in_pieces(c.input), c.output) << c.input;
}

TEST(JsonParser, KeyErrorsNameTheKeyFirst) {
  EXPECT_EQ(read_all("{true false}", 99),
            (std::vector<std::string>{"JSON parse error, key is not a string in object"}));
}

TEST(JsonParser, TakesQuotesAndEscapesOfBothKinds) {
  EXPECT_EQ(expect_same_in_pieces("{'execute':'a\\'b\"', \"x\": \"it's\\/\\b\\f\\n\\r\\t\\\\\"}"),
            (std::vector<std::string>{
                "{\"execute\": \"a'b\\\"\", \"x\": \"it's/\\b\\f\\n\\r\\t\\\\\"}"}));
}

TEST(JsonParser, KeepsIntegersExact) {
  JsonValue value = parse_json(
                        "[9223372036854775807, -9223372036854775808, 9223372036854775808, "
                        "18446744073709551615, 18446744073709551616, -0, 1.0]")
                        .value();
  const boost::json::array& list = value.get_array();
  EXPECT_EQ(list[0].get_int64(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(list[1].get_int64(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(list[2].get_uint64(), uint64_t{1} << 63);
  EXPECT_EQ(list[3].get_uint64(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(list[4].get_double(), 18446744073709551616.0);
  EXPECT_EQ(list[5].get_int64(), 0);
  EXPECT_TRUE(list[6].is_double());
  EXPECT_EQ(print_json(value),
            "[9223372036854775807, -9223372036854775808, 9223372036854775808, "
            "18446744073709551615, 1.8446744073709552e+19, 0, 1]");
  EXPECT_EQ(print_json(parse_json("[1e400, -1e400, 1e-400]").value()), "[1e999, -1e999, 0]");
}

TEST(JsonParser, PrintsAsciiOnly) {
  EXPECT_EQ(read_all("\"a\\u00e9\\u0001\\ud83d\\ude00\\u007f\\u0000 \xc3\xa9\"", 99),
            (std::vector<std::string>{"\"a\\u00E9\\u0001\\uD83D\\uDE00\\u007F\\u0000 \\u00E9\""}));
  std::string out;
  append_json_string(out, std::string_view("\xff\0\xc3", 3));
  EXPECT_EQ(out, "\"\\uFFFD\\u0000\\uFFFD\"");
}

TEST(JsonParser, KeepsZeroBytesOutOfStrings) {
  JsonValue value = parse_json("\"a\\u0000b\"").value();
  EXPECT_EQ(std::string_view(value.get_string()),
            "a\xc0\x80"
            "b");
}

TEST(JsonParser, ValuesFollowEachOther) {
  EXPECT_EQ(expect_same_in_pieces("{}[]1 2{\"a\":[1,{}]}'x''y'"),
            (std::vector<std::string>{"{}", "[]", "1", "2", "{\"a\": [1, {}]}", "\"x\"", "\"y\""}));
}

TEST(JsonParser, EndOfStreamBreaksAValueOff) {
  EXPECT_EQ(read_all("{\"a\":", 99), (std::vector<std::string>{"JSON parse error, premature EOI"}));
  EXPECT_EQ(read_all("12", 99), (std::vector<std::string>{"12"}));
  EXPECT_EQ(read_all("  \n", 99), std::vector<std::string>{});
}

TEST(JsonParser, HoldsItsLimits) {
  std::string deep = std::string(1024, '[') + std::string(1024, ']');
  EXPECT_TRUE(parse_json(deep));
  EXPECT_EQ(read_all(std::string(1025, '[') + "\n", 100),
            (std::vector<std::string>{"JSON nesting depth limit exceeded"}));
  EXPECT_EQ(read_all("[1,2,3]7 ", 100, {.tokens = 5}),
            (std::vector<std::string>{"JSON token count limit exceeded",
                                      "JSON parse error, expecting value", "7"}));
  EXPECT_EQ(read_all("\"0123456789abcdef\" ", 3, {.token_bytes = 8}).front(),
            "JSON token size limit exceeded");
  EXPECT_EQ(read_all("[123,456,7890]", 3, {.token_bytes = 8}).front(),
            "JSON token size limit exceeded");
}

TEST(JsonParser, ParseJsonTakesOneValue) {
  EXPECT_TRUE(parse_json(" {} "));
  EXPECT_FALSE(parse_json(""));
  EXPECT_FALSE(parse_json("{} {}"));
  EXPECT_FALSE(parse_json("{}\xff"));
}

TEST(JsonPrinter, PrettyIsQemus) {
  JsonValue value = parse_json("{'return': {}, 'id': [], 'x': {'a': [1, 'b']}}").value();
  EXPECT_EQ(print_json(value, JsonStyle::kPretty),
            "{\n"
            "    \"return\": {\n"
            "    },\n"
            "    \"id\": [\n"
            "    ],\n"
            "    \"x\": {\n"
            "        \"a\": [\n"
            "            1,\n"
            "            \"b\"\n"
            "        ]\n"
            "    }\n"
            "}");
  EXPECT_EQ(print_json(value), "{\"return\": {}, \"id\": [], \"x\": {\"a\": [1, \"b\"]}}");
}

}  // namespace
}  // namespace firn::base
