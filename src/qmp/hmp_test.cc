#include "qmp/hmp.h"

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "async/runtime.h"

namespace firn::qmp {
namespace {

using base::parse_json;

constexpr std::string_view kInserted =
    "{'file': '/d/a.qcow2', 'node-name': 'n', 'ro': false, 'drv': 'qcow2', 'backing_file': 'b', "
    "'backing_file_depth': 1, 'encrypted': false, 'detect_zeroes': 'on', 'bps': 0, 'bps_rd': 0, "
    "'bps_wr': 0, 'iops': 0, 'iops_rd': 0, 'iops_wr': 0, 'write_threshold': 0, "
    "'cache': {'writeback': true, 'direct': true, 'no-flush': false}, "
    "'image': {'filename': '/d/a.qcow2', 'format': 'qcow2', 'virtual-size': 1048576, "
    "'actual-size': 4096, 'cluster-size': 65536}}";

// Records what it is asked, and answers as it was told.
class Recorder final : public Commands {
 public:
  const api::CommandEntry* find(std::string_view name) const override {
    auto [found, added] = infos_.try_emplace(std::string(name));
    found->second.name = found->first;
    return &found->second;
  }
  Task<Result<JsonValue>> run(const api::CommandEntry& command,
                              boost::json::object arguments) override {
    asked.push_back(std::string(command.name) + " " + base::print_json(arguments));
    auto answer = answers.find(command.name);
    if (answer == answers.end()) co_return JsonValue(boost::json::object());
    co_return answer->second;
  }
  std::deque<std::string> asked;
  std::map<std::string, Result<JsonValue>, std::less<>> answers;

 private:
  mutable std::map<std::string, api::CommandEntry, std::less<>> infos_;
};

class HmpTest : public testing::Test {
 protected:
  std::string run(std::string line) {
    Hmp hmp(commands_,
            {.chardev_arguments = [](std::string_view text) -> Result<boost::json::object> {
               return boost::json::object{{"id", "c"}, {"text", text}};
             },
             .history = &history_});
    return async::run_until_done(*runtime_, hmp.run(std::move(line)));
  }
  std::string asked() {
    if (commands_.asked.empty()) return "nothing";
    std::string first = commands_.asked.front();
    commands_.asked.pop_front();
    return first;
  }
  std::unique_ptr<async::Runtime> runtime_ = *async::make_runtime({.worker_count = 1});
  Recorder commands_;
  std::deque<std::string> history_{"info block", "info history"};
};

TEST_F(HmpTest, SnapshotsAndResizesByQmp) {
  EXPECT_EQ(run("snapshot_blkdev vda \"/d/a b\" qcow2"), "");
  EXPECT_EQ(asked(), R"(blockdev-snapshot-sync {"device": "vda", "snapshot-file": "/d/a b", )"
                     R"("format": "qcow2", "mode": "absolute-paths"})");
  EXPECT_EQ(run("snapshot_blkdev -n vda /d/a"), "");
  EXPECT_EQ(asked(), R"(blockdev-snapshot-sync {"device": "vda", "snapshot-file": "/d/a", )"
                     R"("mode": "existing"})");
  // The parameter is missed where QMP misses it.
  EXPECT_EQ(run("snapshot_blkdev vda"), "");
  EXPECT_EQ(asked(), R"(blockdev-snapshot-sync {"device": "vda", "mode": "absolute-paths"})");
  EXPECT_EQ(run("snapshot_blkdev_internal vda \"a b\""), "");
  EXPECT_EQ(asked(), R"(blockdev-snapshot-internal-sync {"device": "vda", "name": "a b"})");
  EXPECT_EQ(run("snapshot_delete_blkdev_internal vda a 1"), "");
  EXPECT_EQ(asked(),
            R"(blockdev-snapshot-delete-internal-sync {"device": "vda", "name": "a", "id": "1"})");
  EXPECT_EQ(run("block_resize vda 2"), "");
  EXPECT_EQ(asked(), R"(block_resize {"device": "vda", "size": 2097152})");
  EXPECT_EQ(run("q"), "");
  EXPECT_EQ(asked(), "quit {}");
}

TEST_F(HmpTest, SteersAndShowsJobs) {
  EXPECT_EQ(run("block_job_cancel -f j"), "");
  EXPECT_EQ(asked(), R"(block-job-cancel {"device": "j", "force": true})");
  EXPECT_EQ(run("block_job_set_speed j 2"), "");
  EXPECT_EQ(asked(), R"(block-job-set-speed {"device": "j", "speed": 2097152})");
  for (const std::string verb : {"complete", "pause", "resume"}) {
    EXPECT_EQ(run("block_job_" + verb + " j"), "");
    EXPECT_EQ(asked(), "block-job-" + verb + R"( {"device": "j"})");
  }
  commands_.answers.emplace("query-block-jobs", *parse_json("[]"));
  EXPECT_EQ(run("info block-jobs"), "No active jobs\n");
  commands_.answers.insert_or_assign(
      "query-block-jobs",
      *parse_json("[{'type': 'commit', 'device': 'j', 'len': 8, 'offset': 4, 'busy': false, "
                  "'paused': false, 'speed': 2, 'io-status': 'ok', 'ready': false, 'status': "
                  "'concluded', 'auto-finalize': true, 'auto-dismiss': false, 'error': 'no'}]"));
  EXPECT_EQ(
      run("info block-jobs"),
      "Type commit, device j: Completed 4 of 8 bytes, speed limit 2 bytes/s, concluded: no\n");
}

TEST_F(HmpTest, ShowsErrorsAndHints) {
  commands_.answers.emplace(
      "block_resize",
      base::fail(base::Error(base::ErrorKind::kGeneric, "no way").with_hint("Try another.")));
  EXPECT_EQ(run("block_resize vda 2"), "Error: no way\nTry another.\n");
  EXPECT_EQ(run("  nope  x"), "unknown command: 'nope'\n");
  EXPECT_EQ(run("snapshot_blkdev"),
            "snapshot_blkdev: block device name expected\n"
            "Try \"help snapshot_blkdev\" for more information\n");
  EXPECT_EQ(asked(), R"(block_resize {"device": "vda", "size": 2097152})");
  EXPECT_EQ(asked(), "nothing");
}

TEST_F(HmpTest, ShowsBlockDevicesAndNodes) {
  commands_.answers.emplace("query-block",
                            *parse_json("[{'device': 'vda', 'type': 'unknown', 'removable': false, "
                                        "'locked': false, 'inserted': " +
                                        std::string(kInserted) + "}]"));
  commands_.answers.emplace("query-named-block-nodes",
                            *parse_json("[" + std::string(kInserted) + "]"));
  const std::string body =
      ": /d/a.qcow2 (qcow2)\n"
      "    Cache mode:       writeback, direct\n"
      "    Backing file:     b (chain depth: 1)\n"
      "    Detect zeroes:    on\n";
  EXPECT_EQ(run("info block"), "vda (n)" + body);
  EXPECT_EQ(run("info block -n"), "n" + body);
  EXPECT_EQ(run("info block vda"), "vda (n)" + body);
  EXPECT_EQ(run("info block n"), "n" + body);
  EXPECT_EQ(run("info block x"), "Error: Cannot find device='x' nor node-name='x'\n");
  EXPECT_EQ(run("info block -v vda"),
            "vda (n)" + body +
                "\nImages:\nimage: /d/a.qcow2\nfile format: qcow2\n"
                "virtual size: 1 MiB (1048576 bytes)\ndisk size: 4 KiB\ncluster_size: 65536\n");
}

TEST_F(HmpTest, ShowsVersionAndHelp) {
  commands_.answers.emplace(
      "query-version",
      *parse_json("{'qemu': {'major': 7, 'minor': 2, 'micro': 0}, 'package': 'firn 1'}"));
  EXPECT_EQ(run("info version"), "7.2.0 (firn 1)\n");
  EXPECT_NE(run("help").find("snapshot_blkdev [-n] device"), std::string::npos);
  EXPECT_TRUE(run("help block_resize").starts_with("block_resize device size -- "));
  EXPECT_TRUE(run("? version").starts_with("info version -- "));
  EXPECT_EQ(run("info"), run("help info"));
  EXPECT_EQ(run("help nope"), "unknown command: 'nope'\n");
}

TEST_F(HmpTest, RunsTheNbdServer) {
  EXPECT_EQ(run("nbd_server_start localhost:10809"), "");
  EXPECT_EQ(asked(), R"(nbd-server-start {"addr": {"type": "inet", )"
                     R"("data": {"host": "localhost", "port": "10809"}}})");
  EXPECT_EQ(run("nbd_server_start [::1]:10809"), "");
  EXPECT_EQ(asked(), R"(nbd-server-start {"addr": {"type": "inet", )"
                     R"("data": {"host": "::1", "port": "10809"}}})");
  EXPECT_EQ(run("nbd_server_start tcp:0:10809"), "");
  EXPECT_EQ(asked(), R"(nbd-server-start {"addr": {"type": "inet", )"
                     R"("data": {"host": "0", "port": "10809"}}})");
  EXPECT_EQ(run("nbd_server_start unix:/run/n"), "");
  EXPECT_EQ(asked(), R"(nbd-server-start {"addr": {"type": "unix", "data": {"path": "/run/n"}}})");
  EXPECT_EQ(run("nbd_server_add -w vda disk"), "");
  EXPECT_EQ(asked(), R"(nbd-server-add {"device": "vda", "name": "disk", "writable": true})");
  EXPECT_EQ(run("nbd_server_remove -f disk"), "");
  EXPECT_EQ(asked(), R"(nbd-server-remove {"name": "disk", "mode": "hard"})");
  EXPECT_EQ(run("nbd_server_stop"), "");
  EXPECT_EQ(asked(), "nbd-server-stop {}");
  EXPECT_EQ(run("nbd_server_start -w localhost:1"), "Error: -w only valid together with -a\n");
  EXPECT_EQ(run("nbd_server_start localhost"),
            "Error: error parsing address 'localhost'\nUse HOST:PORT or unix:PATH.\n");
  EXPECT_EQ(asked(), "nothing");
}

TEST_F(HmpTest, ExportsAllDevicesOrNone) {
  commands_.answers.emplace(
      "query-block",
      *parse_json(
          "[{'device': 'vda', 'type': 'unknown', 'removable': false, 'locked': false, "
          "'inserted': " +
          std::string(kInserted) +
          "}, {'device': 'empty', 'type': 'unknown', 'removable': true, 'locked': false}]"));
  EXPECT_EQ(run("nbd_server_start -a -w unix:/n"), "");
  asked();
  EXPECT_EQ(asked(), "query-block {}");
  EXPECT_EQ(asked(), R"(nbd-server-add {"device": "vda", "writable": true})");
  EXPECT_EQ(asked(), "nothing");
  commands_.answers.emplace("nbd-server-add", base::fail(base::ErrorKind::kGeneric, "no"));
  EXPECT_EQ(run("nbd_server_start -a unix:/n"), "Error: no\n");
  for (int i = 0; i < 3; ++i) asked();
  EXPECT_EQ(asked(), "nbd-server-stop {}") << "a server without its exports is of no use";
}

TEST_F(HmpTest, MakesObjects) {
  EXPECT_EQ(run("object_add iothread,id=t0,poll-max-ns=0 "), "");
  EXPECT_EQ(asked(), R"(object-add {"qom-type": "iothread", "id": "t0", "poll-max-ns": 0})");
  EXPECT_EQ(run("object_add nonesuch,id=t0"),
            "Error: Parameter 'qom-type' does not accept value 'nonesuch'\n");
  EXPECT_EQ(run("object_add"),
            "object_add: string expected\nTry \"help object_add\" for more information\n");
  EXPECT_EQ(run("object_del t0"), "");
  EXPECT_EQ(asked(), R"(object-del {"id": "t0"})");
}

TEST_F(HmpTest, HandlesCharacterDevices) {
  EXPECT_EQ(run("chardev-add pty,id=c"), "");
  EXPECT_EQ(asked(), R"(chardev-add {"id": "c", "text": "pty,id=c"})");
  EXPECT_EQ(run("chardev-change c null"), "");
  EXPECT_EQ(asked(), R"(chardev-change {"id": "c", "text": "null,id=c"})");
  EXPECT_EQ(run("chardev-remove c"), "");
  EXPECT_EQ(asked(), R"(chardev-remove {"id": "c"})");
  EXPECT_EQ(run("ringbuf_write r \"a b\""), "");
  EXPECT_EQ(asked(), R"(ringbuf-write {"device": "r", "data": "a b"})");
  commands_.answers.emplace("ringbuf-read", JsonValue("a\\b\x01\n"));
  EXPECT_EQ(run("ringbuf_read r 10"), "a\\\\b\\u0001\n\n");
  EXPECT_EQ(asked(), R"(ringbuf-read {"device": "r", "size": 10})");
  EXPECT_TRUE(run("ringbuf_read r x").starts_with("integer expected\n"));
  commands_.answers.emplace(
      "query-chardev",
      *parse_json("[{'label': 'c', 'filename': 'pty:/dev/pts/1', 'frontend-open': true}]"));
  EXPECT_EQ(run("info chardev"), "c: filename=pty:/dev/pts/1\n");
}

TEST_F(HmpTest, NamesDescriptors) {
  EXPECT_EQ(run("getfd x"), "");
  EXPECT_EQ(asked(), R"(getfd {"fdname": "x"})");
  EXPECT_EQ(run("closefd x"), "");
  EXPECT_EQ(asked(), R"(closefd {"fdname": "x"})");
}

TEST_F(HmpTest, ShowsTheHistory) {
  EXPECT_EQ(run("info history"), "0: 'info block'\n1: 'info history'\n");
}

TEST_F(HmpTest, CompletesWhatThereIs) {
  commands_.answers.emplace("query-block", *parse_json("[{'device': 'vda'}, {'device': 'vdb'}]"));
  commands_.answers.emplace("query-named-block-nodes",
                            *parse_json("[{'node-name': 'v0'}, {'node-name': 'n'}, {}]"));
  commands_.answers.emplace("query-block-exports", *parse_json("[{'id': 'e1'}]"));
  using Names = std::vector<std::string>;
  const auto complete = [&](std::string line) {
    Hmp hmp(commands_);
    HmpCompletion found = async::run_until_done(*runtime_, hmp.complete(line));
    EXPECT_EQ(found.start, line.find_last_of(' ') + 1) << line;
    return found.candidates;
  };
  EXPECT_EQ(complete("nbd_server_r"), Names{"nbd_server_remove"});
  EXPECT_EQ(complete("info v"), Names{"version"});
  EXPECT_EQ(complete("help info b"), (Names{"block", "block-jobs", "blockstats"}));
  EXPECT_EQ(complete("help sn"), (Names{"snapshot_blkdev", "snapshot_blkdev_internal",
                                        "snapshot_delete_blkdev_internal"}));
  EXPECT_EQ(complete("snapshot_blkdev -n v"), (Names{"v0", "vda", "vdb"}));
  EXPECT_EQ(complete("snapshot_blkdev -"), Names{"-n"});
  EXPECT_EQ(complete("snapshot_blkdev vda /x qco"), Names{"qcow2"});
  EXPECT_EQ(complete("info block -n "), (Names{"n", "v0", "vda", "vdb"}));
  EXPECT_EQ(complete("nbd_server_remove "), Names{"e1"});
  EXPECT_EQ(complete("nonesuch x"), Names{});
  EXPECT_EQ(complete("block_resize vda 1 x"), Names{});
  commands_.answers.clear();
  commands_.answers.emplace("query-block", base::fail(base::ErrorKind::kGeneric, "not allowed"));
  EXPECT_EQ(complete("block_resize v"), Names{}) << "what may not be asked completes nothing";
}

}  // namespace
}  // namespace firn::qmp
