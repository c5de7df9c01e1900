#include "drivers/file/file_driver.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "async/runtime.h"
#include "base/bytes.h"
#include "block/permissions.h"

namespace firn::file {
namespace {

using async::IoVec;
using async::Task;
using base::ErrorKind;
using base::Result;
using block::NodeOptions;
namespace flag = block::flag;
namespace permission = block::permission;
using ::testing::HasSubstr;

constexpr block::Permissions kWriter =
    permission::kConsistentRead | permission::kWrite | permission::kResize;
constexpr block::Permissions kToReaders = permission::kConsistentRead | permission::kWriteUnchanged;

Options with_aio(Options::Aio aio) {
  Options options;
  options.aio = aio;
  return options;
}
Options with_locking(Options::Locking locking) {
  Options options;
  options.locking = locking;
  return options;
}

struct Output {
  int status = 0;
  std::string text;
};

Output shell(const std::string& command) {
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

class FileTest : public ::testing::Test {
 protected:
  FileTest() {
    std::string folder = (std::filesystem::temp_directory_path() / "firn-file-XXXXXX").string();
    CHECK(::mkdtemp(folder.data()) != nullptr);
    folder_ = std::filesystem::canonical(folder).string();
    auto runtime = async::make_runtime();
    CHECK(runtime.has_value());
    runtime_ = std::move(*runtime);
    register_drivers(registry_);
  }
  ~FileTest() override {
    close();
    runtime_.reset();
    std::filesystem::remove_all(folder_);
  }

  template <typename T>
  T run(Task<T> task) {
    return async::run_until_done(*runtime_, std::move(task));
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string make_file(const std::string& name, uint64_t size, char fill = 0) {
    std::ofstream(path(name), std::ios::binary) << std::string(size, fill);
    return path(name);
  }

  block::NodeSpec spec(const std::string& file, NodeOptions node = {}, Options options = {}) {
    block::NodeSpec spec;
    spec.driver = "file";
    spec.node_name = "f";
    spec.options = node;
    options.filename = file;
    spec.driver_options = std::make_unique<Options>(options);
    return spec;
  }
  Result<> open(block::NodeSpec spec) {
    auto tree = run(block::open_tree(registry_, std::move(spec)));
    if (!tree) return base::fail(std::move(tree).error());
    tree_ = std::move(*tree);
    node_ = tree_.top;
    return {};
  }
  void close() {
    if (node_ == nullptr) return;
    edge_.detach();
    EXPECT_TRUE(run(block::close_tree(std::move(tree_))));
    tree_ = {};
    node_ = nullptr;
  }
  std::string open_error(block::NodeSpec spec) {
    auto result = open(std::move(spec));
    close();
    return result ? "no error" : result.error().text();
  }
  Result<> use(block::Permissions used, block::Permissions shared) {
    if (!edge_) edge_.attach(node_, used, shared);
    edge_.set_permissions(used, shared);
    return block::update_permissions(*node_);
  }

  Result<> write(uint64_t offset, std::string bytes, block::Flags flags = flag::kNone) {
    const IoVec iov(bytes.data(), bytes.size());
    return run(node_->driver().write(offset, iov, flags));
  }
  std::string read(uint64_t offset, uint64_t length) {
    std::string bytes(length, '?');
    const IoVec iov(bytes.data(), bytes.size());
    const auto result = run(node_->driver().read(offset, iov, flag::kNone));
    return result ? bytes : "error: " + result.error().text();
  }

  std::string folder_;
  std::unique_ptr<async::Runtime> runtime_;
  block::Registry registry_;
  block::OpenedTree tree_;
  block::Node* node_ = nullptr;
  block::Edge edge_{block::EdgeRole::kRoot, nullptr, "the test"};
};

TEST_F(FileTest, ReadsWritesAndGrows) {
  ASSERT_TRUE(open(spec(make_file("f", 1000, 'x'))));
  EXPECT_EQ(node_->driver().size_bytes(), 1024u);  // whole sectors
  EXPECT_EQ(read(998, 4), std::string("xx\0\0", 4));
  ASSERT_TRUE(write(100, "hello", flag::kFua));
  EXPECT_EQ(read(99, 7), "xhellox");
  ASSERT_TRUE(write(5000, "end"));
  EXPECT_EQ(node_->driver().size_bytes(), 5120u);
  EXPECT_EQ(read(4998, 5), std::string("\0\0end", 5));
  ASSERT_TRUE(run(node_->driver().flush()));
  EXPECT_EQ(node_->driver().filename(), path("f"));
  EXPECT_EQ(run(node_->driver().facts())->format, "file");
}

TEST_F(FileTest, ZeroesWithinAndBeyondTheEnd) {
  ASSERT_TRUE(open(spec(make_file("f", 65536, 'x'))));
  ASSERT_TRUE(run(node_->driver().write_zeroes(100, 5000, flag::kNone)));
  EXPECT_EQ(read(99, 5002), "x" + std::string(5000, '\0') + "x");
  ASSERT_TRUE(run(node_->driver().write_zeroes(8192, 4096, flag::kMayUnmap)));
  EXPECT_EQ(read(8191, 4098), "x" + std::string(4096, '\0') + "x");
  ASSERT_TRUE(run(node_->driver().write_zeroes(65000, 135000, flag::kMayUnmap)));
  EXPECT_EQ(std::filesystem::file_size(path("f")), 200000u);
  EXPECT_EQ(read(64999, 2), std::string("x\0", 2));
}

TEST_F(FileTest, HolesAreKnown) {
  make_file("f", 0);
  std::filesystem::resize_file(path("f"), 1 << 20);
  ASSERT_TRUE(open(spec(path("f"))));
  ASSERT_TRUE(write(524288, std::string(65536, 'x')));
  const auto hole = run(node_->driver().status(0, 1 << 20));
  EXPECT_EQ(hole->kind, block::RunKind::kZero);
  EXPECT_EQ(hole->length_bytes, 524288u);
  const auto data = run(node_->driver().status(524288, 1 << 19));
  EXPECT_EQ(data->kind, block::RunKind::kData);
  EXPECT_EQ(data->host_offset, 524288u);
  EXPECT_EQ(data->length_bytes, 65536u);
  const auto tail = run(node_->driver().status(589824, (1 << 20) - 589824));
  EXPECT_EQ(tail->kind, block::RunKind::kZero);
  EXPECT_EQ(tail->length_bytes, (1u << 20) - 589824);
}

TEST_F(FileTest, DiscardGivesStorageBack) {
  ASSERT_TRUE(open(spec(make_file("f", 1 << 20, 'x'))));
  ASSERT_TRUE(run(node_->driver().discard(0, 1 << 20, flag::kFua)));
  EXPECT_EQ(std::filesystem::file_size(path("f")), 1u << 20);
  EXPECT_EQ(*run(node_->driver().facts())->actual_size_bytes, 0u);
}

TEST_F(FileTest, UnalignedMemoryGoesThroughWithDirect) {
  auto opened = open(spec(make_file("f", 1 << 16, 'x'), {.direct = true}));
  if (!opened) GTEST_SKIP() << opened.error().text();
  const uint32_t block = node_->driver().limits().request_alignment;
  EXPECT_GT(block, 1u);
  std::string memory(2 * block + 1, 'A');
  const IoVec odd(memory.data() + 1, 2 * block);
  ASSERT_TRUE(run(node_->driver().write(block, odd, flag::kNone)));
  memory.assign(2 * block + 1, '?');
  ASSERT_TRUE(run(node_->driver().read(0, odd, flag::kNone)));
  EXPECT_EQ(memory.substr(1), std::string(block, 'x') + std::string(block, 'A'));
}

TEST_F(FileTest, ResizesBothWays) {
  ASSERT_TRUE(open(spec(make_file("f", 4096, 'x'))));
  ASSERT_TRUE(run(node_->driver().resize(8192)));
  EXPECT_EQ(read(4095, 2), std::string("x\0", 2));
  ASSERT_TRUE(run(node_->driver().resize(512)));
  EXPECT_EQ(node_->driver().size_bytes(), 512u);
  EXPECT_EQ(std::filesystem::file_size(path("f")), 512u);
}

TEST_F(FileTest, ErrorsNameTheFileAndTheCause) {
  EXPECT_EQ(open_error(spec(path("none"))),
            "Could not open '" + path("none") + "': No such file or directory");
  EXPECT_EQ(open_error(spec(folder_)), "Could not open '" + folder_ + "': Is a directory");
  EXPECT_EQ(open_error(spec("/dev/null")),
            "'file' driver requires '/dev/null' to be a regular file");
  block::NodeSpec device = spec(make_file("f", 512));
  device.driver = "host_device";
  EXPECT_EQ(open_error(std::move(device)), "'host_device' driver requires '" + path("f") +
                                               "' to be either a character or block device");
  EXPECT_EQ(open_error(spec(path("f"), {}, with_aio(Options::Aio::kNative))),
            "aio=native was specified, but it requires cache.direct=on, which was not specified.");
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_THAT(open_error(spec(path("pipe"))), HasSubstr("to be a regular file"));  // and no hang
}

TEST_F(FileTest, AutoReadOnlyFallsBack) {
  make_file("f", 4096);
  std::filesystem::permissions(path("f"), std::filesystem::perms::owner_read);
  if (::geteuid() == 0) {
    GTEST_SKIP() << "root may write to everything";
  }
  EXPECT_EQ(open_error(spec(path("f"))), "Could not open '" + path("f") + "': Permission denied");
  ASSERT_TRUE(open(spec(path("f"), {.auto_read_only = true})));
  EXPECT_TRUE(node_->read_only());
}

TEST_F(FileTest, ReopensForWritingAfterReadOnly) {
  ASSERT_TRUE(open(spec(make_file("f", 4096, 'x'), {.read_only = true})));
  ASSERT_TRUE(use(permission::kConsistentRead, kToReaders));
  ASSERT_TRUE(run(node_->driver().set_read_only(false)));
  node_->set_read_only_mark(false);
  ASSERT_TRUE(use(kWriter, kToReaders));
  ASSERT_TRUE(write(0, "hello"));
  EXPECT_EQ(read(0, 6), "hellox");
  std::filesystem::rename(path("f"), path("g"));
  make_file("f", 4096);
  EXPECT_TRUE(run(node_->driver().set_read_only(false)));  // it is open for writing already
}

// Image locks, against the real peer -------------------------------------------------------------

class LockTest : public FileTest {
 protected:
  void SetUp() override {
    if (shell("qemu-io --version").status != 0) GTEST_SKIP() << "qemu-io is not installed";
    // The peer's raw nodes share everything; a format does not.
    ASSERT_EQ(shell("qemu-img create -q -f qcow2 " + path("f") + " 1M").status, 0);
  }
  std::string peer(const std::string& flags, const std::string& command) {
    return shell("qemu-io " + flags + " -f qcow2 -c '" + command + "' " + path("f")).text;
  }
};

TEST_F(LockTest, AWriterHereKeepsThePeerOut) {
  ASSERT_TRUE(open(spec(path("f"))));
  ASSERT_TRUE(use(kWriter, kToReaders));
  const std::string writing = peer("", "write 0 512");
  EXPECT_THAT(writing, HasSubstr("Failed to get \"write\" lock"));
  EXPECT_THAT(writing, HasSubstr("Is another process using the image"));
  EXPECT_THAT(peer("-r", "read 0 512"), HasSubstr("Failed to get shared \"write\" lock"));
  EXPECT_THAT(peer("-r -U", "read 0 512"), HasSubstr("read 512/512"));
  close();
  EXPECT_THAT(peer("", "write 0 512"), HasSubstr("wrote 512/512"));
}

TEST_F(LockTest, SealingLetsReadersInAndKeepsWritersOut) {
  ASSERT_TRUE(open(spec(path("f"))));
  ASSERT_TRUE(use(kWriter, kToReaders));
  ASSERT_TRUE(use(permission::kConsistentRead, kToReaders));
  EXPECT_THAT(peer("-r", "read 0 512"), HasSubstr("read 512/512"));
  EXPECT_THAT(peer("", "write 0 512"), HasSubstr("Failed to get \"write\" lock"));
}

TEST_F(LockTest, LockingOffAndForceShareLetAllIn) {
  ASSERT_TRUE(open(spec(path("f"), {}, with_locking(Options::Locking::kOff))));
  ASSERT_TRUE(use(kWriter, kToReaders));
  EXPECT_THAT(peer("", "write 0 512"), HasSubstr("wrote 512/512"));
  close();
  ASSERT_TRUE(open(spec(path("f"), {.read_only = true, .force_share = true})));
  ASSERT_TRUE(use(permission::kConsistentRead, kToReaders));
  EXPECT_THAT(peer("", "write 0 512"), HasSubstr("wrote 512/512"));
}

// A peer that holds the image while the test looks on.
class Holder {
 public:
  Holder(const std::string& flags, const std::string& image)
      : pipe_(::popen(
            ("exec qemu-io " + flags + " -f qcow2 " + image + " >" + image + ".out 2>&1").c_str(),
            "w")) {
    CHECK(pipe_ != nullptr);
    std::fputs("read 0 512\n", pipe_);
    std::fflush(pipe_);
    for (int i = 0; i < 1000; ++i) {
      std::ifstream out(image + ".out");
      const std::string text((std::istreambuf_iterator<char>(out)), {});
      if (text.find("read 512/512") != std::string::npos) return;
      ::usleep(10'000);
    }
    ADD_FAILURE() << "the peer does not answer";
  }
  ~Holder() {
    std::fputs("quit\n", pipe_);
    ::pclose(pipe_);
  }

 private:
  FILE* pipe_;
};

TEST_F(LockTest, AWritingPeerKeepsUsOut) {
  ASSERT_TRUE(open(spec(path("f"))));
  {
    Holder holder("", path("f"));
    const auto writer = use(kWriter, kToReaders);
    ASSERT_FALSE(writer);
    EXPECT_EQ(writer.error().text(), "Failed to get \"write\" lock");
    EXPECT_EQ(writer.error().kind(), ErrorKind::kBusy);
    EXPECT_EQ(writer.error().hint(), "Is another process using the image [" + path("f") + "]?");
    edge_.set_permissions(permission::kNone, permission::kAll);
    const auto reader = use(permission::kConsistentRead, kToReaders);
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error().text(), "Failed to get shared \"write\" lock");
  }
  EXPECT_TRUE(use(kWriter, kToReaders));
}

TEST_F(LockTest, AReadingPeerKeepsWritersOutAndLetsReadersIn) {
  ASSERT_TRUE(open(spec(path("f"))));
  Holder holder("-r", path("f"));
  const auto writer = use(kWriter, kToReaders);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().text(), "Failed to get \"write\" lock");
  EXPECT_TRUE(use(permission::kConsistentRead, kToReaders));
}

TEST_F(LockTest, TwoNodesHereExcludeEachOtherToo) {
  ASSERT_TRUE(open(spec(path("f"))));
  ASSERT_TRUE(use(kWriter, kToReaders));
  auto second = run(block::open_tree(registry_, spec(path("f"))));
  ASSERT_TRUE(second);
  block::Edge edge(block::EdgeRole::kRoot, nullptr, "the second");
  edge.attach(second->top, kWriter, kToReaders);
  EXPECT_EQ(block::update_permissions(*second->top).error().text(), "Failed to get \"write\" lock");
  edge.detach();
  EXPECT_TRUE(run(block::close_tree(std::move(*second))));
}

}  // namespace
}  // namespace firn::file
