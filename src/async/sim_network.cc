#include "async/sim_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "async/sim_loop.h"
#include "base/check.h"

namespace firn::async {
namespace {

constexpr size_t kMostOnTheWay = 64 * 1024;

std::string key_of(const SocketAddress& address) {
  if (address.kind == SocketAddress::Kind::kUnix) {
    return (address.local.abstract ? "@" : "/") + address.local.path;
  }
  return "tcp:" + address.inet.port;
}

SimLoop& current_loop() { return static_cast<SimLoop&>(Loop::current()); }

// One direction of a connection.
struct Pipe : SimEvent {
  enum class End : uint8_t { kNone, kFinish, kReset };
  struct Piece {
    std::vector<std::byte> bytes;
    End end = End::kNone;
  };
  explicit Pipe(SimWorld& in) : world(in) {
    run = [](SimEvent& event) { static_cast<Pipe&>(event).deliver(); };
  }
  ~Pipe() { world.cancel(*this); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  size_t filled() const { return on_the_way_bytes + arrived.size() - arrived_begin; }
  void push(Piece piece);
  void deliver();
  // Both give true if the operation is complete.
  bool pump_send();
  bool pump_receive();
  void finish_send(int64_t result);
  void finish_receive(int64_t result);
  // The receiver is gone: nobody will read any more.
  void receiver_left();
  // The sender died: what is on the way is lost, the receiver hears of it.
  void reset_by_sender();

  SimWorld& world;
  std::deque<Piece> on_the_way;
  size_t on_the_way_bytes = 0;
  std::vector<std::byte> arrived;
  size_t arrived_begin = 0;
  End end = End::kNone;   // what has arrived after the last byte
  bool finished = false;  // the sender has sent an end
  bool unread = false;    // the receiver is gone
  StreamOp* sending = nullptr;
  SimLoop* sender = nullptr;
  StreamOp* receiving = nullptr;
  SimLoop* receiver = nullptr;
};

void Pipe::push(Piece piece) {
  on_the_way_bytes += piece.bytes.size();
  on_the_way.push_back(std::move(piece));
  if (!scheduled()) world.schedule(*this, world.random().duration(world.options().network));
}

void Pipe::deliver() {
  world.note(SimTrace::kDeliver, on_the_way.front().bytes.size());
  Piece piece = std::move(on_the_way.front());
  on_the_way.pop_front();
  on_the_way_bytes -= piece.bytes.size();
  if (!unread) arrived.insert(arrived.end(), piece.bytes.begin(), piece.bytes.end());
  end = piece.end;
  if (world.options().disconnect_probability > 0 && end == End::kNone &&
      world.random().chance(world.options().disconnect_probability)) {
    end = End::kReset;
    receiver_left();
  }
  if (!on_the_way.empty()) {
    world.schedule(*this, world.random().duration(world.options().network));
  }
  if (receiving != nullptr && pump_receive()) {
    StreamOp* op = std::exchange(receiving, nullptr);
    receiver->complete(op->waiter);
  }
}

bool Pipe::pump_send() {
  if (unread) {
    sending->result = -EPIPE;
    return true;
  }
  SimRandom& random = world.random();
  const uint64_t total = sending->iov->size_bytes();
  while (sending->done_bytes < total && filled() < kMostOnTheWay) {
    uint64_t most = std::min<uint64_t>(total - sending->done_bytes, kMostOnTheWay - filled());
    if (random.chance(0.1)) {
      most = std::min<uint64_t>(most, random.between(1, 8));
    } else if (random.chance(0.3)) {
      most = random.between(1, most);
    }
    Piece piece;
    piece.bytes.resize(most);
    sending->iov->copy_to(sending->done_bytes, piece.bytes);
    sending->done_bytes += most;
    push(std::move(piece));
  }
  sending->result = static_cast<int64_t>(total);
  return sending->done_bytes == total;
}

bool Pipe::pump_receive() {
  const size_t available = arrived.size() - arrived_begin;
  if (available == 0) {
    if (end == End::kNone) return false;
    receiving->result = end == End::kFinish ? 0 : -ECONNRESET;
    return true;
  }
  uint64_t run = std::min<uint64_t>(available, receiving->iov->size_bytes());
  if (run > 1 && world.random().chance(0.2)) run = world.random().between(1, run);
  receiving->iov->copy_from(0, {arrived.data() + arrived_begin, run});
  receiving->result = static_cast<int64_t>(run);
  arrived_begin += run;
  if (arrived_begin == arrived.size()) {
    arrived.clear();
    arrived_begin = 0;
  }
  if (sending != nullptr && pump_send()) {
    StreamOp* op = std::exchange(sending, nullptr);
    sender->complete(op->waiter);
  }
  return true;
}

void Pipe::finish_send(int64_t result) {
  if (sending == nullptr) return;
  StreamOp* op = std::exchange(sending, nullptr);
  op->result = result;
  sender->complete(op->waiter);
}

void Pipe::finish_receive(int64_t result) {
  if (receiving == nullptr) return;
  StreamOp* op = std::exchange(receiving, nullptr);
  op->result = result;
  receiver->complete(op->waiter);
}

void Pipe::receiver_left() {
  unread = true;
  finish_send(-EPIPE);
}

void Pipe::reset_by_sender() {
  // Some of it may still get through.
  if (world.random().chance(0.5)) {
    while (on_the_way.size() > 1) {
      on_the_way_bytes -= on_the_way.back().bytes.size();
      on_the_way.pop_back();
    }
  }
  finished = true;
  push({.bytes = {}, .end = End::kReset});
}

struct Connection {
  explicit Connection(SimWorld& world) : first(world), second(world) {}
  Pipe first, second;
  // What `side` sends on; it receives on what the other side sends on.
  Pipe& pipe(int side) { return side == 0 ? first : second; }
  std::optional<PeerCredentials> credentials[2];
  std::string names[2];  // of each side, for the other
};

// One end of a connection that nobody has as a Stream yet.
struct End {
  std::shared_ptr<Connection> connection;
  int side = 0;
};

}  // namespace

class SimStream final : public Stream {
 public:
  SimStream(SimNetwork& network, SimLoop& loop, std::shared_ptr<Connection> connection, int side)
      : network_(network), loop_(&loop), connection_(std::move(connection)), side_(side) {
    network_.streams_.push_back(this);
    outgoing().sender = incoming().receiver = loop_;
  }
  ~SimStream() override {
    CHECK(outgoing().sending == nullptr && incoming().receiving == nullptr);
    close();
    std::erase(network_.streams_, this);
  }

  SimLoop& loop() { return *loop_; }
  void move_to(SimLoop& loop) {
    CHECK(outgoing().sending == nullptr && incoming().receiving == nullptr);
    loop_ = &loop;
    outgoing().sender = incoming().receiver = loop_;
  }

  void shutdown_send() override {
    if (outgoing().finished) return;
    outgoing().finished = true;
    outgoing().push({.bytes = {}, .end = Pipe::End::kFinish});
  }

  void close() override {
    if (closed_) return;
    closed_ = true;
    outgoing().finish_send(-ECANCELED);
    incoming().finish_receive(-ECANCELED);
    incoming().receiver_left();
    shutdown_send();
  }

  void process_died() {
    outgoing().finish_send(-ESHUTDOWN);
    incoming().finish_receive(-ESHUTDOWN);
    if (closed_) return;
    incoming().receiver_left();
    outgoing().reset_by_sender();
  }

  std::optional<PeerCredentials> peer_credentials() const override {
    return connection_->credentials[1 - side_];
  }
  bool peer_is_gone() const override { return closed_ || connection_->pipe(side_).unread; }
  std::string peer_name() const override { return connection_->names[1 - side_]; }

 private:
  Pipe& outgoing() { return connection_->pipe(side_); }
  Pipe& incoming() { return connection_->pipe(1 - side_); }

  bool start(StreamOp& op) override {
    const bool send = op.kind == StreamOp::Kind::kSend;
    if (!loop_->process().alive() || closed_) {
      op.result = closed_ ? -ECANCELED : -ESHUTDOWN;
      return true;
    }
    if (send && outgoing().finished) {
      op.result = -EPIPE;
      return true;
    }
    if (op.iov->empty()) {
      op.result = 0;
      return true;
    }
    StreamOp*& slot = send ? outgoing().sending : incoming().receiving;
    CHECK(slot == nullptr);
    slot = &op;
    if (!(send ? outgoing().pump_send() : incoming().pump_receive())) return false;
    slot = nullptr;
    if (network_.world_.random().chance(0.5)) return true;
    loop_->complete(op.waiter);
    return false;
  }

  SimNetwork& network_;
  SimLoop* loop_;
  std::shared_ptr<Connection> connection_;
  int side_;
  bool closed_ = false;
};

class SimListener final : public Listener {
 public:
  SimListener(SimNetwork& network, SimLoop& loop, SocketAddress address, size_t backlog)
      : network_(network), loop_(loop), address_(std::move(address)), backlog_(backlog) {
    network_.listeners_[key_of(address_)] = this;
  }
  ~SimListener() override {
    close();
    CHECK(waiters_.empty());
  }

  Task<base::Result<std::unique_ptr<Stream>>> accept() override {
    while (true) {
      if (closed_) {
        co_return base::fail(base::ErrorKind::kCancelled,
                             fmt::format("No longer listening on {}", address_.to_string()));
      }
      if (!pending_.empty()) {
        End end = std::move(pending_.front());
        pending_.pop_front();
        co_return std::make_unique<SimStream>(network_, current_loop(), std::move(end.connection),
                                              end.side);
      }
      struct Awaiter {
        SimListener& listener;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const {
          listener.waiters_.push_back(handle);
        }
        void await_resume() const noexcept {}
      };
      co_await Awaiter{*this};
    }
  }

  void close() override {
    if (closed_) return;
    closed_ = true;
    network_.listeners_.erase(key_of(address_));
    for (const End& end : std::exchange(pending_, {})) {
      end.connection->pipe(1 - end.side).receiver_left();
      end.connection->pipe(end.side).reset_by_sender();
    }
    wake();
  }

  const SocketAddress& address() const override { return address_; }
  SimLoop& loop() { return loop_; }
  bool is_full() const { return pending_.size() >= backlog_; }
  void offer(End end) {
    pending_.push_back(std::move(end));
    wake();
  }

 private:
  void wake() {
    for (const auto handle : std::exchange(waiters_, {})) loop_.complete(handle);
  }

  SimNetwork& network_;
  SimLoop& loop_;
  SocketAddress address_;
  size_t backlog_;
  std::deque<End> pending_;
  std::vector<std::coroutine_handle<>> waiters_;
  bool closed_ = false;
};

SimNetwork::~SimNetwork() { CHECK(streams_.empty() && listeners_.empty()); }

base::Result<std::unique_ptr<Listener>> SimNetwork::listen_now(SimLoop& loop, SocketAddress address,
                                                               int backlog) {
  const std::string text = fmt::format("Could not listen on {}", address.to_string());
  if (!loop.process().alive()) return base::fail(base::Error::from_errno(ESHUTDOWN, text));
  if (address.kind == SocketAddress::Kind::kInet && address.inet.port == "0") {
    address.inet.port = std::to_string(++last_port_);
  }
  if (listeners_.contains(key_of(address))) {
    return base::fail(base::Error::from_errno(EADDRINUSE, text).with_kind(base::ErrorKind::kBusy));
  }
  return std::make_unique<SimListener>(*this, loop, std::move(address),
                                       static_cast<size_t>(std::max(backlog, 1)));
}

Task<base::Result<std::unique_ptr<Listener>>> SimNetwork::listen(SocketAddress address,
                                                                 int backlog) {
  SimLoop& loop = current_loop();
  co_return co_await loop.on_worker([&] { return listen_now(loop, std::move(address), backlog); });
}

base::Result<std::unique_ptr<Stream>> SimNetwork::connect_now(SimLoop& loop,
                                                              const SocketAddress& address) {
  const bool local = address.kind == SocketAddress::Kind::kUnix;
  world_.note(SimTrace::kConnect, loop.id());
  const std::string text = fmt::format("Could not connect to {}", address.to_string());
  if (!loop.process().alive()) return base::fail(base::Error::from_errno(ESHUTDOWN, text));
  const auto found = listeners_.find(key_of(address));
  if (found == listeners_.end()) {
    return base::fail(base::Error::from_errno(local ? ENOENT : ECONNREFUSED, text));
  }
  SimListener& listener = *found->second;
  if (listener.is_full()) return base::fail(base::Error::from_errno(EAGAIN, text));
  auto connection = std::make_shared<Connection>(world_);
  connection->names[1] = listener.address().to_string();
  if (local) {
    connection->names[0] = connection->names[1];
    connection->credentials[0] = loop.process().credentials;
    connection->credentials[1] = listener.loop().process().credentials;
  } else {
    connection->names[0] = fmt::format("127.0.0.1:{}", ++last_port_);
  }
  listener.offer({connection, 1});
  return std::make_unique<SimStream>(*this, loop, std::move(connection), 0);
}

Task<base::Result<std::unique_ptr<Stream>>> SimNetwork::connect(SocketAddress address,
                                                                CancelToken) {
  SimLoop& loop = current_loop();
  co_return co_await loop.on_worker([&] { return connect_now(loop, address); });
}

base::Result<std::unique_ptr<Stream>> SimNetwork::adopt(std::unique_ptr<Stream> stream) {
  static_cast<SimStream&>(*stream).move_to(current_loop());
  return stream;
}

base::Result<std::unique_ptr<Stream>> SimNetwork::adopt_fds(int receive_fd, int send_fd,
                                                            std::string name) {
  return base::fail(base::ErrorKind::kUnsupported,
                    fmt::format("Could not take over descriptors {} and {} as '{}': a simulated "
                                "process has none",
                                receive_fd, send_fd, name));
}

base::Result<std::unique_ptr<Listener>> SimNetwork::adopt_listener(int fd) {
  return base::fail(
      base::ErrorKind::kUnsupported,
      fmt::format("Could not listen on descriptor {}: a simulated process has none", fd));
}

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> SimNetwork::make_pair(
    std::string name) {
  auto connection = std::make_shared<Connection>(world_);
  connection->names[0] = connection->names[1] = std::move(name);
  SimLoop& loop = current_loop();
  auto first = std::make_unique<SimStream>(*this, loop, connection, 0);
  return {std::move(first), std::make_unique<SimStream>(*this, loop, connection, 1)};
}

void SimNetwork::process_died(SimProcess& process) {
  // A listener's close() and a stream's reset change neither list's other members.
  std::vector<SimListener*> listeners;
  for (const auto& [key, listener] : listeners_) {
    if (&listener->loop().process() == &process) listeners.push_back(listener);
  }
  for (SimListener* listener : listeners) listener->close();
  for (SimStream* stream : streams_) {
    if (&stream->loop().process() == &process) stream->process_died();
  }
}

}  // namespace firn::async
