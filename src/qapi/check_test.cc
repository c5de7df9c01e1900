#include "qapi/check.h"

#include <gtest/gtest.h>

#include "qapi/parser.h"

// What is refused, and with which words, is in compiler_refused_test.cc.

namespace firn::qapi {
namespace {

// What the compiler says of a schema in the file "s.json"; "" if all is well.
std::string check(std::string text, CheckOptions options = {}, Schema* schema = nullptr) {
  SourceManager sources;
  Diagnostics diagnostics;
  const SourceFile* file = sources.add("s.json", std::move(text));
  Schema result = check_schema(parse_schema(sources, *file, options.dialect, diagnostics), options,
                               diagnostics);
  const std::string said = diagnostics.print();
  if (schema) *schema = std::move(result);
  return said;
}

TEST(Check, GoesOnAfterAnError) {
  EXPECT_EQ(check("{'struct': 'First', 'data': {'a': 'Xx'}}\n"
                  "{'struct': 'Second' 'data': {}}\n"
                  "{'struct': 'Third', 'data': {'a': 'Yy', 'b': 'Second'}}\n"),
            "s.json:2:21: error: expected ',' or '}', not string 'data'\n"
            "s.json:1:35: error: member 'a': unknown type 'Xx'\n"
            "s.json:3:35: error: member 'a': unknown type 'Yy'\n");
}

TEST(Check, StopsTellingAtSomePoint) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "{'command': 'c" + std::to_string(i) + "', 'data': 'X'}\n";
  const std::string said = check(text);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 51);
  EXPECT_TRUE(said.ends_with("qapic: 950 more errors\n")) << said;
}

TEST(Check, LeavesOutWhatDoesNotHold) {
  const std::string text =
      "{'enum': 'Enu', 'data': ['a', {'name': 'b', 'if': 'X'}]}\n"
      "{'struct': 'Str', 'data': {'m': {'type': 'str', 'if': {'not': 'X'}}, 'n': {'type': 'str', "
      "'if': {'all': ['X', {'any': ['Y', 'Z']}]}}}}\n"
      "{'command': 'c', 'if': 'Y', 'data': 'Str', 'boxed': true}\n";
  Schema schema;
  EXPECT_EQ(check(text, {}, &schema), "");
  EXPECT_EQ(schema.find_type("Enu")->values.size(), 1u);
  ASSERT_EQ(schema.find_type("Str")->members.size(), 1u);
  EXPECT_EQ(schema.find_type("Str")->members[0].name, "m");
  EXPECT_TRUE(schema.commands.empty());
  EXPECT_EQ(check(text, {.defined = {"X", "Y"}}, &schema), "");
  EXPECT_EQ(schema.find_type("Enu")->values.size(), 2u);
  ASSERT_EQ(schema.find_type("Str")->members.size(), 1u);
  EXPECT_EQ(schema.find_type("Str")->members[0].name, "n");
  EXPECT_EQ(schema.commands.size(), 1u);
}

// Errors do not depend on -D, and a type that is needed is there whatever its `if` says.
TEST(Check, HoldsWhatIsLeftOutToTheRules) {
  EXPECT_EQ(check("{'struct': 'Str', 'if': 'X', 'data': {'a': 'Missing'}}"),
            "s.json:1:44: error: member 'a': unknown type 'Missing'\n");
  Schema schema;
  EXPECT_EQ(check("{'struct': 'Str', 'if': 'X', 'data': {}}\n"
                  "{'struct': 'Other', 'if': 'X', 'data': {}}\n"
                  "{'command': 'c', 'data': 'Str'}\n",
                  {}, &schema),
            "");
  EXPECT_EQ(schema.entities.size(), 1u);
  EXPECT_TRUE(schema.find_type("Str"));
  EXPECT_FALSE(schema.find_type("Other"));
}

TEST(Check, TakesWhatQemuTakes) {
  for (const char* text : {
           // Names of lists stand for lists.
           "{'struct': 'Str', 'data': {'a': 'intList', 'b': ['Str'], '*c': 'StrList'}}",
           // A union as a branch of a union.
           "{'enum': 'Enu', 'data': ['a']}\n{'struct': 'Leaf', 'data': {'x': 'int'}}\n"
           "{'union': 'Inner', 'base': {'y': 'Enu'}, 'discriminator': 'y', 'data': {'a': 'Leaf'}}\n"
           "{'union': 'Outer', 'base': {'z': 'Enu'}, 'discriminator': 'z', 'data': {'a': 'Inner'}}",
           // The built-in enumeration.
           "{'struct': 'Str', 'data': {'a': 'QType'}}",
           // Downstream and experimental names.
           "{'struct': '__org.qemu_Str', 'data': {'__org.qemu_x-a': 'int', 'x-1': 'int'}}",
           "{'enum': 'Enu', 'data': ['1', '__com.example_a', 'x-b']}",
           "##\n# @Str:\n#\n# @a: text after a blank line\n\n# goes on\n##\n{'struct': 'Str', "
           "'data': "
           "{'a': 'int'}}",
           "{'pragma': {'documentation-exceptions': ['Str']}}\n##\n# @Str:\n##\n{'struct': 'Str', "
           "'data': {'a': 'int'}}",
           "{'enum': 'Enu', 'data': []}",
           "{'alternate': 'Alt', 'data': {'a': 'str', 'b': 'null', 'c': ['str'], 'd': 'Alt2'}}\n"
           "{'struct': 'Alt2', 'data': {}}",
           "\xEF\xBB\xBF",
       }) {
    const bool mark = std::string_view(text).starts_with("\xEF");
    EXPECT_EQ(check(text), mark ? "s.json:1:1: error: stray '\xEF\xBB\xBF'\n" : "") << text;
  }
}

TEST(Check, TakesTheLooseDocumentationOf2011) {
  EXPECT_EQ(check("##\n# @B\n##\n{'type': 'A', 'data': {}}\n##\n# @A\n"
                  "{'command': 'c', 'data': {'v': 'visitor', '*o': '**'}, 'gen': 'no'}\n"
                  "##\n# @last\n##\n",
                  {.dialect = Dialect::k2011}),
            "");
}

TEST(Check, UnderstandsTheDialectOf2011) {
  Schema schema;
  EXPECT_EQ(check("##\n# @A\n#\n# text\n#\n# @b: #optional its b\n#     goes on\n#\n"
                  "# Since 0.14.0\n##\n"
                  "{'type': 'A', 'data': {'a': {'b': 'str'}, '*b': 'int'}}\n"
                  "{'union': 'U', 'data': {'a': 'A', 'n': 'int'}}\n"
                  "{'command': 'Do_it', 'data': {'u': 'str'}, 'gen': 'no', 'returns': 'str'}\n",
                  {.dialect = Dialect::k2011}, &schema),
            "");
  const Type* a = schema.find_type("A");
  ASSERT_TRUE(a->doc);
  EXPECT_EQ(a->doc->body, "text");
  EXPECT_EQ(a->doc->member("b")->text, "its b\ngoes on");
  EXPECT_TRUE(a->doc->member("b")->optional);
  EXPECT_EQ(a->doc->section("Since")->text, "0.14.0");
  EXPECT_EQ(a->members[0].type->name, "AA");
  EXPECT_EQ(a->members[0].type->members[0].name, "b");
  const Type* u = schema.find_type("U");
  ASSERT_TRUE(u->is_union());
  EXPECT_EQ(u->tag->name, "type");
  ASSERT_EQ(u->variants.size(), 2u);
  EXPECT_EQ(u->variants[1].type->members[0].name, "data");
  EXPECT_FALSE(schema.commands[0]->generate);
}

TEST(Check, TakesTheCommasOf2011AndTheTagsOf2013) {
  Schema schema;
  EXPECT_EQ(check("{'type': 'A' 'data': {'t': 'str',}}\n{'type': 'B', 'data': {'x': 'int'}}\n"
                  "{'union': 'U', 'base': 'A', 'discriminator': 't', 'data': {'b': 'B'}}\n",
                  {.dialect = Dialect::k2011}, &schema),
            "");
  const Type* u = schema.find_type("U");
  ASSERT_TRUE(u && u->is_union());
  EXPECT_EQ(u->tag->type->kind, TypeKind::kEnum);
  ASSERT_EQ(u->variants.size(), 1u);
  EXPECT_EQ(u->variants[0].type->name, "B");
}

TEST(Check, UnderstandsTheYearsBetween) {
  Schema schema;
  const std::string text =
      "{'pragma': {'returns-whitelist': ['c'], 'name-case-whitelist': ['Old']}}\n"
      "{'struct': 'Old', 'if': 'defined(A) && !defined(B)', 'data': {'aB': {'type': 'int', 'if': "
      "['defined(A)', 'defined(C) || D']}}}\n"
      "{'union': 'Plain', 'base': 'Base', 'data': {'x': 'int', 'y': ['str']}}\n"
      "{'struct': 'Base', 'data': {'z': 'int'}}\n"
      "{'union': 'Anon', 'discriminator': {}, 'data': {'s': 'str', 'o': 'Base'}}\n"
      "{'command': 'c', 'returns': 'int', 'success-response': true}\n";
  EXPECT_EQ(check(text, {.dialect = Dialect::k2011, .defined = {"A"}}, &schema), "");
  ASSERT_TRUE(schema.find_type("Old"));
  EXPECT_TRUE(schema.find_type("Old")->members.empty());
  EXPECT_EQ(schema.find_type("Anon")->kind, TypeKind::kAlternate);
  const Type* plain = schema.find_type("Plain");
  ASSERT_TRUE(plain->is_union());
  EXPECT_EQ(plain->members.size(), 2u);
  EXPECT_EQ(check(text, {.dialect = Dialect::k2011, .defined = {"A", "B"}}, &schema), "");
  EXPECT_FALSE(schema.find_type("Old"));
  EXPECT_EQ(check(text, {.dialect = Dialect::k2011, .defined = {"A", "D"}}, &schema), "");
  EXPECT_EQ(schema.find_type("Old")->members.size(), 1u);
}

}  // namespace
}  // namespace firn::qapi
