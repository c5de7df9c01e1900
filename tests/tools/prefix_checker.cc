// Judges snapshots from outside: clients write stamped blocks while snapshots are taken; then each
// frozen layer must be one point in time (prefix_rule.h).
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <map>
#include <vector>

#include "base/units.h"
#include "tests/tools/history.h"
#include "tests/tools/nbd_connection.h"
#include "tests/tools/prefix_rule.h"
#include "tests/tools/prefix_self_test.h"
#include "tests/tools/run.h"

namespace firn::tests {
namespace {

using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;

constexpr const char* kUsage = R"(usage: prefix_checker run --uri URI... --history FILE [OPTION...]
       prefix_checker verify --history FILE --snapshot N|end|crash|cut (--uri URI... | --file FILE...)
       prefix_checker --self-test

run writes to an NBD export at full speed, takes snapshots meanwhile, keeps the history in a file
and prints a report as JSON:
  --uri URI          the export, for instance nbd+unix:///vda?socket=PATH; more than once for
                     several disks, whose snapshots are of one point in time
  --history FILE     where the history goes
  --qmp PATH         the daemon's QMP socket
  --snapshot JSON    a QMP command that takes a snapshot; once for each
  --interval SECONDS time before, between and after the snapshots (2)
  --offset SIZE      where the region starts that is written to (0)
  --size SIZE        the region's size (up to the disk's end)
  --connections N    NBD connections to each disk (4)
  --depth N          writes in flight on each (16)
  --flush-every N    each connection flushes once in N writes (500); 0: at the end only
  --seed N           of the choice of blocks (1)

verify reads a frozen layer, through its backing chain, and checks it against the history:
  --snapshot N       the run's N-th snapshot, from 1; `end` for the disk as the run left it,
                     `crash` for the disk after the daemon was killed, `cut` after
                     the power went: what was not flushed may be torn
  --uri URI          the layer as an NBD export
  --file FILE        the layer as a raw image; of several disks those of one group, in the run's
                     order

--self-test proves that violations are found: it plants some of each kind into a model's layers.
)";

using Options = std::multimap<std::string, std::string>;

Result<Options> parse_options(int argc, char** argv, int first) {
  static const char* const kNames[] = {"uri",      "history",     "qmp",  "snapshot",
                                       "interval", "offset",      "size", "connections",
                                       "depth",    "flush-every", "seed", "file"};
  Options options;
  for (int i = first; i < argc; ++i) {
    std::string name = argv[i];
    bool known =
        name.starts_with("--") && std::ranges::find(kNames, name.substr(2)) != std::end(kNames);
    if (!known) return fail(ErrorKind::kInvalidArgument, fmt::format("unknown option {}", name));
    if (i + 1 == argc) {
      return fail(ErrorKind::kInvalidArgument, fmt::format("{} needs a value", name));
    }
    options.emplace(name.substr(2), argv[++i]);
  }
  return options;
}

Result<std::string> required(const Options& options, const std::string& name) {
  auto found = options.find(name);
  if (found == options.end()) {
    return fail(ErrorKind::kInvalidArgument, fmt::format("--{} is missing", name));
  }
  return found->second;
}

std::string optional(const Options& options, const std::string& name) {
  auto found = options.find(name);
  return found == options.end() ? std::string() : found->second;
}

std::vector<std::string> all(const Options& options, const std::string& name) {
  std::vector<std::string> values;
  auto [first, last] = options.equal_range(name);
  for (auto it = first; it != last; ++it) values.push_back(it->second);
  return values;
}

template <typename T>
Result<> read_number(const Options& options, const std::string& name, T& into) {
  std::string text = optional(options, name);
  if (text.empty()) return {};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorKind::kInvalidArgument, fmt::format("--{} wants a number: {}", name, text));
  }
  return {};
}

Result<> read_size(const Options& options, const std::string& name, uint64_t& into) {
  std::string text = optional(options, name);
  if (text.empty()) return {};
  into = TRY_CONTEXT(base::parse_size(text), "--" + name);
  if (into % kBlockBytes != 0) {
    return fail(ErrorKind::kInvalidArgument,
                fmt::format("--{} must be a multiple of {}: {}", name, kBlockBytes, text));
  }
  return {};
}

boost::json::value parsed(const std::string& line) {
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(line, error);
  return error ? boost::json::value(line) : value;
}

boost::json::object report_json(const RunReport& report) {
  uint64_t count = 0;
  for (const auto& writes : report.history.writers) count += writes.size();
  boost::json::array snapshots;
  for (size_t i = 0; i < report.snapshots.size(); ++i) {
    const SnapshotOutcome& outcome = report.snapshots[i];
    const Window& window = report.history.snapshots[i];
    boost::json::array events;
    for (const std::string& line : outcome.events) events.push_back(parsed(line));
    snapshots.push_back({
        {"reply", parsed(outcome.reply)},
        {"events", std::move(events)},
        {"command-ms", static_cast<double>(window.replied_ns - window.sent_ns) / 1e6},
        {"worst-write-ms", outcome.worst_write_ms},
        {"writes", outcome.write_count},
    });
  }
  return {
      {"writes", count},
      {"seconds", report.seconds},
      {"writes-per-second", report.seconds > 0 ? static_cast<double>(count) / report.seconds : 0},
      {"worst-write-ms-outside", report.worst_write_ms_outside},
      {"snapshots", std::move(snapshots)},
      {"error", report.error ? boost::json::value(report.error->text()) : boost::json::value()},
  };
}

Result<int> run_command(const Options& options) {
  RunOptions run_options;
  TRY(required(options, "uri"));
  run_options.uris = all(options, "uri");
  std::string history_path = TRY(required(options, "history"));
  run_options.qmp_socket_path = optional(options, "qmp");
  run_options.snapshot_commands = all(options, "snapshot");
  if (!run_options.snapshot_commands.empty()) TRY(required(options, "qmp"));
  double interval_seconds = 2;
  TRY(read_number(options, "interval", interval_seconds));
  run_options.interval = std::chrono::milliseconds(static_cast<int64_t>(interval_seconds * 1000));
  TRY(read_size(options, "offset", run_options.region_offset_bytes));
  TRY(read_size(options, "size", run_options.region_bytes));
  TRY(read_number(options, "connections", run_options.connections));
  TRY(read_number(options, "depth", run_options.depth));
  TRY(read_number(options, "flush-every", run_options.flush_every));
  TRY(read_number(options, "seed", run_options.seed));
  if (run_options.connections == 0 || run_options.depth == 0) {
    return fail(ErrorKind::kInvalidArgument, "--connections and --depth must not be 0");
  }
  RunReport report = TRY(run(run_options));
  TRY(report.history.save(history_path));
  fmt::print("{}\n", boost::json::serialize(report_json(report)));
  if (report.error) {
    fmt::print(stderr, "prefix_checker: {}\n", report.error->text());
    return 1;
  }
  return 0;
}

// The blocks of one disk.
struct Part {
  uint64_t first_block;
  uint64_t block_count;
};

Result<> read_file(const std::string& path, const History& history, Part part,
                   LayerContent& content) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Error::from_errno(errno, path));
  file.seekg(static_cast<std::streamoff>(history.region_offset_bytes));
  std::vector<std::byte> bytes(kBlockBytes);
  for (uint64_t block = 0; block < part.block_count; ++block) {
    if (!file.read(reinterpret_cast<char*>(bytes.data()), kBlockBytes)) {
      return fail(ErrorKind::kIo, fmt::format("{}: ends within block {}", path, block));
    }
    content.add(part.first_block + block, bytes);
  }
  return {};
}

Result<> read_export(const std::string& uri, const History& history, Part part,
                     LayerContent& content) {
  auto connection = TRY(NbdConnection::connect(uri));
  constexpr uint64_t kBlocksAtOnce = 256;
  std::vector<std::byte> bytes(kBlocksAtOnce * kBlockBytes);
  for (uint64_t block = 0; block < part.block_count;) {
    uint64_t count = std::min(kBlocksAtOnce, part.block_count - block);
    base::ByteSpan run(bytes.data(), count * kBlockBytes);
    TRY(connection.read(history.region_offset_bytes + block * kBlockBytes, run));
    for (uint64_t i = 0; i < count; ++i) {
      content.add(part.first_block + block + i, run.subspan(i * kBlockBytes, kBlockBytes));
    }
    block += count;
  }
  connection.shut_down();
  return {};
}

Result<int> verify_command(const Options& options) {
  History history = TRY(History::load(TRY(required(options, "history"))));
  std::string which = TRY(required(options, "snapshot"));
  Window window = which == "crash" ? history.crash_window()
                  : which == "cut" ? history.cut_window()
                                   : history.end_window();
  if (which != "end" && which != "crash" && which != "cut") {
    size_t number = 0;
    TRY(read_number(options, "snapshot", number));
    if (number < 1 || number > history.snapshots.size()) {
      return fail(ErrorKind::kInvalidArgument,
                  fmt::format("the history has {} snapshots, there is no snapshot {}",
                              history.snapshots.size(), number));
    }
    window = history.snapshots[number - 1];
  }
  LayerContent content(history);
  const std::vector<std::string> files = all(options, "file");
  if (files.empty()) TRY(required(options, "uri"));
  const std::vector<std::string> layers = files.empty() ? all(options, "uri") : files;
  const uint64_t blocks_each = history.block_count / layers.size();
  if (blocks_each * layers.size() != history.block_count) {
    return fail(ErrorKind::kInvalidArgument, "the history is of another number of disks");
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    const Part part{.first_block = i * blocks_each, .block_count = blocks_each};
    TRY(files.empty() ? read_export(layers[i], history, part, content)
                      : read_file(layers[i], history, part, content));
  }
  auto violations = content.check(window);
  for (const Violation& violation : violations) {
    if (!violation.text.empty()) fmt::print("snapshot {}: {}\n", which, violation.text);
  }
  fmt::print("snapshot {}: {} writes in it, {} violations\n", which, content.included_count(),
             violations.size());
  return violations.empty() ? 0 : 1;
}

Result<int> self_test() {
  auto result = TRY(run_prefix_self_test(500));
  int planted = 0;
  for (const auto& [fault, count] : result.planted) planted += count;
  fmt::print("{} right layers passed, {} planted violations found\n", result.clean, planted);
  return 0;
}

Result<int> main_command(int argc, char** argv) {
  std::string command = argc > 1 ? argv[1] : "";
  if (command == "--help" || command == "-h") {
    fmt::print("{}", kUsage);
    return 0;
  }
  if (command == "--self-test") return self_test();
  if (command == "run") return run_command(TRY(parse_options(argc, argv, 2)));
  if (command == "verify") return verify_command(TRY(parse_options(argc, argv, 2)));
  return fail(ErrorKind::kInvalidArgument,
              "the first argument is run, verify, --self-test or --help");
}

}  // namespace
}  // namespace firn::tests

int main(int argc, char** argv) {
  auto status = firn::tests::main_command(argc, argv);
  if (!status) {
    fmt::print(stderr, "prefix_checker: {}\n", status.error().text());
    return 2;
  }
  return *status;
}
