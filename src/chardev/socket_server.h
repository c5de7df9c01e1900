// SocketServer: a character device that listens; any number of users at once.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "async/scope.h"
#include "chardev/chardev.h"

namespace firn::chardev {

class SocketServer final : public Chardev {
 public:
  static async::Task<base::Result<std::unique_ptr<Chardev>>> open(SocketSpec spec, std::string id,
                                                                  async::CancelToken cancel);
  ~SocketServer() override;

  // With users: of TCP with the addresses of the one that came last.
  std::string filename() const override;
  bool take_keys() override { return telnet_; }
  void attach(Serve serve) override;
  void stop() override;
  async::Task<void> close() override;

 private:
  SocketServer(std::string id, bool telnet, std::unique_ptr<async::Listener> listener);
  async::Task<base::Result<>> wait_for_user(async::CancelToken cancel);
  async::Task<void> accept_users();
  async::Task<void> serve_user(std::unique_ptr<async::Stream> stream);

  std::string id_;
  bool telnet_;
  std::unique_ptr<async::Listener> listener_;
  std::unique_ptr<async::Stream> first_;  // came before somebody was attached
  std::list<std::string> users_;          // as filename() shows them
  Serve serve_;
  bool stopping_ = false;
  async::TaskScope scope_;
};

// "unix:/run/x.sock", "tcp:127.0.0.1:4444", "telnet:...": as QEMU describes a character device.
std::string describe(const async::SocketAddress& address, bool telnet);

}  // namespace firn::chardev
