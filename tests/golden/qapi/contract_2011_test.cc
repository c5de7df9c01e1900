// The contract of December 2011, compiled from its own dialect and called.
#include <gtest/gtest.h>

#include <boost/json/value.hpp>
#include <optional>
#include <string>

#include "api/codec.h"
#include "api/commands.h"
#include "api/encoder.h"
#include "api/introspection.h"

namespace firn::api {
namespace {

class Commands final : public Contract2011Commands {
 public:
  async::Task<base::Result<VersionInfo>> query_version() override {
    co_return VersionInfo{.qemu = {.major = 1, .minor = 0, .micro = 0}, .package = "p"};
  }
  async::Task<base::Result<std::vector<DiskInfo>>> query_disks() override {
    co_return std::vector<DiskInfo>{{.device = "vda", .state = IoState::kOk}};
  }
  async::Task<base::Result<>> block_resize(BlockResizeArgs args) override {
    log = args.device + " " + std::to_string(args.size);
    co_return base::Result<>();
  }
  async::Task<base::Result<>> blockdev_snapshot_sync(BlockdevSnapshotSyncArgs args) override {
    log = args.device + " " + args.snapshot_file + " " + args.format.value_or("qcow2");
    co_return base::Result<>();
  }
  async::Task<base::Result<>> link_add(JsonValue args) override {
    auto decoded = decode_as<LinkAddArgs>(args);
    if (!decoded) co_return base::fail(decoded.error());
    log = base::print_json(encode(decoded->link));
    co_return base::Result<>();
  }
  std::string log;
};

async::internal::SelfOwned start(const CommandHandlers& handlers, const CommandEntry& command,
                                 JsonValue arguments, std::string& out) {
  base::Result<JsonValue> result = co_await command.run(handlers, std::move(arguments));
  out = result ? base::print_json(*result) : result.error().text();
}

class Contract2011 : public testing::Test {
 protected:
  std::string run(std::string_view name, std::string_view arguments) {
    std::string out = "suspended";
    start({.contract_2011 = &commands_}, *find_command(name), base::parse_json(arguments).value(),
          out);
    return out;
  }
  Commands commands_;
};

TEST_F(Contract2011, TakesSnapshotsAndResizes) {
  EXPECT_EQ(run("blockdev-snapshot-sync", "{'device':'vda','snapshot-file':'/x'}"), "{}");
  EXPECT_EQ(commands_.log, "vda /x qcow2");
  EXPECT_EQ(run("blockdev-snapshot-sync", "{'device':'vda','snapshot-file':'/x','format':'qed'}"),
            "{}");
  EXPECT_EQ(commands_.log, "vda /x qed");
  EXPECT_EQ(run("block_resize", "{'device':'vda','size':9223372036854775807}"), "{}");
  EXPECT_EQ(commands_.log, "vda 9223372036854775807");
}

TEST_F(Contract2011, SaysWhatIsMissing) {
  EXPECT_EQ(run("blockdev-snapshot-sync", "{'device':'vda'}"),
            "Parameter 'snapshot-file' is missing");
  EXPECT_EQ(run("blockdev-snapshot-sync", "{'snapshot-file':'x'}"),
            "Parameter 'device' is missing");
  EXPECT_EQ(run("block_resize", "{'device':'vda','size':'1'}"),
            "Invalid parameter type for 'size', expected: integer");
}

TEST_F(Contract2011, NestsAndTagsAsThen) {
  EXPECT_EQ(run("query-version", "{}"),
            R"({"qemu": {"major": 1, "minor": 0, "micro": 0}, "package": "p"})");
  EXPECT_EQ(run("query-disks", "{}"), R"([{"device": "vda", "state": "ok"}])");
  EXPECT_EQ(run("link-add", "{'link':{'link':{'type':'file','data':{'path':'/x'}}}}"), "{}");
  EXPECT_EQ(commands_.log, R"({"link": {"type": "file", "data": {"path": "/x"}}})");
  EXPECT_EQ(run("link-add", "{'link':{'link':{'type':'file','data':{}}}}"),
            "Parameter 'link.link.data.path' is missing");
}

TEST_F(Contract2011, HasAnIntrospection) {
  EXPECT_EQ(introspection().get_array().at(0).at("name").get_string(), "query-version");
}

}  // namespace
}  // namespace firn::api
