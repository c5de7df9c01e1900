#include "base/text_width.h"

#include <gtest/gtest.h>

namespace firn::base {
namespace {

TEST(TextWidth, ByKindOfCharacter) {
  EXPECT_EQ(1, code_point_width('a'));
  EXPECT_EQ(1, code_point_width(U'é'));
  EXPECT_EQ(2, code_point_width(U'雪'));
  EXPECT_EQ(2, code_point_width(U'한'));
  EXPECT_EQ(2, code_point_width(U'😀'));
  EXPECT_EQ(0, code_point_width(0x301));
  EXPECT_EQ(0, code_point_width(0x200D));
  EXPECT_EQ(1, code_point_width(0xAD));
  EXPECT_EQ(-1, code_point_width('\n'));
  EXPECT_EQ(-1, code_point_width(0x7F));
  EXPECT_EQ(-1, code_point_width(0x9B));
  EXPECT_EQ(1, code_point_width(0x10FFFF));
}

TEST(TextWidth, OfATextAndItsBeginning) {
  EXPECT_EQ(7u, text_width("firn 雪"));
  EXPECT_EQ(2u, text_width("e\u0301!"));
  EXPECT_EQ("firn 雪", cut_to_width("firn 雪", 7));
  EXPECT_EQ("firn …", cut_to_width("firn 雪", 6));
  EXPECT_EQ("", cut_to_width("firn", 0));
}

TEST(TextWidth, StrangersDontDriveTheTerminal) {
  EXPECT_EQ("a\uFFFD[2Jb", printable("a\x1b[2Jb"));
  EXPECT_EQ("\uFFFDx", printable("\xffx"));
  EXPECT_EQ("\uFFFDx", printable("\u009bx"));
  EXPECT_EQ("a\uFFFDb", printable("a\nb"));
  EXPECT_EQ("a\nb\uFFFD", printable("a\nb\r", true));
}

}  // namespace
}  // namespace firn::base
