#include "drivers/qcow2/test_image.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "drivers/file/file_driver.h"
#include "drivers/qcow2/driver.h"
#include "drivers/raw/raw_driver.h"

namespace firn::qcow2::testing {

using async::IoVec;
using async::Task;
using base::Result;

Directory::Directory() {
  const char* base = std::getenv("TMPDIR");
  std::string name = fmt::format("{}/firn-qcow2-XXXXXX", base != nullptr ? base : "/tmp");
  CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

Directory::~Directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Output shell(const std::string& command) {
  Output output;
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  std::array<char, 4096> buffer;
  while (const size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.text.append(buffer.data(), got);
  }
  output.ok = pclose(pipe) == 0;
  return output;
}

std::string must(const std::string& command) {
  const Output output = shell(command);
  EXPECT_TRUE(output.ok) << command << "\n" << output.text;
  return output.text;
}

bool have_qemu() {
  static const bool have = shell("qemu-img --version && qemu-io --version").ok;
  return have;
}

const block::Registry& registry() {
  static const block::Registry all = [] {
    block::Registry made;
    file::register_drivers(made);
    raw::register_drivers(made);
    register_drivers(made);
    return made;
  }();
  return all;
}

namespace {
block::NodeSpec file_node(std::string path, bool read_only) {
  block::NodeSpec spec;
  spec.driver = "file";
  spec.options.read_only = read_only;
  spec.options.unmap = true;
  auto options = std::make_unique<file::Options>();
  options->filename = std::move(path);
  spec.driver_options = std::move(options);
  return spec;
}
}  // namespace

Task<Result<std::unique_ptr<Opened>>> Opened::open(std::string path, OpenSpec wanted) {
  block::NodeSpec spec;
  spec.driver = "qcow2";
  spec.options.read_only = wanted.read_only;
  spec.options.unmap = wanted.unmap;
  spec.driver_options = std::make_unique<Options>(wanted.options);
  spec.file = std::make_unique<block::NodeSpec>(file_node(std::move(path), wanted.read_only));
  if (wanted.no_backing) spec.backing = std::unique_ptr<block::NodeSpec>();
  auto opened = std::make_unique<Opened>();
  opened->tree_ = CO_TRY(co_await block::open_tree(registry(), std::move(spec)));
  co_return opened;
}

Task<Result<>> Opened::close() {
  closed_ = true;
  co_return co_await block::close_tree(std::move(tree_));
}

Opened::~Opened() { CHECK(closed_ || tree_.nodes.empty()); }

Task<Result<>> Opened::write(uint64_t offset, std::vector<std::byte> bytes, block::Flags flags) {
  const IoVec iov{base::ConstByteSpan(bytes)};
  co_return co_await image().write(offset, iov, flags);
}

Task<Result<std::vector<std::byte>>> Opened::read(uint64_t offset, uint64_t length) {
  std::vector<std::byte> bytes(length, std::byte{0xee});
  const IoVec iov{base::ByteSpan(bytes)};
  CO_TRY(co_await image().read(offset, iov, block::flag::kNone));
  co_return bytes;
}

Task<Result<>> create_image(std::string path, uint64_t size_bytes, CreateOptionList options) {
  {
    auto made = CO_TRY(co_await async::Loop::current().files().open(
        path, {.writable = true, .create = true, .exclusive = true}));
  }
  block::OpenedTree tree =
      CO_TRY(co_await block::open_tree(registry(), file_node(std::move(path), false)));
  block::Edge edge(block::EdgeRole::kRoot, nullptr, "image creation");
  edge.attach(tree.top, block::permission::kAll, block::permission::kAll);
  block::DriverEntry::CreateRequest request;
  request.size_bytes = size_bytes;
  request.options = std::move(options);
  Result<> created = co_await registry().find("qcow2")->create(edge, request);
  edge.detach();
  Result<> closed = co_await block::close_tree(std::move(tree));
  CO_TRY(std::move(created));
  co_return closed;
}

std::vector<std::byte> pattern(uint64_t length, uint64_t seed) {
  std::vector<std::byte> bytes(length);
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (uint64_t i = 0; i < length; ++i) {
    if (i % 8 == 0) state = state * 6364136223846793005 + 1442695040888963407;
    bytes[i] = static_cast<std::byte>(state >> (8 + i % 8 * 7));
  }
  return bytes;
}

}  // namespace firn::qcow2::testing
