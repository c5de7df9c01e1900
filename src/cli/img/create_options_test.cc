#include "cli/img/create_options.h"

#include <gtest/gtest.h>

namespace firn::cli::img {
namespace {

TEST(CreateOptions, AreShownInTheFormatsOrder) {
  const auto values = read_create_options("qcow2", {"size=1k,compat=v3", "cluster_size=4k"});
  ASSERT_TRUE(values && *values);
  EXPECT_EQ(create_summary("qcow2", **values),
            "fmt=qcow2 cluster_size=4096 extended_l2=off compression_type=zlib size=1024 "
            "compat=v3 lazy_refcounts=off refcount_bits=16");
  EXPECT_FALSE(read_create_options("raw", {"cluster_size=4k"}));
  const auto help = read_create_options("raw", {"size=1k,help"});
  ASSERT_TRUE(help);
  EXPECT_FALSE(help->has_value());
}

}  // namespace
}  // namespace firn::cli::img
