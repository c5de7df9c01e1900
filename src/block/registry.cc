#include "block/registry.h"

#include <fmt/format.h>

#include <atomic>
#include <charconv>

namespace firn::block {

using base::ErrorKind;

void Registry::add(DriverEntry entry) {
  std::string name = entry.name;
  const bool added = entries_.emplace(std::move(name), std::move(entry)).second;
  CHECK(added);
}

const DriverEntry* Registry::find(std::string_view name) const {
  const auto at = entries_.find(name);
  return at == entries_.end() ? nullptr : &at->second;
}

const DriverEntry* Registry::probe(base::ConstByteSpan first_bytes) const {
  const DriverEntry* best = find("raw");
  int best_score = 0;
  for (const auto& [name, entry] : entries_) {
    if (entry.probe == nullptr) continue;
    const int score = entry.probe(first_bytes);
    if (score > best_score) {
      best = &entry;
      best_score = score;
    }
  }
  return best;
}

std::vector<std::string> Registry::names() const {
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

namespace {

constexpr std::string_view kMadeUp = "#block";
std::atomic<uint64_t> next_made_up{0};

}  // namespace

std::string make_node_name() {
  return fmt::format("{}{}", kMadeUp, next_made_up.fetch_add(1, std::memory_order_relaxed));
}

void reserve_node_name(std::string_view name) {
  if (!name.starts_with(kMadeUp)) return;
  name.remove_prefix(kMadeUp.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return;
  uint64_t next = next_made_up.load(std::memory_order_relaxed);
  while (next <= number &&
         !next_made_up.compare_exchange_weak(next, number + 1, std::memory_order_relaxed)) {
  }
}

bool is_identifier(std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (name.empty() || !is_letter(name.front())) return false;
  for (const char c : name) {
    const bool digit = c >= '0' && c <= '9';
    if (!is_letter(c) && !digit && c != '-' && c != '.' && c != '_') return false;
  }
  return true;
}

Result<> check_node_name(std::string_view name) {
  constexpr size_t kMaxLength = 31;
  if (!is_identifier(name)) {
    return base::fail(
        base::Error(ErrorKind::kInvalidArgument, fmt::format("Invalid node-name: '{}'", name))
            .with_hint("names begin with a letter; letters, digits, '-', '.' and '_' "
                       "may follow"));
  }
  if (name.size() > kMaxLength) {
    return base::fail(base::Error(ErrorKind::kInvalidArgument, "Node name too long")
                          .with_hint(fmt::format("'{}' has {} characters, {} are allowed", name,
                                                 name.size(), kMaxLength)));
  }
  return {};
}

}  // namespace firn::block
