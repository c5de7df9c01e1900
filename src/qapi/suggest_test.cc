#include "qapi/suggest.h"

#include <gtest/gtest.h>

namespace firn::qapi {
namespace {

TEST(Suggest, CountsEdits) {
  EXPECT_EQ(edit_distance("same", "same", 9), 0u);
  EXPECT_EQ(edit_distance("same", "sa", 9), 2u);
  EXPECT_EQ(edit_distance("", "abc", 9), 3u);
  EXPECT_EQ(edit_distance("lamp", "lmap", 9), 1u);
  EXPECT_EQ(edit_distance("max_Watts", "max-watts", 9), 0u);
  EXPECT_EQ(edit_distance("kitten", "sitting", 9), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting", 2), 2u);
  EXPECT_EQ(edit_distance(std::string(1000, 'a'), std::string(1000, 'a'), 5), 5u);
}

TEST(Suggest, OffersTheNearest) {
  Suggestion suggestion("blockdev-ad");
  for (const char* name : {"block-add", "blockdev-add", "blockdev-del"}) suggestion.offer(name);
  EXPECT_EQ(suggestion.hint(), "did you mean 'blockdev-add'?");
  Suggestion far("quit");
  far.offer("blockdev-add");
  EXPECT_EQ(far.hint(), "");
  Suggestion tiny("a");
  tiny.offer("b");
  EXPECT_EQ(tiny.hint(), "");
}

}  // namespace
}  // namespace firn::qapi
