#include "tests/sim/oracle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "async/sim_random.h"
#include "base/check.h"

namespace firn::sim {
namespace {

constexpr size_t kWords = kSectorBytes / sizeof(uint64_t);

const char* kind_name(Request::Kind kind) {
  switch (kind) {
    case Request::Kind::kWrite:
      return "write";
    case Request::Kind::kZero:
      return "zeroing";
    case Request::Kind::kDiscard:
      return "discard";
  }
  return "";
}

}  // namespace

Oracle::Oracle(uint64_t seed, uint64_t sectors)
    : seed_(async::sim_mix(seed)), base_(sectors), by_sector_(sectors) {
  Request zeroes;
  zeroes.ok = true;
  zeroes.ended = 0;
  requests_.push_back(zeroes);
}

RequestId Oracle::begin(Request request) {
  CHECK(request.sectors > 0 && request.first_sector + request.sectors <= sectors());
  const auto id = static_cast<RequestId>(requests_.size());
  request.sent = now();
  requests_.push_back(request);
  for (uint64_t i = 0; i < request.sectors; ++i) by_sector_[request.first_sector + i].push_back(id);
  return id;
}

void Oracle::end(RequestId request, bool ok) {
  if (requests_[request].ended != kNever) return;  // the cut was before
  requests_[request].ok = ok;
  requests_[request].ended = now();
}

void Oracle::flushed(Tick sent) { durable_before_ = std::max(durable_before_, sent); }

void Oracle::cut() {
  const Tick at = now();
  for (RequestId id = first_open_; id < requests_.size(); ++id) {
    if (requests_[id].ended == kNever) requests_[id].ended = at;
  }
}

// Stamps. -----------------------------------------------------------------------------------------

uint64_t Oracle::stamp_key(RequestId request, uint64_t sector) const {
  return async::sim_mix(seed_ ^ (uint64_t{request} << 32) ^ sector);
}

void Oracle::fill(RequestId id, base::ByteSpan buffer) const {
  const Request& request = requests_[id];
  CHECK(request.kind == Request::Kind::kWrite && buffer.size() == request.sectors * kSectorBytes);
  for (uint64_t i = 0; i < request.sectors; ++i) {
    const uint64_t key = stamp_key(id, request.first_sector + i);
    std::byte* at = buffer.data() + i * kSectorBytes;
    base::store_le<uint64_t>(at, (uint64_t{id} << 32) | (request.first_sector + i));
    for (size_t word = 1; word < kWords; ++word) {
      base::store_le<uint64_t>(at + word * sizeof(uint64_t), key * (2 * word + 1));
    }
  }
}

std::optional<RequestId> Oracle::read_stamp(uint64_t sector, const std::byte* bytes) const {
  if (base::is_zero({bytes, kSectorBytes})) return RequestId{0};
  const uint64_t head = base::load_le<uint64_t>(bytes);
  const auto id = static_cast<RequestId>(head >> 32);
  if ((head & 0xffffffff) != sector || id == 0 || id >= requests_.size()) return std::nullopt;
  const Request& request = requests_[id];
  if (request.kind != Request::Kind::kWrite || sector < request.first_sector ||
      sector >= request.first_sector + request.sectors) {
    return std::nullopt;
  }
  const uint64_t key = stamp_key(id, sector);
  for (size_t word = 1; word < kWords; ++word) {
    if (base::load_le<uint64_t>(bytes + word * sizeof(uint64_t)) != key * (2 * word + 1)) {
      return std::nullopt;
    }
  }
  return id;
}

// Rules. ------------------------------------------------------------------------------------------

template <typename Settled>
bool Oracle::is_overwritten(uint64_t sector, Tick ended, Settled settled) const {
  return std::ranges::any_of(by_sector_[sector], [&](RequestId id) {
    const Request& later = requests_[id];
    return later.kind != Request::Kind::kDiscard && ended < later.sent && later.ok &&
           !later.either && settled(later);
  });
}

template <typename Settled>
bool Oracle::is_legal(uint64_t sector, RequestId found, Tick latest, Settled settled) const {
  if (found == base_[sector] && !is_overwritten(sector, 0, settled)) return true;
  if (found != 0) {
    const Request& request = requests_[found];
    return found >= first_open_ && !request.gone && request.sent < latest &&
           !is_overwritten(sector, request.ended, settled);
  }
  // Zeroes have no stamp: any zeroing or discard may be their origin.
  return std::ranges::any_of(by_sector_[sector], [&](RequestId id) {
    const Request& request = requests_[id];
    return request.kind != Request::Kind::kWrite && request.sent < latest &&
           !is_overwritten(sector, request.ended, settled);
  });
}

std::string Oracle::describe(RequestId id) const {
  if (id == 0) return "zeroes";
  const Request& request = requests_[id];
  std::string text =
      fmt::format("{} {} of client {} (sectors {}+{}, sent {}", kind_name(request.kind), id,
                  request.client, request.first_sector, request.sectors, request.sent);
  if (request.ended != kNever) {
    text += fmt::format(", {} {}", request.ok ? "acknowledged" : "ended", request.ended);
  }
  if (request.fua) text += ", FUA";
  if (request.gone) text += ", before a revert";
  if (request.either) text += ", during a revert";
  return text + ")";
}

std::string Oracle::explain(uint64_t sector, RequestId found) const {
  std::string text = fmt::format("sector {} holds {}; at first it held {}", sector, describe(found),
                                 describe(base_[sector]));
  for (const RequestId id : by_sector_[sector]) text += "; " + describe(id);
  return text + fmt::format("; flushed before {}", durable_before_);
}

std::optional<std::string> Oracle::read_disk(base::ConstByteSpan disk, Content& found) const {
  CHECK(disk.size() == sectors() * kSectorBytes);
  found.resize(sectors());
  for (uint64_t sector = 0; sector < sectors(); ++sector) {
    const auto id = read_stamp(sector, disk.data() + sector * kSectorBytes);
    if (!id) {
      const uint64_t head = base::load_le<uint64_t>(disk.data() + sector * kSectorBytes);
      return fmt::format(
          "sector {} is damaged: its bytes are of no request to it (they begin with "
          "{:#018x}: request {}, sector {})",
          sector, head, head >> 32, head & 0xffffffff);
    }
    found[sector] = *id;
  }
  return std::nullopt;
}

template <typename Settled>
std::optional<std::string> Oracle::check_all(const Content& found, Tick latest, const char* what,
                                             Settled settled) const {
  for (uint64_t sector = 0; sector < sectors(); ++sector) {
    if (by_sector_[sector].empty() && found[sector] == base_[sector]) continue;
    if (!is_legal(sector, found[sector], latest, settled)) {
      return fmt::format("{}: {}", what, explain(sector, found[sector]));
    }
  }
  return std::nullopt;
}

std::optional<std::string> Oracle::check_read(uint64_t first_sector, base::ConstByteSpan bytes,
                                              Tick sent) {
  for (uint64_t i = 0; i * kSectorBytes < bytes.size(); ++i) {
    const uint64_t sector = first_sector + i;
    const auto found = read_stamp(sector, bytes.data() + i * kSectorBytes);
    if (!found) {
      return fmt::format("a read found bytes of no request in sector {} (they begin with {:#018x})",
                         sector, base::load_le<uint64_t>(bytes.data() + i * kSectorBytes));
    }
    note_found(*found);
    if (!is_legal(sector, *found, kNever,
                  [sent](const Request& request) { return request.ended < sent; })) {
      return fmt::format("a read that was sent {} found stale data: {}", sent,
                         explain(sector, *found));
    }
  }
  return std::nullopt;
}

std::optional<std::string> Oracle::check_after_cut(base::ConstByteSpan disk, Content& found) {
  if (auto damage = read_disk(disk, found)) return damage;
  for (const RequestId id : found) note_found(id);
  return check_all(found, kNever, "after the cut",
                   [this](const Request& request) { return is_durable(request); });
}

std::optional<std::string> Oracle::check_after_close(base::ConstByteSpan disk, Content& found) {
  if (auto damage = read_disk(disk, found)) return damage;
  for (const RequestId id : found) note_found(id);
  return check_all(found, kNever, "after the end", [](const Request&) { return true; });
}

std::optional<std::string> Oracle::check_frozen(base::ConstByteSpan disk, Tick command_sent,
                                                Tick command_replied, Content& found) {
  if (auto damage = read_disk(disk, found)) return damage;
  for (const RequestId id : found) note_found(id);
  Tick settled_before = command_sent;
  for (uint64_t sector = 0; sector < sectors(); ++sector) {
    if (found[sector] < first_open_) continue;
    settled_before = std::max(settled_before, requests_[found[sector]].sent);
  }
  return check_all(
      found, command_replied, "in the frozen layer",
      [settled_before](const Request& request) { return request.ended < settled_before; });
}

std::optional<std::string> Oracle::check_unchanged(base::ConstByteSpan disk,
                                                   const Content& before) const {
  Content found;
  if (auto damage = read_disk(disk, found)) return damage;
  for (uint64_t sector = 0; sector < sectors(); ++sector) {
    if (found[sector] != before[sector]) {
      return fmt::format("a frozen layer has changed: sector {} holds {}, it held {}", sector,
                         describe(found[sector]), describe(before[sector]));
    }
  }
  return std::nullopt;
}

void Oracle::reverted(const Content& content, Tick sent) {
  base_ = content;
  for (RequestId id = first_open_; id < requests_.size(); ++id) {
    Request& request = requests_[id];
    if (request.ended < sent) {
      request.gone = true;
    } else if (request.ended != kNever) {
      request.either = true;
    }
  }
  for (auto& ids : by_sector_) {
    std::erase_if(ids, [this](RequestId id) { return requests_[id].gone; });
  }
}

void Oracle::note_found(RequestId found) {
  if (!requests_[found].either) return;
  const Tick ended = requests_[found].ended;
  for (RequestId id = first_open_; id < requests_.size(); ++id) {
    if (requests_[id].ended >= ended) requests_[id].either = false;
  }
}

void Oracle::start_over(const Content& found) {
  base_ = found;
  for (auto& ids : by_sector_) ids.clear();
  first_open_ = static_cast<RequestId>(requests_.size());
  durable_before_ = 0;
}

}  // namespace firn::sim
