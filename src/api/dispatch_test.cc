#include "api/dispatch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/value.hpp>
#include <optional>
#include <set>
#include <string>

#include "api/commands.h"
#include "api/encoder.h"
#include "api/error_class.h"
#include "api/events.h"
#include "api/introspection.h"

namespace firn::api {
namespace {

using base::ErrorKind;

// A handler that keeps what it is given.
class Devices final : public BlockDeviceCommands {
 public:
  async::Task<base::Result<>> block_device_add(BlockDeviceAddArgs args) override {
    added = args.id + "=" + args.node_name;
    co_return base::Result<>();
  }
  async::Task<base::Result<>> block_device_del(BlockDeviceDelArgs args) override {
    co_return base::fail(ErrorKind::kDeviceNotFound, "Device '" + args.id + "' not found");
  }
  std::string added;
};

class Exports final : public BlockExportCommands {
 public:
  async::Task<base::Result<>> nbd_server_start(NbdServerStartArgs) override {
    co_return base::Result<>();
  }
  async::Task<base::Result<>> nbd_server_stop() override { co_return base::Result<>(); }
  async::Task<base::Result<>> nbd_server_add(NbdServerAddOptions) override {
    co_return base::Result<>();
  }
  async::Task<base::Result<>> nbd_server_remove(NbdServerRemoveArgs) override {
    co_return base::Result<>();
  }
  async::Task<base::Result<>> block_export_add(BlockExportOptions) override {
    co_return base::Result<>();
  }
  async::Task<base::Result<>> block_export_del(BlockExportDelArgs) override {
    co_return base::Result<>();
  }
  async::Task<base::Result<std::vector<BlockExportInfo>>> query_block_exports() override {
    co_return std::vector<BlockExportInfo>{
        {.id = "e", .type = BlockExportType::kNbd, .node_name = "n", .shutting_down = false}};
  }
};

// Runs a command whose handlers never suspend, and prints what it gives.
async::internal::SelfOwned start(const CommandHandlers& handlers, const CommandEntry* command,
                                 JsonValue arguments, std::string& out) {
  base::Result<JsonValue> result = co_await command->run(handlers, std::move(arguments));
  out = result ? base::print_json(*result) : result.error().text();
}

std::string run(const CommandHandlers& handlers, std::string_view name,
                std::string_view arguments) {
  const CommandEntry* command = find_command(name);
  if (!command) return "unknown";
  std::string out = "suspended";
  start(handlers, command, base::parse_json(arguments).value(), out);
  return out;
}

TEST(Dispatch, DecodesCallsAndEncodes) {
  Devices devices;
  Exports exports;
  const CommandHandlers handlers{.block_export = &exports, .block_device = &devices};
  EXPECT_EQ(run(handlers, "block-device-add", "{'id':'vda','node-name':'top'}"), "{}");
  EXPECT_EQ(devices.added, "vda=top");
  EXPECT_EQ(run(handlers, "block-device-del", "{'id':'x'}"), "Device 'x' not found");
  EXPECT_EQ(run(handlers, "query-block-exports", "{}"),
            R"([{"id": "e", "type": "nbd", "node-name": "n", "shutting-down": false}])");
}

TEST(Dispatch, RefusesBadArgumentsBeforeTheHandler) {
  Devices devices;
  Exports exports;
  const CommandHandlers handlers{.block_export = &exports, .block_device = &devices};
  EXPECT_EQ(run(handlers, "block-device-add", "{'id':'vda'}"), "Parameter 'node-name' is missing");
  EXPECT_EQ(run(handlers, "nbd-server-stop", "{'a':1}"), "Parameter 'a' is unexpected");
  EXPECT_EQ(devices.added, "");
}

TEST(Dispatch, ModulesWithoutHandlersAreUnknown) {
  EXPECT_EQ(run({}, "quit", "{}"), "The command quit has not been found");
  EXPECT_EQ(find_command("bogus"), nullptr);
}

TEST(Dispatch, TableCarriesFlagsAndFeatures) {
  const CommandEntry* add = find_command("block-device-add");
  ASSERT_TRUE(add);
  ASSERT_EQ(add->features.size(), 1u);
  EXPECT_EQ(add->features[0], "firn");
  EXPECT_EQ(add->module, "block-device");
  EXPECT_TRUE(find_command("block_resize")->coroutine);
  EXPECT_TRUE(find_command("qmp_capabilities")->allow_preconfig);
  EXPECT_FALSE(find_command("blockdev-add")->allow_oob);
}

TEST(Events, EncodeWithoutTimestamp) {
  EXPECT_EQ(base::print_json(encode_event(BlockExportDeletedEvent{.id = "e"})),
            R"({"event": "BLOCK_EXPORT_DELETED", "data": {"id": "e"}})");
  EXPECT_EQ(base::print_json(encode_event(BlockSnapshotCompletedEvent{
                .device = "vda", .node_name = "base", .overlay = "top", .pause_ns = 7})),
            R"({"event": "BLOCK_SNAPSHOT_COMPLETED", "data": {"device": "vda", )"
            R"("node-name": "base", "overlay": "top", "pause-ns": 7, "prepare-ns": 0, )"
            R"("seal-ns": 0, "in-flight": 0, "overlay-bytes": 0}})");
}

TEST(Introspection, RefersOnlyToWhatItHas) {
  const boost::json::array& entries = introspection().get_array();
  std::set<std::string> names;
  for (const JsonValue& entry : entries) {
    EXPECT_TRUE(names.insert(std::string(entry.at("name").get_string())).second);
  }
  const auto expect_type = [&](const JsonValue& name) {
    EXPECT_TRUE(names.contains(std::string(name.get_string()))) << name.get_string();
  };
  for (const JsonValue& value : entries) {
    const boost::json::object& entry = value.get_object();
    for (const char* key : {"arg-type", "ret-type", "element-type"}) {
      if (const JsonValue* type = entry.if_contains(key)) expect_type(*type);
    }
    const std::string meta(entry.at("meta-type").get_string());
    if (meta == "object" || meta == "alternate") {
      for (const JsonValue& member : entry.at("members").get_array())
        expect_type(member.at("type"));
    }
    if (const JsonValue* variants = entry.if_contains("variants")) {
      for (const JsonValue& variant : variants->get_array()) expect_type(variant.at("type"));
    }
  }
  for (const CommandEntry& command : commands())
    EXPECT_TRUE(names.contains(std::string(command.name)));
  for (std::string_view event : event_names()) EXPECT_TRUE(names.contains(std::string(event)));
}

TEST(ErrorClass, IsOneTable) {
  EXPECT_EQ(error_class(ErrorKind::kDeviceNotFound, ErrorDialect::kClasses), "DeviceNotFound");
  EXPECT_EQ(error_class(ErrorKind::kDeviceNotFound, ErrorDialect::kQemu), "GenericError");
  EXPECT_EQ(error_class(ErrorKind::kCommandNotFound, ErrorDialect::kQemu), "CommandNotFound");
  EXPECT_EQ(error_class(ErrorKind::kNoSpace, ErrorDialect::kClasses), "GenericError");
  const base::Error error =
      base::Error(ErrorKind::kOpenFileFailed, "Could not create 'x'").with_data("filename", "x");
  EXPECT_EQ(base::print_json(encode_error(error, ErrorDialect::kClasses)),
            R"({"class": "OpenFileFailed", "desc": "Could not create 'x'", )"
            R"("data": {"filename": "x"}})");
  EXPECT_EQ(base::print_json(encode_error(error, ErrorDialect::kQemu)),
            R"({"class": "GenericError", "desc": "Could not create 'x'"})");
}

}  // namespace
}  // namespace firn::api
