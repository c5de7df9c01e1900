#include "tests/sim/inspect.h"

#include <fmt/format.h>

#include <fstream>
#include <utility>
#include <vector>

#include "async/file.h"
#include "async/sim_content.h"
#include "block/node.h"
#include "block/permissions.h"
#include "block/registry.h"
#include "tests/sim/image_check.h"

namespace firn::sim {

using async::Loop;
using async::Task;
using base::Result;
namespace permission = block::permission;

namespace {

Task<Result<>> create_base(World& world) {
  async::FileSystem& files = Loop::current().files();
  CO_TRY(co_await files.make_directory("/images"));
  const std::string path = "/images/base";
  {
    auto file = CO_TRY(co_await files.open(path, {.writable = true, .create = true}));
    const uint64_t size = world.plan.disk_sectors * kSectorBytes;
    if (world.plan.base_format == "raw") CO_TRY(co_await file->truncate(size));
    CO_TRY(co_await file->sync());
  }
  world.chain.push_back({.path = path, .format = world.plan.base_format});
  if (world.plan.base_format != "raw") {
    block::NodeSpec spec = CO_TRY(co_await block::file_spec(world.registry, path, {}));
    auto tree = CO_TRY(co_await block::open_tree(world.registry, std::move(spec)));
    block::Edge edge(block::EdgeRole::kRoot, nullptr, "the maker");
    edge.attach(tree.top, permission::kConsistentRead | permission::kWrite | permission::kResize,
                permission::kAll);
    CO_TRY(block::update_permissions(*tree.top));
    block::DriverEntry::CreateRequest request;
    request.size_bytes = world.plan.disk_sectors * kSectorBytes;
    request.options = world.plan.base_options;
    auto created = co_await world.registry.find(world.plan.base_format)->create(edge, request);
    edge.detach();
    auto closed = co_await block::close_tree(std::move(tree));
    CO_TRY(std::move(created));
    CO_TRY(std::move(closed));
  }
  CO_TRY(co_await files.sync_directory("/images"));
  co_return co_await files.sync_directory("/");
}

// All of the disk, as a reader of `layer` finds it.
Task<Result<std::vector<std::byte>>> read_layer(World& world, const Layer& layer) {
  std::vector<std::byte> bytes(world.plan.disk_sectors * kSectorBytes, std::byte{0xee});
  auto tree = CO_TRY(co_await block::open_tree(world.registry, world.spec_of(layer, true)));
  block::Edge edge(block::EdgeRole::kRoot, nullptr, "the inspector");
  edge.attach(tree.top, permission::kConsistentRead, permission::kAll);
  Result<> read;
  if (edge.size_bytes() != bytes.size()) {
    read = base::fail(base::ErrorKind::kCorrupt, fmt::format("the disk has {} bytes, not {}",
                                                             edge.size_bytes(), bytes.size()));
  } else {
    const async::IoVec iov(bytes.data(), bytes.size());
    read = co_await edge.read(0, iov);
  }
  edge.detach();
  auto closed = co_await block::close_tree(std::move(tree));
  CO_TRY(std::move(read));
  CO_TRY(std::move(closed));
  co_return bytes;
}

Task<Result<>> seal_again(World& world) {
  async::FileSystem& files = Loop::current().files();
  for (const auto* layers : {&world.chain, &world.branches}) {
    for (const Layer& layer : *layers) {
      auto file = CO_TRY(co_await files.open(layer.path, {.writable = true}));
      CO_TRY(co_await file->sync());
    }
  }
  co_return co_await files.sync_directory("/images");
}

std::vector<std::byte> file_bytes(const async::SimInode& inode) {
  std::vector<std::byte> bytes(inode.content.size_bytes());
  inode.content.read(0, bytes.size(), async::IoVec(bytes.data(), bytes.size()));
  return bytes;
}

std::optional<std::string> check_image(World& world, const Layer& layer) {
  const async::SimInode* inode = world.disk.find(layer.path);
  if (inode == nullptr) return "the file is not there";
  if (layer.format != "qcow2") return std::nullopt;
  ++world.counters.images_checked;
  ImageReport report = check_qcow2(file_bytes(*inode));
  world.counters.leaked_clusters += report.leaked_clusters;
  if (!report.corruption && report.leaked_clusters != 0 && !world.leaks_are_legal) {
    return fmt::format("{} clusters leaked, and nothing ever went wrong", report.leaked_clusters);
  }
  return std::move(report.corruption);
}

std::optional<std::string> judge(World& world, Layer& layer, const std::vector<std::byte>& bytes,
                                 bool is_head, bool closed_in_order, Content& found) {
  if (is_head) {
    return closed_in_order ? world.oracle.check_after_close(bytes, found)
                           : world.oracle.check_after_cut(bytes, found);
  }
  if (layer.in_flux) return std::nullopt;
  if (layer.content) return world.oracle.check_unchanged(bytes, *layer.content);
  // Without a reply nothing was promised but what flushes promised, which the head above shows.
  if (!layer.command) return world.oracle.check_origin(bytes, layer.content.emplace());
  ++world.counters.frozen_layers_judged;
  const auto [sent, replied] = *layer.command;
  return world.oracle.check_frozen(bytes, sent, replied, layer.content.emplace());
}

// What a fork was made of, if it was judged.
const Content* original_of(const World& world, const Layer& fork) {
  for (const auto* layers : {&world.chain, &world.branches}) {
    for (const Layer& layer : *layers) {
      if (layer.path == fork.copy_of && layer.content) return &*layer.content;
    }
  }
  return nullptr;
}

std::optional<std::string> judge_branch(World& world, Layer& layer,
                                        const std::vector<std::byte>& bytes) {
  if (layer.content) return world.oracle.check_unchanged(bytes, *layer.content);
  if (const Content* original = original_of(world, layer)) {
    layer.content = *original;
    return world.oracle.check_unchanged(bytes, *original);
  }
  return world.oracle.check_origin(bytes, layer.content.emplace());
}

// The ends of other branches: whole, and what they were.
Task<bool> inspect_branches(World& world) {
  for (Layer& layer : world.branches) {
    std::optional<std::string> bad = check_image(world, layer);
    if (!bad) {
      const auto bytes = co_await read_layer(world, layer);
      bad = bytes ? judge_branch(world, layer, *bytes) : bytes.error().text();
    }
    if (!bad) continue;
    world.fail(fmt::format("{} (of another branch): {}", layer.path, *bad));
    co_return false;
  }
  co_return true;
}

}  // namespace

Task<void> make_base(World& world) {
  const auto made = co_await create_base(world);
  if (!made) world.fail("making the base: " + made.error().text());
}

Task<void> inspect(World& world, bool closed_in_order) {
  Content found;
  for (size_t i = 0; i < world.chain.size(); ++i) {
    Layer& layer = world.chain[i];
    if (const auto bad = check_image(world, layer)) {
      world.fail(fmt::format("{}: {}", layer.path, *bad));
      co_return;
    }
    const auto bytes = co_await read_layer(world, layer);
    if (!bytes) {
      world.fail(fmt::format("reading {}: {}", layer.path, bytes.error().text()));
      co_return;
    }
    const bool is_head = i + 1 == world.chain.size();
    if (auto bad = judge(world, layer, *bytes, is_head, closed_in_order, found)) {
      world.fail(fmt::format("{} (layer {} of {}): {}", layer.path, i, world.chain.size(), *bad));
      co_return;
    }
  }
  if (!co_await inspect_branches(world)) co_return;
  world.oracle.start_over(found);
  const auto sealed = co_await seal_again(world);
  if (!sealed) world.fail("sealing again: " + sealed.error().text());
}

void dump_images(World& world, const std::string& directory) {
  for (const Layer& layer : world.chain) {
    const async::SimInode* inode = world.disk.find(layer.path);
    if (inode == nullptr) continue;
    const std::vector<std::byte> bytes = file_bytes(*inode);
    std::ofstream out(directory + layer.path.substr(layer.path.rfind('/')), std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }
}

}  // namespace firn::sim
