#include "chardev/ring_buffer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/check.h"

namespace firn::chardev {

using async::Task;
using base::ErrorKind;
using base::fail;
using base::Result;

void RingBuffer::write(std::string_view bytes) {
  if (bytes.size() >= size_) {
    bytes_ = bytes.substr(bytes.size() - size_);
    begin_ = 0;
    return;
  }
  bytes_ += bytes;
  if (filled_bytes() > size_) begin_ = bytes_.size() - size_;
  drop_taken();
}

// Once what is gone is more than what is there, so that each byte is moved once on average.
void RingBuffer::drop_taken() {
  if (begin_ <= bytes_.size() / 2) return;
  bytes_.erase(0, begin_);
  begin_ = 0;
}

std::string RingBuffer::read(uint64_t most) {
  const size_t count = std::min<uint64_t>(most, filled_bytes());
  std::string taken = bytes_.substr(begin_, count);
  begin_ += count;
  drop_taken();
  return taken;
}

namespace {

// The frontend's end: what it sends goes to the buffer, and nothing ever comes.
class RingStream final : public async::Stream {
 public:
  explicit RingStream(RingBuffer& ring) : ring_(ring) {}
  ~RingStream() override { CHECK(receiving_ == nullptr); }

  void shutdown_send() override {}
  void close() override {
    closed_ = true;
    if (receiving_ == nullptr) return;
    receiving_->result = -ECANCELED;
    async::Loop::current().ready(std::exchange(receiving_, nullptr)->waiter);
  }
  std::optional<async::PeerCredentials> peer_credentials() const override { return std::nullopt; }
  std::string peer_name() const override { return "ringbuf"; }

 protected:
  bool start(async::StreamOp& op) override {
    if (closed_) {
      op.result = -ECANCELED;
      return true;
    }
    if (op.kind == async::StreamOp::Kind::kReceive) {
      receiving_ = &op;
      return false;
    }
    for (const iovec& piece : op.iov->pieces()) {
      ring_.write({static_cast<const char*>(piece.iov_base), piece.iov_len});
    }
    op.result = static_cast<int64_t>(op.iov->size_bytes());
    return true;
  }

 private:
  RingBuffer& ring_;
  async::StreamOp* receiving_ = nullptr;
  bool closed_ = false;
};

class RingDevice final : public Chardev {
 public:
  explicit RingDevice(RingSpec spec) : ring_(spec.size_bytes), is_memory_(spec.is_memory) {}

  std::string filename() const override { return is_memory_ ? "memory" : "ringbuf"; }
  void attach(Serve serve) override {
    serve_ = std::move(serve);
    scope_.spawn(serve_(std::make_unique<RingStream>(ring_)));
  }
  void stop() override {}
  Task<void> close() override { return scope_.join(); }
  RingBuffer* ring_buffer() override { return &ring_; }

 private:
  RingBuffer ring_;
  bool is_memory_;
  Serve serve_;
  async::TaskScope scope_;
};

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

Result<std::unique_ptr<Chardev>> open_ring(RingSpec spec) {
  if (!std::has_single_bit(spec.size_bytes)) {
    return fail(ErrorKind::kInvalidArgument, "size of ringbuf chardev must be power of two");
  }
  return std::make_unique<RingDevice>(spec);
}

Result<std::string> decode_base64(std::string_view text) {
  std::string bytes;
  std::array<char, 4> group{};
  uint32_t value = 0;
  size_t count = 0;
  for (char c : text) {
    if (c == '\n') continue;
    const size_t digit = kBase64.find(c);
    if (digit == std::string_view::npos && c != '=') {
      return fail(ErrorKind::kInvalidArgument, "Base64 data contains invalid characters");
    }
    group[count] = c;
    value = value << 6 | (c == '=' ? 0 : static_cast<uint32_t>(digit));
    if (++count != group.size()) continue;
    bytes += static_cast<char>(value >> 16);
    if (group[2] != '=') bytes += static_cast<char>(value >> 8);
    if (group[3] != '=') bytes += static_cast<char>(value);
    value = 0;
    count = 0;
  }
  return bytes;
}

std::string encode_base64(std::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view group = bytes.substr(at, 3);
    uint32_t value = 0;
    for (size_t i = 0; i != 3; ++i) {
      value = value << 8 | (i < group.size() ? static_cast<uint8_t>(group[i]) : 0u);
    }
    for (size_t i = 0; i != 4; ++i) {
      text += i <= group.size() ? kBase64[value >> (18 - 6 * i) & 63] : '=';
    }
  }
  return text;
}

}  // namespace firn::chardev
