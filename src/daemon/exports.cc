#include "daemon/exports.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <functional>
#include <utility>

#include "api/codec.h"
#include "api/events.h"
#include "base/check.h"
#include "base/json.h"
#include "daemon/unsupported.h"

namespace firn::daemon {
namespace {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

Task<std::string> head_of(nbd::Export& exported) {
  const block::Node* head = exported.root().head();
  co_return head == nullptr ? std::string() : head->name();
}

Task<bool> is_read_only(const block::Node& node) { co_return node.read_only(); }

Result<nbd::ExportOptions> nbd_options(const api::BlockExportOptions& options) {
  nbd::ExportOptions result;
  result.id = options.id;
  result.name = options.node_name;
  result.writable = options.writable.value_or(false);
  result.writethrough = options.writethrough.value_or(false);
  const auto* own = std::get_if<api::BlockExportOptionsNbd>(&options.u);
  CHECK(own != nullptr);
  if (own->bitmaps && !own->bitmaps->empty()) {
    return unsupported("bitmaps", "there are no dirty bitmaps");
  }
  if (own->name) result.name = *own->name;
  result.description = own->description.value_or("");
  result.allocation_depth = own->allocation_depth.value_or(false);
  return result;
}

}  // namespace

Exports::~Exports() { CHECK(server_ == nullptr && entries_.empty()); }

Result<> Exports::check_no_server() const {
  if (server_ == nullptr && !starting_) return {};
  return fail(ErrorKind::kBusy, "NBD server already running");
}

Task<Result<>> Exports::start_server(nbd::ServerOptions options) {
  CO_TRY(check_no_server());
  starting_ = true;
  auto server = co_await nbd::Server::start(std::move(options));
  starting_ = false;
  if (!server) co_return fail(server.error());
  server_ = *std::move(server);
  co_return Result<>();
}

Task<Result<>> Exports::stop_server() {
  if (server_ == nullptr) co_return fail(ErrorKind::kGeneric, "NBD server not running");
  for (auto& [id, entry] : entries_) entry.shutting_down = true;
  std::unique_ptr<nbd::Server> server = std::move(server_);
  co_await server->stop();
  // Those that are still to be opened end by themselves, without a server or with the next one.
  std::vector<std::string> gone;
  for (const auto& [id, entry] : entries_) {
    if (entry.exported != nullptr) gone.push_back(id);
  }
  for (const std::string& id : gone) forget(id);
  co_return Result<>();
}

Result<> Exports::check_new_id(const std::string& id) const {
  if (!block::is_identifier(id)) {
    return fail(ErrorKind::kInvalidArgument, "Invalid block export id");
  }
  if (entries_.contains(id)) {
    return fail(ErrorKind::kExists, fmt::format("Block export id '{}' is already in use", id));
  }
  return {};
}

Task<Result<block::Node*>> Exports::find_node(const api::BlockExportOptions& options) {
  bool is_device = graph_.find_device(options.node_name) != nullptr;
  block::Node* node =
      CO_TRY(co_await graph_.find_head(is_device ? options.node_name : std::string(),
                                       is_device ? std::string() : options.node_name));
  if (!options.iothread) co_return node;
  async::Loop* loop = graph_.find_io_loop(*options.iothread);
  if (loop == nullptr) {
    co_return fail(ErrorKind::kNotFound,
                   fmt::format("iothread \"{}\" not found", *options.iothread));
  }
  auto moved = co_await graph_.move_to_loop(*node, *loop);
  if (!moved && options.fixed_iothread.value_or(false)) co_return fail(moved.error());
  co_return node;
}

Task<Result<>> Exports::add(api::BlockExportOptions options) {
  CO_TRY(check_new_id(options.id));
  nbd::ExportOptions own = CO_TRY(nbd_options(options));
  // Taken from here on.
  entries_.emplace(options.id, Entry{.number = ++last_number_,
                                     .name = own.name,
                                     .node_name = options.node_name,
                                     .definition = base::print_json(api::encode(options))});
  auto node = co_await find_node(options);
  Result<nbd::Export*> exported = fail(ErrorKind::kGeneric, "NBD server not running");
  if (!node) {
    exported = fail(node.error());
  } else if (server_ != nullptr) {
    // A server that was stopped while the node was looked for had marked it as its own.
    entries_.find(options.id)->second.shutting_down = false;
    exported = co_await server_->add_export(graph_, **node, std::move(own));
  }
  if (!exported) {
    entries_.erase(options.id);
    co_return fail(exported.error());
  }
  entries_.find(options.id)->second.exported = *exported;
  co_return Result<>();
}

Task<Result<>> Exports::add_nbd(api::NbdServerAddOptions options) {
  const std::string name = options.name.value_or(options.device);
  if (name.size() > nbd::kMaxStringBytes) {
    co_return fail(ErrorKind::kInvalidArgument, fmt::format("export name '{}' too long", name));
  }
  const std::string description = options.description.value_or("");
  if (description.size() > nbd::kMaxStringBytes) {
    co_return fail(ErrorKind::kInvalidArgument,
                   fmt::format("description '{}' too long", description));
  }
  bool read_only = false;
  {
    const auto reading = co_await graph_.read_nodes();
    block::Node* node = CO_TRY(co_await graph_.find_head(options.device, options.device));
    read_only = co_await async::call_on(node->home(), is_read_only(*node));
  }
  api::BlockExportOptionsNbd own;
  own.name = options.name;
  own.description = options.description;
  if (options.bitmap) own.bitmaps.emplace().push_back({.u = *options.bitmap});
  api::BlockExportOptions full;
  full.type = api::BlockExportType::kNbd;
  full.id = name;
  full.node_name = options.device;
  full.writable = options.writable.value_or(false) && !read_only;
  full.u = std::move(own);
  co_return co_await add(std::move(full));
}

Task<Result<>> Exports::remove(std::string id, nbd::RemoveMode mode) {
  auto entry = entries_.find(id);
  if (entry == entries_.end() || entry->second.exported == nullptr) {
    co_return fail(ErrorKind::kNotFound, fmt::format("Export '{}' is not found", id));
  }
  if (entry->second.shutting_down) {
    co_return fail(ErrorKind::kBusy, fmt::format("Export '{}' is already shutting down", id));
  }
  entry->second.shutting_down = true;
  nbd::Export* exported = entry->second.exported;
  auto removed = co_await server_->remove_export(entry->second.name, mode);
  entry = entries_.find(id);
  bool is_same = entry != entries_.end() && entry->second.exported == exported;
  if (!removed) {
    if (!is_same) co_return Result<>();  // the server was stopped meanwhile
    entry->second.shutting_down = false;
    if (removed.error().kind() == ErrorKind::kBusy) {
      co_return fail(base::Error(ErrorKind::kBusy, fmt::format("export '{}' still in use", id))
                         .with_hint(removed.error().hint()));
    }
    co_return removed;
  }
  if (is_same) forget(id);
  co_return Result<>();
}

// Those that shut down may be gone at any moment; the others can't go while somebody reads, since
// they have to detach from the graph.
Task<Result<std::vector<api::BlockExportInfo>>> Exports::list() {
  const auto reading = co_await graph_.read_nodes();
  std::vector<std::string> ids;
  for (const auto& [id, entry] : entries_) ids.push_back(id);
  std::ranges::sort(ids, std::greater(),
                    [&](const std::string& id) { return entries_.find(id)->second.number; });
  std::vector<api::BlockExportInfo> list;
  for (std::string& id : ids) {
    auto found = entries_.find(id);
    if (found == entries_.end() || found->second.exported == nullptr) continue;
    api::BlockExportInfo info;
    info.type = api::BlockExportType::kNbd;
    info.node_name = found->second.node_name;
    info.shutting_down = found->second.shutting_down;
    if (!info.shutting_down) {
      nbd::Export& exported = *found->second.exported;
      info.node_name = co_await async::call_on(exported.home(), head_of(exported));
    }
    info.id = std::move(id);
    list.push_back(std::move(info));
  }
  co_return list;
}

std::vector<std::string> Exports::ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, entry] : entries_) {
    if (entry.exported != nullptr) ids.push_back(id);
  }
  std::ranges::sort(ids, {},
                    [&](const std::string& id) { return entries_.find(id)->second.number; });
  return ids;
}

std::string Exports::definition(const std::string& id) const {
  const auto at = entries_.find(id);
  return at == entries_.end() ? std::string() : at->second.definition;
}

std::string Exports::node_name(const std::string& id) const {
  const auto at = entries_.find(id);
  return at == entries_.end() ? std::string() : at->second.node_name;
}

Task<std::string> Exports::head_name(std::string id) {
  const auto at = entries_.find(id);
  if (at == entries_.end() || at->second.exported == nullptr || at->second.shutting_down) {
    co_return std::string();
  }
  nbd::Export& exported = *at->second.exported;
  co_return co_await async::call_on(exported.home(), head_of(exported));
}

Task<void> Exports::close() {
  if (server_ != nullptr) (void)co_await stop_server();
}

void Exports::forget(const std::string& id) {
  entries_.erase(id);
  events_.emit(api::encode_event(api::BlockExportDeletedEvent{.id = id}));
}

}  // namespace firn::daemon
