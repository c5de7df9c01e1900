#include "block/lab.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "drivers/file/file_driver.h"
#include "drivers/null/null_driver.h"
#include "drivers/qcow2/driver.h"
#include "drivers/raw/raw_driver.h"

namespace firn::block {
namespace {

Task<Result<>> write_bytes(Root& root, uint64_t offset, std::string bytes, Flags flags) {
  const IoVec iov(bytes.data(), bytes.size());
  co_return co_await root.write(offset, iov, flags);
}

Task<Result<std::string>> read_bytes(Root& root, uint64_t offset, uint64_t length) {
  std::string bytes(length, '?');
  const IoVec iov(bytes.data(), bytes.size());
  CO_TRY(co_await root.read(offset, iov));
  co_return bytes;
}

Task<Result<>> flush_root(Root& root) { co_return co_await root.flush(); }

Task<Result<>> create_image(const Registry& registry, std::string path,
                            DriverEntry::CreateRequest request) {
  NodeSpec spec = CO_TRY(co_await file_spec(registry, path, {}));
  OpenedTree tree = CO_TRY(co_await open_tree(registry, std::move(spec)));
  Edge edge(EdgeRole::kRoot, nullptr, "the test");
  edge.attach(tree.top, permission::kWrite, permission::kAll);
  auto result = co_await registry.find("fake")->create(edge, request);
  edge.detach();
  CO_TRY(co_await close_tree(std::move(tree)));
  co_return result;
}

}  // namespace

Lab::Lab(uint32_t fake_alignment) {
  std::string folder = (std::filesystem::temp_directory_path() / "firn-block-XXXXXX").string();
  CHECK(::mkdtemp(folder.data()) != nullptr);
  folder_ = std::filesystem::canonical(folder).string();
  auto runtime = async::make_runtime();
  CHECK(runtime.has_value());
  runtime_ = std::move(*runtime);
  fake_alignment_ = fake_alignment;
  Registry registry;
  register_all(registry);
  auto graph = Graph::create(*runtime_, std::move(registry), no_state_);
  CHECK(graph.has_value());
  graph_ = std::move(*graph);
}

void Lab::register_all(Registry& registry) const {
  file::register_drivers(registry);
  raw::register_drivers(registry);
  null::register_drivers(registry);
  qcow2::register_drivers(registry);
  register_fake_format(registry, fake_alignment_);
}

Lab::~Lab() {
  const auto closed = run(graph_->close());
  EXPECT_TRUE(closed.has_value()) << closed.error().text();
  graph_.reset();
  runtime_.reset();
  reset_fake_hooks();
  std::filesystem::remove_all(folder_);
}

std::string Lab::make_file(const std::string& name, uint64_t size, char fill) {
  std::ofstream(path(name), std::ios::binary) << std::string(size, fill);
  return path(name);
}

bool Lab::exists(const std::string& name) const { return std::filesystem::exists(path(name)); }

std::string Lab::content(const std::string& name, uint64_t offset, uint64_t length) const {
  std::ifstream file(path(name), std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  std::string bytes(length, '?');
  file.read(bytes.data(), static_cast<std::streamsize>(length));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

std::unique_ptr<NodeSpec> Lab::file_spec(const std::string& path, NodeOptions options) {
  auto spec = std::make_unique<NodeSpec>();
  spec->driver = "file";
  spec->options = options;
  auto file = std::make_unique<file::Options>();
  file->filename = path;
  spec->driver_options = std::move(file);
  return spec;
}

NodeSpec Lab::spec(const std::string& name, const std::string& driver, const std::string& path,
                   NodeOptions options) {
  NodeSpec spec;
  spec.driver = driver;
  spec.node_name = name;
  spec.options = options;
  spec.file.emplace(file_spec(path, inherited_options(options, EdgeRole::kFile)));
  return spec;
}

void Lab::make_image(const std::string& file_name, uint64_t size, const std::string& backing) {
  make_file(file_name, 0);
  DriverEntry::CreateRequest request;
  request.size_bytes = size;
  request.backing_filename = backing;
  const auto made = run(create_image(graph_->registry(), path(file_name), std::move(request)));
  ASSERT_TRUE(made.has_value()) << made.error().text();
}

Node* Lab::add(NodeSpec spec) {
  auto node = run(graph_->add_node(std::move(spec)));
  CHECK(node.has_value());
  return *node;
}

std::string Lab::add_error(NodeSpec spec) {
  auto node = run(graph_->add_node(std::move(spec)));
  return node ? "no error" : node.error().text();
}

Result<> Lab::write(Root& root, uint64_t offset, uint64_t length, char fill, Flags flags) {
  return run_io(write_bytes(root, offset, std::string(length, fill), flags));
}

std::string Lab::read(Root& root, uint64_t offset, uint64_t length) {
  auto bytes = run_io(read_bytes(root, offset, length));
  return bytes ? *bytes : "error: " + bytes.error().text();
}

Result<> Lab::flush(Root& root) { return run_io(flush_root(root)); }

Lab::Output Lab::shell(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  CHECK(pipe != nullptr);
  Output output;
  char buffer[4096];
  for (size_t bytes; (bytes = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    output.text.append(buffer, bytes);
  }
  output.status = ::pclose(pipe);
  return output;
}

}  // namespace firn::block
