#include "exports/nbd/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace firn::nbd {
namespace {

// How long a removal in safe mode waits for clients that are leaving, and how often it looks.
constexpr async::Duration kLeaveTime = std::chrono::milliseconds(100);
constexpr async::Duration kLeavePause = std::chrono::milliseconds(2);
// After an error that passes by itself, such as too many open files.
constexpr async::Duration kAcceptPause = std::chrono::milliseconds(200);

struct HandshakeTimer : async::Timer {
  async::Stream* stream = nullptr;
};

}  // namespace

async::Task<base::Result<std::unique_ptr<Server>>> Server::start(ServerOptions options) {
  std::unique_ptr<Server> server(new Server(std::move(options)));
  server->stopped_ = true;  // as long as it does not listen
  server->listener_ =
      CO_TRY(co_await async::Loop::current().network().listen(server->options_.address));
  server->stopped_ = false;
  server->scope_.spawn(server->accept_clients());
  co_return server;
}

Server::~Server() { CHECK(stopped_); }

// Exports ---------------------------------------------------------------------------------------

async::Task<base::Result<Export*>> Server::add_export(block::Graph& graph, block::Node& node,
                                                      ExportOptions options) {
  if (stopping_) {
    co_return base::fail(base::ErrorKind::kShutdown, "NBD server not running");
  }
  const std::string name = options.name;
  if (exports_.contains(name) || std::ranges::find(opening_, name) != opening_.end()) {
    co_return base::fail(base::ErrorKind::kExists,
                         fmt::format("NBD server already has export named '{}'", name));
  }
  opening_.push_back(name);
  ++export_changes_;
  base::Result<std::unique_ptr<Export>> opened =
      co_await Export::open(graph, node, std::move(options));
  std::erase(opening_, name);
  Export* added = nullptr;
  if (opened) {
    added = opened->get();
    exports_.emplace(name, std::move(*opened));
  }
  if (--export_changes_ == 0) changes_done_.wake_all();
  if (!opened) co_return base::fail(opened.error());
  co_return added;
}

async::Task<bool> Server::is_unused_soon(std::string name) {
  const async::TimePoint deadline = async::Loop::current().now() + kLeaveTime;
  for (;;) {
    const Export* const found = find_export(name);
    if (found == nullptr || found->client_count() == 0) co_return true;
    if (async::Loop::current().now() >= deadline) co_return false;
    co_await async::Loop::current().sleep_for(kLeavePause);
  }
}

async::Task<base::Result<>> Server::remove_export(std::string name, RemoveMode mode) {
  ++export_changes_;
  const bool allowed = mode != RemoveMode::kSafe || co_await is_unused_soon(name);
  base::Result<> removed;
  if (const auto found = exports_.find(name); found == exports_.end()) {
    removed = base::fail(base::ErrorKind::kNotFound, fmt::format("Export '{}' is not found", name));
  } else if (!allowed) {
    removed = base::fail(
        base::Error(base::ErrorKind::kBusy, fmt::format("export '{}' still in use", name))
            .with_hint("Use mode='hard' to force client disconnect"));
  } else {
    const std::unique_ptr<Export> closing = std::move(found->second);
    exports_.erase(found);
    co_await closing->close();
  }
  if (--export_changes_ == 0) changes_done_.wake_all();
  co_return removed;
}

Export* Server::find_export(std::string_view name) const {
  const auto found = exports_.find(name);
  return found == exports_.end() ? nullptr : found->second.get();
}

std::vector<Export*> Server::exports() const {
  std::vector<Export*> all;
  for (const auto& [name, each] : exports_) all.push_back(each.get());
  return all;
}

std::vector<ExportDirectory::Entry> Server::list_exports() const {
  std::vector<Entry> entries;
  for (const auto& [name, each] : exports_) entries.push_back({name, each->options().description});
  return entries;
}

async::Task<std::optional<ExportFacts>> Server::describe_export(std::string name) {
  Export* const found = find_export(name);
  if (found == nullptr || stopping_) co_return std::nullopt;
  co_return co_await found->facts();
}

// Clients ---------------------------------------------------------------------------------------

async::Task<void> Server::accept_clients() {
  const uint32_t limit = options_.max_connections;
  while (!stopping_) {
    if (limit != 0 && connection_count_ >= limit) {
      co_await room_.wait();
      continue;
    }
    base::Result<std::unique_ptr<async::Stream>> accepted = co_await listener_->accept();
    if (accepted) {
      scope_.spawn(serve_client(std::move(*accepted)));
    } else if (!stopping_) {
      base::log_warning(
          fmt::format("nbd: a client could not be accepted: {}", accepted.error().text()));
      co_await async::Loop::current().sleep_for(kAcceptPause, scope_.token());
    }
  }
}

async::Task<void> Server::serve_client(std::unique_ptr<async::Stream> stream) {
  ++connection_count_;
  std::optional<Negotiated> negotiated;
  if (!stopping_) {
    haggling_.push_back(stream.get());
    negotiated = co_await negotiate_in_time(*stream);
    std::erase(haggling_, stream.get());
  }
  // The export may have gone meanwhile, and another may have come in its place.
  Export* const chosen = negotiated ? find_export(negotiated->facts.name) : nullptr;
  if (chosen != nullptr && chosen->serial() == negotiated->facts.serial && !stopping_) {
    co_await chosen->serve(std::move(stream), negotiated->agreement);
  }
  stream.reset();
  --connection_count_;
  room_.wake_all();
}

async::Task<std::optional<Negotiated>> Server::negotiate_in_time(async::Stream& stream) {
  async::Loop& loop = async::Loop::current();
  HandshakeTimer timer;
  timer.stream = &stream;
  timer.fire = [](async::Timer& fired) { static_cast<HandshakeTimer&>(fired).stream->close(); };
  timer.deadline = loop.now() + options_.handshake_timeout;
  if (options_.handshake_timeout != async::Duration::zero()) loop.arm(timer);
  std::optional<Negotiated> negotiated = co_await negotiate(stream, *this, options_.limits);
  loop.disarm(timer);
  co_return negotiated;
}

async::Task<void> Server::close_export(std::unique_ptr<Export> last) { co_await last->close(); }

async::Task<void> Server::stop() {
  CHECK(!stopping_);
  stopping_ = true;
  listener_->close();
  scope_.cancel();
  room_.wake_all();
  for (async::Stream* stream : haggling_) stream->close();
  // Beside each other: a disk that does not answer keeps no other from its end. Those that were
  // being opened come after.
  async::TaskScope closing;
  for (int i = 0; i != 2; ++i) {
    for (auto& [name, last] : std::exchange(exports_, {})) {
      closing.spawn(close_export(std::move(last)));
    }
    while (export_changes_ != 0) co_await changes_done_.wait();
  }
  co_await closing.join();
  co_await scope_.join();
  stopped_ = true;
}

}  // namespace firn::nbd
