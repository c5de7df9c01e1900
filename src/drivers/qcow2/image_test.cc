#include "drivers/qcow2/image.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "async/testing.h"
#include "drivers/qcow2/test_image.h"

namespace firn::qcow2 {
namespace {

using async::testing::run_on_loop;
using testing::create_image;
using testing::Directory;
using testing::must;
using testing::Opened;
using testing::pattern;

Task<Result<>> write_and_read_back(std::string path) {
  CO_TRY(co_await create_image(path, 64 << 20));
  auto image = CO_TRY(co_await Opened::open(path));
  for (uint64_t i = 0; i < 50; ++i) {
    CO_TRY(co_await image->write(i * 1000003 % (60 << 20) / 512 * 512, pattern(4096, i)));
  }
  CO_TRY(co_await image->image().flush());
  CO_TRY(co_await image->close());
  auto again = CO_TRY(co_await Opened::open(path));
  for (uint64_t i = 0; i < 50; ++i) {
    auto bytes = CO_TRY(co_await again->read(i * 1000003 % (60 << 20) / 512 * 512, 4096));
    EXPECT_EQ(bytes, pattern(4096, i)) << i;
  }
  co_return co_await again->close();
}

TEST(Image, KeepsWhatIsWritten) {
  FIRN_NEEDS_QEMU();
  const Directory directory;
  const std::string path = directory.path("a.qcow2");
  const Result<> done = run_on_loop(write_and_read_back(path));
  ASSERT_TRUE(done) << done.error().text();
  must("qemu-img check " + path);
}

}  // namespace
}  // namespace firn::qcow2
