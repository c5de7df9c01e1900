#include "cli/image_format.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "async/file.h"

namespace firn::cli {

using async::Task;
using base::Result;

namespace {

constexpr std::array kQcow2Mark = {std::byte{'Q'}, std::byte{'F'}, std::byte{'I'}, std::byte{0xfb}};

}  // namespace

Task<Result<std::string>> detect_format(std::string path) {
  auto file = CO_TRY(co_await async::Loop::current().files().open(path, {}));
  std::array<std::byte, kQcow2Mark.size()> first{};
  const async::IoVec room(first.data(), first.size());
  const uint64_t length = CO_TRY(co_await file->read(0, room));
  co_return length == first.size() && first == kQcow2Mark ? "qcow2" : "raw";
}

bool owned_by_us(const std::string& path) {
  struct stat stat{};
  if (lstat(path.c_str(), &stat) != 0 || !S_ISDIR(stat.st_mode)) return false;
  return stat.st_uid == geteuid() && (stat.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

}  // namespace firn::cli
