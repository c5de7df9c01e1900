#include "daemon/daemon.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "api/codec.h"
#include "api/keyval.h"
#include "daemon/audit_record.h"
#include "daemon/chardev_options.h"
#include "drivers/file/file_driver.h"
#include "drivers/null/null_driver.h"
#include "drivers/qcow2/driver.h"
#include "drivers/raw/raw_driver.h"

namespace firn::daemon {
namespace {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::JsonValue;
using base::Result;

// How long a monitor's client that does not read keeps the end waiting.
constexpr auto kDrainPatience = std::chrono::seconds(2);

// An option's argument as the schema's type.
template <typename T>
Result<T> decode_option(std::string_view text, std::string_view implied_key = {}) {
  api::InputMode mode;
  JsonValue value = TRY(api::parse_option(text, implied_key, mode));
  return api::decode_as<T>(value, mode);
}

// Types of objects that QEMU has, so that they are refused as what they are.
constexpr auto kOtherObjects = std::to_array<std::string_view>(
    {"authz-list", "authz-list-file", "authz-pam", "authz-simple", "main-loop", "pr-manager-helper",
     "secret", "secret_keyring", "thread-context", "throttle-group", "tls-cipher-suites",
     "tls-creds-anon", "tls-creds-psk", "tls-creds-x509"});

// Null if there is to be none.
Result<std::unique_ptr<AuditLog>> open_audit(const Options& options) {
  if (!options.audit) return nullptr;
  const std::string shown = fmt::format("--audit {}", *options.audit);
  auto audit = TRY_CONTEXT(decode_option<api::AuditOptions>(*options.audit, "file"), shown);
  // The working directory changes when the daemon goes to the background.
  std::error_code error;
  std::string path = std::filesystem::absolute(audit.file, error).string();
  if (error) path = audit.file;
  auto file = TRY_CONTEXT(AuditFile::open(std::move(path), audit.sync.value_or(false)), shown);
  return std::make_unique<AuditLog>(std::move(file));
}

Result<api::ObjectOptions> decode_object_option(const std::string& text) {
  api::InputMode mode;
  JsonValue value = TRY(api::parse_option(text, "qom-type", mode));
  if (const JsonValue* type =
          value.is_object() ? value.get_object().if_contains("qom-type") : nullptr;
      type != nullptr && type->is_string()) {
    std::string_view name(type->get_string().data(), type->get_string().size());
    if (std::ranges::find(kOtherObjects, name) != kOtherObjects.end()) {
      return fail(ErrorKind::kUnsupported,
                  fmt::format("objects of type '{}' are not supported by firn", name));
    }
  }
  return api::decode_as<api::ObjectOptions>(value, mode);
}

}  // namespace

block::Registry make_registry() {
  block::Registry registry;
  file::register_drivers(registry);
  null::register_drivers(registry);
  raw::register_drivers(registry);
  qcow2::register_drivers(registry);
  return registry;
}

Task<Result<std::unique_ptr<Daemon>>> Daemon::create(async::Runtime& runtime,
                                                     const Options& options,
                                                     std::unique_ptr<state::Store> store) {
  auto recorder = std::make_unique<Recorder>(std::move(store));
  auto graph = block::Graph::create(runtime, make_registry(), *recorder);
  if (!graph) {
    co_await recorder->close(false);
    co_return fail(std::move(graph).error());
  }
  if (options.plain_overlays) (*graph)->overlay_defaults.erase("qcow2");
  (*graph)->snapshot_reserve = options.snapshot_reserve;
  auto audit = open_audit(options);
  if (!audit) {
    (void)co_await (*graph)->close();
    co_await recorder->close(false);
    co_return fail(std::move(audit).error());
  }
  co_return std::unique_ptr<Daemon>(new Daemon(std::move(recorder), *std::move(graph),
                                               *std::move(audit), options.inherited_sockets));
}

Daemon::Daemon(std::unique_ptr<Recorder> recorder, std::unique_ptr<block::Graph> graph,
               std::unique_ptr<AuditLog> audit, chardev::InheritedSockets inherited_sockets)
    : audit_(std::move(audit)),
      recorder_(std::move(recorder)),
      graph_(std::move(graph)),
      exports_(*graph_, events_),
      block_handlers_(*graph_, events_),
      device_handlers_(*graph_),
      block_snapshot_handlers_(*graph_, events_),
      revert_handlers_(*graph_, events_),
      reopen_handlers_(*graph_),
      diff_handlers_(*graph_),
      transaction_handlers_(*graph_, events_),
      object_handlers_(*graph_),
      job_events_(events_),
      jobs_(job_events_),
      job_recorder_(*recorder_, jobs_),
      job_handlers_(jobs_),
      block_job_handlers_(*graph_, jobs_),
      block_create_handlers_(*graph_, jobs_),
      block_stats_handlers_(*graph_, events_),
      inherited_sockets_(std::move(inherited_sockets)),
      context_{.handlers = {.block_core = &block_handlers_,
                            .block_device = &device_handlers_,
                            .block_snapshot = &block_snapshot_handlers_,
                            .block_revert = &revert_handlers_,
                            .block_reopen = &reopen_handlers_,
                            .block_diff = &diff_handlers_,
                            .qom = &object_handlers_,
                            .transaction = &transaction_handlers_,
                            .job = &job_handlers_,
                            .block_job = &block_job_handlers_,
                            .block_create = &block_create_handlers_,
                            .block_stats = &block_stats_handlers_},
               .on_quit = [this] { ask_to_end(); },
               .is_ending = [this] { return end_is_asked(); },
               .describe_monitors =
                   [this](const ClientCommands& self) { return monitors_.describe(self); },
               .audit = audit_.get(),
               .clients = {},
               .make_modules = [this] { return make_modules(); }},
      commands_(context_),
      monitors_(context_, events_, chardevs_) {
  recorder_->attach(*graph_, exports_);
  if (recorder_->has_store()) {
    context_.after_command = [this](std::string_view command, JsonValue arguments, bool succeeded) {
      return record(command, std::move(arguments), succeeded);
    };
    job_events_.on_change = [this] { job_recorder_.on_change(); };
  }
}

Daemon::~Daemon() = default;

std::unique_ptr<ClientModules> Daemon::make_modules() {
  auto own = std::make_unique<ClientFds>(file::process_fd_sets(), [this](std::string_view name) {
    return inherited_sockets_.take_named(name);
  });
  const DescriptorLookup lookup = [fds = own.get()](std::string_view name) {
    return fds->take_socket(name);
  };
  return std::make_unique<ClientModules>(
      ClientModules{.fds = std::move(own),
                    .chardev = ChardevHandlers(chardevs_, lookup, startup_.token()),
                    .block_export = ExportHandlers(exports_, lookup)});
}

DescriptorLookup Daemon::inherited_by_number() {
  return [this](std::string_view text) { return inherited_sockets_.take(text); };
}

void Daemon::ask_to_end() {
  startup_.cancel();
  end_.set();
}

Task<Result<>> Daemon::start_audit() {
  if (audit_ == nullptr) co_return Result<>();
  co_return co_await audit_->write(audit_start_line());
}

Task<Result<>> Daemon::carry_out(Option option) {
  auto done = co_await carry_out_once(option);
  if (!done) co_return fail(std::move(done).error().with_context(option.shown()));
  co_return Result<>();
}

Task<Result<>> Daemon::run_action(const Option& option) {
  switch (option.kind) {
    case OptionKind::kBlockdev:
      co_return co_await block_handlers_.blockdev_add(
          CO_TRY(decode_option<api::BlockdevOptions>(option.text, "driver")));
    case OptionKind::kChardev:
      co_return co_await commands_.modules()->chardev.add_option(
          CO_TRY(parse_chardev(option.text, inherited_by_number())));
    case OptionKind::kDevice:
      co_return co_await device_handlers_.block_device_add(
          CO_TRY(decode_option<api::BlockDeviceAddArgs>(option.text)));
    case OptionKind::kExport:
      co_return co_await exports_.add(
          CO_TRY(decode_option<api::BlockExportOptions>(option.text, "type")));
    case OptionKind::kMonitor:
      co_return monitors_.add_monitor(
          CO_TRY(decode_option<api::MonitorOptions>(option.text, "chardev")));
    case OptionKind::kNbdServer:
      co_return co_await commands_.modules()->block_export.start_server(
          CO_TRY(decode_option<api::NbdServerOptions>(option.text)), inherited_by_number());
    case OptionKind::kObject:
      co_return co_await object_handlers_.object_add(CO_TRY(decode_object_option(option.text)));
  }
  co_return Result<>();
}

Task<void> Daemon::drain_monitors(async::CancelSource& drained) {
  co_await monitors_.drain(kDrainPatience);
  drained.cancel();
}

Task<Result<>> Daemon::stop() {
  // Beside each other: where one disk does not answer, the others are flushed and closed all the
  // same, even if a command hangs there.
  async::TaskScope users;
  async::CancelSource drained;
  users.spawn(drain_monitors(drained));
  (void)co_await async::Loop::current().sleep_for(2 * kDrainPatience, drained.token());
  recorder_->end();  // what goes from here on comes back with the next start
  users.spawn(exports_.close());
  users.spawn(jobs_.close());
  auto closed = co_await graph_->close(block::Graph::Users::kLeaving);
  co_await users.join();
  co_await job_recorder_.close();
  auto recorded = co_await recorder_->close(restored_ && closed.has_value());
  if (closed) closed = std::move(recorded);
  events_.close();
  co_await monitors_.close();
  if (audit_ != nullptr) {
    audit_->post(audit_stop_line(), true);
    co_await audit_->close();
  }
  co_return closed;
}

}  // namespace firn::daemon
