// For this room's tests: images in a directory of their own, opened by the real registry, and
// qemu-img as the judge.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/runtime.h"
#include "block/registry.h"
#include "drivers/qcow2/image.h"

namespace firn::qcow2::testing {

// A directory that goes away with its contents.
class Directory {
 public:
  Directory();
  ~Directory();
  std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

// Runs a command; its output, standard error included. `ok` tells whether it exited with 0.
struct Output {
  bool ok = false;
  std::string text;
};
Output shell(const std::string& command);
// Fails the test, with the output, unless the command succeeds.
std::string must(const std::string& command);
bool have_qemu();
// Skips the test where there is no qemu-img.
#define FIRN_NEEDS_QEMU() \
  if (!::firn::qcow2::testing::have_qemu()) GTEST_SKIP() << "qemu-img is not installed"

const block::Registry& registry();

struct OpenSpec {
  bool read_only = false;
  bool unmap = true;
  bool no_backing = false;
  Options options;
};

// An image that is open, with the nodes below it. Closed by close().
class Opened {
 public:
  static async::Task<base::Result<std::unique_ptr<Opened>>> open(std::string path,
                                                                 OpenSpec spec = {});
  async::Task<base::Result<>> close();
  ~Opened();

  Image& image() { return static_cast<Image&>(node().driver()); }
  block::Node& node() { return *tree_.top; }

  async::Task<base::Result<>> write(uint64_t offset, std::vector<std::byte> bytes,
                                    block::Flags flags = 0);
  async::Task<base::Result<std::vector<std::byte>>> read(uint64_t offset, uint64_t length);

 private:
  block::OpenedTree tree_;
  bool closed_ = false;
};

using CreateOptionList = std::vector<std::pair<std::string, std::string>>;
async::Task<base::Result<>> create_image(std::string path, uint64_t size_bytes,
                                         CreateOptionList options = {});

// Bytes that tell where and when they were written.
std::vector<std::byte> pattern(uint64_t length, uint64_t seed);

}  // namespace firn::qcow2::testing
