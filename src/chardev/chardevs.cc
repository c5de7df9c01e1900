#include "chardev/chardevs.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "chardev/ring_buffer.h"

namespace firn::chardev {

using async::CancelToken;
using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

bool is_stdio(const Spec& spec) { return std::holds_alternative<StdioSpec>(spec); }

// True if `device`'s address is taken as long as it is open.
bool holds_address(const Spec& spec) {
  const auto* socket = std::get_if<SocketSpec>(&spec);
  return is_stdio(spec) || (socket != nullptr && socket->server);
}

bool is_adopted(const Spec& spec) {
  const auto* socket = std::get_if<SocketSpec>(&spec);
  return socket != nullptr && socket->address.kind == async::SocketAddress::Kind::kFd;
}

// A name in a set, while this lives.
class Reservation {
 public:
  Reservation(std::set<std::string, std::less<>>& names, std::string name)
      : names_(names), name_(std::move(name)) {
    names_.insert(name_);
  }
  ~Reservation() { names_.erase(name_); }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

 private:
  std::set<std::string, std::less<>>& names_;
  std::string name_;
};

}  // namespace

Chardevs::~Chardevs() { CHECK(entries_.empty() && pending_.empty()); }

Task<Result<std::unique_ptr<Chardev>>> Chardevs::open_new(const std::string& id, const Spec& spec,
                                                          CancelToken cancel) {
  if (is_stdio(spec) && std::ranges::any_of(entries_, [](const auto& entry) {
        return is_stdio(entry.second.spec) && entry.second.device != nullptr;
      })) {
    co_return fail(ErrorKind::kBusy, "cannot use stdio by multiple character devices");
  }
  co_return co_await open(spec, id, cancel);
}

Task<Result<Chardev*>> Chardevs::add(std::string id, Spec spec, CancelToken cancel) {
  if (entries_.contains(id) || pending_.contains(id)) {
    co_return fail(ErrorKind::kExists, fmt::format("Chardev with id '{}' already exists", id));
  }
  const Reservation reservation(pending_, id);
  Entry entry{.spec = spec, .device = nullptr};
  entry.device = CO_TRY(co_await open_new(id, spec, cancel));
  co_return entries_.emplace(id, std::move(entry)).first->second.device.get();
}

Task<void> Chardevs::reopen(const std::string& id, Spec spec) {
  if (auto* socket = std::get_if<SocketSpec>(&spec)) socket->wait = false;
  auto device = co_await open_new(id, spec, {});
  if (device) {
    entries_.find(id)->second.device = *std::move(device);
    co_return;
  }
  base::log_warning(
      fmt::format("chardev {} could not be changed, is closed and can't be opened again: {}", id,
                  device.error().text()));
  entries_.erase(id);
}

Task<Result<>> Chardevs::replace(std::string id, Spec spec, CancelToken cancel) {
  Entry& entry = entries_.find(id)->second;
  // While both are open, a failure of the new one leaves the old one as it is.
  auto device = co_await open_new(id, spec, cancel);
  const bool in_the_way = !device && device.error().kind() == ErrorKind::kBusy &&
                          holds_address(entry.spec) && !is_adopted(entry.spec);
  if (in_the_way) {
    co_await entry.device->close();
    entry.device.reset();
    device = co_await open_new(id, spec, cancel);
    if (!device) co_await reopen(id, entry.spec);
  }
  if (!device) co_return fail(std::move(device).error());
  if (entry.device != nullptr) co_await entry.device->close();
  entry.device = *std::move(device);
  entry.spec = std::move(spec);
  co_return Result<>();
}

Result<> Chardevs::check_changeable(const std::string& id) const {
  auto found = entries_.find(id);
  if (found == entries_.end()) {
    return fail(ErrorKind::kNotFound, fmt::format("Chardev '{}' does not exist", id));
  }
  if (found->second.has_frontend) {
    return fail(ErrorKind::kBusy, "Chardev user does not support chardev hotswap");
  }
  if (pending_.contains(id)) {
    return fail(ErrorKind::kBusy, fmt::format("Chardev '{}' is busy", id));
  }
  return {};
}

Task<Result<Chardev*>> Chardevs::change(std::string id, Spec spec, CancelToken cancel) {
  CO_TRY(check_changeable(id));
  const Reservation reservation(pending_, id);
  CO_TRY(co_await replace(id, std::move(spec), cancel));
  co_return entries_.find(id)->second.device.get();
}

Task<Result<>> Chardevs::remove(std::string id) {
  auto found = entries_.find(id);
  if (found == entries_.end()) {
    co_return fail(ErrorKind::kNotFound, fmt::format("Chardev '{}' not found", id));
  }
  if (found->second.has_frontend || pending_.contains(id)) {
    co_return fail(ErrorKind::kBusy, fmt::format("Chardev '{}' is busy", id));
  }
  const Reservation reservation(pending_, id);
  co_await found->second.device->close();
  entries_.erase(found);
  co_return Result<>();
}

Result<> Chardevs::attach(std::string_view id, Serve serve) {
  auto found = entries_.find(id);
  if (found == entries_.end()) {
    return fail(ErrorKind::kNotFound, fmt::format("chardev \"{}\" not found", id));
  }
  if (found->second.has_frontend || pending_.contains(id)) {
    return fail(ErrorKind::kBusy, fmt::format("Device '{}' is in use", id));
  }
  found->second.has_frontend = true;
  found->second.device->attach(std::move(serve));
  return {};
}

bool Chardevs::take_keys(std::string_view id) {
  auto found = entries_.find(id);
  return found != entries_.end() && found->second.device != nullptr &&
         !found->second.has_frontend && found->second.device->take_keys();
}

Result<RingBuffer*> Chardevs::ring_buffer(const std::string& id) const {
  auto found = entries_.find(id);
  if (found == entries_.end() || found->second.device == nullptr) {
    return fail(ErrorKind::kNotFound, fmt::format("Device '{}' not found", id));
  }
  RingBuffer* ring = found->second.device->ring_buffer();
  if (ring == nullptr) {
    return fail(ErrorKind::kInvalidArgument, fmt::format("{} is not a ringbuf device", id));
  }
  return ring;
}

std::vector<Chardevs::Info> Chardevs::list() const {
  std::vector<Info> infos;
  for (const auto& [id, entry] : entries_) {
    if (entry.device == nullptr) continue;  // just being changed
    infos.push_back(
        {.label = id, .filename = entry.device->filename(), .frontend_open = entry.has_frontend});
  }
  return infos;
}

void Chardevs::stop() {
  for (auto& [id, entry] : entries_) {
    if (entry.device != nullptr) entry.device->stop();
  }
}

Task<void> Chardevs::close() {
  for (auto& [id, entry] : entries_) {
    if (entry.device != nullptr) co_await entry.device->close();
  }
  entries_.clear();
}

}  // namespace firn::chardev
