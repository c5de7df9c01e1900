#include "daemon/monitors.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <boost/json/value.hpp>
#include <utility>

#include "api/codec.h"
#include "api/encoder.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/version.h"
#include "daemon/access.h"
#include "daemon/audit_record.h"
#include "daemon/chardev_options.h"
#include "daemon/handlers.h"
#include "qmp/hmp_session.h"
#include "qmp/message.h"
#include "qmp/rejected_client.h"
#include "qmp/session.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

api::MonitorClientInfo describe(const Caller& caller, bool self) {
  api::MonitorClientInfo info;
  info.self = self;
  info.peer = caller.peer;
  if (caller.credentials) {
    info.pid = caller.credentials->pid;
    info.uid = caller.credentials->uid;
    info.gid = caller.credentials->gid;
  }
  info.role = *caller.access.role;
  info.rule = caller.access.rule;
  return info;
}

// Clients of what `options` describe, as `commands` are theirs.
CallingClient::Make client_maker(const api::MonitorOptions& options, bool terminal,
                                 qmp::EventHub& events, qmp::MemoryBudget& budget) {
  if (options.mode == api::MonitorMode::kReadline) {
    const qmp::HmpSessionOptions session{
        .greeting =
            fmt::format("Firn {} monitor - type 'help' for more information", base::kVersion),
        .terminal = terminal,
        .host = {.chardev_arguments = chardev_arguments}};
    return [session](std::unique_ptr<async::Stream> stream, qmp::Commands& commands) {
      return std::make_unique<qmp::HmpSession>(std::move(stream), commands, session);
    };
  }
  qmp::SessionOptions session;
  session.budget = &budget;
  session.pretty = options.pretty.value_or(false);
  if (options.errors == api::MonitorErrors::kQemu) session.errors = api::ErrorDialect::kQemu;
  return [&events, session](std::unique_ptr<async::Stream> stream, qmp::Commands& commands) {
    return std::make_unique<qmp::Session>(std::move(stream), commands, events,
                                          api::encode(version_info()), session);
  };
}

// What a client without access gets: a greeting, since QMP's clients wait for one, and an error
// that they take for the answer to their first request.
std::string rejection(const api::MonitorOptions& options, std::string why) {
  if (options.mode == api::MonitorMode::kReadline) return why + "\r\n";
  const bool pretty = options.pretty.value_or(false);
  const base::Error error(ErrorKind::kPermission, std::move(why));
  return qmp::print_line(qmp::make_greeting(api::encode(version_info())), pretty) +
         qmp::print_line(qmp::make_error_reply(error, std::nullopt, api::ErrorDialect::kClasses),
                         pretty);
}

// Images need descriptors too: a monitor's clients get half of those that there are.
qmp::MonitorLimits client_limits(const api::MonitorOptions& options) {
  qmp::MonitorLimits limits;
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    limits.max_clients = std::min<size_t>(limits.max_clients, descriptors.rlim_cur / 2);
  }
  limits.refusal = rejection(
      options, fmt::format("This monitor has {} clients and takes no more", limits.max_clients));
  return limits;
}

}  // namespace

qmp::ClientFactory Monitors::client_factory(std::string id, const api::MonitorOptions& options) {
  const bool terminal =
      options.mode == api::MonitorMode::kReadline && chardevs_.take_keys(options.chardev);
  return [this, id, options, make = client_maker(options, terminal, events_, budget_)](
             std::unique_ptr<async::Stream> stream) -> std::unique_ptr<qmp::Client> {
    Caller caller{.monitor = id,
                  .peer = stream->peer_name(),
                  .credentials = stream->peer_credentials(),
                  .access = {}};
    caller.access = access_of(options, caller.credentials);
    if (caller.access.role) {
      return std::make_unique<CallingClient>(context_, std::move(caller), std::move(stream), make);
    }
    std::string why = no_access_text(caller.access, id, caller.credentials);
    if (auto untold = context_.rejections.count(async::Loop::current().now())) {
      base::log_warning(why);
      if (context_.audit != nullptr) {
        context_.audit->post(audit_rejected_line(caller, why, *untold), false);
      }
    }
    return std::make_unique<qmp::RejectedClient>(std::move(stream),
                                                 rejection(options, std::move(why)));
  };
}

Result<> Monitors::add_monitor(const api::MonitorOptions& options) {
  TRY(check_access_options(options));
  const std::string id = options.id.value_or(options.chardev);
  auto monitor =
      std::make_unique<qmp::Monitor>(id, client_factory(id, options), client_limits(options));
  TRY(chardevs_.attach(options.chardev,
                       [monitor = monitor.get()](std::unique_ptr<async::Stream> stream) {
                         return monitor->serve_to_end(std::move(stream));
                       }));
  monitors_.push_back({.id = id, .options = options, .monitor = std::move(monitor)});
  return {};
}

std::vector<api::MonitorInfo> Monitors::describe(const ClientCommands& self) const {
  std::vector<api::MonitorInfo> list;
  for (const Entry& entry : monitors_) {
    api::MonitorInfo& info = list.emplace_back();
    info.id = entry.id;
    info.mode = entry.options.mode.value_or(api::MonitorMode::kControl);
    info.chardev = entry.options.chardev;
    info.role = default_access(entry.options);
    for (const ClientCommands* client : context_.clients) {
      const Caller& caller = client->caller();
      if (caller.monitor == entry.id)
        info.clients.push_back(daemon::describe(caller, client == &self));
    }
  }
  return list;
}

Task<void> Monitors::drain(async::Duration patience) {
  chardevs_.stop();
  async::TaskScope scope;
  for (Entry& entry : monitors_) scope.spawn(entry.monitor->drain(patience));
  co_await scope.join();
}

Task<void> Monitors::close() {
  chardevs_.stop();
  for (Entry& entry : monitors_) co_await entry.monitor->close();
  // They refer to the monitors.
  co_await chardevs_.close();
  monitors_.clear();
}

}  // namespace firn::daemon
