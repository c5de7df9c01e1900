#include "tests/tools/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <memory>
#include <type_traits>

namespace firn::tests {
namespace {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

constexpr uint64_t kMagic = 0x3154'5349'484e'5246;  // "FRNHIST1"

// Counts in a file beyond this are taken for damage, not for a wish to allocate.
constexpr uint64_t kMaxCount = uint64_t{1} << 32;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

template <typename T>
bool put(std::FILE* file, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::fwrite(&value, sizeof value, 1, file) == 1;
}

template <typename T>
bool get(std::FILE* file, T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::fread(&value, sizeof value, 1, file) == 1;
}

template <typename List>
bool put_list(std::FILE* file, const List& list) {
  if (!put(file, uint64_t{list.size()})) return false;
  return std::ranges::all_of(list, [&](const auto& item) { return put(file, item); });
}

template <typename List>
bool get_list(std::FILE* file, List& list) {
  uint64_t count = 0;
  if (!get(file, count) || count > kMaxCount) return false;
  for (uint64_t i = 0; i < count; ++i) {
    typename List::value_type item;
    if (!get(file, item)) return false;
    list.push_back(item);
  }
  return true;
}

}  // namespace

Result<> History::save(const std::string& path) const {
  File file(std::fopen(path.c_str(), "wb"));
  if (!file) return fail(Error::from_errno(errno, path));
  bool good = put(file.get(), kMagic) && put(file.get(), run_id) &&
              put(file.get(), region_offset_bytes) && put(file.get(), block_count) &&
              put(file.get(), flush_sent) && put_list(file.get(), snapshots) &&
              put(file.get(), uint64_t{writers.size()});
  for (const auto& writer : writers) good = good && put_list(file.get(), writer);
  if (!good || std::fflush(file.get()) != 0) return fail(Error::from_errno(errno, path));
  return {};
}

Result<History> History::load(const std::string& path) {
  File file(std::fopen(path.c_str(), "rb"));
  if (!file) return fail(Error::from_errno(errno, path));
  History history;
  uint64_t magic = 0;
  uint64_t writer_count = 0;
  bool good = get(file.get(), magic) && magic == kMagic && get(file.get(), history.run_id) &&
              get(file.get(), history.region_offset_bytes) &&
              get(file.get(), history.block_count) && get(file.get(), history.flush_sent) &&
              get_list(file.get(), history.snapshots) && get(file.get(), writer_count) &&
              writer_count <= kMaxCount;
  for (uint64_t i = 0; good && i < writer_count; ++i) {
    auto& writer = history.writers.emplace_back();
    good = get_list(file.get(), writer) && std::ranges::all_of(writer, [&](const Write& write) {
             return write.block < history.block_count;
           });
  }
  if (!good) {
    return fail(ErrorKind::kCorrupt, fmt::format("{}: no history of this tool, or cut off", path));
  }
  return history;
}

Window History::end_window() const {
  constexpr uint64_t kEnd = std::numeric_limits<uint64_t>::max();
  return {.sent = kEnd, .replied = kEnd, .sent_ns = kEnd, .replied_ns = kEnd};
}

Window History::crash_window() const {
  Window window = end_window();
  window.sent = flush_sent;
  window.ordered = false;
  return window;
}

Window History::cut_window() const {
  Window window = crash_window();
  window.may_be_torn = true;
  return window;
}

}  // namespace firn::tests
