// What becomes of roles and secrets in generated code.
#include <gtest/gtest.h>

#include <boost/json/value.hpp>

#include "api/commands.h"
#include "base/json.h"

namespace firn::api {
namespace {

std::string loggable(std::string_view command, std::string_view arguments) {
  return base::print_json(find_command(command)->loggable(*base::parse_json(arguments)));
}

TEST(Roles, CommandsNameTheLowestRole) {
  EXPECT_EQ(find_command("look")->role, 0);
  EXPECT_EQ(find_command("build")->role, 1);
  EXPECT_EQ(find_command("tear-down")->role, 2) << "the highest one, where nothing is said";
  EXPECT_EQ(find_command("raw")->role, 2);
}

TEST(Secrets, AreHiddenAtAnyDepth) {
  EXPECT_EQ(loggable("build", R"({"locks": [{"kind": "key", "shape": "zigzag"}, {"kind": "latch"},
                                            {"kind": "code", "digits": "1234", "tries": 3}],
                                  "spare": {"kind": "key", "shape": "round"},
                                  "next": {"locks": [{"kind": "key", "shape": "zigzag"}]}})"),
            R"({"locks": [{"kind": "key", "shape": "***"}, {"kind": "latch"}, )"
            R"({"kind": "code", "digits": "***", "tries": 3}], )"
            R"("spare": {"kind": "key", "shape": "***"}, )"
            R"("next": {"locks": [{"kind": "key", "shape": "***"}]}})");
  EXPECT_EQ(loggable("build", R"({"locks": [{"kind": "code", "tries": 3}], "spare": "front"})"),
            R"({"locks": [{"kind": "code", "tries": 3}], "spare": "front"})");
}

TEST(Secrets, WhatIsNotUnderstoodIsNotLogged) {
  EXPECT_EQ(loggable("build", R"({"locks": [{"kind": "key", "shpe": "zigzag"}]})"), "null");
  EXPECT_EQ(loggable("look", R"({"password": "x"})"), "null");
  EXPECT_EQ(loggable("look", "{}"), "{}");
  EXPECT_EQ(loggable("raw", R"({"anything": "x"})"), "null");
}

}  // namespace
}  // namespace firn::api
