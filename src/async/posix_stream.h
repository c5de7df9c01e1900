// Streams on this machine's kernel.
//
// An operation is tried at once; what would block waits for readiness (or, for receiving from a
// socket on a ring, is handed to the ring) and goes on from there.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "async/kernel_loop.h"
#include "async/socket.h"

namespace firn::async {

class PosixStream final : public Stream {
 public:
  // The descriptors, which may be the same, are owned from here on; 0, 1 and 2 stay open.
  PosixStream(KernelLoop& loop, int receive_fd, int send_fd, std::string peer_name);
  ~PosixStream() override;

  void shutdown_send() override;
  void close() override;
  std::optional<PeerCredentials> peer_credentials() const override;
  bool peer_is_gone() const override;
  std::string peer_name() const override { return peer_name_; }
  std::string local_name() const override;
  void set_descriptor_sink(DescriptorSink* sink) override;

  // The stream lives on `loop` from now on. Nothing may be in flight.
  void move_to(KernelLoop& loop);

 protected:
  bool start(StreamOp& op) override;

 private:
  struct Side {
    int fd = -1;
    bool is_socket = false;
    bool may_block = false;  // a call without readiness could block: ask first, move little
    StreamOp* op = nullptr;
    PollRequest poll;
    RingRequest ring;
    bool on_ring = false;
    PosixStream* stream = nullptr;
  };

  void open_side(Side& side, int fd, bool receives);
  void close_side(Side& side);
  // Goes on with `op`. True if that ends it.
  static bool advance(Side& side, StreamOp& op);
  static int64_t move_once(Side& side, const StreamOp& op);
  // One receive that takes descriptors too.
  int64_t receive_message(std::span<const iovec> pieces);
  void wait_for(Side& side);
  void receive_on_ring(Side& side);
  static void on_ring_result(Side& side, int32_t result);
  void finish(Side& side);
  void cancel(Side& side);
  Side& side_of(const StreamOp& op) {
    return op.kind == StreamOp::Kind::kReceive ? receive_ : send_;
  }

  KernelLoop* loop_;
  Side receive_;
  Side send_;
  bool closed_ = false;
  DescriptorSink* descriptor_sink_ = nullptr;
  uint64_t received_bytes_ = 0;  // counted for the sink
  std::string peer_name_;
};

}  // namespace firn::async
