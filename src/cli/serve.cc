// firn serve: a daemon in the foreground with sensible sockets.
//
// This process becomes firnd, so that its pid, its signals and its exit status are the daemon's. A
// child of it waits until the daemon answers, prints how to attach, and ends.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cerrno>
#include <climits>
#include <csignal>
#include <memory>

#include "async/file.h"
#include "async/runtime.h"
#include "cli/command.h"
#include "cli/endpoint.h"
#include "cli/image_format.h"
#include "cli/options.h"

namespace firn::cli {

namespace json = boost::json;
using async::Task;
using base::Error;
using base::ErrorKind;
using base::fail;
using base::Result;
using namespace std::chrono_literals;

namespace {

struct Plan {
  std::string disk;  // absolute
  std::string format;
  std::string name;
  std::string monitor;
  std::string nbd_socket;
  std::string nbd_tcp;  // "HOST:PORT" instead of the socket, or empty
  std::string audit;    // the audit log, or empty
  bool block_device = false;
  bool read_only = false;
};

// The directory that holds the sockets, ours alone.
Task<Result<>> make_runtime_directory() {
  async::FileSystem& files = async::Loop::current().files();
  const std::string directory = runtime_directory();
  Result<> made = co_await files.make_directory(directory);
  if (!made && made.error().kind() != ErrorKind::kExists) co_return made;
  // /tmp/firn-UID could have been made by somebody else, who would then see our sockets.
  const bool ours = co_await async::Loop::current().on_worker(
      [&] { return access(directory.c_str(), W_OK | X_OK) == 0 && owned_by_us(directory); });
  if (!ours) {
    co_return fail(
        Error(ErrorKind::kPermission, fmt::format("'{}' belongs to somebody else", directory))
            .with_hint("Set FIRN_RUNTIME_DIR to a directory of your own."));
  }
  co_return Result<>();
}

Task<Result<Plan>> make_plan(std::vector<std::string> arguments) {
  const Options options = CO_TRY(Options::parse("serve",
                                                {{"name", 'n'},
                                                 {"format", 'f'},
                                                 {"socket"},
                                                 {"nbd-socket"},
                                                 {"tcp"},
                                                 {"audit"},
                                                 {"read-only", 'r', false}},
                                                arguments));
  if (options.operands().size() != 1) {
    co_return fail(usage_error("serve", "one disk is needed"));
  }
  async::FileSystem& files = async::Loop::current().files();
  Plan plan;
  plan.name = options.value("name", "vda");
  plan.disk = CO_TRY(co_await files.real_path(options.operands()[0]));
  const async::FileStat stat = CO_TRY(co_await files.stat(plan.disk));
  plan.block_device = stat.kind == async::FileKind::kBlockDevice;
  if (stat.kind != async::FileKind::kRegular && !plan.block_device) {
    co_return fail(ErrorKind::kInvalidArgument,
                   fmt::format("'{}' is neither a regular file nor a block device", plan.disk));
  }
  plan.format = options.value("format");
  if (plan.format.empty()) plan.format = CO_TRY(co_await detect_format(plan.disk));
  plan.read_only = options.has("read-only");
  plan.nbd_tcp = options.value("tcp");
  if (!options.has("socket") || (!options.has("nbd-socket") && plan.nbd_tcp.empty())) {
    CO_TRY(co_await make_runtime_directory());
  }
  plan.audit = options.value("audit");
  plan.monitor = options.value("socket", monitor_path(plan.name));
  plan.nbd_socket = options.value("nbd-socket", export_path(plan.name));
  if (co_await QmpClient::connect(plan.monitor)) {
    co_return fail(Error(ErrorKind::kBusy, fmt::format("A daemon serves '{}' already, with its "
                                                       "monitor at '{}'",
                                                       plan.name, plan.monitor))
                       .with_hint("Choose another --name."));
  }
  co_return plan;
}

// A value inside a keyval option: commas are doubled.
std::string quoted(const std::string& value) {
  std::string result;
  for (const char letter : value) {
    result += letter;
    if (letter == ',') result += ',';
  }
  return result;
}

Result<std::vector<std::string>> daemon_arguments(const Plan& plan) {
  const char* const on_if_read_only = plan.read_only ? "on" : "off";
  const std::string node = plan.name + "-base";
  std::string server = "addr.type=unix,addr.path=" + quoted(plan.nbd_socket);
  if (!plan.nbd_tcp.empty()) {
    const size_t colon = plan.nbd_tcp.rfind(':');
    if (colon == std::string::npos) {
      return fail(
          usage_error("serve", fmt::format("--tcp takes HOST:PORT, not '{}'", plan.nbd_tcp)));
    }
    server = fmt::format("addr.type=inet,addr.host={},addr.port={}",
                         quoted(plan.nbd_tcp.substr(0, colon)), plan.nbd_tcp.substr(colon + 1));
  }
  std::vector<std::string> arguments = {
      "firnd",
      "--blockdev",
      fmt::format(
          "driver={},node-name={},read-only={},discard=unmap,file.driver={},file.filename={},"
          "file.discard=unmap",
          quoted(plan.format), quoted(node), on_if_read_only,
          plan.block_device ? "host_device" : "file", quoted(plan.disk)),
      "--device",
      fmt::format("id={},node-name={}", quoted(plan.name), quoted(node)),
      "--nbd-server",
      server,
      "--export",
      fmt::format("type=nbd,id={0},node-name={1},name={0},writable={2}", quoted(plan.name),
                  quoted(node), plan.read_only ? "off" : "on"),
      "--chardev",
      fmt::format("socket,id=qmp,path={},server=on,wait=off", quoted(plan.monitor)),
      "--monitor",
      "chardev=qmp",
  };
  if (!plan.audit.empty()) {
    arguments.insert(arguments.end(), {"--audit", "file=" + quoted(plan.audit)});
  }
  return arguments;
}

std::string attach_text(const Plan& plan) {
  const std::string uri = plan.nbd_tcp.empty()
                              ? fmt::format("nbd+unix:///{}?socket={}", plan.name, plan.nbd_socket)
                              : fmt::format("nbd://{}/{}", plan.nbd_tcp, plan.name);
  return fmt::format(
      "serving {} ({}) as {}\n"
      "  attach    {}\n"
      "  snapshot  firn{} snapshot {} OVERLAY\n"
      "  monitor   {} (QMP)\n",
      plan.disk, plan.format, plan.name, uri,
      plan.monitor == monitor_path(plan.name) ? "" : " --socket " + plan.monitor, plan.name,
      plan.monitor);
}

// In the child: waits for the daemon that the parent becomes. It ends with its parent.
Task<void> announce(const Plan& plan) {
  constexpr auto kPause = 10ms;
  for (;;) {
    auto client = co_await QmpClient::connect(plan.monitor);
    if (client) break;
    co_await async::Loop::current().sleep_for(kPause);
  }
  print_out(attach_text(plan));
}

// The firnd beside this program, else the one in PATH.
void become_daemon(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  char self[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self);
  if (length > 0) {
    std::string path(self, static_cast<size_t>(length));
    path.replace(path.rfind('/') + 1, std::string::npos, "firnd");
    execv(path.c_str(), argv.data());
  }
  execvp("firnd", argv.data());
}

int fail_with(const Error& error) {
  const std::string hint = error.hint().empty() ? "" : error.hint() + "\n";
  fmt::print(stderr, "firn: {}\n{}", error.text(), hint);
  return error.kind() == ErrorKind::kInvalidArgument ? 2 : 1;
}

int run_serve(const Globals& globals, std::vector<std::string> arguments) {
  if (!globals.socket.empty()) {
    arguments.insert(arguments.begin(), "--socket=" + globals.socket);
  }
  Result<Plan> plan = Plan();
  {
    // Its threads are gone before the fork.
    auto runtime = async::make_runtime({.worker_count = 1});
    if (!runtime) return fail_with(runtime.error());
    plan = async::run_until_done(**runtime, make_plan(std::move(arguments)));
  }
  if (!plan) return fail_with(plan.error());
  Result<std::vector<std::string>> daemon = daemon_arguments(*plan);
  if (!daemon) return fail_with(daemon.error());

  const pid_t parent = getpid();
  signal(SIGCHLD, SIG_IGN);  // inherited by the daemon: the child below leaves no zombie
  const pid_t child = fork();
  if (child < 0) return fail_with(Error::from_errno(errno, "Could not start a process"));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    auto runtime = async::make_runtime({.worker_count = 1});
    if (runtime) async::run_until_done(**runtime, announce(*plan));
    _exit(0);
  }
  become_daemon(*std::move(daemon));
  return fail_with(Error::from_errno(errno, "Could not run firnd")
                       .with_hint("It belongs beside firn, or in a directory of PATH."));
}

}  // namespace

const Command kServeCommand = {
    .name = "serve",
    .usage = "DISK [options]",
    .summary = "Serve a disk over NBD, in the foreground",
    .details =
        "Starts firnd with one device and prints how to attach to it. Ends with Ctrl-C or\n"
        "SIGTERM, when everything is flushed.\n"
        "\n"
        "options:\n"
        "  -n, --name NAME      the device's and the export's name (default: vda)\n"
        "  -f, --format FORMAT  the image's format (default: found out from its first bytes)\n"
        "  -r, --read-only      let nobody write\n"
        "  --tcp HOST:PORT      serve NBD over TCP instead of a unix socket\n"
        "  --nbd-socket PATH    the NBD server's unix socket (default: NAME.nbd in the\n"
        "                       runtime directory)\n"
        "  --socket PATH        the QMP monitor's unix socket (default: NAME.qmp there)\n"
        "  --audit FILE         record there who changes what, by lines of JSON\n"
        "\n"
        "A disk whose first bytes name no format is raw. A guest can write a format's mark into\n"
        "a raw disk: give --format raw for disks of guests that you do not trust.\n"
        "\n"
        "example:\n"
        "  firn serve disk.qcow2 --name vda\n",
    .run = nullptr,
    .run_before_threads = run_serve,
};

}  // namespace firn::cli
