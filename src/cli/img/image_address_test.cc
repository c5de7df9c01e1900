#include "cli/img/image_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace firn::cli::img {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(Options, AreSplitAtCommasThatStandAlone) {
  EXPECT_THAT(split_options("a=1,b.c=x,,y,flag,d="),
              ElementsAre(Pair("a", "1"), Pair("b.c", "x,y"), Pair("flag", "on"), Pair("d", "")));
  EXPECT_THAT(split_options(""), ElementsAre());
  EXPECT_THAT(split_options("a=,,"), ElementsAre(Pair("a", ",")));
}

TEST(Options, MakeATreeByTheirDots) {
  const auto tree = options_tree("driver=qcow2,file.driver=file,file.filename=a.b");
  ASSERT_TRUE(tree);
  EXPECT_EQ(boost::json::serialize(*tree),
            R"({"driver":"qcow2","file":{"driver":"file","filename":"a.b"}})");
  EXPECT_FALSE(options_tree("file=x,file.filename=y"));
  EXPECT_FALSE(options_tree("file.filename=y,file=x"));
}

TEST(ShownName, IsThePlainNameWhereItSaysAll) {
  EXPECT_EQ(shown_name({.name = "file:a.raw"}), "a.raw");
  EXPECT_EQ(shown_name({.name = "driver=qcow2,file.filename=d/a.qcow2", .has_options = true}),
            "d/a.qcow2");
  EXPECT_EQ(shown_name({.name = "driver=raw,size=512,file.filename=a", .has_options = true}),
            R"(json:{"driver": "raw", "size": "512", "file": {"filename": "a"}})");
}

}  // namespace
}  // namespace firn::cli::img
