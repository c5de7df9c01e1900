// Character devices: where the users of a frontend (a monitor) come from.
//
// A character device leads to a socket, a terminal, a file and so on. A frontend sits on at most
// one, and for good; the device hands it a stream for each user that comes. Kinds, names and texts
// are those of QEMU 7.2 (qemu(1), -chardev; qapi/char.json); what differs is that a listening
// socket takes any number of users at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "async/loop.h"
#include "async/socket.h"
#include "async/task.h"
#include "base/result.h"

namespace firn::chardev {

class RingBuffer;

// What a character device leads to.
struct SocketSpec {
  async::SocketAddress address;
  bool server = true;
  bool wait = false;                  // server: opening ends when the first user is there
  bool telnet = false;                // server: each connection begins with telnet's negotiation
  std::chrono::seconds reconnect{0};  // client: after an end or a failure; 0: never
};
struct FileSpec {
  std::string out;
  std::optional<std::string> in;
  bool append = false;  // else its old content is lost
};
struct PipeSpec {
  std::string path;  // PATH.in and PATH.out, or if these are not there PATH both ways
};
struct StdioSpec {
  bool signal = true;  // a terminal's Ctrl-C and the like raise signals
};
struct RingSpec {
  uint64_t size_bytes = 65536;  // a power of two
  bool is_memory = false;       // by its older name
};
struct PtySpec {};
struct NullSpec {};
using Spec = std::variant<NullSpec, SocketSpec, FileSpec, PipeSpec, StdioSpec, RingSpec, PtySpec>;

// Serves one user, from its stream to its end.
using Serve = std::function<async::Task<void>(std::unique_ptr<async::Stream>)>;

// An open character device. Belongs to one loop. Before it is destroyed, close() is awaited.
class Chardev {
 public:
  virtual ~Chardev() = default;

  // As query-chardev shows it: "disconnected:unix:/run/x.sock,server=on", "pty:/dev/pts/3".
  virtual std::string filename() const = 0;

  // Before attach(): the frontend edits lines by itself. From now on the device hands over each key
  // as it is typed, and nothing but the frontend echoes it. False: no terminal is behind it.
  virtual bool take_keys() { return false; }

  // The frontend, once: `serve` is called for each user, of now and later, until stop(). It
  // outlives close().
  virtual void attach(Serve serve) = 0;

  // No further user; those that are there go on. Idempotent.
  virtual void stop() = 0;
  // stop(), and waits for the users' end: whoever serves them sees to that.
  virtual async::Task<void> close() = 0;

  // Of a pseudo-terminal: the path of its other end.
  virtual std::optional<std::string> pty_path() const { return std::nullopt; }
  // Of a ring buffer: it.
  virtual RingBuffer* ring_buffer() { return nullptr; }
};

// Opens. `id` is for logs. What waits for somebody, a server with `wait` or a connection, gives
// kCancelled once `cancel` is asked. Errors have QEMU's texts: "Failed to bind socket to /x: ...",
// "Could not open '/x': ...".
async::Task<base::Result<std::unique_ptr<Chardev>>> open(Spec spec, std::string id,
                                                         async::CancelToken cancel);

}  // namespace firn::chardev
