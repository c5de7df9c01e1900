// One libnbd connection, with libnbd's errors as Results.
#pragma once

#include <libnbd.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace firn::tests {

// libnbd's last error on this thread, after `what`.
base::Error nbd_error(std::string_view what);

class NbdConnection final {
 public:
  // Connects to an NBD URI, for instance nbd+unix:///vda?socket=/run/firn.sock.
  static base::Result<NbdConnection> connect(const std::string& uri);

  nbd_handle* handle() { return handle_.get(); }

  base::Result<uint64_t> size_bytes();

  // Reads all of `into`, in requests of a size that every server takes.
  base::Result<> read(uint64_t offset_bytes, base::ByteSpan into);

  base::Result<> flush();

  // Says goodbye to the server.
  void shut_down();

 private:
  struct Close {
    void operator()(nbd_handle* handle) const { nbd_close(handle); }
  };
  explicit NbdConnection(nbd_handle* handle) : handle_(handle) {}

  std::unique_ptr<nbd_handle, Close> handle_;
};

}  // namespace firn::tests
