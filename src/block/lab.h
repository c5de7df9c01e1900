// For tests of this room: a graph on real loops, with the drivers and a folder of its own. Its
// definitions lie in lab_test.cc, since only tests may see drivers from here.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "async/runtime.h"
#include "block/fake_format.h"
#include "block/graph.h"
#include "block/snapshot.h"

namespace firn::block {

class Lab : public ::testing::Test {
 protected:
  explicit Lab(uint32_t fake_alignment = 1);
  ~Lab() override;

  template <typename T>
  T run(Task<T> task) {
    return async::run_until_done(*runtime_, std::move(task));
  }
  // Runs `task` on the I/O loop.
  template <typename T>
  T run_io(Task<T> task) {
    return run(async::call_on(graph_->default_io_loop(), std::move(task)));
  }

  void register_all(Registry& registry) const;

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  // A file of `size` bytes, all of them `fill`.
  std::string make_file(const std::string& name, uint64_t size, char fill = 0);
  bool exists(const std::string& name) const;
  std::string content(const std::string& name, uint64_t offset, uint64_t length) const;

  static std::unique_ptr<NodeSpec> file_spec(const std::string& path, NodeOptions options = {});
  // A node `name` of `driver` over the file `path`.
  static NodeSpec spec(const std::string& name, const std::string& driver, const std::string& path,
                       NodeOptions options = {});
  // Makes an image of the fake format and adds it.
  void make_image(const std::string& file_name, uint64_t size, const std::string& backing = "");
  Node* add(NodeSpec spec);  // fails the test if it can't
  std::string add_error(NodeSpec spec);

  Result<> attach(Root& root, Node* node, Permissions used, Permissions shared = permission::kAll) {
    return run(graph_->attach(root, *node, used, shared));
  }
  void detach(Root& root) { run(graph_->detach(root)); }

  // Through a root, on the I/O loop.
  Result<> write(Root& root, uint64_t offset, uint64_t length, char fill,
                 Flags flags = flag::kNone);
  std::string read(Root& root, uint64_t offset, uint64_t length);  // "error: ..." if it fails
  Result<> flush(Root& root);

  Result<SnapshotReport> snapshot(SnapshotRequest request) {
    return run(take_snapshot(*graph_, std::move(request)));
  }

  // The output of a shell command, and how it ended.
  struct Output {
    int status = 0;
    std::string text;
  };
  static Output shell(const std::string& command);

  static constexpr Permissions kRead = permission::kConsistentRead;
  static constexpr Permissions kWrite = permission::kConsistentRead | permission::kWrite;

  uint32_t fake_alignment_ = 1;
  std::string folder_;
  NullStateStore no_state_;
  std::unique_ptr<async::Runtime> runtime_;
  std::unique_ptr<Graph> graph_;
};

}  // namespace firn::block
