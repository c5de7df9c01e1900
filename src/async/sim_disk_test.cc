#include "async/sim_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "async/scope.h"
#include "async/sim_file.h"
#include "async/sim_world.h"

namespace firn::async {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::HasSubstr;

using OpenFile = std::unique_ptr<File>;

Task<OpenFile> open_rw(std::string path) {
  auto file =
      co_await Loop::current().files().open(std::move(path), {.writable = true, .create = true});
  CHECK(file);
  co_return std::move(*file);
}

Task<void> put(File& file, uint64_t offset, char what, size_t length) {
  std::string bytes(length, what);
  const IoVec iov(bytes.data(), bytes.size());
  EXPECT_TRUE(co_await file.write(offset, iov));
}

// The whole file; "-" if there is none.
Task<std::string> contents(std::string path) {
  auto file = co_await Loop::current().files().open(std::move(path), {});
  if (!file) co_return "-";
  const auto stat = co_await (*file)->stat();
  std::string bytes(stat->size_bytes, '?');
  const IoVec iov(bytes.data(), bytes.size());
  const auto read = co_await (*file)->read(0, iov);
  EXPECT_EQ(*read, bytes.size());
  co_return bytes;
}

// One character for each sector of 512 bytes, '0' for zeroes, '!' where the bytes differ.
std::string summary(const std::string& bytes) {
  if (bytes == "-") return bytes;
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 512) {
    const std::string sector = bytes.substr(at, 512);
    const bool same = sector.find_first_not_of(sector[0]) == std::string::npos;
    text += !same ? '!' : sector[0] == '\0' ? '0' : sector[0];
  }
  return text;
}

Task<void> make_durable(File& file) {
  EXPECT_TRUE(co_await file.sync());
  EXPECT_TRUE(co_await Loop::current().files().sync_directory("/"));
}

using Outcomes = std::map<std::string, int>;

// Runs `scenario`, which gives what it saw, by many seeds.
template <typename Scenario>
Outcomes outcomes_of(Scenario scenario, uint64_t seeds = 300) {
  Outcomes outcomes;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    SimWorld world(seed, SimOptions::varied(seed));
    std::string outcome;
    const auto note = [](Task<std::string> task, std::string& result) -> Task<void> {
      result = co_await std::move(task);
    };
    const auto ran = world.run(note(scenario(world), outcome));
    EXPECT_TRUE(ran) << ran.error().text();
    EXPECT_EQ(world.observer().open_files(), 0u);
    ++outcomes[outcome];
  }
  return outcomes;
}

std::set<std::string> names_of(const Outcomes& outcomes) {
  std::set<std::string> names;
  for (const auto& [name, count] : outcomes) names.insert(name);
  return names;
}

Task<std::string> write_and_read(SimWorld&) {
  const OpenFile file = co_await open_rw("/f");
  co_await put(*file, 0, 'a', 2048);
  co_await put(*file, 100, 'b', 50);
  co_await put(*file, 1000000, 'c', 24);
  const std::string all = co_await contents("/f");
  EXPECT_EQ(all.size(), 1000024u);
  EXPECT_EQ(all.substr(98, 54), "aa" + std::string(50, 'b') + "aa");
  EXPECT_EQ(all[2048], '\0');
  EXPECT_EQ(all[1000023], 'c');
  // At the end of the file a read is short.
  std::string bytes(100, '?');
  const IoVec iov(bytes.data(), bytes.size());
  EXPECT_EQ(co_await file->read(1000000, iov), 24u);
  EXPECT_EQ(co_await file->read(2000000, iov), 0u);
  co_return "ok";
}

TEST(SimDiskTest, ReadsSeeWrites) { EXPECT_EQ(outcomes_of(write_and_read, 20).size(), 1u); }

Task<std::string> cut_after_sync(SimWorld& world) {
  {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 2048);
    co_await make_durable(*file);
    world.disk().cut_power();
  }
  co_return summary(co_await contents("/f"));
}

TEST(SimDiskTest, SyncedDataSurvives) {
  EXPECT_THAT(names_of(outcomes_of(cut_after_sync)), testing::ElementsAre("aaaa"));
}

Task<std::string> cut_without_sync(SimWorld& world) {
  {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 1024);
    co_await make_durable(*file);
    co_await put(*file, 0, 'b', 1024);
    co_await put(*file, 0, 'c', 512);
    world.disk().cut_power();
  }
  co_return summary(co_await contents("/f"));
}

TEST(SimDiskTest, UnsyncedSectorsAreLostKeptTornAndReordered) {
  // Each sector holds any of what it held since the sync, whatever the other holds.
  EXPECT_THAT(names_of(outcomes_of(cut_without_sync)),
              testing::ElementsAre("aa", "ab", "ba", "bb", "ca", "cb"));
}

Task<std::string> cut_small_writes(SimWorld& world) {
  {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 512);
    co_await make_durable(*file);
    co_await put(*file, 0, 'b', 8);
    co_await put(*file, 8, 'c', 8);
    world.disk().cut_power();
  }
  const std::string all = co_await contents("/f");
  co_return std::string{all[0], all[8]};
}

TEST(SimDiskTest, ASectorIsWrittenWhole) {
  // The later change of a sector carries the earlier one with it.
  EXPECT_THAT(names_of(outcomes_of(cut_small_writes)), testing::ElementsAre("aa", "ba", "bc"));
}

Task<std::string> cut_large_sectors(SimWorld& world) {
  SimDisk& disk = world.add_disk({.sector_bytes = 4096});
  SimProcess& process = world.add_process("p", disk);
  const auto body = [](SimDisk& disk) -> Task<void> {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 8192);
    co_await make_durable(*file);
    co_await put(*file, 0, 'b', 8192);
    disk.cut_power();
  };
  process.start(body(disk));
  co_await process.wait_ended();
  SimProcess& reader = world.add_process("r", disk);
  std::string result;
  const auto read = [](std::string& result) -> Task<void> {
    result = summary(co_await contents("/f"));
  };
  reader.start(read(result));
  co_await reader.wait_ended();
  co_return result;
}

TEST(SimDiskTest, TearingGoesBySectorSize) {
  EXPECT_THAT(names_of(outcomes_of(cut_large_sectors)),
              testing::UnorderedElementsAre("aaaaaaaaaaaaaaaa", "aaaaaaaabbbbbbbb",
                                            "bbbbbbbbaaaaaaaa", "bbbbbbbbbbbbbbbb"));
}

Task<std::string> cut_size_changes(SimWorld& world) {
  {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 1024);
    co_await make_durable(*file);
    EXPECT_TRUE(co_await file->truncate(512));
    EXPECT_TRUE(co_await file->truncate(2048));
    world.disk().cut_power();
  }
  co_return summary(co_await contents("/f"));
}

TEST(SimDiskTest, SizesAreDurableAfterSyncAlone) {
  const std::set<std::string> names = names_of(outcomes_of(cut_size_changes));
  EXPECT_TRUE(names.contains("aa"));
  EXPECT_TRUE(names.contains("a"));
  EXPECT_TRUE(names.contains("a000"));
  for (const std::string& name : names) EXPECT_EQ(name[0], 'a');
}

Task<std::string> cut_new_name(SimWorld& world) {
  {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 512);
    EXPECT_TRUE(co_await file->sync());
    world.disk().cut_power();
  }
  co_return summary(co_await contents("/f"));
}

TEST(SimDiskTest, SyncOfAFileSaysNothingOfItsName) {
  EXPECT_THAT(names_of(outcomes_of(cut_new_name)), testing::ElementsAre("-", "a"));
}

Task<std::string> cut_name_without_data(SimWorld& world) {
  {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 512);
    EXPECT_TRUE(co_await Loop::current().files().sync_directory("/"));
    world.disk().cut_power();
  }
  co_return summary(co_await contents("/f"));
}

TEST(SimDiskTest, SyncOfADirectorySaysNothingOfItsFiles) {
  EXPECT_THAT(names_of(outcomes_of(cut_name_without_data)), testing::ElementsAre("", "0", "a"));
}

Task<std::string> cut_rename(SimWorld& world) {
  {
    FileSystem& files = Loop::current().files();
    for (const char* name : {"/old", "/new"}) {
      const OpenFile file = co_await open_rw(name);
      co_await put(*file, 0, name[1], 512);
      co_await make_durable(*file);
    }
    EXPECT_TRUE(co_await files.rename("/new", "/old"));
    world.disk().cut_power();
  }
  const std::string old_one = summary(co_await contents("/old"));
  co_return old_one + " " + summary(co_await contents("/new"));
}

TEST(SimDiskTest, ARenameIsWholeOrNotAtAll) {
  EXPECT_THAT(names_of(outcomes_of(cut_rename)), testing::ElementsAre("n -", "o n"));
}

Task<std::string> cut_unlink(SimWorld& world) {
  FileSystem& files = Loop::current().files();
  EXPECT_TRUE(co_await files.make_directory("/d"));
  for (const char* name : {"/d/kept", "/d/gone", "/d/lost"}) {
    const OpenFile file = co_await open_rw(name);
    co_await make_durable(*file);
  }
  EXPECT_TRUE(co_await files.sync_directory("/d"));
  EXPECT_TRUE(co_await files.unlink("/d/gone"));
  EXPECT_TRUE(co_await files.sync_directory("/d"));
  EXPECT_TRUE(co_await files.unlink("/d/lost"));
  world.disk().cut_power();
  std::string text;
  for (const std::string& name : *co_await files.list("/d")) text += name + " ";
  co_return text;
}

TEST(SimDiskTest, UnlinkIsDurableAfterSyncOfTheDirectory) {
  EXPECT_THAT(names_of(outcomes_of(cut_unlink)), testing::ElementsAre("kept ", "kept lost "));
}

Task<void> put_quietly(File& file, uint64_t offset, char what, size_t length, int& error) {
  std::string bytes(length, what);
  const IoVec iov(bytes.data(), bytes.size());
  const auto done = co_await file.write(offset, iov);
  error = done ? 0 : done.error().errno_value();
}

Task<std::string> cut_in_flight(SimWorld& world) {
  int error = 0;
  {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 1024);
    co_await make_durable(*file);
    TaskScope scope;
    scope.spawn(put_quietly(*file, 0, 'b', 1024, error));
    world.disk().cut_power();
    co_await scope.join();
  }
  co_return summary(co_await contents("/f")) + (error == ESHUTDOWN ? " failed" : " done");
}

TEST(SimDiskTest, AWriteInFlightAtTheCutIsThereInParts) {
  const std::set<std::string> names = names_of(outcomes_of(cut_in_flight));
  for (const char* expected : {"aa failed", "ab failed", "ba failed", "bb failed"}) {
    EXPECT_TRUE(names.contains(expected)) << expected;
  }
}

Task<std::string> overlap(SimWorld&) {
  const OpenFile file = co_await open_rw("/f");
  TaskScope scope;
  scope.spawn(put(*file, 0, 'a', 1024));
  scope.spawn(put(*file, 0, 'b', 1024));
  co_await scope.join();
  co_return summary(co_await contents("/f"));
}

TEST(SimDiskTest, WritesThatOverlapMixBySector) {
  EXPECT_THAT(names_of(outcomes_of(overlap, 1000)), testing::ElementsAre("aa", "ab", "ba", "bb"));
}

Task<std::string> read_a_growing_file(SimWorld&) {
  const OpenFile file = co_await open_rw("/f");
  co_await put(*file, 0, 'a', 512);
  TaskScope scope;
  scope.spawn(put(*file, 512, 'b', 8192));
  std::string bytes(4096, '?');
  const IoVec iov(bytes.data(), bytes.size());
  const auto read = co_await file->read(0, iov);
  co_await scope.join();
  const bool filled = bytes.substr(0, *read).find('?') == std::string::npos;
  co_return filled ? "filled" : "not filled";
}

TEST(SimDiskTest, AReadFillsWhatItSaysItRead) {
  EXPECT_THAT(names_of(outcomes_of(read_a_growing_file, 1000)), testing::ElementsAre("filled"));
}

Task<std::string> sync_beside_write(SimWorld& world) {
  {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 512);
    co_await make_durable(*file);
    TaskScope scope;
    const auto sync = [](File& file) -> Task<void> { EXPECT_TRUE(co_await file.sync()); };
    scope.spawn(sync(*file));
    co_await put(*file, 0, 'b', 512);
    co_await scope.join();
    EXPECT_EQ(co_await contents("/f"), std::string(512, 'b'));
    world.disk().cut_power();
  }
  co_return summary(co_await contents("/f"));
}

TEST(SimDiskTest, ASyncNeedNotCoverWhatEndsAfterItBegan) {
  EXPECT_THAT(names_of(outcomes_of(sync_beside_write)), testing::ElementsAre("a", "b"));
}

Task<std::string> fail_one_sync(SimWorld& world) {
  std::string seen;
  {
    const OpenFile file = co_await open_rw("/f");
    const OpenFile other = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 512);
    co_await make_durable(*file);
    EXPECT_TRUE(co_await other->sync());
    co_await put(*file, 0, 'b', 512);
    world.disk().set_faults([](const SimFileAccess& access) {
      return SimFaultVerdict{.error = access.kind == SimFileAccess::Kind::kSync ? EIO : 0};
    });
    const auto failed = co_await file->sync();
    EXPECT_FALSE(failed);
    if (!failed) EXPECT_EQ(failed.error().errno_value(), EIO);
    world.disk().set_faults({});
    EXPECT_TRUE(co_await file->sync());    // the error was reported
    EXPECT_FALSE(co_await other->sync());  // here too, once
    EXPECT_TRUE(co_await other->sync());
    seen = summary(co_await contents("/f"));
    world.disk().cut_power();
  }
  co_return seen + " " + summary(co_await contents("/f"));
}

TEST(SimDiskTest, AfterAFailedSyncTheNextOneProvesNothing) {
  EXPECT_THAT(names_of(outcomes_of(fail_one_sync, 1000)),
              testing::ElementsAre("a a", "b a", "b b"));
}

Task<void> daemon_that_writes(SimProcess& process) {
  const OpenFile file = co_await open_rw("/f");
  EXPECT_TRUE(file->lock_byte(100, LockKind::kExclusive));
  co_await put(*file, 0, 'a', 512);
  int error = 0;
  while (error == 0) co_await put_quietly(*file, 512, 'b', 512, error);
  EXPECT_FALSE(process.alive());
  EXPECT_EQ(error, ESHUTDOWN);
}

Task<std::string> kill_a_process(SimWorld& world) {
  SimProcess& process = world.add_process("daemon");
  process.start(daemon_that_writes(process));
  co_await Loop::current().sleep_for(milliseconds(10));
  {
    const OpenFile file = co_await open_rw("/f");
    const auto locked = file->lock_byte(100, LockKind::kShared);
    EXPECT_FALSE(locked);
    if (!locked) EXPECT_EQ(locked.error().kind(), base::ErrorKind::kBusy);
    process.kill();
    EXPECT_TRUE(file->lock_byte(100, LockKind::kExclusive));
  }
  const std::string after = summary(co_await contents("/f"));
  co_await process.wait_ended();
  EXPECT_EQ(process.open_files(), 0u);
  co_return after;
}

TEST(SimDiskTest, TheDeathOfAProcessLosesNothingThatWasWritten) {
  EXPECT_THAT(names_of(outcomes_of(kill_a_process, 50)), testing::ElementsAre("ab"));
}

TEST(SimDiskTest, APowerCutKillsEveryProcessButTheObserver) {
  SimWorld world(5);
  const auto body = [](SimWorld& world) -> Task<void> {
    SimProcess& process = world.add_process("daemon");
    process.start(daemon_that_writes(process));
    co_await Loop::current().sleep_for(milliseconds(100));
    world.disk().cut_power();
    EXPECT_FALSE(process.alive());
    EXPECT_TRUE(world.observer().alive());
    co_await process.wait_ended();
    EXPECT_EQ(world.disk().power_cuts(), 1u);
  };
  ASSERT_TRUE(world.run(body(world)));
}

TEST(SimDiskTest, ACutCanComeAtAnyStep) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SimWorld world(seed);
    const auto body = [](SimWorld& world, uint64_t step, std::string& outcome) -> Task<void> {
      SimProcess& process = world.add_process("daemon");
      const auto main = []() -> Task<void> {
        auto file = co_await Loop::current().files().open("/f", {.writable = true, .create = true});
        if (!file) co_return;
        if (!co_await Loop::current().files().sync_directory("/")) co_return;
        for (const char what : {'a', 'b', 'c'}) {
          int error = 0;
          co_await put_quietly(**file, 0, what, 512, error);
          if (error != 0 || !co_await (*file)->sync()) co_return;
        }
      };
      world.disk().cut_power_at_step(step);
      process.start(main());
      co_await process.wait_ended();
      world.disk().cut_power_at_step(0);
      outcome = summary(co_await contents("/f"));
    };
    std::string outcome;
    ASSERT_TRUE(world.run(body(world, 2 + seed % 40, outcome)));
    outcomes.insert(outcome);
  }
  EXPECT_TRUE(outcomes.contains("-"));
  EXPECT_TRUE(outcomes.contains("a"));
  EXPECT_TRUE(outcomes.contains("b"));
  EXPECT_TRUE(outcomes.contains("c"));
}

Task<std::string> check_full_disk(SimWorld& world) {
  world.disk().set_capacity(64 * 1024);
  {
    const OpenFile file = co_await open_rw("/f");
    co_await put(*file, 0, 'a', 60 * 1024);
    int error = 0;
    co_await put_quietly(*file, 60 * 1024, 'b', 8 * 1024, error);
    EXPECT_EQ(error, ENOSPC);
    EXPECT_EQ((*co_await Loop::current().files().store_of("/")).free_bytes, 4096u);
    EXPECT_TRUE(co_await file->zero(0, 16 * 1024, true));
    co_await put(*file, 60 * 1024, 'b', 8 * 1024);
    EXPECT_TRUE(co_await Loop::current().files().unlink("/f"));
    EXPECT_NE(world.disk().allocated_bytes(), 0u);  // still open
  }
  EXPECT_EQ(world.disk().allocated_bytes(), 0u);
  co_return "ok";
}

TEST(SimDiskTest, AFullDiskSaysSo) { EXPECT_EQ(outcomes_of(check_full_disk, 20).size(), 1u); }

Task<std::string> check_extents(SimWorld&) {
  const OpenFile file = co_await open_rw("/f");
  constexpr uint64_t kTiB = uint64_t{1} << 40;
  EXPECT_TRUE(co_await file->truncate(kTiB));
  co_await put(*file, kTiB / 2, 'a', 8192);
  auto extent = co_await file->extent_at(100);
  EXPECT_FALSE(extent->data);
  EXPECT_EQ(extent->length_bytes, kTiB / 2 - 100);
  extent = co_await file->extent_at(kTiB / 2 + 1);
  EXPECT_TRUE(extent->data);
  EXPECT_EQ(extent->length_bytes, 8191u);
  extent = co_await file->extent_at(kTiB / 2 + 8192);
  EXPECT_FALSE(extent->data);
  EXPECT_EQ(extent->length_bytes, kTiB / 2 - 8192);
  EXPECT_EQ((co_await file->extent_at(kTiB)).error().kind(), base::ErrorKind::kOutOfRange);
  EXPECT_TRUE(co_await file->zero(kTiB / 2 + 100, 4096, false));
  EXPECT_EQ((*co_await file->stat()).allocated_bytes, 8192u);
  EXPECT_TRUE(co_await file->zero(kTiB / 2, 8192, true));
  EXPECT_EQ((*co_await file->stat()).allocated_bytes, 0u);
  EXPECT_TRUE(co_await file->allocate(0, 5000));
  EXPECT_EQ((*co_await file->stat()).allocated_bytes, 8192u);
  EXPECT_EQ((*co_await file->stat()).size_bytes, kTiB);
  co_return "ok";
}

TEST(SimDiskTest, SparseFilesHaveExtents) { EXPECT_EQ(outcomes_of(check_extents, 10).size(), 1u); }

Task<std::string> check_names(SimWorld& world) {
  FileSystem& files = Loop::current().files();
  EXPECT_TRUE(co_await files.make_directory("/d"));
  EXPECT_TRUE(co_await files.make_directory("/d/e"));
  {
    const OpenFile file = co_await open_rw("/d/e/f");
  }
  world.disk().make_symlink("/link", "d/e");
  EXPECT_EQ(*co_await files.real_path("/link/../e/./f"), "/d/e/f");
  EXPECT_EQ(*co_await files.real_path("/link/new"), "/d/e/new");
  EXPECT_EQ(*co_await files.real_path("/"), "/");
  EXPECT_EQ((co_await files.real_path("/nodir/f")).error().kind(), base::ErrorKind::kNotFound);
  world.observer().working_directory = "/link";
  EXPECT_EQ(*co_await files.real_path("f"), "/d/e/f");
  EXPECT_EQ((*co_await files.stat("f")).inode, (*co_await files.stat("/d/e/f")).inode);
  const auto missing = co_await files.open("/nodir/s1", {.writable = true, .create = true});
  EXPECT_THAT(missing.error().text(),
              HasSubstr("Could not create '/nodir/s1': No such file or directory"));
  const auto taken =
      co_await files.open("/d/e/f", {.writable = true, .create = true, .exclusive = true});
  EXPECT_EQ(taken.error().kind(), base::ErrorKind::kExists);
  EXPECT_FALSE(co_await files.open("/d", {.writable = true}));
  EXPECT_FALSE(co_await files.unlink("/d"));
  EXPECT_FALSE(co_await files.rename("/d", "/d/e/x"));
  EXPECT_TRUE(co_await files.rename("/d/e", "/moved"));
  EXPECT_EQ(*co_await files.real_path("/moved/../moved/f"), "/moved/f");
  EXPECT_EQ((*co_await files.list("/d")).size(), 0u);
  co_return "ok";
}

TEST(SimDiskTest, NamesBehaveAsOnLinux) { EXPECT_EQ(outcomes_of(check_names, 10).size(), 1u); }

Task<std::string> check_locks(SimWorld&) {
  const OpenFile a = co_await open_rw("/f");
  const OpenFile b = co_await open_rw("/f");
  EXPECT_TRUE(a->lock_byte(7, LockKind::kShared));
  EXPECT_TRUE(b->lock_byte(7, LockKind::kShared));
  EXPECT_FALSE(b->lock_byte(7, LockKind::kExclusive));
  EXPECT_FALSE(b->test_lock(7, LockKind::kExclusive));
  EXPECT_TRUE(a->test_lock(8, LockKind::kExclusive));
  EXPECT_TRUE(a->unlock_byte(7));
  EXPECT_TRUE(b->lock_byte(7, LockKind::kExclusive));
  EXPECT_FALSE(a->test_lock(7, LockKind::kShared));
  EXPECT_TRUE(b->test_lock(7, LockKind::kExclusive));  // its own
  co_return "ok";
}

TEST(SimDiskTest, LocksConflictBetweenOpenFiles) {
  EXPECT_EQ(outcomes_of(check_locks, 3).size(), 1u);
}

Task<std::string> check_direct(SimWorld& world) {
  world.disk().make_block_device("/sda", 1 << 20);
  auto file = co_await Loop::current().files().open("/sda", {.writable = true, .direct = true});
  EXPECT_TRUE(file);
  EXPECT_EQ((*file)->direct_alignment(), 512u);
  alignas(512) static char bytes[1024];
  const IoVec good(bytes, 512);
  const IoVec bad_memory(bytes + 1, 512);
  EXPECT_TRUE(co_await (*file)->write(512, good));
  EXPECT_FALSE(co_await (*file)->write(100, good));
  EXPECT_FALSE(co_await (*file)->write(512, bad_memory));
  EXPECT_EQ((co_await (*file)->write(1 << 20, good)).error().errno_value(), ENOSPC);
  EXPECT_FALSE(co_await (*file)->truncate(4096));
  const auto stat = co_await (*file)->stat();
  EXPECT_EQ(stat->kind, FileKind::kBlockDevice);
  EXPECT_EQ(stat->size_bytes, uint64_t{1} << 20);
  EXPECT_NE(stat->rdev, 0u);
  co_return "ok";
}

TEST(SimDiskTest, DirectAccessAndDevicesAreChecked) {
  EXPECT_EQ(outcomes_of(check_direct, 10).size(), 1u);
}

}  // namespace
}  // namespace firn::async
