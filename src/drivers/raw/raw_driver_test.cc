#include "drivers/raw/raw_driver.h"

#include <gtest/gtest.h>

#include "async/runtime.h"
#include "drivers/null/null_driver.h"

namespace firn::raw {
namespace {

using async::IoVec;
using async::Task;

Options window(uint64_t offset, std::optional<uint64_t> size) {
  Options options;
  options.offset_bytes = offset;
  options.size_bytes = size;
  return options;
}

class RawTest : public ::testing::Test {
 protected:
  RawTest() {
    auto runtime = async::make_runtime();
    CHECK(runtime.has_value());
    runtime_ = std::move(*runtime);
    register_drivers(registry_);
    null::register_drivers(registry_);
  }
  template <typename T>
  T run(Task<T> task) {
    return async::run_until_done(*runtime_, std::move(task));
  }
  // raw with `options` over a null disk of `file_size` bytes.
  base::Result<block::OpenedTree> open(uint64_t file_size, Options options) {
    auto file = std::make_unique<block::NodeSpec>();
    file->driver = "null-co";
    auto null_options = std::make_unique<null::Options>();
    null_options->size_bytes = file_size;
    null_options->read_zeroes = true;
    file->driver_options = std::move(null_options);
    block::NodeSpec spec;
    spec.driver = "raw";
    spec.driver_options = std::make_unique<Options>(options);
    spec.file.emplace(std::move(file));
    return run(block::open_tree(registry_, std::move(spec)));
  }
  std::string open_error(uint64_t file_size, Options options) {
    auto tree = open(file_size, options);
    return tree ? "no error" : tree.error().text();
  }

  std::unique_ptr<async::Runtime> runtime_;
  block::Registry registry_;
};

TEST_F(RawTest, IsTheWholeFileUnlessToldOtherwise) {
  auto tree = open(1 << 20, {});
  ASSERT_TRUE(tree);
  block::Driver& driver = tree->top->driver();
  EXPECT_EQ(driver.size_bytes(), 1u << 20);
  EXPECT_EQ(driver.filename(), tree->top->children().file.child()->driver().filename());
  EXPECT_NE(driver.filename(), "");
  const auto status = run(driver.status(4096, 1000));
  EXPECT_EQ(status->kind, block::RunKind::kZero);
  EXPECT_EQ(status->length_bytes, 1000u);
  EXPECT_EQ(run(driver.facts())->format, "raw");
  EXPECT_EQ(run(driver.resize(1 << 21)).error().text(),
            "Image format driver does not support resize");
  EXPECT_TRUE(run(block::close_tree(std::move(*tree))));
}

TEST_F(RawTest, AWindowIsChecked) {
  auto tree = open(1 << 20, window(4096, 8192));
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree->top->driver().size_bytes(), 8192u);
  EXPECT_EQ(tree->top->driver().filename(), "");
  EXPECT_EQ(run(tree->top->driver().resize(512)).error().text(),
            "Cannot resize fixed-size raw disks");
  EXPECT_TRUE(run(block::close_tree(std::move(*tree))));
  EXPECT_EQ(open_error(4096, window(4097, {})),
            "Offset (4097) cannot be greater than size of the containing file (4096)");
  EXPECT_EQ(open_error(4096, window(0, 100)), "Specified size is not multiple of 512");
  EXPECT_EQ(open_error(4096, window(512, 4096)),
            "The sum of offset (512) and size (4096) has to be smaller or equal to the actual size "
            "of the containing file (4096)");
}

}  // namespace
}  // namespace firn::raw
