#include "daemon/client_commands.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "api/codec.h"
#include "async/runtime.h"

namespace firn::daemon {
namespace {

namespace json = boost::json;
using api::MonitorRole;
using async::Task;
using base::ErrorKind;
using base::JsonValue;
using base::parse_json;
using base::print_json;
using base::Result;

constexpr MonitorRole kRoles[] = {MonitorRole::kViewer, MonitorRole::kOperator,
                                  MonitorRole::kAdmin};

class NoStream final : public async::Stream {
 public:
  void shutdown_send() override {}
  void close() override {}
  std::optional<async::PeerCredentials> peer_credentials() const override { return std::nullopt; }
  bool peer_is_gone() const override { return gone; }
  std::string peer_name() const override { return "test"; }
  bool gone = false;

 protected:
  bool start(async::StreamOp& op) override {
    op.result = -ECANCELED;
    return true;
  }
};

// Fails with what it is asked for, as handlers do that quote their arguments.
class QuotingDevices final : public api::BlockDeviceCommands {
 public:
  Task<Result<>> block_device_add(api::BlockDeviceAddArgs) override { co_return Result<>(); }
  Task<Result<>> block_device_del(api::BlockDeviceDelArgs args) override {
    co_return base::fail(ErrorKind::kNotFound, "Device '" + args.id + "' is not found");
  }
};

class ClientCommandsTest : public testing::Test {
 public:
  ClientCommandsTest() : runtime_(*async::make_runtime({.worker_count = 1})) {
    std::string pattern = (std::filesystem::temp_directory_path() / "firn-audit-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/audit.log";
    context_.handlers.block_device = &devices_;
    context_.on_quit = [this] { ++quits_; };
    context_.describe_monitors = [](const ClientCommands&) {
      return std::vector<api::MonitorInfo>();
    };
  }
  ~ClientCommandsTest() override { std::filesystem::remove_all(folder_); }

  void run(Task<void> (*body)(ClientCommandsTest&)) {
    async::run_until_done(*runtime_, run_body(body));
  }
  Task<void> run_body(Task<void> (*body)(ClientCommandsTest&)) {
    audit_ = std::make_unique<AuditLog>(std::move(*AuditFile::open(path_, false)));
    context_.audit = audit_.get();
    co_await body(*this);
    co_await audit_->close();
  }

  ClientCommands client(MonitorRole role) {
    Caller caller{.monitor = "m",
                  .peer = "test",
                  .credentials = async::PeerCredentials{.pid = 5, .uid = 1000, .gid = 100},
                  .access = {.role = role, .rule = "role"}};
    return {context_, std::move(caller), stream_};
  }
  static Task<Result<JsonValue>> ask(ClientCommands& client, std::string command,
                                     std::string arguments = "{}", qmp::RequestInfo info = {}) {
    const api::CommandEntry* entry = client.find(command);
    EXPECT_NE(entry, nullptr) << command;
    co_return co_await client.run_request(*entry, parse_json(arguments)->get_object(),
                                          std::move(info));
  }

  std::string log_text() const {
    std::ifstream file(path_);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  // The log's lines, without what differs from run to run.
  std::vector<std::string> log_lines() const {
    std::vector<std::string> lines;
    std::istringstream text(log_text());
    for (std::string line; std::getline(text, line);) {
      json::object object;
      for (const auto& member : parse_json(line)->get_object()) {
        if (member.key() == "time") EXPECT_EQ(member.value().get_string().size(), 27u);
        if (member.key() == "time" || member.key() == "duration_us") continue;
        object.emplace(member.key(), member.value());
      }
      lines.push_back(print_json(object));
    }
    return lines;
  }

  std::unique_ptr<async::Runtime> runtime_;
  std::string folder_;
  std::string path_;
  NoStream stream_;
  QuotingDevices devices_;
  CommandContext context_;
  std::unique_ptr<AuditLog> audit_;
  int quits_ = 0;
};

// The definitions of the schema's files as they are, without its compiler.
std::vector<json::object> schema_definitions() {
  std::vector<json::object> definitions;
  for (const auto& entry : std::filesystem::directory_iterator(FIRN_SOURCE_DIR "/schema")) {
    std::ifstream file(entry.path());
    std::string text;
    for (std::string line; std::getline(file, line);) {
      if (!line.starts_with('#')) text += line + "\n";
    }
    base::JsonParser parser;
    std::string_view rest = text;
    while (auto value = parser.next(rest)) {
      EXPECT_TRUE(*value) << entry.path();
      if (!*value || !(*value)->is_object()) break;  // an introspection is a list
      definitions.push_back(std::move((*value)->get_object()));
    }
  }
  return definitions;
}

// Each command and its role.
std::map<std::string, std::string> roles_of_schema() {
  std::map<std::string, std::string> roles;
  for (const json::object& definition : schema_definitions()) {
    const JsonValue* name = definition.if_contains("command");
    if (name == nullptr) continue;
    const JsonValue* role = definition.if_contains("role");
    std::string& needed = roles[std::string(name->get_string())];
    needed = role != nullptr ? std::string(role->get_string()) : "admin";
  }
  return roles;
}

TEST_F(ClientCommandsTest, EveryRoleMayDoWhatTheSchemaSays) {
  run([](ClientCommandsTest& test) -> Task<void> {
    const std::map<std::string, std::string> needed = roles_of_schema();
    EXPECT_EQ(needed.size(), api::commands().size());
    for (const api::CommandEntry& command : api::commands()) {
      const auto found = needed.find(std::string(command.name));
      EXPECT_NE(found, needed.end()) << command.name;
      if (found == needed.end()) continue;
      bool allowed = false;
      for (MonitorRole role : kRoles) {
        allowed = allowed || to_string(role) == found->second;
        ClientCommands client = test.client(role);
        const int quits = test.quits_;
        auto result = co_await ask(client, std::string(command.name));
        const bool refused = !result && result.error().kind() == ErrorKind::kPermission;
        EXPECT_EQ(refused, !allowed) << command.name << " as " << to_string(role);
        if (refused) {
          EXPECT_EQ(result.error().text(),
                    "The command " + std::string(command.name) + " needs the role '" +
                        found->second + "'; this client has '" + std::string(to_string(role)) +
                        "', by the option 'role' of monitor 'm'");
          EXPECT_EQ(test.quits_, quits);
        }
      }
      EXPECT_TRUE(allowed) << command.name;
    }
    EXPECT_EQ(test.quits_, 1);  // the admin's
  });
}

TEST_F(ClientCommandsTest, LooksAreForEverybodyAndNothingElseIs) {
  for (const api::CommandEntry& command : api::commands()) {
    const bool looks = command.name.starts_with("query-") || command.name == "qmp_capabilities" ||
                       command.name == "human-monitor-command";
    EXPECT_EQ(changes_something(command), !looks) << command.name;
  }
}

// What a command may do, `transaction` must not do for somebody who may not give that command.
TEST_F(ClientCommandsTest, TransactionsAreNoWayAroundRoles) {
  const api::CommandEntry* transaction = api::find_command("transaction");
  ASSERT_NE(transaction, nullptr);
  size_t actions = 0;
  for (const json::object& definition : schema_definitions()) {
    const JsonValue* name = definition.if_contains("enum");
    if (name == nullptr || *name != "TransactionActionKind") continue;
    for (const JsonValue& value : definition.at("data").get_array()) {
      const JsonValue& action = value.is_object() ? value.at("name") : value;
      const json::string& text = action.get_string();
      const api::CommandEntry* command = api::find_command({text.data(), text.size()});
      if (command == nullptr) continue;
      ++actions;
      EXPECT_LE(command->role, transaction->role) << text;
    }
  }
  EXPECT_GT(actions, 0u);
}

TEST_F(ClientCommandsTest, LinesOfTheHumanMonitorAreHeldToTheRole) {
  run([](ClientCommandsTest& test) -> Task<void> {
    ClientCommands client = test.client(MonitorRole::kViewer);
    auto shown = co_await ask(client, "human-monitor-command", "{'command-line': 'quit'}");
    EXPECT_EQ(print_json(*shown),
              R"("Error: The command quit needs the role 'admin'; this client has 'viewer', by )"
              R"(the option 'role' of monitor 'm'\r\n")");
    EXPECT_EQ(test.quits_, 0);
  });
}

TEST_F(ClientCommandsTest, RecordsWhatChangesSomething) {
  run([](ClientCommandsTest& test) -> Task<void> {
    ClientCommands admin = test.client(MonitorRole::kAdmin);
    ClientCommands client = test.client(MonitorRole::kOperator);
    EXPECT_TRUE(co_await ask(client, "query-version"));
    EXPECT_FALSE(co_await ask(admin, "block-device-del", "{'id': 'e'}", {.id = JsonValue(7)}));
    EXPECT_FALSE(co_await ask(admin, "block-device-del", "{'ide': 'e'}", {.out_of_band = true}));
    EXPECT_FALSE(co_await ask(client, "quit"));
    EXPECT_TRUE(co_await ask(client, "human-monitor-command", "{'command-line': 'quit'}"));
    EXPECT_TRUE(co_await ask(admin, "human-monitor-command", "{'command-line': 'quit'}"));
    EXPECT_EQ(test.quits_, 1);
    test.stream_.gone = true;
    EXPECT_TRUE(co_await ask(admin, "quit"));
  });
  const std::string head =
      R"("monitor": "m", "peer": {"name": "test", "pid": 5, "uid": 1000, "gid": 100}, )"
      R"("role": "operator", )";
  const std::string admin_head =
      R"("monitor": "m", "peer": {"name": "test", "pid": 5, "uid": 1000, "gid": 100}, )"
      R"("role": "admin", )";
  const std::string del = R"("via": "qmp", "command": "block-device-del", )"
                          R"("arguments": {"id": "e"}, "id": 7)";
  const std::string bad = R"("via": "qmp-oob", "command": "block-device-del", "arguments": null)";
  const std::string quit_refused =
      R"("error": {"class": "GenericError", "desc": "The command quit needs the role 'admin'; )"
      R"(this client has 'operator', by the option 'role' of monitor 'm'"}})";
  const std::vector<std::string> expected = {
      R"({"event": "begin", "number": 1, )" + admin_head + del + "}",
      R"({"event": "end", "number": 1, )" + admin_head + del +
          R"(, "outcome": "error", "error": )" +
          R"({"class": "GenericError", "desc": "Device 'e' is not found"}})",
      R"({"event": "begin", "number": 2, )" + admin_head + bad + "}",
      R"({"event": "end", "number": 2, )" + admin_head + bad +
          R"(, "outcome": "error", "error": )" +
          R"({"class": "GenericError", "desc": "Parameter '***' is missing"}})",
      R"({"event": "refused", "number": 3, )" + head +
          R"("via": "qmp", "command": "quit", "arguments": {}, )" + quit_refused,
      R"({"event": "refused", "number": 4, )" + head +
          R"("via": "hmp", "command": "quit", "arguments": {}, )" + quit_refused,
      R"({"event": "begin", "number": 5, )" + admin_head +
          R"("via": "hmp", "command": "quit", "arguments": {}})",
      R"({"event": "end", "number": 5, )" + admin_head +
          R"("via": "hmp", "command": "quit", "arguments": {}, "outcome": "ok"})",
      R"({"event": "begin", "number": 6, )" + admin_head +
          R"("via": "qmp", "command": "quit", "arguments": {}})",
      R"({"event": "end", "number": 6, )" + admin_head +
          R"("via": "qmp", "command": "quit", "arguments": {}, "outcome": "ok", )" +
          R"("client": "gone"})",
  };
  EXPECT_EQ(log_lines(), expected);
}

TEST_F(ClientCommandsTest, TheDaemonsOwnCommandsAreFreeAndNotRecorded) {
  run([](ClientCommandsTest& test) -> Task<void> {
    ClientCommands own(test.context_);
    EXPECT_TRUE(co_await ask(own, "quit"));
  });
  EXPECT_EQ(log_lines(), std::vector<std::string>());
}

TEST_F(ClientCommandsTest, WithoutALogNothingChanges) {
  run([](ClientCommandsTest& test) -> Task<void> {
    // The file's folder is gone, so it can't be made again.
    std::filesystem::remove_all(test.folder_);
    ClientCommands client = test.client(MonitorRole::kAdmin);
    auto result = co_await ask(client, "quit");
    EXPECT_FALSE(result);
    EXPECT_EQ(result.error().text(),
              "The command quit is refused, since the audit log can't be written: Could not open "
              "audit log '" +
                  test.path_ + "': No such file or directory");
    EXPECT_EQ(test.quits_, 0);
    EXPECT_TRUE(co_await ask(client, "query-version"));
    // Back again: the refusal is told late, and work goes on.
    std::filesystem::create_directory(test.folder_);
    EXPECT_TRUE(co_await ask(client, "quit"));
    EXPECT_EQ(test.quits_, 1);
  });
  const auto lines = log_lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(lines[0].starts_with(R"({"event": "refused", "number": 1)")) << lines[0];
  EXPECT_TRUE(lines[1].starts_with(R"({"event": "begin", "number": 2)")) << lines[1];
  EXPECT_TRUE(lines[2].starts_with(R"({"event": "end", "number": 2)")) << lines[2];
}

TEST(RejectionMeter, TellsSomeOfMany) {
  RejectionMeter meter;
  async::TimePoint now;
  int told = 0;
  for (int i = 0; i < 1000; ++i) told += meter.count(now) ? 1 : 0;
  EXPECT_EQ(told, RejectionMeter::kMaxPerSecond);
  EXPECT_EQ(meter.count(now + std::chrono::milliseconds(999)), std::nullopt);
  EXPECT_EQ(meter.count(now + std::chrono::seconds(1)), 991u);
  EXPECT_EQ(meter.count(now + std::chrono::seconds(1)), 0u);
}

TEST_F(ClientCommandsTest, HugeArgumentsAreLeftOut) {
  run([](ClientCommandsTest& test) -> Task<void> {
    ClientCommands client = test.client(MonitorRole::kAdmin);
    json::object arguments{{"id", std::string(100'000, 'x')}};
    const JsonValue id(std::string(1000, 'y'));
    co_await ask(client, "block-device-del", print_json(arguments), {.id = id});
  });
  const auto lines = log_lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find(R"("arguments": null, "arguments-bytes": 100010, "id": "...")"),
            std::string::npos);
  EXPECT_LT(lines[1].size(), 6000u);
}

// Makes arguments with a secret in some place where nobody may look for it.
class Fuzzer final {
 public:
  explicit Fuzzer(uint32_t seed) : random_(seed) {}

  size_t below(size_t bound) { return random_() % bound; }
  std::string secret() {
    static constexpr const char* kForms[] = {"xyzzy",     "a xyzzy",           "xyzzy'",
                                             "\"xyzzy\"", "'xyzzy' is 'xyzzy", "=xyzzy",
                                             "@xyzzy",    "\\xyzzy\n"};
    return kForms[below(std::size(kForms))];
  }
  std::string uri() { return uri(secret()); }
  static constexpr const char* kWord = "xyzzy";  // of a line: a space would end the argument
  std::string uri(const std::string& secret) {
    static constexpr const char* kHeads[] = {
        "nbd://user:",  "https://",  "json:{\"password\": \"", "rbd:pool/x:key=",
        "ssh://u:p@q:", "password=", "Could not open json:"};
    return kHeads[below(std::size(kHeads))] + secret + "@host/x\"}";
  }
  JsonValue value(int depth) {
    switch (below(depth > 3 ? 4 : 6)) {
      case 0:
        return JsonValue(secret());
      case 1:
        return JsonValue(uri());
      case 2:
        return JsonValue(static_cast<int64_t>(random_()));
      case 3:
        return JsonValue(below(2) == 0);
      case 4:
        return json::array{value(depth + 1), value(depth + 1)};
      default:
        return json::object{{secret(), value(depth + 1)}, {"data", value(depth + 1)}};
    }
  }
  // Good names with bad values, and always one name that nobody knows.
  json::object garbage() {
    static constexpr const char* kNames[] = {"id",       "device",       "node-name", "driver",
                                             "filename", "qom-type",     "size",      "addr",
                                             "type",     "snapshot-file"};
    json::object arguments;
    for (size_t i = below(4); i > 0; --i) arguments[kNames[below(std::size(kNames))]] = value(0);
    arguments[below(2) == 0 ? "dta" : secret()] = value(0);
    return arguments;
  }
  // Good arguments whose strings hold credentials.
  json::object credentials() { return {{"id", uri()}}; }

 private:
  std::mt19937 random_;
};

TEST_F(ClientCommandsTest, SecretsNeverReachTheLog) {
  run([](ClientCommandsTest& test) -> Task<void> {
    Fuzzer fuzzer(1);
    ClientCommands admin = test.client(MonitorRole::kAdmin);
    ClientCommands viewer = test.client(MonitorRole::kViewer);
    for (int round = 0; round < 3000; ++round) {
      const auto commands = api::commands();
      const api::CommandEntry* command = &commands[fuzzer.below(commands.size())];
      json::object arguments = fuzzer.garbage();
      if (fuzzer.below(4) == 0) {
        command = admin.find("block-device-del");
        arguments = fuzzer.credentials();
      }
      if (fuzzer.below(8) == 0) {
        command = admin.find("ringbuf-write");
        arguments = {{"device", "r"}, {"data", fuzzer.secret()}};
      }
      ClientCommands& client = fuzzer.below(4) == 0 ? viewer : admin;
      co_await client.run_request(*command, arguments, {.id = JsonValue(fuzzer.uri())});
      const api::CommandEntry* human = admin.find("human-monitor-command");
      json::object line{{"command-line", "snapshot_blkdev " + fuzzer.uri(Fuzzer::kWord) + " " +
                                             fuzzer.uri(Fuzzer::kWord)}};
      co_await client.run_request(*human, line, {});
      json::object wrong{{"command-line", fuzzer.secret() + " " + fuzzer.secret()}};
      co_await client.run_request(*human, wrong, {});
    }
  });
  const std::string text = log_text();
  EXPECT_GT(std::ranges::count(text, '\n'), 3000);
  const size_t leak = text.find("xyzzy");
  EXPECT_EQ(leak, std::string::npos) << text.substr(leak > 300 ? leak - 300 : 0, 600);
}

}  // namespace
}  // namespace firn::daemon
