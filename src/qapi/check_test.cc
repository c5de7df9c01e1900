#include "qapi/check.h"

#include <gtest/gtest.h>

#include "qapi/parser.h"

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

struct Case {
  std::string schema;
  std::string_view said;
};

void expect_said(std::initializer_list<Case> cases) {
  for (const Case& c : cases) EXPECT_EQ(check(c.schema), c.said) << c.schema;
}

TEST(Check, RefusesBadDefinitions) {
  expect_said({
      {"{}",
       "s.json:1:1: error: a definition needs one of 'enum', 'struct', 'union', 'alternate', "
       "'command', 'event', 'include' and 'pragma'\n"},
      {"{'struct': 'a', 'data': {}}",
       "s.json:1:12: error: the name of struct 'a' has to be made of letters and digits, starting "
       "with an upper-case letter\n"},
      {"{'command': 'Do_it'}",
       "s.json:1:13: error: the name of command 'Do_it' has to be made of lower-case letters, "
       "digits and '-' (or see pragma 'command-name-exceptions')\n"},
      {"{'event': 'gone'}",
       "s.json:1:11: error: the name of event 'gone' has to be made of upper-case letters, digits "
       "and '_'\n"},
      {"{'struct': 'A'}", "s.json:1:12: error: 'A' needs 'data'\n"},
      {"{'struct': 'A', 'data': {}, 'boxed': true}",
       "s.json:1:29: error: 'struct' has no key 'boxed'\n"},
      {"{'struct': 'A', 'data': {}}\n{'enum': 'A', 'data': []}",
       "s.json:2:10: error: 'A' is defined twice\ns.json:1:12: note: the first definition is "
       "here\n"},
      {"{'enum': 'A', 'data': ['a-b', 'a_b']}",
       "s.json:1:31: error: value 'a_b' collides with 'a-b'\ns.json:1:24: note: which stands "
       "here\n"},
      {"{'enum': 'A', 'data': 'x'}", "s.json:1:23: error: an enum's 'data' is a list\n"},
  });
}

TEST(Check, RefusesBadMembers) {
  expect_said({
      {"{'struct': 'A', 'data': {'a': 'Missing'}}", "s.json:1:31: error: unknown type 'Missing'\n"},
      {"{'struct': 'A', 'data': {'a': ['str', 'str']}}",
       "s.json:1:31: error: a list's type needs exactly one element, the type of its elements\n"},
      {"{'struct': 'A', 'data': {'a': {'type': 'str', 'x': 'y'}}}",
       "s.json:1:47: error: a member has no key 'x'\n"},
      {"{'struct': 'A', 'data': {'aB': 'str'}}",
       "s.json:1:26: error: member 'aB' has upper-case letters or '_': use '-' (or see pragma "
       "'member-name-exceptions')\n"},
      {"{'struct': 'A', 'data': {'1': 'str', 'u': 'str'}}",
       "s.json:1:26: error: '1' is no name for a member\ns.json:1:38: error: the name 'u' is "
       "reserved\n"},
      {"{'struct': 'B', 'data': {'a': 'str'}}\n{'struct': 'A', 'base': 'B', 'data': {'*a': 'int'}}",
       "s.json:2:39: error: member 'a' of 'A' collides with 'a'\ns.json:1:26: note: which stands "
       "here\n"},
      {"{'struct': 'A', 'base': 'A', 'data': {}}",
       "s.json:1:12: error: 'A' has itself as its base\n"},
      {"{'struct': 'A', 'base': 'str', 'data': {}}", "s.json:1:25: error: 'str' is no struct\n"},
  });
}

TEST(Check, RefusesBadUnions) {
  const std::string prelude =
      "{'enum': 'E', 'data': ['a', 'b']} {'struct': 'S', 'data': {'x': 'str'}}\n";
  const auto said = [&](std::string_view rest) { return check(prelude + std::string(rest)); };
  EXPECT_EQ(said("{'union': 'U', 'base': {'t': 'E'}, 'discriminator': 't', 'data': {'a': 'S'}}"),
            "");
  EXPECT_EQ(said("{'union': 'U', 'data': {'a': 'S'}}"),
            "s.json:2:11: error: union 'U' needs a 'base'\n"
            "s.json:2:11: error: union 'U' needs a 'discriminator'\n");
  EXPECT_EQ(said("{'union': 'U', 'base': {'t': 'E'}, 'discriminator': 'z', 'data': {}}"),
            "s.json:2:53: error: 'z' is no member of the base\n");
  EXPECT_EQ(said("{'union': 'U', 'base': {'t': 'str'}, 'discriminator': 't', 'data': {}}"),
            "s.json:2:55: error: the discriminator 't' is no enum\n");
  EXPECT_EQ(said("{'union': 'U', 'base': {'*t': 'E'}, 'discriminator': 't', 'data': {}}"),
            "s.json:2:54: error: the discriminator 't' is optional\n");
  EXPECT_EQ(said("{'union': 'U', 'base': {'t': 'E'}, 'discriminator': 't', 'data': {'c': 'S'}}"),
            "s.json:2:67: error: branch 'c' is no value of 'E'\n");
  EXPECT_EQ(said("{'union': 'U', 'base': {'t': 'E'}, 'discriminator': 't', 'data': {'a': 'str'}}"),
            "s.json:2:72: error: branch 'a' needs an object, which 'str' is not\n");
  EXPECT_EQ(said("{'union': 'U', 'base': {'t': 'E', 'x': 'int'}, 'discriminator': 't', "
                 "'data': {'a': 'S'}}"),
            "s.json:2:79: error: member 'x' of branch 'a' is in the base already\n");
}

TEST(Check, RefusesAlternatesThatCannotBeToldApart) {
  expect_said({
      {"{'alternate': 'A', 'data': {'a': 'str', 'b': 'int', 'c': 'bool', 'd': 'null'}}", ""},
      {"{'alternate': 'A', 'data': {'a': 'int', 'b': 'number'}}",
       "s.json:1:41: error: branch 'b' can't be told from branch 'a'\ns.json:1:29: note: which "
       "stands here\n"},
      {"{'alternate': 'A', 'data': {'a': 'any'}}",
       "s.json:1:29: error: type 'any' can't be a branch of an alternate\n"},
      {"{'alternate': 'A', 'data': {}}",
       "s.json:1:28: error: an alternate needs at least one branch\n"},
  });
}

TEST(Check, RefusesBadCommands) {
  expect_said({
      {"{'command': 'a', 'data': 'str'}",
       "s.json:1:26: error: 'data' needs a struct or a union, which 'str' is not\n"},
      {"{'command': 'a', 'returns': 'str'}",
       "s.json:1:29: error: command 'a' can't return 'str', which can't grow: return an object (or "
       "see pragma 'command-returns-exceptions')\n"},
      {"{'pragma': {'command-returns-exceptions': ['a']}} {'command': 'a', 'returns': 'str'}", ""},
      {"{'command': 'a', 'boxed': true}", "s.json:1:13: error: 'boxed' needs 'data'\n"},
      {"{'command': 'a', 'boxed': true, 'data': {}}",
       "s.json:1:41: error: 'boxed' needs a named type in 'data'\n"},
      {"{'command': 'a', 'allow-oob': true, 'coroutine': true}",
       "s.json:1:13: error: 'allow-oob' and 'coroutine' exclude each other\n"},
      {"{'command': 'a', 'gen': 'no'}", "s.json:1:25: error: 'gen' needs true or false\n"},
      {"{'command': 'a', 'features': ['x', 1]}",
       "s.json:1:36: error: the schema language has no numbers\ns.json:1:37: error: expected '{', "
       "'[', a string, true or false, not ']'\n"},
      {"{'enum': 'E', 'data': ['a']} {'union': 'U', 'base': {'t': 'E'}, 'discriminator': 't', "
       "'data': {}} {'command': 'c', 'data': 'U'}",
       "s.json:1:124: error: 'U' is a union: 'data' takes it with 'boxed': true only\n"},
  });
}

TEST(Check, GoesOnAfterAnError) {
  EXPECT_EQ(check("{'struct': 'A', 'data': {'a': 'X'}}\n"
                  "{'struct': 'B' 'data': {}}\n"
                  "{'struct': 'C', 'data': {'a': 'Y'}}\n"),
            "s.json:1:31: error: unknown type 'X'\n"
            "s.json:2:16: error: expected ',' or '}', not string 'data'\n"
            "s.json:3:31: error: unknown type 'Y'\n");
}

TEST(Check, LeavesOutWhatDoesNotHold) {
  const std::string text =
      "{'enum': 'E', 'data': ['a', {'name': 'b', 'if': 'X'}]}\n"
      "{'struct': 'S', 'data': {'m': {'type': 'str', 'if': {'not': 'X'}}, 'n': {'type': 'str', "
      "'if': {'all': ['X', {'any': ['Y', 'Z']}]}}}}\n"
      "{'command': 'c', 'if': 'Y', 'data': 'S'}\n";
  Schema schema;
  EXPECT_EQ(check(text, {}, &schema), "");
  EXPECT_EQ(schema.find_type("E")->values.size(), 1u);
  ASSERT_EQ(schema.find_type("S")->members.size(), 1u);
  EXPECT_EQ(schema.find_type("S")->members[0].name, "m");
  EXPECT_TRUE(schema.commands.empty());
  EXPECT_EQ(check(text, {.defined = {"X", "Y"}}, &schema), "");
  EXPECT_EQ(schema.find_type("E")->values.size(), 2u);
  ASSERT_EQ(schema.find_type("S")->members.size(), 1u);
  EXPECT_EQ(schema.find_type("S")->members[0].name, "n");
  EXPECT_EQ(schema.commands.size(), 1u);
  EXPECT_EQ(check("{'struct': 'S', 'data': {}, 'if': {'maybe': []}}"),
            "s.json:1:36: error: unknown condition 'maybe': known are 'all', 'any' and 'not'\n");
  EXPECT_EQ(check("{'struct': 'S', 'data': {}, 'if': 'a b'}"),
            "s.json:1:35: error: 'a b' is no symbol: it takes letters, digits and '_'\n");
}

TEST(Check, HoldsDocumentationToTheDefinition) {
  expect_said({
      {"##\n# @B:\n##\n{'struct': 'A', 'data': {}}",
       "s.json:2:4: error: this documents 'B', but 'A' follows\n"},
      {"##\n# @A:\n#\n# @x: what\n##\n{'struct': 'A', 'data': {'y': 'str'}}",
       "s.json:4:4: error: 'A' has no member 'x'\n"},
      {"##\n# @A:\n#\n# Features:\n#\n# @f: what\n##\n{'struct': 'A', 'data': {}}",
       "s.json:6:4: error: 'A' has no feature 'f'\n"},
      {"##\n# @A:\n#\n# @m: x\n#\n# Features:\n# @f: x\n##\n{'struct': 'A', 'data': {'m': "
       "{'type': 'str', 'if': 'X'}}, 'features': [{'name': 'f', 'if': 'X'}]}",
       ""},
      {"##\n# @A:\n##\n", "s.json:2:4: error: no definition follows this documentation of 'A'\n"},
      {"##\n# @A:\n\n# text after a blank line\n##\n{'struct': 'A', 'data': {}}", ""},
      {"##\n# @A:\n", "s.json:1:1: error: this documentation block has no closing '##'\n"},
      {"{'pragma': {'doc-required': true}}\n{'struct': 'A', 'data': {}}",
       "s.json:2:12: error: 'A' has no documentation, which this schema requires\n"},
      {"##\n# @A:\n#\n# @x: one\n# @x: two\n##\n{'struct': 'A', 'data': {'x': 'str'}}",
       "s.json:5:4: error: 'x' is documented twice\n"},
  });
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
            "s.json:13:31: error: the name 'u' is reserved\n");
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

TEST(Check, RolesNeedTheirPragma) {
  const std::string roles =
      "{'pragma': {'role-type': 'R'}}\n{'enum': 'R', 'data': ['low', 'high']}\n";
  expect_said({
      {"{'command': 'a', 'role': 'low'}", "s.json:1:18: error: 'command' has no key 'role'\n"},
      {roles + "{'command': 'a', 'role': 'low'}", ""},
      {roles + "{'command': 'a', 'role': 'top'}",
       "s.json:3:26: error: 'role' needs a value of 'R'\n"},
      {roles + "{'struct': 'A', 'data': {}, 'role': 'low'}",
       "s.json:3:29: error: 'struct' has no key 'role'\n"},
      {"{'pragma': {'role-type': 'R'}}\n{'struct': 'R', 'data': {}}",
       "s.json:1:26: error: pragma 'role-type' needs an enum with values, which 'R' is not\n"},
  });
}

TEST(Check, SecretsNeedTheirPragmaAndAreStrings) {
  const std::string secrets = "{'pragma': {'secret-members': true}}\n";
  const std::string key = "{'struct': 'A', 'data': {'k': {'type': 'str', 'secret': true}}}";
  expect_said({
      {key, "s.json:1:47: error: a member has no key 'secret'\n"},
      {secrets + key, ""},
      {secrets + "{'struct': 'A', 'data': {'k': {'type': 'int', 'secret': true}}}",
       "s.json:2:26: error: member 'k' is secret, so it has to be a 'str'\n"},
  });
}

}  // namespace
}  // namespace firn::qapi
