#include "chardev/chardev.h"

#include <utility>

#include "base/check.h"
#include "chardev/ring_buffer.h"
#include "chardev/single_stream.h"
#include "chardev/socket_client.h"
#include "chardev/socket_server.h"
#include "chardev/terminal.h"

namespace firn::chardev {
namespace {

using async::CancelToken;
using async::Task;
using base::Result;

using Opened = Result<std::unique_ptr<Chardev>>;

// Nothing comes, and there is nobody who would see what is sent.
class Null final : public Chardev {
 public:
  std::string filename() const override { return "null"; }
  void attach(Serve) override {}
  void stop() override {}
  Task<void> close() override { co_return; }
};

Task<Opened> open_kind(NullSpec, std::string, CancelToken) { co_return std::make_unique<Null>(); }

Task<Opened> open_kind(SocketSpec spec, std::string id, CancelToken cancel) {
  if (spec.server) return SocketServer::open(std::move(spec), std::move(id), cancel);
  return SocketClient::open(std::move(spec), std::move(id), cancel);
}

Task<Opened> open_kind(FileSpec spec, std::string, CancelToken) {
  return open_file(std::move(spec));
}

Task<Opened> open_kind(PipeSpec spec, std::string, CancelToken) {
  return open_pipe(std::move(spec));
}

Task<Opened> open_kind(StdioSpec spec, std::string, CancelToken) { co_return open_stdio(spec); }

Task<Opened> open_kind(RingSpec spec, std::string, CancelToken) { co_return open_ring(spec); }

Task<Opened> open_kind(PtySpec, std::string id, CancelToken) {
  co_return PseudoTerminal::open(std::move(id));
}

}  // namespace

Task<Opened> open(Spec spec, std::string id, CancelToken cancel) {
  return std::visit([&](auto&& own) { return open_kind(std::move(own), std::move(id), cancel); },
                    std::move(spec));
}

}  // namespace firn::chardev
