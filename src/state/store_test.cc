#include "state/store.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "async/runtime.h"
#include "state/view.h"

namespace firn::state {
namespace {

using async::Task;
using base::ErrorKind;
using base::Result;

// The kernel's files, with a disk that can be full.
class TestFiles final : public Files {
 public:
  bool full = false;

  std::unique_ptr<BlockingFile> open(const std::string& path, Mode mode, int& error) override {
    auto file = posix_files().open(path, mode, error);
    if (file == nullptr) return nullptr;
    return std::make_unique<File>(std::move(file), *this);
  }
  int remove(const std::string& path) override { return posix_files().remove(path); }
  bool exists(const std::string& path) override { return posix_files().exists(path); }
  int sync_folder_of(const std::string& path) override {
    return posix_files().sync_folder_of(path);
  }
  Result<FileIdentity> identity(const std::string& path) override {
    return posix_files().identity(path);
  }
  int64_t wall_clock_us() override { return posix_files().wall_clock_us(); }
  void fill_random(base::ByteSpan bytes) override { posix_files().fill_random(bytes); }
  std::string boot_id() override { return boot; }
  std::string boot = "this boot";

 private:
  struct File final : BlockingFile {
    File(std::unique_ptr<BlockingFile> file, TestFiles& files)
        : file(std::move(file)), files(files) {}
    int64_t read(uint64_t offset, base::ByteSpan into) override { return file->read(offset, into); }
    int write(uint64_t offset, base::ConstByteSpan bytes) override {
      return files.full ? -ENOSPC : file->write(offset, bytes);
    }
    int truncate(uint64_t size) override { return file->truncate(size); }
    int sync() override { return file->sync(); }
    int64_t size_bytes() override { return file->size_bytes(); }
    int lock() override { return file->lock(); }
    std::unique_ptr<BlockingFile> file;
    TestFiles& files;
  };
};

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    char pattern[] = "/tmp/firn-store-XXXXXX";
    folder_ = ::mkdtemp(pattern);
    runtime_ = *async::make_runtime();
  }
  ~StoreTest() override {
    if (store_) EXPECT_TRUE(run(store_->close(false)));
    std::filesystem::remove_all(folder_);
  }

  template <typename T>
  T run(Task<T> task) {
    return async::run_until_done(*runtime_, std::move(task));
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void make_file(const std::string& name, const std::string& bytes = "image") {
    std::ofstream(path(name)) << bytes;
  }
  void open(const std::string& name = "state") {
    auto store = run(Store::open(path(name), files_));
    ASSERT_TRUE(store) << store.error().text();
    store_ = *std::move(store);
  }
  // What a crash at this moment leaves, as the file `name`.
  void crash_into(const std::string& name) {
    for (const std::string suffix : {"", "-wal"}) {
      if (files_.exists(path("state") + suffix)) {
        std::filesystem::copy_file(path("state") + suffix, path(name) + suffix);
      }
    }
    close(false);
    open(name);
  }
  void close(bool in_order) {
    EXPECT_TRUE(run(store_->close(in_order)));
    store_.reset();
  }

  // A disk with a device and an export.
  void define() {
    make_file("base");
    Store::Update update;
    update.put_nodes({{.name = "#block1", .driver = "file", .path = path("base")},
                      {.name = "a", .driver = "raw", .file = "#block1", .added = true}});
    update.put({.kind = "device", .id = "vda", .definition = "{}", .node = "a"});
    update.put({.kind = "export", .id = "e", .definition = "{}", .node = "a"});
    ASSERT_TRUE(run(store_->write(std::move(update))));
  }
  block::GraphChange snapshot(const std::string& from, const std::string& to) {
    make_file(to);
    block::GraphChange change;
    change.added.push_back({.name = to,
                            .format = "qcow2",
                            .path = path(to),
                            .protocol = "file",
                            .file_name = "#" + to,
                            .options = {},
                            .backing_node = from,
                            .io_thread = ""});
    change.moved.push_back({.from = from, .to = to, .device = "vda"});
    change.to_seal = {from};
    return change;
  }
  Contents contents() { return *run(store_->recover()); }
  static std::string names(const Contents& contents) {
    std::string text;
    for (const NodeRecord& node : contents.nodes) {
      text += node.name + (node.read_only ? "(ro)" : "") + " ";
    }
    return text;
  }

  TestFiles files_;
  std::string folder_;
  std::unique_ptr<async::Runtime> runtime_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, ASnapshotMovesWhatUsesTheHead) {
  open();
  define();
  const auto number = run(store_->record_intent(snapshot("a", "s1")));
  ASSERT_TRUE(number) << number.error().text();
  ASSERT_TRUE(run(store_->record_done(*number, {})));
  const Contents after = contents();
  EXPECT_EQ(names(after), "#block1 a(ro) #s1 s1 ");
  EXPECT_EQ(after.find_thing("device", "vda")->node, "s1");
  EXPECT_EQ(after.find_thing("export", "e")->node, "s1");
  EXPECT_EQ(after.find_node("s1")->backing, "a");
  EXPECT_EQ(after.find_node("a")->seal, Seal::kSealed);
  ASSERT_TRUE(after.find_node("#block1")->identity);
  EXPECT_EQ(after.find_node("#block1")->identity->size_bytes, 5u);
  EXPECT_TRUE(after.recovered.empty());
}

TEST_F(StoreTest, ACrashCarriesAnIntentOut) {
  open();
  define();
  ASSERT_TRUE(run(store_->record_intent(snapshot("a", "s1"))));
  crash_into("crashed");
  const Contents after = contents();
  EXPECT_EQ(names(after), "#block1 a #s1 s1 ");  // writable until it is sealed
  EXPECT_EQ(after.find_node("a")->seal, Seal::kToSeal);
  EXPECT_EQ(after.find_thing("device", "vda")->node, "s1");
  ASSERT_EQ(after.recovered.size(), 1u);
  EXPECT_EQ(after.recovered[0].change.moved[0].to, "s1");
  Store::Update sealed;
  sealed.note_sealed("a");
  ASSERT_TRUE(run(store_->write(std::move(sealed))));
  EXPECT_EQ(contents().find_node("a")->seal, Seal::kSealed);
  EXPECT_TRUE(contents().find_node("a")->read_only);
}

TEST_F(StoreTest, ARevertAndAForkAreCarriedOutAfterACrash) {
  open();
  define();
  const auto taken = run(store_->record_intent(snapshot("a", "s1")));
  ASSERT_TRUE(run(store_->record_done(*taken, {})));
  block::GraphChange revert = snapshot("a", "r1");
  revert.moved = {{.from = "s1", .to = "r1", .device = "vda"}};
  revert.to_seal = {"s1"};
  ASSERT_TRUE(run(store_->record_intent(revert)));
  block::GraphChange fork = snapshot("a", "f1-head");
  fork.moved.clear();
  fork.to_seal.clear();
  fork.devices = {{.id = "f1", .node = "f1-head"}};
  ASSERT_TRUE(run(store_->record_intent(fork)));
  crash_into("crashed");
  const Contents after = contents();
  EXPECT_EQ(names(after), "#block1 a(ro) #s1 s1 #r1 r1 #f1-head f1-head ");
  EXPECT_EQ(after.find_node("s1")->seal, Seal::kToSeal);
  EXPECT_EQ(after.find_node("r1")->backing, "a");
  EXPECT_EQ(after.find_thing("device", "vda")->node, "r1");
  EXPECT_EQ(after.find_thing("export", "e")->node, "r1");
  ASSERT_NE(after.find_thing("device", "f1"), nullptr);
  EXPECT_EQ(after.find_thing("device", "f1")->node, "f1-head");
}

TEST_F(StoreTest, AnIntentThatCameToNothingIsForgotten) {
  open();
  define();
  const auto number = run(store_->record_intent(snapshot("a", "s1")));
  ASSERT_TRUE(number);
  ASSERT_TRUE(run(store_->forget_intent(*number)));
  crash_into("crashed");
  EXPECT_EQ(names(contents()), "#block1 a ");
}

TEST_F(StoreTest, ASealThatFailedIsRemembered) {
  open();
  define();
  const auto number = run(store_->record_intent(snapshot("a", "s1")));
  ASSERT_TRUE(run(store_->record_done(*number, {"a"})));
  crash_into("crashed");
  EXPECT_EQ(contents().find_node("a")->seal, Seal::kUnsealed);
  EXPECT_FALSE(contents().find_node("#block1")->identity);
  ASSERT_TRUE(run(store_->record_sealed("a")));
  EXPECT_EQ(contents().find_node("a")->seal, Seal::kSealed);
}

// A commit of the head into its base: the base becomes the head, writable, and the layers go.
TEST_F(StoreTest, ACommitGivesTheBaseItsUsersBack) {
  open();
  define();
  const auto taken = run(store_->record_intent(snapshot("a", "s1")));
  ASSERT_TRUE(run(store_->record_done(*taken, {})));
  block::GraphChange begun;
  begun.to_write = {"a"};
  const auto writing = run(store_->record_intent(begun));
  ASSERT_TRUE(run(store_->record_done(*writing, {})));
  EXPECT_FALSE(contents().find_node("#block1")->identity);
  EXPECT_TRUE(contents().find_node("a")->read_only);
  block::GraphChange ended;
  ended.moved.push_back({.from = "s1", .to = "a", .device = "vda"});
  ended.removed = {"s1"};
  const auto done = run(store_->record_intent(ended));
  ASSERT_TRUE(run(store_->record_done(*done, {})));
  EXPECT_EQ(names(contents()), "#block1 a ");  // the file of s1 went with it
  EXPECT_EQ(contents().find_thing("device", "vda")->node, "a");
}

TEST_F(StoreTest, ALayerWithAnotherBackingKeepsItsSeal) {
  open();
  define();
  for (const auto& [from, to] : {std::pair("a", "s1"), {"s1", "s2"}, {"s2", "s3"}}) {
    const auto number = run(store_->record_intent(snapshot(from, to)));
    ASSERT_TRUE(run(store_->record_done(*number, {})));
  }
  block::GraphChange change;
  change.backings.push_back({.overlay = "s2", .backing_node = "a"});
  change.removed = {"s1"};
  const auto number = run(store_->record_intent(change));
  make_file("s2", "a header of another length");
  ASSERT_TRUE(run(store_->record_done(*number, {})));
  const Contents after = contents();
  EXPECT_EQ(names(after), "#block1 a(ro) #s2 s2(ro) #s3 s3 ");
  EXPECT_EQ(after.find_node("s2")->backing, "a");
  ASSERT_TRUE(after.find_node("#s2")->identity);
  EXPECT_EQ(after.find_node("#s2")->identity->size_bytes, 26u);
}

TEST_F(StoreTest, WhatCouldNotBeWrittenIsMadeUpFor) {
  open();
  define();
  const auto first = run(store_->record_intent(snapshot("a", "s1")));
  ASSERT_TRUE(first);
  files_.full = true;
  const auto done = run(store_->record_done(*first, {}));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().text(),
            "Could not write to state file '" + path("state") + "': No space left on device");
  EXPECT_EQ(done.error().kind(), ErrorKind::kNoSpace);
  Store::Update update;
  update.put({.kind = "device", .id = "vdb", .definition = "{}", .node = "s1"});
  const auto written = run(store_->write(std::move(update)));
  ASSERT_FALSE(written);
  EXPECT_TRUE(written.error().text().starts_with("This was done, but a restart"))
      << written.error().text();
  EXPECT_FALSE(run(store_->record_intent(snapshot("s1", "s2"))));
  files_.full = false;
  const auto second = run(store_->record_intent(snapshot("s1", "s3")));
  ASSERT_TRUE(second) << second.error().text();
  ASSERT_TRUE(run(store_->record_done(*second, {})));
  crash_into("crashed");
  EXPECT_EQ(names(contents()), "#block1 a(ro) #s1 s1(ro) #s3 s3 ");
  EXPECT_EQ(contents().find_thing("device", "vda")->node, "s3");
  EXPECT_EQ(contents().find_thing("device", "vdb")->node, "s3");
}

TEST_F(StoreTest, OneDaemonAtATime) {
  open();
  const auto second = run(Store::open(path("state"), files_));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(second.error().text(),
            "state file '" + path("state") + "' is in use by another process");
}

TEST_F(StoreTest, OtherFilesAreRefused) {
  make_file("text", std::string(5000, 'x'));
  auto none = run(Store::open(path("text"), files_));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().text(), "state file '" + path("text") + "' is not an SQLite database");
  none = run(Store::open(path("nowhere/state"), files_));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().text(),
            "Could not open state file '" + path("nowhere/state") + "': No such file or directory");
}

// Taken for new ones, they would let the command line open a base below its overlays.
TEST_F(StoreTest, ALogWithoutItsFileIsRefusedAndKept) {
  open();
  define();
  for (const std::string name : {"empty", "missing"}) {
    std::filesystem::copy_file(path("state-wal"), path(name) + "-wal");
    const auto log_bytes = std::filesystem::file_size(path(name) + "-wal");
    ASSERT_GT(log_bytes, 0u);
    if (name == "empty") make_file(name, "");
    const auto none = run(Store::open(path(name), files_));
    ASSERT_FALSE(none) << name;
    EXPECT_EQ(none.error().kind(), ErrorKind::kCorrupt);
    EXPECT_EQ(none.error().text(), "state file '" + path(name) + "' is " + name +
                                       ", but its log '" + path(name) + "-wal' is there");
    EXPECT_EQ(std::filesystem::file_size(path(name) + "-wal"), log_bytes);
  }
}

TEST_F(StoreTest, AnEmptyFileAloneIsANewOne) {
  make_file("state", "");
  open();
  EXPECT_TRUE(contents().things.empty());
}

TEST_F(StoreTest, NodesThatAreGoneAreForgottenButThoseOfAnIntent) {
  open();
  define();
  ASSERT_TRUE(run(store_->record_intent(snapshot("a", "s1"))));
  Store::Update update;
  update.put_nodes({{.name = "b", .driver = "null-co", .added = true}});
  update.keep_nodes({"a", "#block1"});
  ASSERT_TRUE(run(store_->write(std::move(update))));
  EXPECT_EQ(names(contents()), "#block1 a #s1 s1 ");
}

TEST_F(StoreTest, AnOrderlyEndRemembersAllFiles) {
  open();
  define();
  ASSERT_TRUE(run(store_->begin()));
  close(true);
  open();
  const Contents stopped = contents();
  EXPECT_TRUE(stopped.clean);
  ASSERT_TRUE(stopped.find_node("#block1")->identity);
  EXPECT_EQ(check_file(files_, *stopped.find_node("#block1"), true), "");
  make_file("base", "another image");
  EXPECT_EQ(check_file(files_, *stopped.find_node("#block1"), true),
            "it has 13 bytes now and had 5");
  ASSERT_TRUE(run(store_->begin()));
  EXPECT_FALSE(contents().clean);
  EXPECT_FALSE(contents().find_node("#block1")->identity);
}

TEST_F(StoreTest, AViewOfAStateAtWork) {
  open();
  define();
  ASSERT_TRUE(run(store_->record_intent(snapshot("a", "s1"))));
  std::filesystem::remove(path("s1"));
  const auto seen = view(files_, path("state"));
  ASSERT_TRUE(seen) << seen.error().text();
  EXPECT_TRUE(seen->damage.empty());
  EXPECT_EQ(names(seen->contents), "#block1 a ");
  ASSERT_EQ(seen->contents.intents.size(), 1u);
  const std::vector<Finding> findings = check(files_, *seen);
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_FALSE(findings[0].is_error);
  EXPECT_TRUE(findings[1].is_error);
  EXPECT_NE(findings[1].text.find("a snapshot was about to use it"), std::string::npos);
  EXPECT_EQ(contents().find_node("s1")->path, "");  // the daemon goes on with the same file
}

}  // namespace
}  // namespace firn::state
