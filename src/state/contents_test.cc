#include "state/contents.h"

#include <gtest/gtest.h>

namespace firn::state {
namespace {

TEST(ContentsTest, AChangeIsReadAsItWasWritten) {
  block::GraphChange change;
  change.added.push_back(
      {.name = "s1",
       .format = "qcow2",
       .path = "/d/s1 \"é\"",
       .protocol = "file",
       .file_name = "#block7",
       .options = {.unmap = true, .direct = true, .detect_zeroes = block::DetectZeroes::kUnmap},
       .backing_node = "a",
       .io_thread = "io1"});
  change.devices.push_back({.id = "f1", .node = "f1-head"});
  change.moved.push_back({.from = "a", .to = "s1", .device = "vda"});
  change.backings.push_back(
      {.overlay = "s2", .backing_node = "", .backing_file = "below", .backing_format = "raw"});
  change.to_write = {"base"};
  change.to_seal = {"a"};
  change.removed = {"old"};
  const auto read = parse_change(print_change(change));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(print_change(*read), print_change(change));
  EXPECT_EQ(read->added[0].path, "/d/s1 \"é\"");
  EXPECT_TRUE(read->added[0].options.direct);
  EXPECT_FALSE(read->added[0].options.no_flush);
  EXPECT_EQ(read->added[0].options.detect_zeroes, block::DetectZeroes::kUnmap);
  EXPECT_EQ(read->to_write, (std::vector<std::string>{"base"}));
  EXPECT_EQ(read->devices[0].node, "f1-head");
  EXPECT_NE(describe(change).find("device 'f1' on node 'f1-head'"), std::string::npos);
  EXPECT_NE(describe(change).find("device 'vda': from node 'a' to 's1'"), std::string::npos);
}

TEST(ContentsTest, AChangeThatIsNoneIsRefused) {
  EXPECT_FALSE(parse_change("{"));
  EXPECT_FALSE(parse_change("{}"));
  std::string whole = print_change({});
  EXPECT_TRUE(parse_change(whole));
  whole.replace(whole.find("[]"), 2, "[{}]");
  EXPECT_FALSE(parse_change(whole));
}

TEST(ContentsTest, AFileThatWasChangedIsTold) {
  const FileIdentity was{.device = 1, .inode = 2, .size_bytes = 3, .modified_ns = 4};
  FileIdentity is = was;
  EXPECT_EQ(difference(was, is, true), "");
  is.device = 9;  // devices are numbered anew after a reboot, and some by each mount
  EXPECT_EQ(difference(was, is, false), "");
  EXPECT_EQ(difference(was, is, true), "");
  is = was;
  is.inode = 9;
  EXPECT_EQ(difference(was, is, false), "it is another file now");
  is = was;
  is.size_bytes = 9;
  EXPECT_EQ(difference(was, is, false), "it has 9 bytes now and had 3");
  is = was;
  is.modified_ns = 5;
  EXPECT_EQ(difference(was, is, false), "it was written to since");
  is.modified_ns = 3;  // a power cut took the newer time back
  EXPECT_EQ(difference(was, is, false), "");
  EXPECT_EQ(difference(was, is, true), "it was written to since");
}

}  // namespace
}  // namespace firn::state
