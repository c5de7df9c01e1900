#include "exports/nbd/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace firn::nbd {
namespace {

TEST(BufferPool, GivesAlignedMemoryOfAtLeastTheSize) {
  BufferPool pool;
  for (size_t size : {size_t{1}, size_t{4096}, size_t{4097}, size_t{65536}, size_t{100000},
                      BufferPool::kMaxBytes}) {
    Buffer buffer = pool.take(size);
    ASSERT_TRUE(buffer);
    EXPECT_GE(buffer.capacity(), size);
    EXPECT_LT(buffer.capacity(), size < 4096 ? 4097 : size * 2);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % BufferPool::kAlignment, 0u);
    buffer.data()[0] = std::byte{1};
    buffer.data()[size - 1] = std::byte{1};
  }
  EXPECT_EQ(pool.out_count(), 0u);
}

TEST(BufferPool, UsesMemoryAgain) {
  BufferPool pool;
  const std::byte* first = nullptr;
  {
    Buffer buffer = pool.take(5000);
    first = buffer.data();
  }
  EXPECT_EQ(pool.kept_bytes(), 8192u);
  Buffer again = pool.take(8192);
  EXPECT_EQ(again.data(), first);
  EXPECT_EQ(pool.kept_bytes(), 0u);
}

TEST(BufferPool, KeepsNoMoreThanAsked) {
  BufferPool pool(64 << 10);
  std::vector<Buffer> buffers;
  for (int i = 0; i < 100; ++i) buffers.push_back(pool.take(4096));
  buffers.clear();
  EXPECT_EQ(pool.kept_bytes(), size_t{64} << 10);
  EXPECT_EQ(pool.out_count(), 0u);
}

TEST(BufferPool, MovedBuffersGoBackOnce) {
  BufferPool pool;
  Buffer first = pool.take(4096);
  Buffer second = std::move(first);
  EXPECT_FALSE(first);
  EXPECT_EQ(pool.out_count(), 1u);
  second = pool.take(100);
  EXPECT_EQ(pool.out_count(), 1u);
  second.release();
  EXPECT_EQ(pool.out_count(), 0u);
}

}  // namespace
}  // namespace firn::nbd
