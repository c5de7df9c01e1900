#include "qapi/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace firn::qapi {

namespace {

constexpr size_t kMaxLength = 80;  // of names that are worth a suggestion

char folded(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<char>(c + ('a' - 'A'));
  return c == '-' ? '_' : c;
}

}  // namespace

size_t edit_distance(std::string_view from, std::string_view to, size_t limit) {
  const size_t longer = std::max(from.size(), to.size());
  const size_t shorter = std::min(from.size(), to.size());
  if (longer > kMaxLength || longer - shorter >= limit) return limit;
  std::array<size_t, kMaxLength + 1> before_last = {};
  std::array<size_t, kMaxLength + 1> last = {};
  std::array<size_t, kMaxLength + 1> row = {};
  for (size_t j = 0; j <= to.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= from.size(); ++i) {
    before_last = last;
    last = row;
    row[0] = i;
    for (size_t j = 1; j <= to.size(); ++j) {
      const bool same = folded(from[i - 1]) == folded(to[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && folded(from[i - 1]) == folded(to[j - 2]) &&
          folded(from[i - 2]) == folded(to[j - 1])) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
  }
  return std::min(row[to.size()], limit);
}

Suggestion::Suggestion(std::string_view given)
    : given_(given), best_distance_(given.size() / 4 + 2) {}

void Suggestion::offer(std::string_view name) {
  const size_t distance = edit_distance(given_, name, best_distance_);
  if (distance >= best_distance_ || distance >= name.size()) return;
  best_distance_ = distance;
  best_ = name;
}

std::string Suggestion::hint() const {
  return best_.empty() ? std::string() : fmt::format("did you mean '{}'?", best_);
}

}  // namespace firn::qapi
