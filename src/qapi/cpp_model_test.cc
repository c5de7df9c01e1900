#include "qapi/cpp_model.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "qapi/compiler.h"
#include "qapi/emit.h"
#include "qapi/names.h"

namespace firn::qapi {
namespace {

class CppModelTest : public testing::Test {
 protected:
  CppModel model(const std::string& text) {
    const CheckOptions options;
    schema_ = check_schema(
        parse_schema(sources_, *sources_.add("test.json", text), options.dialect, diagnostics_),
        options, diagnostics_);
    EXPECT_EQ(diagnostics_.print(), "");
    return CppModel(schema_);
  }
  const Type& type(const std::string& name) { return *schema_.find_type(name); }

  SourceManager sources_;
  Diagnostics diagnostics_;
  Schema schema_;
};

TEST_F(CppModelTest, KeepsNamesApart) {
  const CppModel cpp = model(
      "{'pragma': {'member-name-exceptions': ['Eex']}}"
      "{'enum': 'Eex', 'data': ['x-1', 'x1', 'X1', '3d', 'a-b']}"
      "{'struct': 'Decoder', 'data': {}}"
      "{'struct': 'XEvent', 'data': {}}"
      "{'struct': 'TestCommands', 'data': {}}"
      "{'event': 'X', 'data': 'XEvent'}"
      "{'event': 'Y', 'data': {'a': 'str'}}"
      "{'command': 'x'}{'command': 'static-cast'}");
  const Type& e = type("Eex");
  EXPECT_EQ(cpp.enumerator(e, "x-1"), "kX1");
  EXPECT_EQ(cpp.enumerator(e, "x1"), "kX1_");
  EXPECT_EQ(cpp.enumerator(e, "X1"), "kX1__");
  EXPECT_EQ(cpp.enumerator(e, "3d"), "k3d");
  EXPECT_EQ(cpp.enumerator(e, "a-b"), "kAB");
  EXPECT_EQ(cpp.name(type("Decoder")), "Decoder_");
  EXPECT_EQ(cpp.event(*schema_.events[0]), "XEvent_");
  EXPECT_EQ(cpp.event(*schema_.events[1]), "YEvent");
  EXPECT_EQ(cpp.handler_class(schema_.files[0]), "TestCommands_");
  EXPECT_EQ(cpp.method(*schema_.commands[0]), "x");
  EXPECT_EQ(cpp.method(*schema_.commands[1]), "static_cast_");
}

TEST_F(CppModelTest, MakesIdentifiersOfAnything) {
  EXPECT_EQ(cpp_member("__com.example_a-b"), "__com_example_a_b");
  EXPECT_EQ(cpp_member("4k"), "_4k");
  EXPECT_EQ(cpp_member("co-await"), "co_await_");
  EXPECT_EQ(cpp_pascal("my schema (2)"), "MySchema2");
  EXPECT_EQ(cpp_literal("a\"b\\"), "\"a\\\"b\\\\\"");
}

TEST_F(CppModelTest, FilesOfOneNameAreTwoModules) {
  const SourceFile* first = sources_.add("a/block.json", "{'command': 'x'}");
  const SourceFile* second = sources_.add("b/block.json", "{'command': 'y'}");
  Schema schema;
  schema.files = {first, second};
  const CppModel cpp(schema);
  EXPECT_EQ(cpp.module(first), "block");
  EXPECT_EQ(cpp.module(second), "block_");
  EXPECT_EQ(cpp.handler_class(second), "BlockCommands_");
}

TEST_F(CppModelTest, BoxesWhatContainsItself) {
  const CppModel cpp = model(
      "{'struct': 'Aax', 'data': {'*self': 'Aax', '*b': 'Bbx', 'c': 'Ccx', 'list': ['Aax'], 'alt': "
      "'Ddx'}}"
      "{'struct': 'Bbx', 'data': {'*a': 'Aax'}}"
      "{'struct': 'Ccx', 'data': {'x': 'str'}}"
      "{'alternate': 'Ddx', 'data': {'a': 'Aax', 's': 'str'}}");
  EXPECT_TRUE(cpp.needs_box(type("Aax"), type("Aax")));
  EXPECT_TRUE(cpp.needs_box(type("Aax"), type("Bbx")));
  EXPECT_TRUE(cpp.needs_box(type("Bbx"), type("Aax")));
  EXPECT_FALSE(cpp.needs_box(type("Aax"), type("Ccx")));
  EXPECT_FALSE(cpp.needs_box(type("Aax"), type("Ddx")));
  EXPECT_FALSE(cpp.needs_box(type("Aax"), type("str")));
  const auto& order = cpp.definition_order();
  const auto place = [&](const char* name) { return std::ranges::find(order, &type(name)); };
  EXPECT_LT(place("Ccx"), place("Aax"));
  EXPECT_LT(place("Ddx"), place("Aax"));
  EXPECT_EQ(order.size(), 4u);
}

TEST_F(CppModelTest, DeepSchemasNeedNoDeepStack) {
  constexpr int kDepth = 50'000;
  for (int i = 0; i <= kDepth; ++i) {
    auto type = std::make_unique<Type>();
    type->kind = TypeKind::kObject;
    type->name = fmt::format("T{}", i);
    schema_.types.push_back(std::move(type));
  }
  for (int i = 0; i <= kDepth; ++i) {
    Member member;
    member.name = "m";
    member.type = schema_.types[i < kDepth ? i + 1 : i - 1].get();
    schema_.types[i]->members = {member};
  }
  const CppModel cpp(schema_);
  const auto& types = schema_.types;
  EXPECT_FALSE(cpp.needs_box(*types[0], *types[1]));
  EXPECT_TRUE(cpp.needs_box(*types[kDepth], *types[kDepth - 1]));
  EXPECT_TRUE(cpp.needs_box(*types[kDepth - 1], *types[kDepth]));
  EXPECT_EQ(cpp.definition_order().front(), types[kDepth - 1].get());
  EXPECT_EQ(cpp.definition_order()[kDepth - 1], types[0].get());
}

TEST(Comment, CantRunIntoTheCode) {
  EXPECT_EQ(comment("a\\", 0), "// a\\.\n");
  EXPECT_EQ(comment("a\rint b;\v", 2), "  // a int b; \n");
}

}  // namespace
}  // namespace firn::qapi
