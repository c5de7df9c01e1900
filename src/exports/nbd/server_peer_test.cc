// The server, judged by the clients that people use: libnbd's tools, QEMU's tools and fio.
#include <signal.h>
#include <sys/wait.h>

#include <fstream>
#include <random>
#include <sstream>

#include "exports/nbd/nbd_test_support.h"
#include "exports/nbd/server.h"

namespace firn::nbd {
namespace {

constexpr uint64_t kSize = uint64_t{32} << 20;

struct Outcome {
  int status = -1;
  std::string output;  // both streams
};

// Runs `command` in a shell for at most a minute.
Outcome run_command(const std::string& command) {
  Outcome outcome;
  FILE* pipe = ::popen(("timeout 60 sh -c '" + command + "' 2>&1").c_str(), "re");
  CHECK(pipe != nullptr);
  char buffer[4096];
  while (const size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) {
    outcome.output.append(buffer, got);
  }
  const int raw = ::pclose(pipe);
  outcome.status = WIFEXITED(raw) ? WEXITSTATUS(raw) : -1;
  return outcome;
}

bool have(const std::string& tool) { return run_command("command -v " + tool).status == 0; }

#define NEED(tool) \
  if (!have(tool)) GTEST_SKIP() << tool << " is not installed"

class PeerTest : public testing::ServerTest {
 protected:
  void SetUp() override {
    start();
    serve(add_file("disk", kSize),
          {.description = "for peers", .writable = true, .allocation_depth = true});
  }
  // Quoted for the shell, within the quotes that run_command puts around all.
  std::string quoted_uri(const std::string& name = "") const { return "\"" + uri(name) + "\""; }

  void expect_success(const std::string& command) {
    const Outcome outcome = run_command(command);
    EXPECT_EQ(outcome.status, 0) << command << "\n" << outcome.output;
  }
  // A file with data, zeroes and holes.
  std::string make_source() {
    const std::string source = path("source");
    std::ofstream file(source, std::ios::binary);
    std::mt19937_64 random(1);
    for (uint64_t block = 0; block < kSize / 65536; ++block) {
      std::string bytes(65536, '\0');
      if (block % 3 != 0) {
        for (size_t at = 0; at < bytes.size(); at += 8) {
          base::store_le(bytes.data() + at, uint64_t{random()});
        }
      }
      file << bytes;
    }
    return source;
  }
};

TEST_F(PeerTest, NbdinfoSeesWhatIsOffered) {
  NEED("nbdinfo");
  const Outcome outcome = run_command("nbdinfo --json " + quoted_uri());
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  for (const char* text :
       {"\"protocol\": \"newstyle-fixed\"", "\"structured\": true",
        "\"description\": \"for peers\"", "\"export-size\": 33554432", "base:allocation",
        "qemu:allocation-depth", "\"is_read_only\": false", "\"can_cache\": true",
        "\"can_df\": true", "\"can_fast_zero\": true", "\"can_flush\": true", "\"can_fua\": true",
        "\"can_multi_conn\": true", "\"can_trim\": true", "\"can_zero\": true",
        "\"block_size_minimum\": 1,", "\"block_size_maximum\": 33554432"}) {
    EXPECT_NE(outcome.output.find(text), std::string::npos) << text << "\n" << outcome.output;
  }
  const Outcome list = run_command("nbdinfo --list " + quoted_uri());
  EXPECT_NE(list.output.find("for peers"), std::string::npos) << list.output;
  EXPECT_NE(run_command("nbdinfo " + quoted_uri("nope")).status, 0);
}

TEST_F(PeerTest, NbdcopyThereAndBack) {
  NEED("nbdcopy");
  const std::string source = make_source();
  expect_success("nbdcopy --flush " + source + " " + quoted_uri());
  expect_success("cmp " + source + " " + path("disk.img"));
  expect_success("nbdcopy " + quoted_uri() + " " + path("back"));
  expect_success("cmp " + source + " " + path("back"));
  expect_success("nbdcopy --synchronous --request-size=65536 " + quoted_uri() + " " + path("b2"));
  expect_success("cmp " + source + " " + path("b2"));
}

TEST_F(PeerTest, QemuImgConvertsComparesAndMaps) {
  NEED("qemu-img");
  const std::string source = make_source();
  expect_success("qemu-img convert -n -f raw -O raw " + source + " " + quoted_uri());
  expect_success("qemu-img compare -f raw -F raw " + source + " " + quoted_uri());
  expect_success("qemu-img convert -f raw -O qcow2 " + quoted_uri() + " " + path("copy.qcow2"));
  expect_success("qemu-img compare -f raw -F qcow2 " + source + " " + path("copy.qcow2"));
  const Outcome map = run_command("qemu-img map --output=json -f raw " + quoted_uri());
  EXPECT_NE(map.output.find("\"zero\": true"), std::string::npos) << map.output;
  EXPECT_NE(map.output.find("\"data\": true"), std::string::npos) << map.output;
}

TEST_F(PeerTest, QemuIoWritesZeroesAndDiscards) {
  NEED("qemu-io");
  const std::string io = "qemu-io -f raw -d unmap " + quoted_uri();
  expect_success(
      io +
      " -c \"write -P 1 0 1M\" -c \"write -f -P 2 1M 64k\" -c \"write -z 4k 4k\""
      " -c \"write -z -u 512k 64k\" -c \"discard 768k 64k\" -c \"flush\""
      " -c \"read -P 0 4k 4k\" -c \"read -P 0 512k 64k\" -c \"read -P 1 8k 8k\""
      " -c \"read -P 2 1M 64k\" -c \"aio_write -P 3 2M 5M\" -c \"aio_flush\""
      " -c \"read -P 3 2M 5M\" -c \"write -P 4 1234567 777\" -c \"read -P 4 1234567 777\"");
}

TEST_F(PeerTest, LibnbdUsesEveryCommand) {
  if (run_command("/usr/bin/python3 -c \"import nbd\"").status != 0) {
    GTEST_SKIP() << "python3-libnbd is not installed";
  }
  const std::string script = path("script.py");
  std::ofstream(script) << R"(import nbd, os, sys
uri = sys.argv[1]
first = nbd.NBD()
first.add_meta_context("base:allocation")
first.add_meta_context("qemu:allocation-depth")
first.connect_uri(uri)
second = nbd.NBD()
second.set_request_structured_replies(False)
second.connect_uri(uri)
assert first.can_meta_context("qemu:allocation-depth")
assert first.can_multi_conn() and not first.is_read_only()
data = os.urandom(1 << 20)
first.pwrite(data, 1 << 20, nbd.CMD_FLAG_FUA)
assert second.pread(1 << 20, 1 << 20) == data
first.zero(65536, 1 << 20, nbd.CMD_FLAG_NO_HOLE)
assert second.pread(65536, 1 << 20) == bytearray(65536)
first.zero(65536, 1 << 20, nbd.CMD_FLAG_FAST_ZERO)
first.trim(65536, (1 << 20) + 65536)
first.cache(1 << 20, 0)
first.flush()
seen = {}
first.block_status(1 << 24, 0, lambda context, offset, extents, error: seen.update({context: extents}))
assert seen["base:allocation"][:2] == [(1 << 20) + 131072, 3], seen
assert seen["base:allocation"][-1] == 3
chunks = []
first.pread_structured(4 << 20, 0, lambda buf, offset, status, error: chunks.append((offset, status)))
assert any(status == nbd.READ_HOLE for _, status in chunks), chunks
first.pread_structured(4 << 20, 0, lambda buf, offset, status, error: None, nbd.CMD_FLAG_DF)
first.set_strict_mode(0)
for call in (lambda: first.pread(512, first.get_size()), lambda: first.pwrite(b"x", first.get_size())):
    try:
        call()
        raise SystemExit("beyond the end")
    except nbd.Error as error:
        assert error.errno in ("EINVAL", "ENOSPC"), error
cookies = [first.aio_pread(nbd.Buffer(4096), i * 4096) for i in range(500)]
while cookies:
    first.poll(-1)
    cookies = [c for c in cookies if not first.aio_command_completed(c)]
first.shutdown()
second.shutdown()
)";
  expect_success("/usr/bin/python3 " + script + " " + quoted_uri());
}

TEST_F(PeerTest, FioVerifiesWhatItWrote) {
  NEED("fio");
  if (run_command("fio --enghelp=nbd").status != 0) GTEST_SKIP() << "fio has no nbd engine";
  expect_success("fio --name=verify --verify_state_save=0 --ioengine=nbd --uri=" + quoted_uri() +
                 " --rw=randwrite --bsrange=512-64k --iodepth=32 --size=16m"
                 " --verify=crc32c --fsync=100 --randseed=1");
  expect_success("fio --name=verify --verify_state_save=0 --ioengine=nbd --uri=" + quoted_uri() +
                 " --rw=randwrite --bs=4k --iodepth=32 --size=8m --numjobs=3 --offset_increment=8m"
                 " --verify=crc32c --group_reporting");
}

TEST_F(PeerTest, TcpServesTheSame) {
  NEED("nbdcopy");
  stop();
  auto started = call(Server::start({.address = async::SocketAddress::of_inet("127.0.0.1", "0")}));
  ASSERT_TRUE(started.has_value()) << started.error().text();
  server_ = std::move(*started);
  serve(graph_->find_node("disk"), {.name = "tcp", .writable = true});
  const std::string source = make_source();
  const std::string tcp_uri = "nbd://" + server_->address().to_string() + "/tcp";
  expect_success("nbdcopy " + source + " " + tcp_uri);
  expect_success("nbdcopy " + tcp_uri + " " + path("back"));
  expect_success("cmp " + source + " " + path("back"));
}

// Clients that are killed while they write: the others and the server go on.
TEST_F(PeerTest, KilledClientsHurtNobody) {
  NEED("nbdcopy");
  const std::string source = make_source();
  for (int round = 0; round < 5; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::execlp("nbdcopy", "nbdcopy", source.c_str(), uri().c_str(), nullptr);
      ::_exit(127);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + round * 7));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_EQ(enter().size, kSize);
  }
  expect_success("nbdcopy " + source + " " + quoted_uri());
  expect_success("cmp " + source + " " + path("disk.img"));
}

}  // namespace
}  // namespace firn::nbd
