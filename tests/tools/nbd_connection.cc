#include "tests/tools/nbd_connection.h"

#include <fmt/format.h>

#include <algorithm>

namespace firn::tests {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

namespace {
constexpr size_t kMaxReadBytes = size_t{1} << 20;
}

Error nbd_error(std::string_view what) {
  const char* text = nbd_get_error();
  return Error(ErrorKind::kIo, fmt::format("{}: {}", what, text ? text : "unknown NBD error"));
}

Result<NbdConnection> NbdConnection::connect(const std::string& uri) {
  nbd_handle* handle = nbd_create();
  if (!handle) return fail(nbd_error("libnbd"));
  NbdConnection connection(handle);
  if (nbd_connect_uri(handle, uri.c_str()) != 0) return fail(nbd_error(uri));
  return connection;
}

Result<uint64_t> NbdConnection::size_bytes() {
  int64_t size = nbd_get_size(handle());
  if (size < 0) return fail(nbd_error("size of the export"));
  return static_cast<uint64_t>(size);
}

Result<> NbdConnection::read(uint64_t offset_bytes, base::ByteSpan into) {
  while (!into.empty()) {
    auto part = into.first(std::min(into.size(), kMaxReadBytes));
    if (nbd_pread(handle(), part.data(), part.size(), offset_bytes, 0) != 0) {
      return fail(nbd_error(fmt::format("reading at {}", offset_bytes)));
    }
    offset_bytes += part.size();
    into = into.subspan(part.size());
  }
  return {};
}

Result<> NbdConnection::flush() {
  if (nbd_can_flush(handle()) == 1 && nbd_flush(handle(), 0) != 0) {
    return fail(nbd_error("flush"));
  }
  return {};
}

void NbdConnection::shut_down() { nbd_shutdown(handle(), 0); }

}  // namespace firn::tests
