#include "exports/nbd/negotiation.h"

#include <gtest/gtest.h>

#include <string>

namespace firn::nbd {
namespace {

base::ConstByteSpan span_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
using namespace std::string_literals;

TEST(InfoRequest, IsTakenApart) {
  const std::string data = "\0\0\0\2ab\0\3\0\3\0\2\0\x63"s;
  const auto request = parse_info_request(span_of(data));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->name, "ab");
  EXPECT_TRUE(request->wants_block_size);
  EXPECT_TRUE(request->wants_description);
  EXPECT_FALSE(request->wants_name);
}

TEST(InfoRequest, EveryCutIsAnError) {
  const std::string data = "\0\0\0\2ab\0\1\0\3"s;
  ASSERT_TRUE(parse_info_request(span_of(data)));
  for (size_t length = 0; length < data.size(); ++length) {
    EXPECT_FALSE(parse_info_request(span_of(data.substr(0, length)))) << length;
  }
  EXPECT_EQ(parse_info_request(span_of(data + "x")).error().text(),
            "1 bytes follow the end of the option's data");
  EXPECT_EQ(parse_info_request(span_of("\0\0\x10\1"s + std::string(5000, 'a'))).error().text(),
            "the export name is longer than 4096 bytes");
}

TEST(MetaContextRequest, IsTakenApart) {
  const std::string data = "\0\0\0\0\0\0\0\2\0\0\0\5base:\0\0\0\0"s;
  const auto request = parse_meta_context_request(span_of(data));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->name, "");
  EXPECT_EQ(request->queries, (std::vector<std::string>{"base:", ""}));
  for (size_t length = 0; length < data.size(); ++length) {
    EXPECT_FALSE(parse_meta_context_request(span_of(data.substr(0, length)))) << length;
  }
  EXPECT_FALSE(parse_meta_context_request(span_of("\0\0\0\0\xff\xff\xff\xff"s)));
}

TEST(SelectContexts, ByNameAndByNamespace) {
  auto listed = select_contexts({}, true, true);
  EXPECT_TRUE(listed.base_allocation && listed.allocation_depth);
  listed = select_contexts({}, false, true);
  EXPECT_TRUE(listed.base_allocation && !listed.allocation_depth);
  listed = select_contexts({"base:"}, true, true);
  EXPECT_TRUE(listed.base_allocation && !listed.allocation_depth);
  listed = select_contexts({"qemu:"}, true, true);
  EXPECT_TRUE(!listed.base_allocation && listed.allocation_depth);

  auto set = select_contexts({}, true, false);
  EXPECT_FALSE(set.base_allocation || set.allocation_depth);
  set = select_contexts({"base:"}, true, false);
  EXPECT_FALSE(set.base_allocation);
  set = select_contexts({"x-other:y", "base:allocation", "qemu:allocation-depth"}, true, false);
  EXPECT_TRUE(set.base_allocation && set.allocation_depth);
  set = select_contexts({"qemu:allocation-depth"}, false, false);
  EXPECT_FALSE(set.allocation_depth);
}

}  // namespace
}  // namespace firn::nbd
