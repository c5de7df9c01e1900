#include "block/space_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "async/file.h"
#include "async/loop.h"
#include "base/units.h"

namespace firn::block {

using base::ErrorKind;

base::Result<SpaceReserve> parse_space_reserve(std::string_view text) {
  SpaceReserve reserve;
  if (text.ends_with('%')) {
    const std::string_view digits = text.substr(0, text.size() - 1);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), reserve.percent);
    if (error == std::errc() && end == digits.data() + digits.size() && reserve.percent <= 100) {
      return reserve;
    }
  } else if (auto size = base::parse_size(text)) {
    reserve.bytes = *size;
    return reserve;
  }
  return base::fail(
      base::Error(ErrorKind::kInvalidArgument, fmt::format("'{}' is no size and no share", text))
          .with_hint("a size like 2G, or a share of the store like 5%"));
}

async::Task<base::Result<>> check_space(SpaceReserve reserve, std::string directory,
                                        std::string shown) {
  if (reserve.none()) co_return base::Result<>();
  const auto store = co_await async::Loop::current().files().store_of(directory);
  if (!store) co_return base::Result<>();
  const uint64_t share = store->total_bytes / 100 * reserve.percent;
  const uint64_t wanted = std::max(reserve.bytes, share);
  if (store->free_bytes >= wanted) co_return base::Result<>();
  co_return base::fail(
      base::Error(
          ErrorKind::kNoSpace,
          fmt::format("The store of '{}' has {} left, less than the {} that are to stay free",
                      shown, base::format_size(store->free_bytes), base::format_size(wanted)))
          .with_hint("free space there, choose another store, or lower --snapshot-reserve"));
}

}  // namespace firn::block
