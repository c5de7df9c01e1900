#include "qapi/emit_client.h"

#include <gtest/gtest.h>

namespace firn::qapi {
namespace {

TEST(ClientNames, AreIdentifiers) {
  EXPECT_EQ(client_name("snapshot-file", "n"), "snapshot_file");
  EXPECT_EQ(client_name("__org.example_x-y", "n"), "org_example_x_y");
  EXPECT_EQ(client_name("3d", "VALUE_"), "VALUE_3d");
}

TEST(ClientNames, OfThePackage) {
  const auto package = [](std::string name) {
    Schema schema;
    schema.name = std::move(name);
    return client_package(schema);
  };
  EXPECT_EQ(package("Firn"), "firn_client");
  EXPECT_EQ(package("My Lamps (v2)"), "my_lamps_v2_client");
  EXPECT_EQ(package("9p"), "schema_9p_client");
  EXPECT_EQ(package("Süß"), "s_client");
  EXPECT_EQ(package(""), "schema_client");
}

TEST(ClientUnions, AreTakenApartToTheirLeaves) {
  Type plain{.kind = TypeKind::kObject, .name = "Plain"};
  Member tag{.name = "kind"};
  Type inner{.kind = TypeKind::kObject, .name = "Inner"};
  inner.tag = &tag;
  inner.variants = {{.name = "a-b", .type = &plain}, {.name = "c"}};
  Type outer{.kind = TypeKind::kObject, .name = "Outer"};
  outer.tag = &tag;
  outer.variants = {{.name = "x", .type = &inner}, {.name = "y", .type = &plain}};
  std::vector<std::string> suffixes;
  for (const UnionLeaf& leaf : union_leaves(outer)) suffixes.push_back(leaf.suffix);
  EXPECT_EQ(suffixes, (std::vector<std::string>{"x_a_b", "x_c", "y"}));
  EXPECT_EQ(union_leaves(outer)[0].path.back()->type, &plain);
  EXPECT_EQ(union_leaves(outer)[1].path.back()->type, nullptr);
}

}  // namespace
}  // namespace firn::qapi
