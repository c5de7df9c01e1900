#include "cli/live_schema.h"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>

#include "base/json.h"
#include "cli/live_schema_test_data.h"

namespace firn::cli {
namespace {

TEST(LiveSchema, FindsCommandsAndTheirTypes) {
  const LiveSchema schema = test_schema();
  const LiveCommand* resize = schema.command("block_resize");
  ASSERT_NE(nullptr, resize);
  ASSERT_EQ(3u, resize->arguments->members.size());
  EXPECT_EQ("size", resize->arguments->members[2].name);
  EXPECT_EQ(TypeKind::kInteger, resize->arguments->members[2].type->kind);
  EXPECT_FALSE(resize->arguments->members[2].optional);
  EXPECT_TRUE(resize->arguments->members[0].optional);
  EXPECT_EQ(nullptr, schema.command("no-such"));
  EXPECT_NE(nullptr, schema.event("JOB_DONE"));
}

TEST(LiveSchema, FlattensBranchesByTag) {
  const LiveSchema schema = test_schema();
  const LiveType& options = *schema.command("blockdev-add")->arguments;
  EXPECT_EQ("driver", options.tag);
  EXPECT_EQ(2u, members_of(options, "").size());
  EXPECT_EQ(4u, members_of(options, "file").size());
  EXPECT_EQ(5u, members_of_all_branches(options).size());
  // A type that contains itself.
  const LiveMember* file = members_of(options, "qcow2").back();
  EXPECT_EQ("file", file->name);
  EXPECT_EQ(&options, as_object(*file->type));
}

TEST(LiveSchema, SaysWhatIsBroken) {
  const auto read = [](std::string_view text) {
    auto schema = LiveSchema::read(*base::parse_json(text));
    return schema ? std::string("fine") : schema.error().text();
  };
  EXPECT_EQ("fine", read("[]"));
  EXPECT_NE(std::string::npos, read("{}").find("no list"));
  EXPECT_NE(std::string::npos,
            read("[{'name': 'c', 'meta-type': 'command', 'arg-type': '7', 'ret-type': '7'}]")
                .find("'c' refers to the type '7'"));
  EXPECT_EQ("fine", read("[1, {}, {'name': 5, 'meta-type': 'enum', 'values': 3}]"));
}

TEST(LiveSchema, SimilarNames) {
  const std::vector<std::string> names = {"query-block", "query-blockstats", "block_resize",
                                          "quit"};
  EXPECT_EQ("Did you mean 'query-block'?", did_you_mean("qeury-block", names));
  EXPECT_EQ("Did you mean 'block_resize'?", did_you_mean("resize", names));
  EXPECT_EQ("", did_you_mean("xyzzy", names));
  EXPECT_EQ("Did you mean 'quit'?", did_you_mean("quti", names));
}

}  // namespace
}  // namespace firn::cli
