// Character devices, as the command line names them: where a monitor meets its clients.
// Source: the -chardev options of QEMU 7.2 (qemu(1)), backends `socket` and `stdio`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/socket.h"
#include "base/result.h"

namespace firn::daemon {

struct ChardevSpec {
  enum class Kind : uint8_t { kListen, kConnect, kStdio };
  std::string id;
  Kind kind = Kind::kStdio;
  async::SocketAddress address;
  std::optional<int> fd;  // a socket that we inherited, instead of the address
  bool wait = true;       // kListen: startup goes on when the first client is there
};

// "socket,id=c,path=/run/x,server=on,wait=off". The short forms of old (server, nowait) are read
// too. An option that is not supported is refused by its name.
base::Result<ChardevSpec> parse_chardev(std::string_view text);

// One open character device. Belongs to the control loop.
struct Chardev {
  std::string id;
  ChardevSpec::Kind kind = ChardevSpec::Kind::kStdio;
  std::unique_ptr<async::Listener> listener;  // kListen
  std::unique_ptr<async::Stream> stream;      // the client that is there already, if any
  bool has_monitor = false;
};

// Listens, connects or takes the standard streams over; with `wait`, comes back when the first
// client is there, or with kCancelled once `cancel` is asked.
async::Task<base::Result<std::unique_ptr<Chardev>>> open_chardev(ChardevSpec spec,
                                                                 async::CancelToken cancel);

}  // namespace firn::daemon
