// A client of a monitor that sends any bytes, in pieces of any size: QMP, or lines of the human
// monitor. Arguments go through the generated decoders and back; the commands themselves do
// nothing.
//
// What is checked, beside that nothing breaks: each line that a QMP client gets is ASCII and one of
// the messages that there are; however the input is cut, the answers are the same; and arguments
// that were decoded and printed decode to the same again.
//
// The first byte chooses: bit 0 the human monitor, bit 1 pretty printing (of the human monitor: a
// terminal), bit 2 QEMU's errors, bit 3 a send that fails, bit 4 no negotiation in front. The
// second is the seed of the cuts. The mutator puts requests made from the introspection in, so that
// they need not be found by chance.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "api/commands.h"
#include "api/introspection.h"
#include "async/runtime.h"
#include "base/check.h"
#include "base/json.h"
#include "base/log.h"
#include "qmp/hmp_session.h"
#include "qmp/session.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using namespace firn;
namespace json = boost::json;
using Random = std::minstd_rand;

constexpr uint8_t kHuman = 1, kPretty = 2, kQemuErrors = 4, kFailingSend = 8, kBare = 16;
constexpr std::string_view kHello =
    "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}";

// Gives its input in pieces and then ends; keeps what it is sent.
class InputStream final : public async::Stream {
 public:
  InputStream(std::string input, uint32_t seed, bool fails, std::string& output)
      : input_(std::move(input)),
        random_(seed),
        whole_(seed == 0),
        fails_(fails),
        output_(output) {}

  void shutdown_send() override {}
  void close() override { closed_ = true; }
  std::optional<async::PeerCredentials> peer_credentials() const override { return {}; }
  std::string peer_name() const override { return "fuzzer"; }

 protected:
  bool start(async::StreamOp& op) override {
    if (closed_) {
      op.result = -ECANCELED;
    } else if (op.kind == async::StreamOp::Kind::kSend) {
      send(op);
    } else {
      receive(op);
    }
    return true;
  }

 private:
  void send(async::StreamOp& op) {
    if (fails_ && ++sends_ > 2) {
      op.result = -EPIPE;
      return;
    }
    for (const iovec& piece : op.iov->pieces()) {
      output_.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    op.result = static_cast<int64_t>(op.iov->size_bytes());
  }
  void receive(async::StreamOp& op) {
    const size_t left = input_.size() - at_;
    const size_t wanted = whole_ ? left : 1 + random_() % (random_() % 4 == 0 ? 200 : 5);
    const size_t length = std::min({left, wanted, op.iov->size_bytes()});
    op.iov->copy_from(
        0, base::ConstByteSpan(reinterpret_cast<const std::byte*>(input_.data() + at_), length));
    at_ += length;
    op.result = static_cast<int64_t>(length);
  }

  std::string input_;
  size_t at_ = 0;
  Random random_;
  bool whole_;
  bool fails_;
  int sends_ = 0;
  bool closed_ = false;
  std::string& output_;
};

// Decodes and prints arguments, and leaves it at that.
class NoCommands final : public qmp::Commands {
 public:
  explicit NoCommands(bool human) : human_(human) {}
  const api::CommandEntry* find(std::string_view name) const override {
    return api::find_command(name);
  }
  async::Task<base::Result<base::JsonValue>> run(const api::CommandEntry& command,
                                                 json::object arguments) override {
    base::JsonValue once = command.loggable(arguments);
    if (once.is_null()) co_return base::fail(base::ErrorKind::kGeneric, "bad arguments");
    // Secrets are not printed, so that what was printed may not decode; if it does, it is the same.
    const base::JsonValue twice = command.loggable(once);
    CHECK(twice.is_null() || base::print_json(twice) == base::print_json(once));
    // The human monitor knows what its commands return, which this is not.
    if (human_ || command.name.size() % 3 == 0)
      co_return base::fail(base::ErrorKind::kNotFound, "nothing");
    co_return once;
  }

 private:
  bool human_;
};

void check_lines(std::string_view output) {
  base::JsonParser parser;
  for (char c : output) CHECK((c >= ' ' && c < 0x7F) || c == '\r' || c == '\n');
  while (auto message = parser.next(output)) {
    CHECK(message->has_value() && (*message)->is_object());
    const json::object& object = (*message)->get_object();
    CHECK(object.contains("QMP") + object.contains("return") + object.contains("error") == 1);
    if (const json::value* error = object.if_contains("error")) {
      CHECK(error->at("class").is_string() && error->at("desc").is_string());
    }
  }
  CHECK(!parser.finish());
}

// What a client gets that sends `input`, cut by `seed` (0: not at all).
std::string talk(async::Runtime& runtime, uint8_t choice, const std::string& input, uint32_t seed) {
  std::string output;
  auto stream = std::make_unique<InputStream>(input, seed, (choice & kFailingSend) != 0, output);
  NoCommands commands((choice & kHuman) != 0);
  qmp::EventHub events;
  qmp::MemoryBudget budget(1 << 20);
  std::unique_ptr<qmp::Client> client;
  if ((choice & kHuman) != 0) {
    client = std::make_unique<qmp::HmpSession>(
        std::move(stream), commands,
        qmp::HmpSessionOptions{
            .greeting = "hello", .terminal = (choice & kPretty) != 0, .host = {}});
  } else {
    client = std::make_unique<qmp::Session>(
        std::move(stream), commands, events, json::object{{"package", "fuzz"}},
        qmp::SessionOptions{.pretty = (choice & kPretty) != 0,
                            .budget = &budget,
                            .errors = (choice & kQemuErrors) != 0 ? api::ErrorDialect::kQemu
                                                                  : api::ErrorDialect::kClasses});
  }
  async::run_until_done(runtime, client->run());
  client.reset();
  CHECK(budget.used_bytes() == 0);
  return output;
}

// Makes requests of the shapes that the introspection tells of.
class RequestMaker {
 public:
  explicit RequestMaker(uint32_t seed) : random_(seed) {}

  std::string request() {
    const auto commands = api::commands();
    const auto& command = commands[random_() % commands.size()];
    const json::object& entry = *types().at(std::string(command.name));
    json::object message;
    message[random_() % 8 == 0 ? "exec-oob" : "execute"] = command.name;
    message["arguments"] = value(text(entry, "arg-type"), 0);
    if (random_() % 4 == 0) message["id"] = scalar("value");
    return base::print_json(message);
  }

 private:
  using Types = std::map<std::string, const json::object*, std::less<>>;
  static const Types& types() {
    static const json::value schema = api::introspection();
    static const Types all = [] {
      Types found;
      for (const json::value& entry : schema.as_array()) {
        found.emplace(text(entry.as_object(), "name"), &entry.as_object());
      }
      return found;
    }();
    return all;
  }
  static std::string text(const json::object& object, std::string_view key) {
    return std::string(std::string_view(object.at(key).as_string()));
  }

  json::value scalar(std::string_view type) {
    static constexpr const char* kTexts[] = {"", "n", "disk0", "/tmp/x", "\xc3\xa9"};
    if (type == "string") return kTexts[random_() % std::size(kTexts)];
    if (type == "boolean") return random_() % 2 == 0;
    if (type == "null") return nullptr;
    if (type == "number") return random_() * 0.5;
    if (type == "int") return random_() % 5 == 0 ? -1 : static_cast<int64_t>(random_());
    return json::array{1, nullptr, "x"};
  }

  json::value value(const std::string& type, int depth) {
    const json::object& entry = *types().at(type);
    const std::string meta = text(entry, "meta-type");
    if (meta == "builtin") return scalar(text(entry, "json-type"));
    if (meta == "enum") {
      const json::array& values = entry.at("values").as_array();
      return values[random_() % values.size()];
    }
    if (meta == "array") {
      json::array list;
      for (uint32_t i = random_() % 3; i > 0 && depth < 6; --i) {
        list.push_back(value(text(entry, "element-type"), depth + 1));
      }
      return list;
    }
    if (meta == "alternate") {
      const json::array& members = entry.at("members").as_array();
      return value(text(members[depth > 6 ? 0 : random_() % members.size()].as_object(), "type"),
                   depth + 1);
    }
    return object(entry, depth);
  }

  json::object object(const json::object& entry, int depth) {
    json::object out;
    for (const json::value& each : entry.at("members").as_array()) {
      const json::object& member = each.as_object();
      if (member.contains("default") && (depth > 4 || random_() % 3 != 0)) continue;
      if (depth > 12) continue;
      out[text(member, "name")] = value(text(member, "type"), depth + 1);
    }
    const json::value* tag = entry.if_contains("tag");
    const json::value* chosen = tag != nullptr ? out.if_contains(tag->as_string()) : nullptr;
    if (chosen == nullptr) return out;
    for (const json::value& each : entry.at("variants").as_array()) {
      const json::object& variant = each.as_object();
      if (variant.at("case") != *chosen) continue;
      for (auto& member : object(*types().at(text(variant, "type")), depth + 1)) {
        out[member.key()] = std::move(member.value());
      }
    }
    return out;
  }

  Random random_;
};

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  if (size < 2 || seed % 3 != 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string request = RequestMaker(seed).request();
  if (size + request.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  const size_t at = 2 + (seed / 3) % (size - 1);
  std::memmove(data + at + request.size(), data + at, size - at);
  std::memcpy(data + at, request.data(), request.size());
  return size + request.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::unique_ptr<async::Runtime> runtime = [] {
    base::set_log_level(base::LogLevel::kError);
    return async::make_runtime({.worker_count = 1}).value();
  }();
  if (size < 2) return 0;
  const uint8_t choice = data[0];
  std::string input(reinterpret_cast<const char*>(data + 2), size - 2);
  if ((choice & (kHuman | kBare)) == 0) input.insert(0, kHello);
  const std::string cut = talk(*runtime, choice, input, data[1] + 1u);
  if ((choice & kFailingSend) != 0) return 0;
  if ((choice & kHuman) == 0) check_lines(cut);
  // What runs beside the queue comes when it comes, and a terminal is drawn once for each piece.
  const bool terminal = (choice & kHuman) != 0 && (choice & kPretty) != 0;
  if (!terminal && input.find("oob\"") == std::string::npos && (choice & kBare) != 0) {
    CHECK(talk(*runtime, choice, input, 0) == cut);
  }
  return 0;
}
