#include "qmp/message.h"

#include <gtest/gtest.h>

namespace firn::qmp {
namespace {

using base::parse_json;
using base::print_json;

std::string check(std::string_view text, bool oob_enabled = false) {
  auto request = check_request(*parse_json(text), oob_enabled);
  return request ? request->command + (request->out_of_band ? " oob" : "") : request.error().text();
}

TEST(CheckRequest, AnswersAsQemuDoes) {
  EXPECT_EQ(check("[]"), "QMP input must be a JSON object");
  EXPECT_EQ(check("5"), "QMP input must be a JSON object");
  EXPECT_EQ(check("{}"), "QMP input lacks member 'execute'");
  EXPECT_EQ(check("{'id': 2}"), "QMP input lacks member 'execute'");
  EXPECT_EQ(check("{'execute': 5}"), "QMP input member 'execute' must be a string");
  EXPECT_EQ(check("{'execute': 'a', 'arguments': 5}"),
            "QMP input member 'arguments' must be an object");
  EXPECT_EQ(check("{'execute': 'a', 'arguments': null}"),
            "QMP input member 'arguments' must be an object");
  EXPECT_EQ(check("{'execute': 'a', 'x': 1}"), "QMP input member 'x' is unexpected");
  EXPECT_EQ(check("{'execute': 'a', 'id': [1], 'arguments': {}}"), "a");
}

TEST(CheckRequest, KnowsOutOfBandOnlyWhereItIsAgreedOn) {
  EXPECT_EQ(check("{'exec-oob': 'a'}"), "QMP input member 'exec-oob' is unexpected");
  EXPECT_EQ(check("{'exec-oob': 'a'}", true), "a oob");
  EXPECT_EQ(check("{'exec-oob': 3}", true), "QMP input member 'exec-oob' must be a string");
  EXPECT_EQ(check("{'exec-oob': 'a', 'execute': 'a'}", true),
            "QMP input member 'execute' clashes with 'exec-oob'");
}

TEST(Messages, HaveQemusShape) {
  JsonValue id = *parse_json("{'a': [1, null]}");
  EXPECT_EQ(print_json(make_reply(*parse_json("{}"), id)),
            R"({"return": {}, "id": {"a": [1, null]}})");
  base::Error error =
      base::Error(base::ErrorKind::kDeviceNotFound, "gone").with_data("device", "x");
  EXPECT_EQ(print_json(make_error_reply(error, JsonValue(1), api::ErrorDialect::kQemu)),
            R"({"id": 1, "error": {"class": "GenericError", "desc": "gone"}})");
  EXPECT_EQ(print_json(make_error_reply(error, std::nullopt, api::ErrorDialect::kClasses)),
            R"({"error": {"class": "DeviceNotFound", "desc": "gone", "data": {"device": "x"}}})");
  EXPECT_EQ(print_json(make_event({{"event", "X"}}, 1'500'000'007)),
            R"({"timestamp": {"seconds": 1500, "microseconds": 7}, "event": "X"})");
  EXPECT_EQ(print_json(make_greeting(*parse_json("{'package': 'p'}"))),
            R"({"QMP": {"version": {"package": "p"}, "capabilities": ["oob"]}})");
}

}  // namespace
}  // namespace firn::qmp
