// SocketClient: a character device that connects to where somebody else listens, once or again and
// again.
#pragma once

#include <memory>
#include <string>

#include "async/scope.h"
#include "async/sync.h"
#include "chardev/chardev.h"

namespace firn::chardev {

class SocketClient final : public Chardev {
 public:
  // Without `reconnect`, connected when it returns; with it, connecting goes on in the background,
  // and a failure is logged once until it succeeds. kCancelled once `cancel` is asked.
  static async::Task<base::Result<std::unique_ptr<Chardev>>> open(SocketSpec spec, std::string id,
                                                                  async::CancelToken cancel);
  ~SocketClient() override;

  std::string filename() const override;
  void attach(Serve serve) override;
  void stop() override;
  async::Task<void> close() override;

 private:
  SocketClient(SocketSpec spec, std::string id);
  async::Task<void> stay_connected();
  // Serves what has connected to its end, once somebody is attached.
  async::Task<void> serve_stream();
  void take(std::unique_ptr<async::Stream> stream);

  SocketSpec spec_;
  std::string id_;
  std::unique_ptr<async::Stream> stream_;  // connected, until it is served
  std::string connected_to_;               // empty: not connected
  Serve serve_;
  async::Event attached_or_stopped_;
  bool stopping_ = false;
  async::TaskScope scope_;
};

}  // namespace firn::chardev
