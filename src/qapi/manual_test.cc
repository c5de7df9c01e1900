#include "qapi/manual.h"

#include <gtest/gtest.h>

#include "qapi/compiler.h"
#include "qapi/roff.h"

namespace firn::qapi {
namespace {

class ManualOf : public testing::Test {
 protected:
  const Manual& make(std::string text, Dialect dialect = Dialect::kToday) {
    Diagnostics diagnostics;
    const SourceFile* file = sources_.add("lamps.json", std::move(text));
    schema_ = check_schema(parse_schema(sources_, *file, dialect, diagnostics),
                           {.dialect = dialect, .defined = {}}, diagnostics);
    EXPECT_EQ(diagnostics.print(), "");
    manual_ = make_manual(schema_);
    return manual_;
  }
  const ManualEntry& entry(std::string_view name) {
    const ManualEntry* found = manual_.find(name);
    EXPECT_TRUE(found) << name;
    return *found;
  }
  static std::string text(const Blocks& blocks) { return to_plain_text(blocks, 1000); }

  SourceManager sources_;
  Schema schema_;
  Manual manual_;
};

TEST_F(ManualOf, KeepsTheSchemasOrderUnderItsHeadings) {
  const Manual& manual = make(
      "##\n# = Lamps\n#\n# Text.\n##\n"
      "##\n# @Colour:\n#\n# @red: it\n##\n"
      "{'enum': 'Colour', 'data': ['red']}\n"
      "##\n# == Lamps\n##\n"
      "##\n# @lamp-on:\n#\n# @colour: which\n##\n"
      "{'command': 'lamp-on', 'data': {'colour': 'Colour'}}\n"
      "##\n# Last words.\n##\n");
  ASSERT_EQ(manual.items.size(), 6u);
  EXPECT_EQ(manual.items[0].anchor, "section-lamps");
  EXPECT_EQ(manual.items[0].level, 1);
  EXPECT_EQ(text(manual.items[1].text), "Text.");
  EXPECT_EQ(manual.items[2].entry->name, "Colour");
  EXPECT_EQ(manual.items[3].anchor, "section-lamps-2");
  EXPECT_EQ(manual.items[3].level, 2);
  EXPECT_EQ(manual.items[4].entry->anchor, "command-lamp-on");
  EXPECT_EQ(manual.items[4].level, 2);
  EXPECT_EQ(text(manual.items[5].text), "Last words.");
  EXPECT_EQ(manual.title, "lamps QMP reference");
}

TEST_F(ManualOf, NamesAModuleThatHasNoHeading) {
  const Manual& manual = make("{'command': 'lamp-on'}");
  ASSERT_EQ(manual.items.size(), 2u);
  EXPECT_EQ(to_plain_text(manual.items[0].heading), "lamps");
}

TEST_F(ManualOf, TellsMembersWithThoseOfBases) {
  make(
      "##\n# @Base:\n#\n# @name: its name\n##\n"
      "{'struct': 'Base', 'data': {'name': 'str'}}\n"
      "##\n# @Lamp:\n#\n# @watts: how much\n##\n"
      "{'struct': 'Lamp', 'base': 'Base', 'data': {'*watts': ['uint8']}}\n"
      "{'command': 'lamp-add', 'data': 'Lamp', 'returns': ['Lamp']}\n");
  const ManualEntry& lamp = entry("Lamp");
  ASSERT_EQ(lamp.members.size(), 2u);
  EXPECT_EQ(lamp.members[0].from, nullptr);
  EXPECT_TRUE(lamp.members[0].members[0].optional);
  EXPECT_EQ(lamp.members[1].from->name, "Base");
  EXPECT_EQ(text(lamp.member("name")->text), "its name");
  EXPECT_EQ(lamp.member("colour"), nullptr);
  const TypeText type = type_text(*lamp.member("watts")->type);
  EXPECT_EQ(std::string(type.before) + type.name, "array of uint8");

  // One use each, however often it is used there.
  ASSERT_EQ(lamp.uses.size(), 1u);
  EXPECT_EQ(lamp.uses[0].name, "lamp-add");
  EXPECT_EQ(lamp.uses[0].place, "arguments");
  const ManualEntry& command = entry("lamp-add");
  ASSERT_EQ(command.members.size(), 2u);
  EXPECT_EQ(command.members[0].from->name, "Lamp");
  EXPECT_EQ(text(command.member("watts")->text), "how much");
}

TEST_F(ManualOf, TellsBranches) {
  make(
      "{'enum': 'Kind', 'data': ['a', 'b']}\n"
      "{'struct': 'One', 'data': {'x': 'int'}}\n"
      "{'union': 'Any', 'base': {'kind': 'Kind'}, 'discriminator': 'kind', 'data': {'a': 'One'}}\n"
      "{'command': 'make', 'data': 'Any', 'boxed': true}\n");
  const ManualEntry& any = entry("Any");
  EXPECT_EQ(any.kind, EntryKind::kUnion);
  EXPECT_EQ(any.tag, "kind");
  ASSERT_EQ(any.branches.size(), 2u);
  EXPECT_EQ(any.branches[0].type->name, "One");
  EXPECT_EQ(any.branches[1].type, nullptr);
  EXPECT_EQ(entry("One").uses.at(0).place, "branch a");
  EXPECT_EQ(entry("make").branches_in->name, "Any");
}

TEST_F(ManualOf, SortsTheDocumentationsParts) {
  make(
      "##\n# @lamp-list:\n#\n# Lists e.g. lamps. All of them.\n#\n# @old: gone soon\n#\n"
      "# Features:\n#\n# @deprecated: use another\n#\n# @unstable: may change\n#\n# Returns: "
      "lamps\n#\n"
      "# Errors:\n#     - none\n#\n"
      "# Since: 1.0\n#\n# More.\n##\n"
      "{'struct': 'Lamp', 'data': {}}\n",
      Dialect::k2011);
  // A block whose definition is missing documents nothing.
  EXPECT_EQ(manual_.find("lamp-list"), nullptr);
  make(
      "##\n# @lamp-list:\n#\n# Lists e.g. lamps. All of them.\n#\n# @old: gone soon\n#\n"
      "# Features:\n#\n# @deprecated: use another\n#\n# @unstable: may change\n#\n# Returns: "
      "lamps\n#\n"
      "# Errors:\n#     - none\n#\n"
      "# Since: 1.0\n#\n# More.\n##\n"
      "{'command': 'lamp-list', 'data': {'*old': 'bool'}, 'returns': ['Lamp'],\n"
      " 'features': ['deprecated', 'unstable'], 'allow-oob': true}\n"
      "{'struct': 'Lamp', 'data': {}}\n");
  const ManualEntry& list = entry("lamp-list");
  EXPECT_EQ(summary_of(list), "Lists e.g. lamps.");
  EXPECT_EQ(text(list.returns_text), "lamps");
  EXPECT_EQ(to_plain_text(list.since), "1.0");
  ASSERT_EQ(list.sections.size(), 2u);
  EXPECT_EQ(list.sections[0].name, "Errors");
  EXPECT_EQ(list.sections[1].name, "");
  ASSERT_EQ(list.feature_texts.size(), 2u);
  EXPECT_EQ(list.feature_texts[1].name, "unstable");
  EXPECT_EQ(list.remarks, std::vector<std::string>{"May be sent out of band, with exec-oob."});
}

TEST_F(ManualOf, ResolvesReferences) {
  const Manual& manual = make(
      "{'command': 'lamp-on', 'data': {'x': 'Lamp', 'lamp-on': 'int'}}\n"
      "{'struct': 'Lamp', 'data': {'y': 'int'}}\n");
  const ManualEntry& on = entry("lamp-on");
  const auto at = [&](InlineKind kind, std::string name) {
    return resolve(manual, &on, {kind, name, kind == InlineKind::kMember ? "" : name});
  };
  EXPECT_EQ(at(InlineKind::kMember, "x").member, on.member("x"));
  EXPECT_TRUE(at(InlineKind::kMember, "lamp-on").member);
  EXPECT_EQ(at(InlineKind::kMember, "Lamp").entry, &entry("Lamp"));
  EXPECT_EQ(at(InlineKind::kReference, "lamp-on").member, nullptr);
  EXPECT_EQ(at(InlineKind::kReference, "lamp-on").entry, &on);
  EXPECT_EQ(at(InlineKind::kReference, "QMP:lamps.Lamp").entry, &entry("Lamp"));
  EXPECT_EQ(at(InlineKind::kMember, "y").entry, nullptr);
  EXPECT_EQ(at(InlineKind::kText, "Lamp").entry, nullptr);
  EXPECT_EQ(member_anchor(on, "x"), "command-lamp-on.x");
}

TEST_F(ManualOf, ShowsAnonymousObjectsInTheirPlace) {
  make(
      "##\n# @Version:\n#\n# @parts.major: the first\n##\n"
      "{'type': 'Version', 'data': {'parts': {'major': 'int'}}}\n",
      Dialect::k2011);
  const ManualMember* parts = entry("Version").member("parts");
  ASSERT_EQ(parts->inner.size(), 1u);
  EXPECT_EQ(text(parts->inner[0].text), "the first");
  EXPECT_EQ(type_text(*parts->type).name, "object");
}

TEST_F(ManualOf, TellsConditions) {
  make(
      "{'enum': 'Kind', 'data': ['a', {'name': 'b', 'if': {'not': 'X'}}]}\n"
      "{'struct': 'One', 'data': {'x': {'type': 'int', 'if': {'all': [{'not': 'X'}]}}}}\n"
      "{'union': 'Any', 'base': {'kind': 'Kind'}, 'discriminator': 'kind',\n"
      " 'data': {'a': {'type': 'One', 'if': {'not': {'any': ['X', 'Y']}}}}}\n"
      "{'command': 'make', 'if': {'any': [{'not': 'X'}, {'all': ['Y', {'not': 'Z'}]}]}}\n"
      "{'event': 'MADE'}\n");
  EXPECT_EQ(entry("Kind").member("b")->condition, "not X");
  EXPECT_EQ(entry("One").member("x")->condition, "not X");
  EXPECT_EQ(entry("Any").branches[0].condition, "not (X or Y)");
  EXPECT_EQ(entry("make").condition, "not X or (Y and not Z)");
  EXPECT_EQ(entry("MADE").condition, "");
}

TEST(Roff, EscapesWhatItWouldTakeForItself) {
  EXPECT_EQ(roff::escape(".so x\n'y\\-z"), "\\&.so x\n\\&\\(aqy\\e\\-z");
  EXPECT_EQ(roff::escape("a`b^c~\u00e9"), "a\\(gab\\(hac\\(ti\\[u00E9]");
  EXPECT_EQ(roff::argument("a \"b\"\nc"), "\"a \\(dqb\\(dq c\"");
  EXPECT_EQ(roff::fill(std::string(77, 'x') + " .so"), std::string(77, 'x') + "\n\\&.so");
}

}  // namespace
}  // namespace firn::qapi
