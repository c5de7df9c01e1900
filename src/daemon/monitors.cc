#include "daemon/monitors.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/value.hpp>
#include <utility>

#include "api/codec.h"
#include "api/encoder.h"
#include "async/scope.h"
#include "base/version.h"
#include "daemon/handlers.h"
#include "qmp/hmp_session.h"
#include "qmp/session.h"

namespace firn::daemon {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

Task<Result<>> Monitors::add_chardev(ChardevSpec spec, async::CancelToken cancel) {
  std::string id = spec.id;
  if (chardevs_.contains(id)) {
    co_return fail(ErrorKind::kExists, fmt::format("Duplicate ID '{}' for chardev", id));
  }
  const bool is_stdio = spec.kind == ChardevSpec::Kind::kStdio;
  if (is_stdio && std::ranges::any_of(chardevs_, [](const auto& entry) {
        return entry.second->kind == ChardevSpec::Kind::kStdio;
      })) {
    co_return fail(ErrorKind::kBusy, "cannot use stdio by multiple character devices");
  }
  chardevs_.emplace(id, CO_TRY(co_await open_chardev(std::move(spec), cancel)));
  co_return Result<>();
}

namespace {

// Clients of what `options` describe, as `commands` are theirs.
CallingClient::Make client_maker(const api::MonitorOptions& options, qmp::EventHub& events) {
  if (options.mode == api::MonitorMode::kReadline) {
    std::string greeting =
        fmt::format("Firn {} monitor - type 'help' for more information", base::kVersion);
    return [greeting](std::unique_ptr<async::Stream> stream, qmp::Commands& commands) {
      return std::make_unique<qmp::HmpSession>(std::move(stream), commands, greeting);
    };
  }
  qmp::SessionOptions session;
  session.pretty = options.pretty.value_or(false);
  if (options.errors == api::MonitorErrors::kQemu) session.errors = api::ErrorDialect::kQemu;
  return [&events, session](std::unique_ptr<async::Stream> stream, qmp::Commands& commands) {
    return std::make_unique<qmp::Session>(std::move(stream), commands, events,
                                          api::encode(version_info()), session);
  };
}

}  // namespace

qmp::ClientFactory Monitors::client_factory(const api::MonitorOptions& options) {
  std::string id = options.id.value_or(options.chardev);
  return [this, id, make = client_maker(options, events_)](std::unique_ptr<async::Stream> stream) {
    return std::make_unique<CallingClient>(context_, id, std::move(stream), make);
  };
}

Result<> Monitors::add_monitor(const api::MonitorOptions& options) {
  auto found = chardevs_.find(options.chardev);
  if (found == chardevs_.end()) {
    return fail(ErrorKind::kNotFound, fmt::format("chardev \"{}\" not found", options.chardev));
  }
  Chardev& chardev = *found->second;
  if (chardev.has_monitor) {
    return fail(ErrorKind::kBusy, fmt::format("Device '{}' is in use", options.chardev));
  }
  chardev.has_monitor = true;
  auto monitor =
      std::make_unique<qmp::Monitor>(options.id.value_or(options.chardev), client_factory(options));
  if (chardev.stream != nullptr) monitor->serve(std::move(chardev.stream));
  if (chardev.listener != nullptr) monitor->serve_all(std::move(chardev.listener));
  monitors_.push_back(std::move(monitor));
  return {};
}

Task<void> Monitors::drain(async::Duration patience) {
  async::TaskScope scope;
  for (auto& monitor : monitors_) scope.spawn(monitor->drain(patience));
  co_await scope.join();
}

Task<void> Monitors::close() {
  for (auto& monitor : monitors_) co_await monitor->close();
  monitors_.clear();
  chardevs_.clear();
}

}  // namespace firn::daemon
