// FileStream: a file to read from and one to write to, as a stream.
#pragma once

#include <memory>
#include <string>

#include "async/scope.h"
#include "async/socket.h"
#include "base/result.h"
#include "chardev/descriptors.h"

namespace firn::chardev {

// Regular files are read and written on workers: a disk may take its time, and the kernel makes who
// writes much to it wait. Whatever else `in` and `out` are (FIFOs, terminals) goes by the loop.
class FileStream final : public async::Stream {
 public:
  static base::Result<std::unique_ptr<async::Stream>> make(Descriptor in, Descriptor out,
                                                           std::string name);
  ~FileStream() override;

  void shutdown_send() override {}
  void close() override;
  std::optional<async::PeerCredentials> peer_credentials() const override { return std::nullopt; }
  std::string peer_name() const override { return other_->peer_name(); }

 protected:
  bool start(async::StreamOp& op) override;

 private:
  FileStream(Descriptor in, Descriptor out, std::unique_ptr<async::Stream> other);
  async::Task<void> carry_out(async::StreamOp& op);

  Descriptor in_;                         // where it is a regular file
  Descriptor out_;                        // likewise
  std::unique_ptr<async::Stream> other_;  // for what is none
  bool closed_ = false;
  async::TaskScope scope_;
};

}  // namespace firn::chardev
