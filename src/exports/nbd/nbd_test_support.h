// For tests: a daemon's worth of loops, nodes and NBD server, and a raw client that speaks bytes.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "async/runtime.h"
#include "base/bytes.h"
#include "base/check.h"
#include "block/graph.h"
#include "drivers/file/file_driver.h"
#include "drivers/null/null_driver.h"
#include "drivers/raw/raw_driver.h"
#include "exports/nbd/server.h"

namespace firn::nbd::testing {

// Big-endian bytes, built up and taken apart.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::string text) : text_(std::move(text)) {}
  template <std::unsigned_integral T>
  Bytes& put(T value) {
    char raw[sizeof value];
    base::store_be(raw, value);
    text_.append(raw, sizeof raw);
    return *this;
  }
  Bytes& put(std::string_view text) {
    text_ += text;
    return *this;
  }
  template <std::unsigned_integral T>
  T take() {
    if (text_.size() < sizeof(T)) {
      ADD_FAILURE() << "too few bytes";
      return 0;
    }
    const T value = base::load_be<T>(text_.data());
    text_.erase(0, sizeof(T));
    return value;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// A blocking client. Waits for at most 10 seconds, so that a server that keeps still fails a test
// rather than hangs it.
class RawClient {
 public:
  explicit RawClient(const std::string& path) {
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    CHECK(path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path.data(), path.size());
    const int result = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    EXPECT_EQ(result, 0) << path;
  }
  RawClient(RawClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  RawClient(const RawClient&) = delete;
  ~RawClient() { close(); }

  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void shutdown_send() { ::shutdown(fd_, SHUT_WR); }

  // False if the server is gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  bool send(const Bytes& bytes) { return send(bytes.text()); }
  // As much as the socket takes without waiting; the count.
  size_t send_some(std::string_view bytes) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? 0 : static_cast<size_t>(sent);
  }

  // Exactly `length` bytes; fewer where the stream ends.
  Bytes receive(size_t length) {
    std::string bytes(length, '\0');
    size_t got = 0;
    while (got < length && wait_readable()) {
      const ssize_t now = ::recv(fd_, bytes.data() + got, length - got, 0);
      if (now <= 0) break;
      got += static_cast<size_t>(now);
    }
    bytes.resize(got);
    return Bytes(bytes);
  }
  // True if the server has ended the stream and sent nothing before.
  bool at_end() { return receive(1).text().empty() && !timed_out_; }

  // The handshake ---------------------------------------------------------------------------------

  void greet(uint32_t flags = client_flag::kFixedNewstyle | client_flag::kNoZeroes) {
    Bytes greeting = receive(ServerGreeting::kBytes);
    EXPECT_EQ(greeting.take<uint64_t>(), kInitMagic);
    EXPECT_EQ(greeting.take<uint64_t>(), kOptionMagic);
    EXPECT_EQ(greeting.take<uint16_t>(), 3);
    send(Bytes().put(flags));
  }
  void send_option(Option option, std::string_view data = {}) {
    send(Bytes()
             .put(kOptionMagic)
             .put(static_cast<uint32_t>(option))
             .put(static_cast<uint32_t>(data.size()))
             .put(data));
  }
  struct OptionAnswer {
    OptionReply type = OptionReply::kErrPlatform;
    std::string data;
  };
  OptionAnswer receive_option_reply(Option option) {
    Bytes head = receive(OptionReplyHeader::kBytes);
    if (head.text().size() != OptionReplyHeader::kBytes) {
      ADD_FAILURE() << "the server is gone";
      return {};
    }
    EXPECT_EQ(head.take<uint64_t>(), kOptionReplyMagic);
    EXPECT_EQ(head.take<uint32_t>(), static_cast<uint32_t>(option));
    const auto type = static_cast<OptionReply>(head.take<uint32_t>());
    return {type, receive(head.take<uint32_t>()).text()};
  }
  OptionAnswer ask(Option option, std::string_view data = {}) {
    send_option(option, data);
    return receive_option_reply(option);
  }
  static std::string info_data(std::string_view name, std::vector<uint16_t> items = {}) {
    Bytes data;
    data.put(static_cast<uint32_t>(name.size())).put(name);
    data.put(static_cast<uint16_t>(items.size()));
    for (uint16_t item : items) data.put(item);
    return data.text();
  }
  static std::string context_data(std::string_view name, std::vector<std::string> queries) {
    Bytes data;
    data.put(static_cast<uint32_t>(name.size())).put(name);
    data.put(static_cast<uint32_t>(queries.size()));
    for (const std::string& query : queries) {
      data.put(static_cast<uint32_t>(query.size())).put(query);
    }
    return data.text();
  }
  void structured() { EXPECT_EQ(ask(Option::kStructuredReply).type, OptionReply::kAck); }
  // INFO or GO to their end: the last reply's type. The export's size and flags are kept.
  OptionReply choose(Option option, std::string_view name, std::vector<uint16_t> items = {}) {
    send_option(option, info_data(name, std::move(items)));
    infos.clear();
    while (true) {
      OptionAnswer answer = receive_option_reply(option);
      if (answer.type != OptionReply::kInfo) {
        last_text = answer.data;
        return answer.type;
      }
      infos.push_back(answer.data);
      Bytes data(answer.data);
      if (data.take<uint16_t>() == static_cast<uint16_t>(InfoType::kExport)) {
        size = data.take<uint64_t>();
        flags = data.take<uint16_t>();
      }
    }
  }
  std::vector<std::string> infos;
  std::string last_text;
  uint64_t size = 0;
  uint16_t flags = 0;

  // Transmission ----------------------------------------------------------------------------------

  static std::string request(Command command, uint64_t cookie, uint64_t offset, uint32_t length,
                             uint16_t command_flags = 0, uint32_t magic = kRequestMagic) {
    return Bytes()
        .put(magic)
        .put(command_flags)
        .put(static_cast<uint16_t>(command))
        .put(cookie)
        .put(offset)
        .put(length)
        .text();
  }
  // The error of a simple reply.
  WireError receive_simple(uint64_t cookie) {
    Bytes head = receive(SimpleReply::kBytes);
    if (head.text().size() != SimpleReply::kBytes) {
      ADD_FAILURE() << "the server is gone";
      return WireError::kShutdown;
    }
    EXPECT_EQ(head.take<uint32_t>(), kSimpleReplyMagic);
    const auto error = static_cast<WireError>(head.take<uint32_t>());
    EXPECT_EQ(head.take<uint64_t>(), cookie);
    return error;
  }
  struct Chunk {
    uint16_t flags = kChunkDone;
    ChunkType type = ChunkType::kErrorOffset;
    uint64_t cookie = 0;
    std::string data;
  };
  Chunk receive_chunk() {
    Bytes head = receive(ChunkHeader::kBytes);
    if (head.text().size() != ChunkHeader::kBytes) {
      ADD_FAILURE() << "the server is gone";
      return {};
    }
    EXPECT_EQ(head.take<uint32_t>(), kStructuredReplyMagic);
    Chunk chunk;
    chunk.flags = head.take<uint16_t>();
    chunk.type = static_cast<ChunkType>(head.take<uint16_t>());
    chunk.cookie = head.take<uint64_t>();
    chunk.data = receive(head.take<uint32_t>()).text();
    return chunk;
  }
  // The error of an error chunk; its text goes to last_text.
  WireError receive_error_chunk(uint64_t cookie) {
    Chunk chunk = receive_chunk();
    EXPECT_EQ(chunk.type, ChunkType::kError);
    EXPECT_EQ(chunk.flags, kChunkDone);
    EXPECT_EQ(chunk.cookie, cookie);
    Bytes data(chunk.data);
    const auto error = static_cast<WireError>(data.take<uint32_t>());
    const auto length = data.take<uint16_t>();
    last_text = data.text();
    EXPECT_EQ(last_text.size(), length);
    return error;
  }
  // A write and its answer.
  WireError write(uint64_t offset, std::string_view data, uint16_t command_flags = 0) {
    send(request(Command::kWrite, 77, offset, static_cast<uint32_t>(data.size()), command_flags));
    send(data);
    return receive_simple(77);
  }

 private:
  bool wait_readable() {
    pollfd entry{.fd = fd_, .events = POLLIN, .revents = 0};
    timed_out_ = ::poll(&entry, 1, 10'000) <= 0;
    return !timed_out_;
  }
  int fd_ = -1;
  bool timed_out_ = false;
};

// Loops, a graph and a server in a thread of their own; the test's thread may block.
class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    directory_ = ::testing::TempDir() + "firn_nbd_XXXXXX";
    CHECK(mkdtemp(directory_.data()) != nullptr);
    auto runtime = async::make_runtime();
    CHECK(runtime.has_value());
    runtime_ = std::move(*runtime);
    block::Registry registry;
    file::register_drivers(registry);
    raw::register_drivers(registry);
    null::register_drivers(registry);
    auto graph = block::Graph::create(*runtime_, std::move(registry), state_);
    CHECK(graph.has_value());
    graph_ = std::move(*graph);
    thread_ = std::thread([this] { runtime_->run(); });
  }
  ~ServerTest() override {
    stop();
    EXPECT_TRUE(call(graph_->close()).has_value());
    runtime_->stop();
    thread_.join();
    graph_.reset();
    runtime_.reset();
    std::filesystem::remove_all(directory_);
  }

  // Runs `task` on the control loop and waits for it here.
  template <typename T>
  T call(async::Task<T> task) {
    std::promise<T> promise;
    auto future = promise.get_future();
    if constexpr (std::is_void_v<T>) {
      async::start_on(runtime_->control_loop(), std::move(task), [&] { promise.set_value(); });
    } else {
      async::start_on(runtime_->control_loop(), std::move(task),
                      [&](T value) { promise.set_value(std::move(value)); });
    }
    return future.get();
  }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string socket_path() const { return path("nbd.sock"); }
  std::string uri(const std::string& name = "") const {
    return "nbd+unix:///" + name + "?socket=" + socket_path();
  }

  void start(ServerOptions options = {}) {
    options.address = async::SocketAddress::of_unix(socket_path());
    auto started = call(Server::start(std::move(options)));
    ASSERT_TRUE(started.has_value()) << started.error().text();
    server_ = std::move(*started);
  }
  void stop() {
    if (server_ == nullptr) return;
    call(server_->stop());
    server_.reset();
  }

  block::Node* add_null(const std::string& name, uint64_t size_bytes, uint64_t latency_ns = 0) {
    auto options = std::make_unique<null::Options>();
    options->size_bytes = size_bytes;
    options->read_zeroes = true;
    options->latency_ns = latency_ns;
    return add(name, "null-co", std::move(options));
  }
  // A new sparse file.
  block::Node* add_file(const std::string& name, uint64_t size_bytes, bool read_only = false) {
    const std::string file_path = path(name + ".img");
    if (!std::filesystem::exists(file_path)) {
      ::close(::open(file_path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
      std::filesystem::resize_file(file_path, size_bytes);
    }
    auto options = std::make_unique<file::Options>();
    options->filename = file_path;
    return add(name, "file", std::move(options), read_only);
  }
  block::Node* add(const std::string& name, const std::string& driver,
                   std::unique_ptr<block::DriverOptions> options, bool read_only = false) {
    block::NodeSpec spec;
    spec.driver = driver;
    spec.node_name = name;
    spec.options.read_only = read_only;
    spec.options.unmap = true;
    spec.driver_options = std::move(options);
    auto added = call(graph_->add_node(std::move(spec)));
    EXPECT_TRUE(added.has_value()) << added.error().text();
    return added ? *added : nullptr;
  }
  // Under `options.name`.
  Export* serve(block::Node* node, ExportOptions options = {}) {
    options.id = "export-" + options.name;
    auto added = call(server_->add_export(*graph_, *node, std::move(options)));
    EXPECT_TRUE(added.has_value()) << added.error().text();
    return added ? *added : nullptr;
  }

  RawClient connect() { return RawClient(socket_path()); }
  // In the transmission phase.
  RawClient enter(bool structured = true, const std::vector<std::string>& contexts = {},
                  std::vector<uint16_t> items = {}) {
    RawClient client = connect();
    client.greet();
    if (structured) client.structured();
    if (!contexts.empty()) {
      client.send_option(Option::kSetMetaContext, RawClient::context_data("", contexts));
      while (client.receive_option_reply(Option::kSetMetaContext).type != OptionReply::kAck) {
      }
    }
    EXPECT_EQ(client.choose(Option::kGo, "", std::move(items)), OptionReply::kAck);
    return client;
  }

  block::NullStateStore state_;
  std::unique_ptr<async::Runtime> runtime_;
  std::unique_ptr<block::Graph> graph_;
  std::unique_ptr<Server> server_;

 private:
  std::string directory_;
  std::thread thread_;
};

}  // namespace firn::nbd::testing
