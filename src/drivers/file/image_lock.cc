#include "drivers/file/image_lock.h"

#include <fmt/format.h>

namespace firn::file {
namespace {

using async::LockKind;
using base::ErrorKind;
using base::Result;
using block::Permissions;

constexpr uint64_t kUsedBase = 100;
constexpr uint64_t kUnsharedBase = 200;
constexpr unsigned kPermissionBits = 4;
static_assert(block::permission::kAll == (1u << kPermissionBits) - 1);

std::unexpected<base::Error> in_use(const async::File& file, std::string text) {
  return base::fail(
      base::Error(ErrorKind::kBusy, std::move(text))
          .with_hint(fmt::format("Is another process using the image [{}]?", file.path())));
}

}  // namespace

Result<> ImageLock::take(Permissions used, Permissions unshared) {
  const auto lock = [&](uint64_t byte) -> Result<> {
    auto result = file_->lock_byte(byte, LockKind::kShared);
    if (result || result.error().kind() != ErrorKind::kBusy) return result;
    return in_use(*file_, fmt::format("Failed to lock byte {}", byte));
  };
  for (unsigned bit = 0; bit < kPermissionBits; ++bit) {
    const Permissions mask = 1u << bit;
    if ((used & ~used_ & mask) != 0) {
      TRY(lock(kUsedBase + bit));
      used_ |= mask;
    }
    if ((unshared & ~unshared_ & mask) != 0) {
      TRY(lock(kUnsharedBase + bit));
      unshared_ |= mask;
    }
  }
  return {};
}

Result<> ImageLock::test_others(Permissions used, Permissions shared) {
  const auto test = [&](uint64_t byte, const char* text, Permissions mask) -> Result<> {
    auto result = file_->test_lock(byte, LockKind::kExclusive);
    if (result || result.error().kind() != ErrorKind::kBusy) return result;
    return in_use(*file_, fmt::format("{} \"{}\" lock", text, block::permission_names(mask)));
  };
  for (unsigned bit = 0; bit < kPermissionBits; ++bit) {
    const Permissions mask = 1u << bit;
    if ((used & mask) != 0) TRY(test(kUnsharedBase + bit, "Failed to get", mask));
  }
  for (unsigned bit = 0; bit < kPermissionBits; ++bit) {
    const Permissions mask = 1u << bit;
    if ((shared & mask) == 0) TRY(test(kUsedBase + bit, "Failed to get shared", mask));
  }
  return {};
}

void ImageLock::give_up_all_but(Permissions used, Permissions unshared) {
  for (unsigned bit = 0; bit < kPermissionBits; ++bit) {
    const Permissions mask = 1u << bit;
    // A byte that can't be given up stays ours: others are kept out longer than they need be.
    if ((used_ & ~used & mask) != 0 && file_->unlock_byte(kUsedBase + bit)) used_ &= ~mask;
    if ((unshared_ & ~unshared & mask) != 0 && file_->unlock_byte(kUnsharedBase + bit)) {
      unshared_ &= ~mask;
    }
  }
}

Result<> ImageLock::set(Permissions used, Permissions shared) {
  const Permissions unshared = ~shared & block::permission::kAll;
  if (used == used_ && unshared == unshared_) return {};
  const Permissions used_before = used_;
  const Permissions unshared_before = unshared_;
  auto result = take(used, unshared);
  if (result) result = test_others(used, shared);
  if (!result) {
    give_up_all_but(used_before, unshared_before);
    return result;
  }
  give_up_all_but(used, unshared);
  return {};
}

Result<> ImageLock::rebind(async::File& file) {
  ImageLock other(file);
  TRY(other.take(used_, unshared_));
  *this = other;
  return {};
}

}  // namespace firn::file
