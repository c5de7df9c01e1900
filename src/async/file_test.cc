#include "async/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "async/io_policy.h"
#include "async/runtime.h"
#include "async/scope.h"
#include "async/testing.h"

namespace firn::async {
namespace {

using base::ErrorKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Memory aligned as O_DIRECT wants it.
class Memory {
 public:
  explicit Memory(size_t size, uint8_t fill = 0)
      : size_(size),
        data_(static_cast<std::byte*>(std::aligned_alloc(4096, (size + 4095) & ~size_t{4095})),
              ::free) {
    std::memset(data_.get(), fill, size);
  }
  std::byte* data() { return data_.get(); }
  size_t size() const { return size_; }
  std::byte& operator[](size_t i) { return data_.get()[i]; }
  IoVec iov() { return IoVec(data_.get(), size_); }
  void number() {
    for (size_t i = 0; i + 8 <= size_; i += 8) {
      const uint64_t value = i * 0x9e3779b97f4a7c15;
      std::memcpy(data_.get() + i, &value, 8);
    }
  }
  bool equals(Memory& other, size_t offset = 0) {
    return std::memcmp(data(), other.data() + offset, size_) == 0;
  }

 private:
  size_t size_;
  std::unique_ptr<std::byte, void (*)(void*)> data_;
};

struct Place {
  RuntimeOptions::Engine engine;
  bool in_memory;
};

// Every test runs on both engines, on tmpfs and on the disk.
class FileTest : public ::testing::TestWithParam<Place> {
 protected:
  FileTest() {
    runtime_ = std::move(make_runtime({.engine = GetParam().engine})).value();
    directory_ = (GetParam().in_memory ? std::string("/dev/shm") : ::testing::TempDir()) +
                 "/firn_file_test_XXXXXX";
    CHECK(mkdtemp(directory_.data()) != nullptr);
  }
  ~FileTest() override { std::filesystem::remove_all(directory_); }

  template <typename T>
  T run(Task<T> task) {
    return run_until_done(*runtime_, std::move(task));
  }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  Runtime& runtime() { return *runtime_; }

 private:
  std::unique_ptr<Runtime> runtime_;
  std::string directory_;
};

std::vector<Place> places() {
  std::vector<Place> all;
  std::vector<RuntimeOptions::Engine> engines = {RuntimeOptions::Engine::kEpoll};
  if (make_runtime({.engine = RuntimeOptions::Engine::kUring})) {
    engines.push_back(RuntimeOptions::Engine::kUring);
  }
  for (const auto engine : engines) {
    all.push_back({engine, false});
    if (::access("/dev/shm", W_OK) == 0) all.push_back({engine, true});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Places, FileTest, ::testing::ValuesIn(places()), [](const auto& info) {
  return std::string(info.param.engine == RuntimeOptions::Engine::kUring ? "uring" : "epoll") +
         (info.param.in_memory ? "_tmpfs" : "_disk");
});

FileSystem& files() { return Loop::current().files(); }

Task<std::unique_ptr<File>> must_open(std::string path, OpenOptions options) {
  auto file = co_await files().open(std::move(path), options);
  EXPECT_TRUE(file.has_value()) << (file ? "" : file.error().text());
  CHECK(file.has_value());
  co_return std::move(*file);
}

constexpr OpenOptions kNew{.writable = true, .create = true};

// Reading and writing -----------------------------------------------------------------------------

Task<void> write_and_read_back(std::string path) {
  auto file = co_await must_open(path, kNew);
  // Below and above what is copied inline, and at odd offsets.
  for (const size_t size : {1ul, 511ul, 4096ul, 65536ul, 1234567ul, 5ul << 20}) {
    Memory out(size);
    out.number();
    const IoVec out_iov = out.iov();
    const uint64_t offset = size * 3 + 17;
    auto written = co_await file->write(offset, out_iov);
    EXPECT_TRUE(written.has_value());
    Memory in(size, 0xee);
    const IoVec in_iov = in.iov();
    auto got = co_await file->read(offset, in_iov);
    EXPECT_EQ(got.value(), size);
    EXPECT_TRUE(in.equals(out)) << size;
  }
  EXPECT_TRUE((co_await file->sync_data()).has_value());
  EXPECT_TRUE((co_await file->sync()).has_value());
}

TEST_P(FileTest, ReadsBackWhatWasWritten) { run(write_and_read_back(path("a"))); }

Task<void> read_at_the_end(std::string path) {
  auto file = co_await must_open(path, kNew);
  Memory out(1000, 0x55);
  const IoVec out_iov = out.iov();
  EXPECT_TRUE((co_await file->write(0, out_iov)).has_value());
  Memory in(4096, 0xee);
  const IoVec in_iov = in.iov();
  EXPECT_EQ((co_await file->read(0, in_iov)).value(), 1000u);
  EXPECT_EQ(in[999], std::byte{0x55});
  EXPECT_EQ(in[1000], std::byte{0xee});
  EXPECT_EQ((co_await file->read(990, in_iov)).value(), 10u);
  EXPECT_EQ((co_await file->read(1000, in_iov)).value(), 0u);
  EXPECT_EQ((co_await file->read(1 << 20, in_iov)).value(), 0u);
}

TEST_P(FileTest, AReadIsShortOnlyAtTheEnd) { run(read_at_the_end(path("a"))); }

// More pieces than one system call takes.
Task<void> big_vectors(std::string path) {
  auto file = co_await must_open(path, kNew);
  constexpr size_t kPieces = 3000;
  Memory out(kPieces * 24);
  out.number();
  IoVec out_iov;
  for (size_t i = 0; i != kPieces; ++i) out_iov.append(out.data() + i * 24, 24);
  EXPECT_TRUE((co_await file->write(5, out_iov)).has_value());
  Memory in(kPieces * 24, 0xee);
  IoVec in_iov;
  // Other borders than those of the write.
  for (size_t at = 0; at < in.size();) {
    const size_t length = std::min<size_t>(1 + at % 37, in.size() - at);
    in_iov.append(in.data() + at, length);
    at += length;
  }
  EXPECT_EQ((co_await file->read(5, in_iov)).value(), in.size());
  EXPECT_TRUE(in.equals(out));
}

TEST_P(FileTest, VectorsOfAnyLengthAreTransferredWhole) { run(big_vectors(path("a"))); }

void drop_from_cache(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  ::fdatasync(fd);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
}

// A read whose first half is in the page cache and whose second half is not.
Task<void> read_half_cached(std::string path) {
  auto file = co_await must_open(path, kNew);
  Memory out(4 << 20);
  out.number();
  const IoVec out_iov = out.iov();
  EXPECT_TRUE((co_await file->write(0, out_iov)).has_value());
  drop_from_cache(path);
  Memory first(8192);
  const IoVec first_iov = first.iov();
  EXPECT_EQ((co_await file->read(0, first_iov)).value(), first.size());
  Memory in(4 << 20, 0xee);
  const IoVec in_iov = in.iov();
  EXPECT_EQ((co_await file->read(0, in_iov)).value(), in.size());
  EXPECT_TRUE(in.equals(out));
}

TEST_P(FileTest, AReadThatIsCachedInPartIsWhole) { run(read_half_cached(path("a"))); }

Task<void> write_block(File& file, uint64_t index, int& failures) {
  Memory out(4096, static_cast<uint8_t>(index));
  const IoVec iov = out.iov();
  if (!co_await file.write(index * 4096, iov)) ++failures;
}

Task<void> read_block(File& file, uint64_t index, int& failures) {
  Memory in(4096, 0xee);
  const IoVec iov = in.iov();
  const auto got = co_await file.read(index * 4096, iov);
  if (!got || *got != 4096 || in[0] != std::byte(index) || in[4095] != std::byte(index)) ++failures;
}

Task<int> many_at_once(std::string path, bool direct) {
  auto file = co_await must_open(path, {.writable = true, .create = true, .direct = direct});
  int failures = 0;
  for (const auto step : {write_block, read_block}) {
    TaskScope scope;
    for (uint64_t i = 0; i != 3000; ++i) scope.spawn(step(*file, i, failures));
    co_await scope.join();
    if (!co_await file->sync_data()) ++failures;
  }
  co_return failures;
}

TEST_P(FileTest, ThousandsOfOperationsInFlight) {
  EXPECT_EQ(run(many_at_once(path("a"), false)), 0);
}

bool takes_direct(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_DIRECT, 0600);
  if (fd < 0) return false;
  ::close(fd);
  return true;
}

Task<void> direct_io(std::string path) {
  auto file = co_await must_open(path, {.writable = true, .create = true, .direct = true});
  EXPECT_GE(file->direct_alignment(), 1u);
  EXPECT_LE(file->direct_alignment(), 4096u);
  Memory out(1 << 20);
  out.number();
  const IoVec out_iov = out.iov();
  EXPECT_TRUE((co_await file->write(4096, out_iov)).has_value());
  Memory in(1 << 20);
  const IoVec in_iov = in.iov();
  EXPECT_EQ((co_await file->read(4096, in_iov)).value(), in.size());
  EXPECT_TRUE(in.equals(out));
  // The end of the file, off the alignment.
  EXPECT_TRUE((co_await file->truncate(4096 + 100)).has_value());
  EXPECT_EQ((co_await file->read(0, in_iov)).value(), 4196u);
  EXPECT_EQ((co_await file->read(8192, in_iov)).value(), 0u);
}

TEST_P(FileTest, DirectIo) {
  if (!takes_direct(path("probe"))) GTEST_SKIP() << "no O_DIRECT here";
  run(direct_io(path("a")));
  EXPECT_EQ(run(many_at_once(path("b"), true)), 0);
}

// Zeroing and holes -------------------------------------------------------------------------------

Task<void> zero_and_map(std::string path) {
  auto file = co_await must_open(path, kNew);
  Memory out(4 << 20, 0x77);
  const IoVec out_iov = out.iov();
  EXPECT_TRUE((co_await file->write(0, out_iov)).has_value());
  EXPECT_TRUE((co_await file->sync()).has_value());
  const uint64_t full = (co_await file->stat()).value().allocated_bytes;
  EXPECT_GE(full, out.size());

  EXPECT_TRUE((co_await file->zero(1 << 20, 1 << 20, true)).has_value());
  EXPECT_LE((co_await file->stat()).value().allocated_bytes, full - (1 << 20));
  const auto data = co_await file->extent_at(100);
  EXPECT_TRUE(data->data);
  EXPECT_EQ(data->length_bytes, (1u << 20) - 100);
  const auto hole = co_await file->extent_at(1 << 20);
  EXPECT_FALSE(hole->data);
  EXPECT_EQ(hole->length_bytes, 1u << 20);
  EXPECT_EQ((co_await file->extent_at(4 << 20)).error().kind(), ErrorKind::kOutOfRange);

  // Without unmapping it stays, or becomes, allocated; beyond the end the file grows.
  EXPECT_TRUE((co_await file->zero(1 << 20, 2 << 20, false)).has_value());
  EXPECT_GE((co_await file->stat()).value().allocated_bytes, full);
  EXPECT_TRUE((co_await file->zero((4 << 20) - 4096, 8192, false)).has_value());
  EXPECT_EQ((co_await file->stat()).value().size_bytes, (4u << 20) + 4096);

  Memory in(4 << 20, 0xee);
  const IoVec in_iov = in.iov();
  EXPECT_EQ((co_await file->read(0, in_iov)).value(), in.size());
  EXPECT_EQ(in[(1 << 20) - 1], std::byte{0x77});
  EXPECT_TRUE(IoVec(in.data() + (1 << 20), 2 << 20).is_zero());
  EXPECT_EQ(in[3 << 20], std::byte{0x77});

  // Unmapping beyond the end changes nothing.
  EXPECT_TRUE((co_await file->zero(8 << 20, 4096, true)).has_value());
  EXPECT_TRUE((co_await file->discard(0, 1 << 20)).has_value());
  EXPECT_EQ((co_await file->stat()).value().size_bytes, (4u << 20) + 4096);
  EXPECT_FALSE((co_await file->extent_at(0))->data);
  EXPECT_TRUE((co_await file->zero(0, 0, true)).has_value());
}

TEST_P(FileTest, ZeroesAreReadAndHolesAreMapped) { run(zero_and_map(path("a"))); }

Task<void> sizes(std::string path) {
  auto file = co_await must_open(path, kNew);
  EXPECT_TRUE((co_await file->truncate(1 << 30)).has_value());
  EXPECT_EQ((co_await file->stat()).value().size_bytes, 1u << 30);
  const auto whole = co_await file->extent_at(0);
  EXPECT_FALSE(whole->data);
  EXPECT_EQ(whole->length_bytes, 1u << 30);
  EXPECT_TRUE((co_await file->truncate(0)).has_value());
  EXPECT_TRUE((co_await file->allocate(0, 1 << 16)).has_value());
  const FileStat stat = (co_await file->stat()).value();
  EXPECT_EQ(stat.size_bytes, 1u << 16);
  EXPECT_GE(stat.allocated_bytes, 1u << 16);
  EXPECT_EQ(stat.kind, FileKind::kRegular);
  const FileStat by_path = (co_await files().stat(path)).value();
  EXPECT_EQ(by_path.inode, stat.inode);
  EXPECT_EQ(by_path.device, stat.device);
}

TEST_P(FileTest, SizesAndAllocation) { run(sizes(path("a"))); }

// Locks -------------------------------------------------------------------------------------------

Task<void> lock_between_two(std::string path) {
  auto a = co_await must_open(path, kNew);
  auto b = co_await must_open(path, {.writable = true});
  EXPECT_TRUE(a->lock_byte(100, LockKind::kShared).has_value());
  EXPECT_TRUE(b->lock_byte(100, LockKind::kShared).has_value());
  EXPECT_EQ(b->test_lock(100, LockKind::kExclusive).error().kind(), ErrorKind::kBusy);
  EXPECT_TRUE(b->test_lock(101, LockKind::kExclusive).has_value());
  EXPECT_EQ(b->lock_byte(100, LockKind::kExclusive).error().kind(), ErrorKind::kBusy);
  EXPECT_TRUE(a->unlock_byte(100).has_value());
  EXPECT_TRUE(b->lock_byte(100, LockKind::kExclusive).has_value());
  EXPECT_TRUE(b->test_lock(100, LockKind::kExclusive).has_value());  // its own
  const auto refused = a->lock_byte(100, LockKind::kShared);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kBusy);
  EXPECT_THAT(refused.error().text(), HasSubstr(path));
  // The lock is gone with its file, at once.
  for (int i = 0; i != 50; ++i) {
    b.reset();
    EXPECT_TRUE(a->lock_byte(100, LockKind::kExclusive).has_value());
    EXPECT_TRUE(a->unlock_byte(100).has_value());
    b = co_await must_open(path, {.writable = true});
    EXPECT_TRUE(b->lock_byte(100, LockKind::kExclusive).has_value());
  }
}

TEST_P(FileTest, LocksConflictBetweenOpenFilesOnly) { run(lock_between_two(path("a"))); }

// Names and errors --------------------------------------------------------------------------------

Task<void> open_errors(std::string path) {
  const auto missing = co_await files().open(path, {});
  EXPECT_EQ(missing.error().text(), "Could not open '" + path + "': No such file or directory");
  EXPECT_EQ(missing.error().kind(), ErrorKind::kNotFound);
  const auto no_directory = co_await files().open(path + "/x/y", kNew);
  EXPECT_EQ(no_directory.error().text(),
            "Could not create '" + path + "/x/y': No such file or directory");
  auto made = co_await files().open(path, {.writable = true, .create = true, .exclusive = true});
  EXPECT_TRUE(made.has_value());
  const auto again =
      co_await files().open(path, {.writable = true, .create = true, .exclusive = true});
  EXPECT_EQ(again.error().kind(), ErrorKind::kExists);

  auto read_only = co_await must_open(path, {});
  Memory out(512);
  const IoVec iov = out.iov();
  const auto refused = co_await read_only->write(0, iov);
  EXPECT_EQ(refused.error().text(), "Could not write '" + path + "': Bad file descriptor");

  // Nobody writes into it: opening must not wait for that.
  EXPECT_EQ(::mkfifo((path + ".fifo").c_str(), 0600), 0);
  auto fifo = co_await must_open(path + ".fifo", {});
  EXPECT_EQ((co_await fifo->stat()).value().kind, FileKind::kOther);
}

TEST_P(FileTest, OpenErrorsNameTheFile) { run(open_errors(path("a"))); }

Task<void> use_names(std::string directory) {
  EXPECT_TRUE((co_await files().make_directory(directory + "/d")).has_value());
  EXPECT_EQ((co_await files().make_directory(directory + "/d")).error().kind(), ErrorKind::kExists);
  {
    auto file = co_await must_open(directory + "/d/b", kNew);
  }
  {
    auto file = co_await must_open(directory + "/d/a", kNew);
  }
  EXPECT_THAT((co_await files().list(directory + "/d")).value(), ElementsAre("a", "b"));
  EXPECT_TRUE((co_await files().rename(directory + "/d/b", directory + "/d/c")).has_value());
  EXPECT_TRUE((co_await files().unlink(directory + "/d/a")).has_value());
  const auto gone = co_await files().unlink(directory + "/d/a");
  EXPECT_EQ(gone.error().kind(), ErrorKind::kNotFound);
  EXPECT_THAT((co_await files().list(directory + "/d")).value(), ElementsAre("c"));
  EXPECT_TRUE((co_await files().sync_directory(directory + "/d")).has_value());
  EXPECT_EQ((co_await files().sync_directory(directory + "/no")).error().kind(),
            ErrorKind::kNotFound);
  EXPECT_EQ((co_await files().stat(directory + "/d")).value().kind, FileKind::kDirectory);
  EXPECT_GT((co_await files().store_of(directory)).value().total_bytes, 0u);

  const std::string real = std::filesystem::canonical(directory).string();
  EXPECT_EQ((co_await files().real_path(directory + "/./d/../d/c")).value(), real + "/d/c");
  EXPECT_EQ((co_await files().real_path(directory + "/d/new")).value(), real + "/d/new");
  EXPECT_EQ(::symlink("d", (directory + "/link").c_str()), 0);
  EXPECT_EQ(::symlink("d/later", (directory + "/dangling").c_str()), 0);
  EXPECT_EQ((co_await files().real_path(directory + "/link/c")).value(), real + "/d/c");
  EXPECT_EQ((co_await files().real_path(directory + "/dangling")).value(), real + "/d/later");
  EXPECT_EQ((co_await files().real_path(directory + "/no/new")).error().kind(),
            ErrorKind::kNotFound);
  EXPECT_EQ((co_await files().real_path("/")).value(), "/");
}

TEST_P(FileTest, NamesAndDirectories) { run(use_names(path("."))); }

// Moving and closing ------------------------------------------------------------------------------

Task<void> use_elsewhere(std::unique_ptr<File> file) {
  EXPECT_TRUE(files().adopt_file(file).has_value());
  Memory in(4096);
  const IoVec iov = in.iov();
  EXPECT_EQ((co_await file->read(0, iov)).value(), 4096u);
  EXPECT_EQ(in[0], std::byte{0x42});
  EXPECT_TRUE((co_await file->write(0, iov)).has_value());
  EXPECT_TRUE((co_await file->sync_data()).has_value());
}

Task<void> move_to(Loop& other, std::string path) {
  auto file = co_await must_open(path, kNew);
  Memory out(4096, 0x42);
  const IoVec iov = out.iov();
  EXPECT_TRUE((co_await file->write(0, iov)).has_value());
  co_await call_on(other, use_elsewhere(std::move(file)));
}

TEST_P(FileTest, AFileMovesBetweenLoops) {
  run(move_to(*runtime().add_loop("io0").value(), path("a")));
}

size_t open_descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

Task<void> open_and_drop(std::string path) {
  for (int i = 0; i != 100; ++i) auto file = co_await must_open(path, kNew);
}

TEST_P(FileTest, TheRuntimeEndsWithEveryFileClosed) {
  const size_t before = open_descriptors();
  testing::run_on_loop(open_and_drop(path("a")), {.engine = GetParam().engine});
  EXPECT_EQ(open_descriptors(), before);
}

Task<void> adopt_descriptor(std::string path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
  auto file = co_await files().adopt(fd, "fd:7", true);
  EXPECT_EQ((*file)->path(), "fd:7");
  EXPECT_TRUE((co_await (*file)->truncate(10)).has_value());
  EXPECT_THAT((co_await files().adopt(-1, "fd:-1", true)).error().text(), HasSubstr("fd:-1"));
}

TEST_P(FileTest, AdoptsADescriptor) { run(adopt_descriptor(path("a"))); }

// Block devices
// ------------------------------------------------------------------------------------

Task<void> use_block_device(std::string path, bool direct) {
  auto file = co_await must_open(path, {.writable = true, .direct = direct});
  const FileStat stat = (co_await file->stat()).value();
  EXPECT_EQ(stat.kind, FileKind::kBlockDevice);
  EXPECT_EQ((co_await files().stat(path)).value().size_bytes, stat.size_bytes);
  CHECK(stat.size_bytes >= 8 << 20);
  if (direct) EXPECT_GE(file->direct_alignment(), 512u);

  Memory out(1 << 20);
  out.number();
  const IoVec out_iov = out.iov();
  for (uint64_t at = 0; at != 4 << 20; at += out.size()) {
    EXPECT_TRUE((co_await file->write(at, out_iov)).has_value());
  }
  EXPECT_TRUE((co_await file->sync_data()).has_value());
  EXPECT_TRUE((co_await file->zero(0, 1 << 20, false)).has_value());
  const auto unmapped = co_await file->zero(1 << 20, 1 << 20, true);
  EXPECT_TRUE(unmapped || unmapped.error().kind() == ErrorKind::kUnsupported);
  const auto discarded = co_await file->discard(2 << 20, 1 << 20);
  EXPECT_TRUE(discarded || discarded.error().kind() == ErrorKind::kUnsupported);

  Memory in(4 << 20, 0xee);
  const IoVec in_iov = in.iov();
  EXPECT_EQ((co_await file->read(0, in_iov)).value(), in.size());
  EXPECT_TRUE(IoVec(in.data(), 1 << 20).is_zero());
  if (unmapped) EXPECT_TRUE(IoVec(in.data() + (1 << 20), 1 << 20).is_zero());
  EXPECT_TRUE(out.equals(in, 3 << 20));

  EXPECT_EQ((co_await file->extent_at(0))->length_bytes, stat.size_bytes);
  EXPECT_EQ((co_await file->extent_at(stat.size_bytes)).error().kind(), ErrorKind::kOutOfRange);
  EXPECT_EQ((co_await file->write(stat.size_bytes, out_iov)).error().kind(), ErrorKind::kNoSpace);
  EXPECT_EQ((co_await file->read(stat.size_bytes, in_iov)).value(), 0u);
  EXPECT_FALSE((co_await file->truncate(1 << 20)).has_value());
}

// Overwrites the device that is named; there is none to be had without being root.
TEST_P(FileTest, BlockDevices) {
  const char* device = std::getenv("FIRN_TEST_BLOCK_DEVICE");
  if (device == nullptr) GTEST_SKIP() << "FIRN_TEST_BLOCK_DEVICE names no device to overwrite";
  for (const bool direct : {false, true}) run(use_block_device(device, direct));
}

TEST(IoPolicyTest, ChoosesByFileSystemAndSize) {
  constexpr uint64_t kTmpfs = 0x01021994;
  constexpr uint64_t kExt4 = 0xef53;
  Memory memory(1 << 20);
  const IoVec small(memory.data(), 4096);
  const IoVec large(memory.data(), 1 << 20);
  const FileOp read{.kind = FileOp::Kind::kRead, .iov = &small};
  const FileOp write{.kind = FileOp::Kind::kWrite, .iov = &small};
  const FileOp large_write{.kind = FileOp::Kind::kWrite, .iov = &large};
  const FileOp sync{.kind = FileOp::Kind::kDataSync};
  const FileOp truncate{.kind = FileOp::Kind::kTruncate};

  const IoPolicy memory_backed = choose_io_policy(FileKind::kRegular, kTmpfs, false);
  EXPECT_EQ(memory_backed.route(read), IoRoute::kInline);
  EXPECT_EQ(memory_backed.route(write), IoRoute::kInline);
  EXPECT_EQ(memory_backed.route(large_write), IoRoute::kWorker);
  EXPECT_EQ(memory_backed.route(sync), IoRoute::kInline);
  EXPECT_EQ(memory_backed.route(truncate), IoRoute::kWorker);

  const IoPolicy cached = choose_io_policy(FileKind::kRegular, kExt4, false);
  EXPECT_EQ(cached.route(read), IoRoute::kCachedThenRing);
  EXPECT_EQ(cached.route(write), IoRoute::kCachedThenWorker);
  EXPECT_NE(cached.route(sync), IoRoute::kInline);

  const IoPolicy direct = choose_io_policy(FileKind::kBlockDevice, kTmpfs, true);
  EXPECT_EQ(direct.route(read), IoRoute::kRing);
  EXPECT_EQ(direct.route(write), IoRoute::kRing);
}

}  // namespace
}  // namespace firn::async
