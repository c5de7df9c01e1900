// ClientFds: the file descriptors that one client of a monitor has handed over.
//
// A descriptor comes with the bytes of the command that it belongs to. It waits in the inbox until
// that command, getfd or add-fd, takes it. What no command takes is closed: when a later one takes
// its own, when there are too many, or when the client leaves.
// Source: getfd, closefd and add-fd of QEMU 7.2 (monitor/fds.c, chardev/char-socket.c).
//
// Belongs to the control loop.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/commands.h"
#include "async/socket.h"
#include "base/result.h"
#include "daemon/sockets.h"
#include "drivers/file/fd_sets.h"

namespace firn::daemon {

// What a client has sent and no command has taken.
class FdInbox final : public async::DescriptorSink {
 public:
  // More than this many messages with descriptors are not kept: the oldest is closed. A session
  // reads fewer requests ahead.
  static constexpr size_t kMost = 16;

  FdInbox() = default;
  ~FdInbox() override;
  FdInbox(const FdInbox&) = delete;
  FdInbox& operator=(const FdInbox&) = delete;

  // The first of them waits; a command takes one, so the others are closed.
  void on_descriptors(std::span<const int> fds, uint64_t position) override;

  // The latest one that came with, or before, the byte at `end`; those before it are closed. -1:
  // none.
  int take(uint64_t end);

  size_t size() const { return waiting_.size(); }

 private:
  struct Waiting {
    int fd = -1;
    uint64_t position = 0;  // the receive began here
  };
  std::deque<Waiting> waiting_;
};

// The commands for descriptors, as one client has them.
class ClientFds final : public api::FdsetCommands {
 public:
  // One client's names leave descriptors to others.
  static constexpr size_t kMostNames = 64;

  // `more` finds sockets whose name the client did not give. `sets` outlives this.
  ClientFds(file::FdSets& sets, DescriptorLookup more) : sets_(sets), more_(std::move(more)) {}
  ~ClientFds() override;
  ClientFds(const ClientFds&) = delete;
  ClientFds& operator=(const ClientFds&) = delete;

  FdInbox& inbox() { return inbox_; }
  // The request that runs from now on ended at this byte of what the client sent.
  void set_position(uint64_t end) { position_ = end; }

  // A socket by its name, for addresses of type `fd`. It leaves the names. Errors: those of `more`,
  // "File descriptor named 'x' has not been found"; "File descriptor 'x' is not a socket".
  base::Result<int> take_socket(std::string_view name);

  async::Task<base::Result<>> getfd(api::GetfdArgs args) override;
  async::Task<base::Result<>> closefd(api::ClosefdArgs args) override;
  async::Task<base::Result<api::AddfdInfo>> add_fd(api::AddFdArgs args) override;
  async::Task<base::Result<>> remove_fd(api::RemoveFdArgs args) override;
  async::Task<base::Result<std::vector<api::FdsetInfo>>> query_fdsets() override;

 private:
  base::Result<int> take_sent();

  file::FdSets& sets_;
  DescriptorLookup more_;
  FdInbox inbox_;
  uint64_t position_ = UINT64_MAX;
  std::map<std::string, int, std::less<>> names_;
};

}  // namespace firn::daemon
