#include "qapi/compat.h"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "qapi/command_line.h"
#include "qapi/compiler.h"
#include "qapi/introspection.h"

namespace firn::qapi {
namespace {

// How a test looks at a schema: as text, or as a server would tell it (widths of integers lost).
enum class View : uint8_t { kSchema, kServer };

WireSchema wire(const std::string& text, View view = View::kSchema) {
  SourceManager sources;
  Diagnostics diagnostics;
  const SourceFile* file = sources.add("test.json", text);
  const CheckOptions options;
  const Schema schema = check_schema(parse_schema(sources, *file, options.dialect, diagnostics),
                                     options, diagnostics);
  EXPECT_EQ(diagnostics.print(), "") << text;
  auto out = read_introspection(
      introspect(schema, view == View::kSchema ? IntegerNames::kExact : IntegerNames::kMasked));
  EXPECT_TRUE(out) << out.error().text();
  return std::move(*out);
}

// The lines of the report, without the last one, which counts.
std::string changes(const std::string& old, const std::string& now, CompatOptions options = {}) {
  const std::string text = compare_schemas(wire(old), wire(now), options).print();
  return text.substr(0, text.rfind('\n', text.size() - 2) + 1);
}

// A command whose argument is the struct A, and one that returns it.
std::string taking(const std::string& types) { return types + "{'command': 'x', 'data': 'Aax'}"; }
std::string giving(const std::string& types) {
  return types + "{'command': 'x', 'returns': 'Aax'}";
}
std::string a(const std::string& members) { return "{'struct': 'Aax', 'data': {" + members + "}}"; }

TEST(Compat, FindsNothingInTheSame) {
  const std::string schema =
      "{'enum': 'Eex', 'data': ['a', 'b']}"
      "{'struct': 'Aax', 'data': {'*next': 'Aax', 'list': ['Aax'], 'e': 'Eex', 'n': 'uint8'}}"
      "{'command': 'x', 'data': 'Aax', 'returns': ['Aax'], 'allow-oob': true}"
      "{'event': 'Y', 'data': 'Aax'}";
  EXPECT_EQ(compare_schemas(wire(schema), wire(schema)).print(),
            "compatible: 0 breaks, 0 warnings, 0 notes\n");
  EXPECT_EQ(compare_schemas(wire(schema, View::kServer), wire(schema)).print(),
            "compatible: 0 breaks, 0 warnings, 0 notes\n");
}

TEST(Compat, TypeNamesDoNotCount) {
  EXPECT_EQ(changes("{'struct': 'Aax', 'data': {'a': 'str'}}{'command': 'x', 'data': 'Aax'}",
                    "{'command': 'x', 'data': {'a': 'str'}}"),
            "");
}

TEST(Compat, CommandsAndEventsComeAndGo) {
  EXPECT_EQ(changes("{'command': 'x'}{'event': 'Y'}", "{'command': 'z'}{'event': 'W'}"),
            "break: command 'x': was removed\n"
            "break: event 'Y': was removed\n"
            "note: command 'z': new\n"
            "note: event 'W': new\n");
}

TEST(Compat, WhatWasDeprecatedMayGo) {
  const std::string old = "{'command': 'x', 'features': ['deprecated']}{'command': 'z'}";
  const std::string now = "{'command': 'z'}";
  EXPECT_EQ(changes(old, now), "warning: command 'x': was removed (it was deprecated)\n");
  EXPECT_EQ(changes(old, now, {.strict = true}),
            "break: command 'x': was removed (it was deprecated)\n");
  EXPECT_EQ(changes(taking(a("'*a': {'type': 'str', 'features': ['deprecated']}")), taking(a(""))),
            "warning: command 'x' argument 'a': was removed (it was deprecated)\n");
  EXPECT_EQ(changes(giving(a("'a': {'type': 'str', 'features': ['deprecated']}")), giving(a(""))),
            "warning: command 'x' result 'a': was removed (it was deprecated)\n");
}

TEST(Compat, WhatWasUnstableIsNotHeld) {
  const std::string old = "{'command': 'x', 'data': {'a': 'str'}, 'features': ['unstable']}";
  EXPECT_EQ(changes(old, "{'command': 'y'}"),
            "note: command 'x': was removed (it was unstable)\n"
            "note: command 'y': new\n");
  EXPECT_EQ(changes(old, "{'command': 'x', 'data': {'a': 'int'}, 'features': ['unstable']}",
                    {.strict = true}),
            "note: command 'x' argument 'a': is a number now, not a string (it was unstable)\n");
}

TEST(Compat, WhatMustBeGivenHitsThoseWhoNeverUsedIt) {
  EXPECT_EQ(changes(taking(a("'*a': {'type': 'str', 'features': ['unstable']}")),
                    taking(a("'a': {'type': 'str', 'features': ['unstable']}"))),
            "break: command 'x' argument 'a': has to be given now\n");
}

TEST(Compat, OutOfBandExecution) {
  const std::string may = "{'command': 'x', 'allow-oob': true}";
  EXPECT_EQ(changes(may, "{'command': 'x'}"),
            "break: command 'x': may no longer run out of band\n");
  EXPECT_EQ(changes("{'command': 'x'}", may), "note: command 'x': may run out of band now\n");
}

TEST(Compat, FeaturesAreProbedFor) {
  EXPECT_EQ(changes("{'command': 'x', 'features': ['fast', 'deprecated']}",
                    "{'command': 'x', 'features': ['new']}"),
            "warning: command 'x': feature 'fast' was removed\n"
            "note: command 'x': feature 'deprecated' was removed\n"
            "note: command 'x': has the new feature 'new'\n");
  EXPECT_EQ(changes("{'command': 'x'}", "{'command': 'x', 'features': ['unstable']}"),
            "warning: command 'x': is unstable now: it may change at any time\n");
  EXPECT_EQ(changes("{'event': 'X'}", "{'event': 'X', 'features': ['deprecated']}"),
            "note: event 'X': is deprecated now: it may be removed\n");
  EXPECT_EQ(changes(taking("{'struct': 'Aax', 'data': {}, 'features': ['f']}"), taking(a(""))),
            "warning: command 'x' arguments: feature 'f' was removed\n");
  EXPECT_EQ(changes(taking("{'enum': 'Eex', 'data': [{'name': 'v', 'features': ['f']}]}" +
                           a("'e': 'Eex'")),
                    taking("{'enum': 'Eex', 'data': ['v']}" + a("'e': 'Eex'"))),
            "warning: command 'x' argument 'e=v': feature 'f' was removed\n");
}

TEST(Compat, MembersOfArguments) {
  EXPECT_EQ(changes(taking(a("'gone': 'str', '*hard': 'str', 'soft': 'str'")),
                    taking(a("'hard': 'str', '*soft': 'str', 'must': 'str', '*may': 'str'"))),
            "break: command 'x' argument 'gone': was removed\n"
            "break: command 'x' argument 'hard': has to be given now\n"
            "break: command 'x' argument 'must': new, and has to be given\n"
            "note: command 'x' argument 'may': new\n"
            "note: command 'x' argument 'soft': can be left out now\n");
}

TEST(Compat, MembersOfResultsAndEvents) {
  const std::string old = a("'gone': 'str', '*hard': 'str', 'soft': 'str'");
  const std::string now = a("'hard': 'str', '*soft': 'str', 'more': 'str'");
  EXPECT_EQ(changes(giving(old), giving(now)),
            "break: command 'x' result 'gone': was removed\n"
            "break: command 'x' result 'soft': may be missing now\n"
            "note: command 'x' result 'hard': is always there now\n"
            "note: command 'x' result 'more': new\n");
  EXPECT_EQ(changes(old + "{'event': 'X', 'data': 'Aax'}", now + "{'event': 'X', 'data': 'Aax'}"),
            "break: event 'X' member 'gone': was removed\n"
            "break: event 'X' member 'soft': may be missing now\n"
            "note: event 'X' member 'hard': is always there now\n"
            "note: event 'X' member 'more': new\n");
}

TEST(Compat, ValuesOfEnumerations) {
  const std::string old = "{'enum': 'Eex', 'data': ['a', 'b']}" + a("'e': ['Eex']");
  const std::string now = "{'enum': 'Eex', 'data': ['b', 'c']}" + a("'e': ['Eex']");
  EXPECT_EQ(changes(taking(old), taking(now)),
            "break: command 'x' argument 'e[]': value 'a' was removed\n"
            "note: command 'x' argument 'e[]': has the new value 'c'\n");
  EXPECT_EQ(changes(giving(old), giving(now)),
            "warning: command 'x' result 'e[]': has the new value 'c'\n"
            "note: command 'x' result 'e[]': value 'a' was removed\n");
}

TEST(Compat, StringsAndEnumerations) {
  const std::string free = a("'e': 'str'");
  const std::string bound = "{'enum': 'Eex', 'data': ['a']}" + a("'e': 'Eex'");
  EXPECT_EQ(changes(taking(free), taking(bound)),
            "break: command 'x' argument 'e': can only be certain strings now\n");
  EXPECT_EQ(changes(giving(free), giving(bound)),
            "note: command 'x' result 'e': can only be certain strings now\n");
  EXPECT_EQ(changes(giving(bound), giving(free)),
            "warning: command 'x' result 'e': can be any string now, not only certain ones\n");
}

TEST(Compat, NumbersNarrowAndWiden) {
  const auto with = [](const std::string& type) { return a("'n': '" + type + "'"); };
  EXPECT_EQ(changes(taking(with("number")), taking(with("int"))),
            "break: command 'x' argument 'n': has to be an integer now\n");
  EXPECT_EQ(changes(taking(with("int")), taking(with("number"))),
            "note: command 'x' argument 'n': can be a fraction now\n");
  EXPECT_EQ(changes(giving(with("int")), giving(with("number"))),
            "warning: command 'x' result 'n': can be a fraction now\n");
  EXPECT_EQ(changes(taking(with("int64")), taking(with("int8"))),
            "break: command 'x' argument 'n': is of type 'int8' now, not 'int64'\n");
  EXPECT_EQ(changes(giving(with("uint16")), giving(with("int32"))),
            "warning: command 'x' result 'n': is of type 'int32' now, not 'uint16'\n");
  EXPECT_EQ(changes(taking(with("size")), taking(with("uint64"))), "");
  EXPECT_EQ(
      changes(taking(a("'n': 'int', 'm': ['int64']")), taking(a("'n': 'int64', 'm': ['int']"))),
      "");
  // Neither holds the other: half of the values are lost, others come.
  EXPECT_EQ(changes(taking(with("int64")), taking(with("uint64"))),
            "break: command 'x' argument 'n': is of type 'uint64' now, not 'int64'\n"
            "note: command 'x' argument 'n': is of type 'uint64' now, not 'int64'\n");
  // A server tells no widths.
  EXPECT_EQ(compare_schemas(wire(taking(with("int64")), View::kServer), wire(taking(with("int8"))))
                .print(),
            "compatible: 0 breaks, 0 warnings, 0 notes\n");
}

TEST(Compat, TypesOfAnotherKind) {
  EXPECT_EQ(changes(taking(a("'m': 'str'")), taking(a("'m': ['str']"))),
            "break: command 'x' argument 'm': is a list now, not a string\n");
  EXPECT_EQ(changes(giving(a("'m': 'bool'")), giving(a("'m': 'Aax'"))),
            "break: command 'x' result 'm': is an object now, not a boolean\n");
  EXPECT_EQ(changes(a("") + "{'command': 'x', 'returns': 'Aax'}",
                    a("") + "{'command': 'x', 'returns': ['Aax']}"),
            "break: command 'x' result: is a list now, not an object\n");
}

TEST(Compat, AnyValue) {
  const std::string any = a("'m': 'any'");
  const std::string text = a("'m': 'str'");
  EXPECT_EQ(changes(taking(any), taking(text)),
            "break: command 'x' argument 'm': can only be a string now, not any value\n");
  EXPECT_EQ(changes(taking(text), taking(any)),
            "note: command 'x' argument 'm': can be any value now, not only a string\n");
  EXPECT_EQ(changes(giving(text), giving(any)),
            "warning: command 'x' result 'm': can be any value now, not only a string\n");
  EXPECT_EQ(changes(giving(any), giving(text)),
            "note: command 'x' result 'm': can only be a string now, not any value\n");
}

TEST(Compat, AlternatesHaveBranchesByKind) {
  const std::string one = a("'m': 'str'");
  const std::string two =
      "{'alternate': 'Bbx', 'data': {'s': 'str', 'n': 'null'}}" + a("'m': 'Bbx'");
  EXPECT_EQ(changes(taking(one), taking(two)), "note: command 'x' argument 'm': can be null now\n");
  EXPECT_EQ(changes(taking(two), taking(one)),
            "break: command 'x' argument 'm': can't be null now\n");
  EXPECT_EQ(changes(giving(one), giving(two)),
            "warning: command 'x' result 'm': can be null now\n");
  EXPECT_EQ(changes(giving(two), giving(one)), "note: command 'x' result 'm': can't be null now\n");
  const std::string deep =
      "{'alternate': 'Bbx', 'data': {'o': 'Aax', 's': 'str'}}{'struct': 'Aax', 'data': {'*b': "
      "'Bbx'";
  EXPECT_EQ(changes(taking(deep + ", '*c': 'str'}}"), taking(deep + "}}")),
            "break: command 'x' argument 'c': was removed\n");
}

// A union with these branches, `common` beside its tag, as what command x takes or returns.
std::string flat(const std::string& values, const std::string& branches,
                 const std::string& common = "") {
  return "{'enum': 'Type', 'data': [" + values +
         "]}"
         "{'struct': 'Ppx', 'data': {'p': 'str'}}"
         "{'struct': 'Qqx', 'data': {'p': 'str', '*q': 'str'}}"
         "{'union': 'Aax', 'base': {'t': 'Type'" +
         common + "}, 'discriminator': 't', 'data': {" + branches + "}}";
}
std::string takes_union(const std::string& types) {
  return types + "{'command': 'x', 'data': 'Aax', 'boxed': true}";
}

TEST(Compat, BranchesOfUnions) {
  const std::string one = flat("'a'", "'a': 'Ppx'");
  const std::string two = flat("'a', 'b'", "'a': 'Ppx', 'b': 'Ppx'");
  EXPECT_EQ(changes(takes_union(one), takes_union(two)),
            "note: command 'x' argument 't': has the new value 'b'\n");
  EXPECT_EQ(changes(takes_union(two), takes_union(one)),
            "break: command 'x' argument 't': value 'b' was removed\n");
  EXPECT_EQ(changes(giving(one), giving(two)),
            "warning: command 'x' result 't': has the new value 'b'\n");
  const std::string more = flat("'a'", "'a': 'Qqx'");
  EXPECT_EQ(changes(takes_union(one), takes_union(more)),
            "note: command 'x' argument '(t=a).q': new\n");
  EXPECT_EQ(changes(takes_union(more), takes_union(one)),
            "break: command 'x' argument '(t=a).q': was removed\n");
}

TEST(Compat, BranchesOfUnstableValuesAreNotHeld) {
  const std::string value = "{'name': 'a', 'features': ['unstable']}";
  EXPECT_EQ(changes(takes_union(flat(value, "'a': 'Qqx'")), takes_union(flat(value, "'a': 'Ppx'"))),
            "note: command 'x' argument '(t=a).q': was removed (it was unstable)\n");
}

TEST(Compat, MembersMoveBetweenBaseAndBranches) {
  // In each value of the tag there is a `p` before and after.
  const std::string inside = flat("'a', 'b'", "'a': 'Ppx', 'b': 'Ppx'");
  const std::string common = flat("'a', 'b'", "", ", 'p': 'str'");
  EXPECT_EQ(changes(takes_union(inside), takes_union(common)), "");
  EXPECT_EQ(changes(giving(common), giving(inside)), "");
  // Only one branch has it.
  const std::string half = flat("'a', 'b'", "'a': 'Ppx'");
  EXPECT_EQ(changes(takes_union(common), takes_union(half)),
            "break: command 'x' argument '(t=b).p': was removed\n");
  EXPECT_EQ(changes(takes_union(half), takes_union(common)),
            "break: command 'x' argument '(t=b).p': new, and has to be given\n");
}

TEST(Compat, StructsBecomeUnions) {
  const std::string tagged =
      "{'enum': 'Type', 'data': ['a', 'b']}{'struct': 'Aax', 'data': {'t': 'Type', '*p': 'str'}}";
  const std::string inside = flat("'a', 'b'", "'a': 'Ppx'");
  EXPECT_EQ(changes(takes_union(tagged), takes_union(inside)),
            "break: command 'x' argument '(t=a).p': has to be given now\n"
            "break: command 'x' argument '(t=b).p': was removed\n");
  EXPECT_EQ(changes(takes_union(a("'p': 'str'")), takes_union(inside)),
            "break: command 'x' argument '(t=b).p': was removed\n"
            "break: command 'x' argument 't': new, and has to be given\n");
}

TEST(Compat, UnionsToldApartByAnotherMember) {
  const std::string by_t = flat("'a'", "'a': 'Ppx'", ", 'v': 'Type'");
  std::string by_u = by_t;
  by_u.replace(by_u.find("'discriminator': 't'"), 20, "'discriminator': 'v'");
  EXPECT_EQ(changes(takes_union(by_t), takes_union(by_u)),
            "break: command 'x' arguments: branches are told apart by 'v' now, not by 't'\n");
}

TEST(Compat, RecursiveTypesAreReportedOnce) {
  EXPECT_EQ(changes(taking(a("'*next': 'Aax', '*list': ['Aax'], '*gone': 'str'")),
                    taking(a("'*next': 'Aax', '*list': ['Aax']"))),
            "break: command 'x' argument 'gone': was removed\n");
  // Unrolled once, it is still the same on the wire.
  EXPECT_EQ(changes(taking(a("'*next': 'Aax'")),
                    taking("{'struct': 'Bbx', 'data': {'*next': 'Aax'}}" + a("'*next': 'Bbx'"))),
            "");
}

TEST(Compat, LongChainsOfTypesNeedNoDeepStack) {
  const auto chain = [](const char* last) {
    WireSchema out;
    for (int i = 0; i < 5'000; ++i) {
      auto type = std::make_unique<WireType>();
      if (i > 0) type->members.push_back({i == 1 ? last : "m", out.types.back().get(), false, {}});
      out.types.push_back(std::move(type));
    }
    const WireType* top = out.types.back().get();
    out.commands["x"] = {.arguments = top, .returns = top};
    return out;
  };
  const WireSchema old = chain("a");
  EXPECT_TRUE(compare_schemas(old, chain("a")).changes.empty());
  EXPECT_EQ(compare_schemas(old, chain("b")).changes.size(), 4u);
}

TEST(Compat, PrintsJson) {
  const CompatReport report =
      compare_schemas(wire(taking(a("'m': 'str'"))), wire(taking(a("'m': 'int'"))));
  auto value = base::parse_json(report.print_json());
  ASSERT_TRUE(value);
  EXPECT_EQ(base::print_json(*value),
            R"({"compatible": false, "breaks": 1, "warnings": 0, "notes": 0, "changes": )"
            R"([{"class": "break", "rule": "type-changed", "command": "x", "place": "argument", )"
            R"("path": "m", "text": "is a number now, not a string"}]})");
}

TEST(ReadIntrospection, RefusesWhatCantBe) {
  const std::string bad[] = {
      "{}",
      "[1]",
      "[{'name': 'x'}]",
      "[{'name': 'x', 'meta-type': 'odd'}]",
      "[{'name': 'x', 'meta-type': 'command', 'arg-type': '0', 'ret-type': '0'}]",
      "[{'name': 'x', 'meta-type': 'array', 'element-type': '0'}]",
      "[{'name': 'x', 'meta-type': 'enum'}]",
      "[{'name': 'x', 'meta-type': 'enum', 'values': [1]}]",
      "[{'name': 'x', 'meta-type': 'builtin', 'json-type': 'odd'}]",
      "[{'name': 'x', 'meta-type': 'object', 'members': [{'name': 'a'}]}]",
      "[{'name': 'x', 'meta-type': 'object', 'members': [], 'tag': 't', 'variants': []}]",
      "[{'name': 'x', 'meta-type': 'object', 'members': []},"
      " {'name': 'x', 'meta-type': 'object', 'members': []}]",
      "[{'name': 'x', 'meta-type': 'enum', 'values': ['a', 'a']}]",
      "[{'name': 'x', 'meta-type': 'object', 'members': [{'name': 'a', 'type': 'x'},"
      " {'name': 'a', 'type': 'x'}]}]",
      // Inside itself without end.
      "[{'name': 'x', 'meta-type': 'alternate', 'members': [{'type': 'x'}]}]",
      "[{'name': 'x', 'meta-type': 'object', 'members': [{'name': 't', 'type': 'x'}], 'tag': 't',"
      " 'variants': [{'case': 'a', 'type': 'x'}]}]",
      "[{'name': 'i', 'meta-type': 'builtin', 'json-type': 'int'},"
      " {'name': 'c', 'meta-type': 'command', 'arg-type': 'i', 'ret-type': 'i'}]",
  };
  for (const std::string& text : bad) {
    auto value = base::parse_json(text);
    ASSERT_TRUE(value) << text;
    EXPECT_FALSE(read_introspection(*value)) << text;
  }
}

class CompatCommand : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "compatXXXXXX";
    ASSERT_TRUE(mkdtemp(name.data()));
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  int run(const std::vector<std::string>& arguments) {
    out_.clear();
    err_.clear();
    std::vector<std::string> words = {"compat"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return run_command_line(words, out_, err_);
  }

  std::filesystem::path folder_;
  std::string out_;
  std::string err_;
};

constexpr const char* kAnswer =
    R"([{"name": "x", "meta-type": "command", "arg-type": "0", "ret-type": "0"},)"
    R"( {"name": "0", "meta-type": "object", "members": []}])";

TEST_F(CompatCommand, TakesSchemasAndAnswers) {
  const std::string schema = file("schema.json", "{'command': 'x'}\n");
  const std::string list = file("list.json", kAnswer);
  const std::string answer = file("answer.json", "{\"return\": " + std::string(kAnswer) + "}");
  const std::string talk =
      file("talk.json",
           "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\n{\"return\": {}}\n"
           "{\"return\": []}\n{\"return\": " +
               std::string(kAnswer) + ", \"id\": 1}\n");
  for (const std::string& old : {schema, list, answer, talk}) {
    for (const std::string& now : {schema, list, answer, talk}) {
      EXPECT_EQ(run({old, now}), 0) << old << now << err_;
      EXPECT_EQ(out_, "compatible: 0 breaks, 0 warnings, 0 notes\n");
    }
  }
}

TEST_F(CompatCommand, ExitStatusTellsTheOutcome) {
  const std::string old = file("old.json", "{'command': 'x'}\n{'command': 'y', 'if': 'Y'}\n");
  const std::string now = file("now.json", "{'command': 'x', 'features': ['unstable']}\n");
  EXPECT_EQ(run({old, now}), 0) << err_;
  EXPECT_EQ(run({old, now, "--strict"}), 1);
  EXPECT_EQ(run({old, now, "-D", "Y"}), 1);
  EXPECT_NE(out_.find("break: command 'y': was removed\n"), std::string::npos) << out_;
  EXPECT_EQ(run({old, now, "--json"}), 0);
  EXPECT_TRUE(base::parse_json(out_));
  EXPECT_EQ(err_, "");
}

TEST_F(CompatCommand, TellsWhetherCommandsStillReply) {
  const std::string replies = file("replies.json", "{'command': 'x'}\n");
  const std::string silent = file("silent.json", "{'command': 'x', 'success-response': false}\n");
  EXPECT_EQ(run({replies, silent}), 1);
  EXPECT_TRUE(out_.starts_with("break: command 'x': no longer replies when it succeeds\n")) << out_;
  EXPECT_EQ(run({silent, replies}), 0);
  EXPECT_TRUE(out_.starts_with("warning: command 'x': replies now when it succeeds\n")) << out_;
  const std::string server = file("server.json", kAnswer);
  EXPECT_EQ(run({silent, server, "--strict"}), 0) << out_;
  EXPECT_EQ(run({server, silent, "--strict"}), 0) << out_;
}

TEST_F(CompatCommand, RefusesFilesItCannotUse) {
  const std::string good = file("good.json", "{'command': 'x'}\n");
  EXPECT_EQ(run({good}), 2);
  EXPECT_EQ(run({good, good, good}), 2);
  EXPECT_EQ(run({good, good, "-o", "x"}), 2);
  EXPECT_EQ(run({good, folder_ / "missing.json"}), 2);
  EXPECT_NE(err_.find("missing.json"), std::string::npos) << err_;
  EXPECT_EQ(run({file("broken.json", "{'command': 'x', 'data': 'Nothing'}\n"), good}), 2);
  EXPECT_NE(err_.find("broken.json:1:"), std::string::npos) << err_;
  EXPECT_EQ(run({file("cut.json", "[{\"name\": \"x\","), good}), 2);
  EXPECT_NE(err_.find("cut.json"), std::string::npos) << err_;
  EXPECT_EQ(run({file("other.json", "{\"return\": {}}"), good}), 2);
  EXPECT_NE(err_.find("query-qmp-schema"), std::string::npos) << err_;
  EXPECT_EQ(out_, "");
}

}  // namespace
}  // namespace firn::qapi
