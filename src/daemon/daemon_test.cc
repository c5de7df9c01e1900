// The handlers and the command line's actions, on a real runtime.
#include "daemon/daemon.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "async/scope.h"

namespace firn::daemon {
namespace {

namespace json = boost::json;
using async::Task;
using base::JsonValue;
using base::parse_json;
using base::print_json;
using base::Result;

class EventRecorder final : public qmp::EventListener {
 public:
  void on_event(const qmp::Event& event) override {
    const json::object& object = event.value().get_object();
    events.push_back(print_json(object.at("event")) + " " + print_json(object.at("data")));
    last = object.at("data").get_object();
  }
  std::vector<std::string> events;
  json::object last;
};

class DaemonTest : public testing::Test {
 public:
  DaemonTest() : runtime_(*async::make_runtime({.worker_count = 2})) {
    std::string pattern = (std::filesystem::temp_directory_path() / "firn-daemon-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~DaemonTest() override { std::filesystem::remove_all(folder_); }

  void run(Task<void> (*body)(DaemonTest&), Options options = {}) {
    async::run_until_done(*runtime_, run_body(body, std::move(options)));
  }
  Task<void> run_body(Task<void> (*body)(DaemonTest&), Options options) {
    auto daemon = co_await Daemon::create(*runtime_, options);
    daemon_ = daemon->get();
    daemon_->events().subscribe(recorder_);
    co_await body(*this);
    auto stopped = co_await daemon_->stop();
    EXPECT_TRUE(stopped) << stopped.error().text();
    daemon_->events().unsubscribe(recorder_);
  }

  Task<Result<JsonValue>> call(std::string command, std::string arguments) {
    const api::CommandEntry* entry = daemon_->commands().find(command);
    EXPECT_NE(entry, nullptr) << command;
    co_return co_await daemon_->commands().run(*entry, parse_json(arguments)->get_object());
  }
  // What a command returns, or its error's text.
  Task<std::string> ask(std::string command, std::string arguments = "{}") {
    auto result = co_await call(std::move(command), std::move(arguments));
    co_return result ? print_json(*result) : result.error().text();
  }
  Task<std::string> act(OptionKind kind, std::string name, std::string text) {
    auto done = co_await daemon_->carry_out({kind, std::move(name), std::move(text)});
    co_return done ? "" : done.error().text();
  }
  Task<void> add_null(std::string name, std::string rest = "") {
    EXPECT_EQ(co_await act(OptionKind::kBlockdev, "--blockdev",
                           "null-co,size=1048576,node-name=" + name + rest),
              "");
  }
  Task<void> start_server() {
    EXPECT_EQ(co_await act(OptionKind::kNbdServer, "--nbd-server",
                           "addr.type=unix,addr.path=" + path("nbd.sock")),
              "");
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  std::unique_ptr<async::Runtime> runtime_;
  std::string folder_;
  Daemon* daemon_ = nullptr;
  EventRecorder recorder_;
};

TEST_F(DaemonTest, TellsItsVersionAndCommands) {
  run([](DaemonTest& test) -> Task<void> {
    JsonValue version = *co_await test.call("query-version", "{}");
    EXPECT_EQ(print_json(version.at("qemu")), R"({"major": 7, "minor": 2, "micro": 0})");
    JsonValue commands = *co_await test.call("query-commands", "{}");
    EXPECT_EQ(commands.get_array().size(), api::commands().size());
    JsonValue schema = *co_await test.call("query-qmp-schema", "{}");
    EXPECT_GT(schema.get_array().size(), 50u);
  });
}

TEST_F(DaemonTest, DescribesNodesAsQemuDoes) {
  run([](DaemonTest& test) -> Task<void> {
    co_await test.add_null("n");
    JsonValue nodes = *co_await test.call("query-named-block-nodes", "{}");
    EXPECT_EQ(nodes.get_array().size(), 1u);
    JsonValue expected = *parse_json(R"({
        'iops_rd': 0, 'detect_zeroes': 'off', 'iops_wr': 0, 'ro': false, 'node-name': 'n',
        'image': {'virtual-size': 1048576, 'format': 'null-co', 'actual-size': 0,
                  'filename': 'json:{"driver": "null-co", "size": 1048576}'},
        'backing_file_depth': 0, 'drv': 'null-co', 'iops': 0, 'bps_wr': 0, 'write_threshold': 0,
        'encrypted': false, 'bps': 0, 'bps_rd': 0,
        'cache': {'no-flush': false, 'direct': false, 'writeback': true},
        'file': 'json:{"driver": "null-co", "size": 1048576}'})");
    EXPECT_EQ(nodes.at(0), expected) << print_json(nodes);
    EXPECT_EQ(co_await test.ask("query-block"), "[]");
    EXPECT_EQ(co_await test.ask("block-device-add", "{'id': 'vda', 'node-name': 'n'}"), "{}");
    JsonValue devices = *co_await test.call("query-block", "{}");
    EXPECT_EQ(devices.at(0).at("device"), "vda");
    EXPECT_EQ(devices.at(0).at("inserted"), expected);
    EXPECT_EQ(co_await test.ask("block-device-del", "{'id': 'vda'}"), "{}");
    EXPECT_EQ(co_await test.ask("blockdev-del", "{'node-name': 'n'}"), "{}");
    EXPECT_EQ(co_await test.ask("query-named-block-nodes"), "[]");
  });
}

TEST_F(DaemonTest, NamesWhatIsWrongWithNodes) {
  run([](DaemonTest& test) -> Task<void> {
    co_await test.add_null("n");
    EXPECT_EQ(co_await test.ask("blockdev-add", "{'driver': 'null-co', 'node-name': 'n'}"),
              "Duplicate nodes with node-name='n'");
    EXPECT_EQ(co_await test.ask("blockdev-add", "{'driver': 'null-co', 'node-name': 'a b'}"),
              "Invalid node-name: 'a b'");
    EXPECT_EQ(
        co_await test.ask("blockdev-add", "{'driver': 'raw', 'node-name': 'r', 'file': 'zz'}"),
        "Cannot find device='zz' nor node-name='zz'");
    EXPECT_EQ(co_await test.ask("blockdev-del", "{'node-name': 'zz'}"),
              "Failed to find node with node-name='zz'");
    EXPECT_EQ(co_await test.ask("block_resize", "{'size': 1}"),
              "Cannot find device='' nor node-name=''");
    EXPECT_EQ(co_await test.ask("block_resize", "{'node-name': 'n', 'size': -1}"),
              "Parameter 'size' expects a >0 size");
  });
}

TEST_F(DaemonTest, ServesExports) {
  run([](DaemonTest& test) -> Task<void> {
    co_await test.add_null("n");
    co_await test.add_null("ro", ",read-only=on");
    const std::string add = "{'type': 'nbd', 'node-name': 'n', 'id': 'e'";
    EXPECT_EQ(co_await test.ask("nbd-server-stop"), "NBD server not running");
    EXPECT_EQ(co_await test.ask("block-export-add", add + "}"), "NBD server not running");
    co_await test.start_server();
    EXPECT_EQ(
        co_await test.ask("nbd-server-start", "{'addr': {'type': 'unix', 'data': {'path': 'x'}}}"),
        "NBD server already running");
    EXPECT_EQ(co_await test.ask("block-export-add", add + ", 'writable': true}"), "{}");
    EXPECT_EQ(co_await test.ask("block-export-add", add + "}"),
              "Block export id 'e' is already in use");
    EXPECT_EQ(
        co_await test.ask("block-export-add", "{'type': 'nbd', 'node-name': 'n', 'id': 'bad id'}"),
        "Invalid block export id");
    EXPECT_EQ(
        co_await test.ask("block-export-add", "{'type': 'nbd', 'node-name': 'n', 'id': 'e2'}"),
        "NBD server already has export named 'n'");
    EXPECT_EQ(
        co_await test.ask("block-export-add", "{'type': 'nbd', 'node-name': 'zz', 'id': 'e2'}"),
        "Cannot find device='' nor node-name='zz'");
    EXPECT_EQ(co_await test.ask("block-export-add",
                                "{'type': 'nbd', 'node-name': 'ro', 'id': 'e2', 'writable': true}"),
              "Cannot export read-only node as writable");
    EXPECT_EQ(co_await test.ask("block-export-add",
                                "{'type': 'nbd', 'node-name': 'n', 'id': 'e2', 'name': 'y', "
                                "'iothread': 'nope'}"),
              "iothread \"nope\" not found");
    EXPECT_EQ(co_await test.ask("query-block-exports"),
              R"([{"id": "e", "type": "nbd", "node-name": "n", "shutting-down": false}])");
    EXPECT_EQ(co_await test.ask("block-export-del", "{'id': 'zz'}"), "Export 'zz' is not found");
    EXPECT_EQ(co_await test.ask("block-export-del", "{'id': 'e'}"), "{}");
    EXPECT_EQ(co_await test.ask("query-block-exports"), "[]");
    EXPECT_EQ(co_await test.ask("block-export-add", add + "}"), "{}");
    EXPECT_EQ(co_await test.ask("nbd-server-stop"), "{}");
    EXPECT_EQ(test.recorder_.events,
              (std::vector<std::string>{R"("BLOCK_EXPORT_DELETED" {"id": "e"})",
                                        R"("BLOCK_EXPORT_DELETED" {"id": "e"})"}));
    EXPECT_FALSE(std::filesystem::exists(test.path("nbd.sock")));
  });
}

TEST_F(DaemonTest, KeepsTheExportsOfADeviceThatGoes) {
  run([](DaemonTest& test) -> Task<void> {
    co_await test.add_null("n");
    co_await test.start_server();
    EXPECT_EQ(co_await test.ask("block-device-add", "{'id': 'vda', 'node-name': 'n'}"), "{}");
    EXPECT_EQ(
        co_await test.ask("block-export-add", "{'type': 'nbd', 'node-name': 'vda', 'id': 'e'}"),
        "{}");
    EXPECT_EQ(co_await test.ask("block-device-del", "{'id': 'vda'}"), "{}");
    EXPECT_EQ(co_await test.ask("query-block-exports"),
              R"([{"id": "e", "type": "nbd", "node-name": "n", "shutting-down": false}])");
    EXPECT_EQ(co_await test.ask("blockdev-del", "{'node-name': 'n'}"), "Node n is in use");
    EXPECT_EQ(co_await test.ask("nbd-server-stop"), "{}");
  });
}

TEST_F(DaemonTest, RefusesTlsByName) {
  run([](DaemonTest& test) -> Task<void> {
    EXPECT_EQ(co_await test.ask("nbd-server-start",
                                "{'addr': {'type': 'unix', 'data': {'path': 'x'}}, "
                                "'tls-creds': 't'}"),
              "Parameter 'tls-creds' is not supported by firn: the server does not speak TLS");
    EXPECT_EQ(co_await test.ask("nbd-server-start",
                                "{'addr': {'type': 'vsock', 'data': {'cid': '1', 'port': '2'}}}"),
              "Parameter 'type' is not supported by firn: sockets of type vsock are not served; "
              "use inet or unix");
  });
}

TEST_F(DaemonTest, KeepsObjects) {
  run([](DaemonTest& test) -> Task<void> {
    EXPECT_EQ(co_await test.act(OptionKind::kObject, "--object", "iothread,id=t0"), "");
    EXPECT_EQ(co_await test.act(OptionKind::kObject, "--object", "iothread,id=t0"),
              "--object iothread,id=t0: attempt to add duplicate property 't0' to object (type "
              "'container')");
    EXPECT_EQ(co_await test.act(OptionKind::kObject, "--object", "secret,id=s,data=x"),
              "--object secret,id=s,data=x: objects of type 'secret' are not supported by firn");
    EXPECT_EQ(co_await test.act(OptionKind::kObject, "--object", "bogus,id=s"),
              "--object bogus,id=s: Parameter 'qom-type' does not accept value 'bogus'");
    EXPECT_EQ(co_await test.act(OptionKind::kObject, "--object", "iothread,id=t1,poll-max-ns=5"),
              "--object iothread,id=t1,poll-max-ns=5: Parameter 'poll-max-ns' is not supported by "
              "firn: loops do not poll");
    co_await test.add_null("n");
    co_await test.start_server();
    EXPECT_EQ(co_await test.ask("block-export-add",
                                "{'type': 'nbd', 'node-name': 'n', 'id': 'e', 'iothread': 't0'}"),
              "{}");
    EXPECT_EQ(co_await test.ask("object-del", "{'id': 't0'}"),
              "object 't0' is in use, can not be deleted");
    EXPECT_EQ(co_await test.ask("object-del", "{'id': 'zz'}"), "object 'zz' not found");
  });
}

TEST_F(DaemonTest, TakesSnapshotsAndTellsOfThem) {
  run([](DaemonTest& test) -> Task<void> {
    std::ofstream(test.path("base.raw")).close();
    std::filesystem::resize_file(test.path("base.raw"), 1 << 20);
    EXPECT_EQ(co_await test.act(
                  OptionKind::kBlockdev, "--blockdev",
                  "raw,node-name=base,file.driver=file,file.filename=" + test.path("base.raw")),
              "");
    EXPECT_EQ(co_await test.act(OptionKind::kDevice, "--device", "id=vda,node-name=base"), "");
    EXPECT_EQ(co_await test.ask("blockdev-snapshot-sync", "{'device': 'vda'}"),
              "Parameter 'snapshot-file' is missing");
    EXPECT_EQ(co_await test.ask("blockdev-snapshot-sync",
                                "{'device': 'vda', 'snapshot-node-name': 's1', 'snapshot-file': '" +
                                    test.path("s1.qcow2") + "'}"),
              "{}");
    EXPECT_EQ(test.recorder_.events.size(), 1u);
    EXPECT_TRUE(test.recorder_.events.at(0).starts_with("\"BLOCK_SNAPSHOT_COMPLETED\""));
    EXPECT_EQ(test.recorder_.last["device"], "vda");
    EXPECT_EQ(test.recorder_.last["node-name"], "base");
    EXPECT_EQ(test.recorder_.last["overlay"], "s1");
    JsonValue devices = *co_await test.call("query-block", "{}");
    const JsonValue& inserted = devices.at(0).at("inserted");
    EXPECT_EQ(inserted.at("node-name"), "s1");
    EXPECT_EQ(inserted.at("backing_file_depth"), 1);
    EXPECT_EQ(inserted.at("backing_file"), json::string(test.path("base.raw")));
    EXPECT_EQ(inserted.at("image").at("backing-image").at("format"), "raw");
    EXPECT_EQ(inserted.at("image").at("format-specific").at("data").at("extended-l2"), true);
    EXPECT_EQ(co_await test.ask("human-monitor-command", "{'command-line': 'block_resize vda 2'}"),
              "\"\"");
    EXPECT_EQ(co_await test.ask("human-monitor-command", "{'command-line': 'nope'}"),
              R"("unknown command: 'nope'\r\n")");
  });
}

TEST_F(DaemonTest, MonitorsNeedTheirChardev) {
  run([](DaemonTest& test) -> Task<void> {
    EXPECT_EQ(co_await test.act(OptionKind::kMonitor, "--monitor", "chardev=zz"),
              "--monitor chardev=zz: chardev \"zz\" not found");
    const std::string chardev = "socket,id=c,server=on,wait=off,path=" + test.path("qmp.sock");
    EXPECT_EQ(co_await test.act(OptionKind::kChardev, "--chardev", chardev), "");
    EXPECT_TRUE((co_await test.act(OptionKind::kChardev, "--chardev", chardev))
                    .ends_with("Duplicate ID 'c' for chardev"));
    EXPECT_EQ(co_await test.act(OptionKind::kMonitor, "--monitor", "c,errors=qemu"), "");
    EXPECT_EQ(co_await test.act(OptionKind::kMonitor, "--monitor", "c"),
              "--monitor c: Device 'c' is in use");
    EXPECT_EQ(co_await test.act(OptionKind::kMonitor, "--monitor", "c,mode=zz"),
              "--monitor c,mode=zz: Parameter 'mode' does not accept value 'zz'");
    EXPECT_TRUE(std::filesystem::exists(test.path("qmp.sock")));
  });
  EXPECT_FALSE(std::filesystem::exists(path("qmp.sock")));
}

TEST_F(DaemonTest, QuitAsksToEnd) {
  run([](DaemonTest& test) -> Task<void> {
    EXPECT_FALSE(test.daemon_->end_is_asked());
    EXPECT_EQ(co_await test.ask("quit"), "{}");
    co_await test.daemon_->wait_for_end();
  });
}

TEST_F(DaemonTest, AWaitForTheFirstClientEndsOnRequest) {
  run([](DaemonTest& test) -> Task<void> {
    async::TaskScope scope;
    scope.spawn([](DaemonTest& waiting) -> Task<void> {
      EXPECT_NE(co_await waiting.act(OptionKind::kChardev, "--chardev",
                                     "socket,id=c,server=on,path=" + waiting.path("q.sock")),
                "");
    }(test));
    co_await async::Loop::current().sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(scope.running(), 1u);
    test.daemon_->ask_to_end();
    co_await scope.join();
  });
}

}  // namespace
}  // namespace firn::daemon
