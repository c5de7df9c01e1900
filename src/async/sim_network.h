// SimNetwork: byte streams between the processes of a simulation. See sim_world.h.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/sim_event.h"
#include "async/sim_world.h"
#include "async/socket.h"

namespace firn::async {

class SimListener;
class SimStream;

// Unix addresses are names in one table for the whole world (no file appears on any disk), inet
// addresses are ports on one host. Streams carry bytes in pieces of random sizes with random
// delays, in order; 64 KiB at most are on the way in one direction.
class SimNetwork final : public Network {
 public:
  explicit SimNetwork(SimWorld& world) : world_(world) {}
  ~SimNetwork() override;  // no stream or listener may be left

  Task<base::Result<std::unique_ptr<Listener>>> listen(SocketAddress address, int backlog) override;
  Task<base::Result<std::unique_ptr<Stream>>> connect(SocketAddress address,
                                                      CancelToken cancel) override;
  base::Result<std::unique_ptr<Stream>> adopt(std::unique_ptr<Stream> stream) override;
  base::Result<std::unique_ptr<Stream>> adopt_fds(int receive_fd, int send_fd,
                                                  std::string name) override;
  base::Result<std::unique_ptr<Listener>> adopt_listener(int fd) override;

  // Two connected streams, as socketpair() makes them, for the current loop.
  std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_pair(std::string name);

 private:
  friend class SimListener;
  friend class SimProcess;
  friend class SimStream;

  base::Result<std::unique_ptr<Listener>> listen_now(SimLoop& loop, SocketAddress address,
                                                     int backlog);
  base::Result<std::unique_ptr<Stream>> connect_now(SimLoop& loop, const SocketAddress& address);
  void process_died(SimProcess& process);

  SimWorld& world_;
  std::map<std::string, SimListener*> listeners_;
  std::vector<SimStream*> streams_;  // in order of making
  uint32_t last_port_ = 32768;
};

}  // namespace firn::async
