#include "jobs/commit.h"

#include <fmt/format.h>

#include <random>

#include "async/scope.h"
#include "block/lab.h"
#include "jobs/commit_work.h"

namespace firn::jobs {
namespace {

using base::ErrorKind;
using block::Flags;
using block::IoVec;
using block::Node;
using block::Root;
using std::chrono::milliseconds;

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kBlocks = 512;
constexpr uint64_t kSize = kBlocks * kBlock;

// The last word on each job.
class Outcomes final : public JobObserver {
 public:
  void on_status(const Job&) override {}
  void on_ready(const Job& job) override { words.push_back(job.id() + " ready"); }
  void on_pending(const Job&) override {}
  void on_completed(const Job& job) override {
    words.push_back(job.id() + (job.error() ? " failed: " + job.error()->text() : " completed"));
  }
  void on_cancelled(const Job& job) override { words.push_back(job.id() + " cancelled"); }
  void on_error(const Job& job, Operation, ErrorAction) override {
    words.push_back(job.id() + " error");
  }
  std::vector<std::string> take() { return std::exchange(words, {}); }
  std::vector<std::string> words;
};

// Device vda with one writer, whose disk is known block by block.
class CommitTest : public block::Lab {
 protected:
  void SetUp() override {
    model_.assign(kBlocks, 0);
    jobs_ = std::make_unique<JobList>(outcomes_);
  }
  void TearDown() override {
    run(jobs_->close());
    if (root_.head() != nullptr) detach(root_);
    jobs_.reset();
  }

  void start(const std::string& format, uint64_t size = kSize) {
    format_ = format;
    if (format == "fake") {
      make_image("base", size);
    } else {
      ASSERT_EQ(
          shell(fmt::format("qemu-img create -q -f {} {} {}", format, path("base"), size)).status,
          0);
    }
    block::NodeOptions options;
    options.unmap = true;
    add(spec("base", format, path("base"), options));
    ASSERT_TRUE(run(graph_->add_device("vda", "base")));
    ASSERT_TRUE(attach(root_, node("base"), kWrite));
  }
  void snap(const std::string& name) {
    block::SnapshotRequest request;
    request.device = "vda";
    request.overlay_path = path(name);
    request.overlay_node_name = name;
    request.format = format_ == "fake" ? "fake" : "qcow2";
    const auto taken = snapshot(std::move(request));
    ASSERT_TRUE(taken) << taken.error().text();
  }
  Node* node(const std::string& name) { return graph_->find_node(name); }

  // One block, or a zeroing or discard of some.
  Task<Result<>> change(uint64_t block, char fill) {
    if (fill == 0 && block % 2 == 0) {
      co_return co_await root_.write_zeroes(block * kBlock, kBlock, block::flag::kMayUnmap);
    }
    std::string bytes(kBlock, fill);
    const IoVec iov(bytes.data(), bytes.size());
    co_return co_await root_.write(block * kBlock, iov, block::flag::kNone);
  }
  Task<Result<>> scribble(int count, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < count; ++i) {
      const uint64_t block = random() % kBlocks;
      const char fill = random() % 5 == 0 ? '\0' : static_cast<char>('a' + random() % 26);
      CO_TRY(co_await change(block, fill));
      model_[block] = fill;
    }
    co_return Result<>();
  }
  void write_some(int count, uint64_t seed) { ASSERT_TRUE(run_io(scribble(count, seed))); }

  Task<Result<std::string>> read_all(Root& root) {
    std::string bytes(kSize, '?');
    const IoVec iov(bytes.data(), bytes.size());
    CO_TRY(co_await root.read(0, iov));
    co_return bytes;
  }
  // The first block that differs from the model; kBlocks: none.
  uint64_t first_wrong(Root& root) {
    const auto bytes = run_io(read_all(root));
    if (!bytes) return UINT64_MAX;
    for (uint64_t i = 0; i < kBlocks; ++i) {
      if (bytes->compare(i * kBlock, kBlock, std::string(kBlock, model_[i])) != 0) return i;
    }
    return kBlocks;
  }
  // The chain opened again, by its headers alone, and each image checked by the peer.
  void check_files(const std::string& head, const std::string& format) {
    detach(root_);
    ASSERT_TRUE(run(graph_->remove_device("vda")));
    run(jobs_->close());
    ASSERT_TRUE(run(graph_->close()));
    block::Registry registry;
    register_all(registry);
    graph_ = std::move(*block::Graph::create(*runtime_, std::move(registry), no_state_));
    jobs_ = std::make_unique<JobList>(outcomes_);
    add(spec("again", format, path(head)));
    ASSERT_TRUE(attach(root_, node("again"), kWrite));
    EXPECT_EQ(first_wrong(root_), kBlocks);
    detach(root_);
    ASSERT_TRUE(run(graph_->remove_node("again")));
    if (format != "qcow2") return;
    const Output check = shell("qemu-img check " + path(head));
    EXPECT_EQ(check.status, 0) << check.text;
  }

  CommitRequest request(const std::string& top = "", const std::string& base = "") {
    CommitRequest request;
    request.job_id = "j";
    request.device = "vda";
    if (!top.empty()) request.top_node = top;
    if (!base.empty()) request.base_node = base;
    return request;
  }
  std::string start_error(CommitRequest wanted) {
    auto started = run(start_commit(*graph_, *jobs_, std::move(wanted)));
    return started ? "no error" : started.error().text();
  }
  Task<void> until_gone() {
    while (!jobs_->jobs().empty()) {
      (void)co_await async::Loop::current().sleep_for(milliseconds(1));
    }
  }
  Task<void> until_status(JobStatus status) {
    while (!jobs_->jobs().empty() && jobs_->jobs().front()->status() != status) {
      (void)co_await async::Loop::current().sleep_for(milliseconds(1));
    }
  }
  Task<void> complete_now() {
    auto job = jobs_->find("j");
    if (job) (void)jobs_->complete(**job);
    co_return;
  }
  Task<void> speed_up() {
    if (auto job = jobs_->find("j")) (void)jobs_->set_speed(**job, 0);
    co_return;
  }
  Task<void> cancel_now() {
    if (auto job = jobs_->find("j")) (void)jobs_->cancel(**job, false);
    co_return;
  }
  Task<void> resume_now() {
    if (auto job = jobs_->find("j")) (void)jobs_->resume(**job);
    co_return;
  }
  std::vector<std::string> commit(CommitRequest wanted) {
    const std::string error = start_error(std::move(wanted));
    if (error != "no error") return {error};
    run(until_gone());
    return outcomes_.take();
  }
  std::vector<std::string> commit_head(CommitRequest wanted) {
    const std::string error = start_error(std::move(wanted));
    if (error != "no error") return {error};
    run(until_status(JobStatus::kReady));
    run(complete_now());
    run(until_gone());
    return outcomes_.take();
  }

  // Writes on the I/O loop until `stop`; counts how often.
  Task<void> write_until(const bool& stop, uint64_t seed, int& count) {
    while (!stop) {
      (void)co_await async::call_on(graph_->default_io_loop(), scribble(20, seed++));
      count += 20;
      (void)co_await async::Loop::current().sleep_for(milliseconds(1));
    }
  }
  // The head is committed while its guest writes, and goes on writing after.
  Task<void> commit_under_load(CommitRequest wanted, Result<>& started, int& writes) {
    bool stop = false;
    async::TaskScope scope;
    scope.spawn(write_until(stop, 1000, writes));
    started = co_await start_commit(*graph_, *jobs_, std::move(wanted));
    if (started) {
      co_await until_status(JobStatus::kReady);
      (void)co_await async::Loop::current().sleep_for(milliseconds(30));
      co_await complete_now();
      co_await until_gone();
      (void)co_await async::Loop::current().sleep_for(milliseconds(30));
    }
    stop = true;
    co_await scope.join();
  }
  // Snapshots of the head, while a slow job merges layers below.
  Task<void> snapshots_beside(CommitRequest wanted, std::vector<std::string>& errors) {
    wanted.speed_bytes_per_s = 1 << 20;
    auto started = co_await start_commit(*graph_, *jobs_, std::move(wanted));
    if (!started) errors.push_back(started.error().text());
    for (int i = 0; i < 3; ++i) {
      (void)co_await async::call_on(graph_->default_io_loop(),
                                    scribble(20, 77 + static_cast<uint64_t>(i)));
      block::SnapshotRequest request;
      request.device = "vda";
      request.overlay_path = path(fmt::format("beside{}", i));
      request.overlay_node_name = fmt::format("beside{}", i);
      request.format = "qcow2";
      auto taken = co_await take_snapshot(*graph_, std::move(request));
      if (!taken) errors.push_back(taken.error().text());
    }
    if (jobs_->jobs().empty()) errors.push_back("the job was over too soon");
    co_await speed_up();
    co_await until_gone();
  }

  std::string format_;
  std::string model_;
  Outcomes outcomes_;
  std::unique_ptr<JobList> jobs_;
  Root root_{"block export 'e0'"};
};

using testing::Test;
using Words = std::vector<std::string>;

TEST_F(CommitTest, LayersBelowTheHeadAreMergedAndLeave) {
  for (const char* format : {"qcow2", "raw"}) {
    SCOPED_TRACE(format);
    start(format);
    write_some(200, 1);
    for (int i = 1; i <= 4; ++i) {
      snap(fmt::format("s{}", i));
      write_some(100, 1 + static_cast<uint64_t>(i));
    }
    EXPECT_EQ(commit(request("s2", "s1")), (Words{"j completed"}));
    EXPECT_EQ(node("s2"), nullptr);
    EXPECT_EQ(first_wrong(root_), kBlocks);
    EXPECT_EQ(commit(request("s3", "base")), (Words{"j completed"}));
    EXPECT_EQ(node("s4")->children().backing.child(), node("base"));
    EXPECT_TRUE(node("base")->read_only());
    EXPECT_FALSE(node("base")->in_flux);
    EXPECT_EQ(graph_->nodes().size(), 4u);
    EXPECT_EQ(first_wrong(root_), kBlocks);
    write_some(50, 9);
    check_files("s4", "qcow2");
    model_.assign(kBlocks, 0);
    for (const char* file : {"base", "s1", "s2", "s3", "s4"}) {
      ASSERT_EQ(shell("rm -f " + path(file)).status, 0);
    }
  }
}

TEST_F(CommitTest, TheHeadIsMergedWhileItsGuestWrites) {
  for (const char* format : {"qcow2", "raw"}) {
    SCOPED_TRACE(format);
    start(format);
    write_some(200, 11);
    snap("s1");
    write_some(200, 12);
    snap("s2");
    write_some(200, 13);
    Result<> started;
    int writes = 0;
    run(commit_under_load(request(), started, writes));
    ASSERT_TRUE(started) << started.error().text();
    EXPECT_EQ(outcomes_.take(), (Words{"j ready", "j completed"}));
    EXPECT_GT(writes, 0);
    EXPECT_EQ(root_.head(), node("base"));
    EXPECT_EQ(graph_->nodes().size(), 2u);
    EXPECT_EQ(first_wrong(root_), kBlocks);
    ASSERT_TRUE(flush(root_));
    check_files("base", format);
    model_.assign(kBlocks, 0);
    ASSERT_EQ(shell("rm -f " + path("base") + " " + path("s1") + " " + path("s2")).status, 0);
  }
}

TEST_F(CommitTest, AReadyJobThatIsCancelledLeavesTheChain) {
  start("qcow2");
  write_some(100, 21);
  snap("s1");
  write_some(100, 22);
  ASSERT_EQ(start_error(request()), "no error");
  run(until_status(JobStatus::kReady));
  run(cancel_now());
  run(until_gone());
  EXPECT_EQ(outcomes_.take(), (Words{"j ready", "j completed"}));
  EXPECT_EQ(root_.head(), node("s1"));
  EXPECT_TRUE(node("base")->read_only());
  EXPECT_EQ(node("s1")->busy_reason(), "");
  EXPECT_EQ(first_wrong(root_), kBlocks);
  // And again, to its end.
  EXPECT_EQ(commit_head(request()), (Words{"j ready", "j completed"}));
  EXPECT_EQ(root_.head(), node("base"));
  EXPECT_EQ(first_wrong(root_), kBlocks);
}

TEST_F(CommitTest, TheHeadMayBeSnapshottedBesideIt) {
  start("qcow2");
  write_some(300, 31);
  snap("s1");
  write_some(300, 32);
  snap("s2");
  std::vector<std::string> errors;
  run(snapshots_beside(request("s1", "base"), errors));
  EXPECT_EQ(errors, Words{});
  EXPECT_EQ(outcomes_.take(), (Words{"j completed"}));
  EXPECT_EQ(node("s1"), nullptr);
  EXPECT_EQ(node("s2")->children().backing.child(), node("base"));
  EXPECT_TRUE(node("s2")->read_only());
  EXPECT_EQ(first_wrong(root_), kBlocks);
  check_files("beside2", "qcow2");
}

TEST_F(CommitTest, ASmallerBaseGrows) {
  start("qcow2", kSize / 2);
  model_.assign(kBlocks, 0);
  snap("s1");
  ASSERT_TRUE(run(graph_->resize("vda", "", kSize)));
  write_some(100, 41);
  snap("s2");
  EXPECT_EQ(commit(request("s1", "base")), (Words{"j completed"}));
  EXPECT_EQ(node("base")->driver().size_bytes(), kSize);
  EXPECT_EQ(first_wrong(root_), kBlocks);
  check_files("s2", "qcow2");
}

// What lies beyond the end of a layer reads as zeroes above it, whatever a lower one has there.
TEST_F(CommitTest, AShorterLayerHidesWhatLiesBelowIt) {
  ASSERT_EQ(shell(fmt::format("qemu-img create -q -f qcow2 {0} 2M && qemu-io -c 'write -q -P 7 0 "
                              "2M' {0} && qemu-img create -q -f qcow2 -b {0} -F qcow2 {1} 512k && "
                              "qemu-img create -q -f qcow2 -b {1} -F qcow2 {2} 1M && qemu-img "
                              "create -q -f qcow2 -b {2} -F qcow2 {3} 2M",
                              path("base"), path("short"), path("mid"), path("top")))
                .status,
            0);
  add(spec("head", "qcow2", path("top")));
  ASSERT_TRUE(run(graph_->add_device("vda", "head")));
  ASSERT_TRUE(attach(root_, node("head"), kWrite));
  for (uint64_t i = 0; i < 128; ++i) model_[i] = 7;
  ASSERT_EQ(first_wrong(root_), kBlocks);
  CommitRequest wanted = request();
  wanted.top = path("mid");
  wanted.base = path("base");
  EXPECT_EQ(commit(std::move(wanted)), (Words{"j completed"}));
  EXPECT_EQ(first_wrong(root_), kBlocks);
  check_files("top", "qcow2");
}

TEST_F(CommitTest, CompressedClustersAndPlainOnesAreMerged) {
  ASSERT_EQ(
      shell(fmt::format(
                "qemu-img create -q -f qcow2 {0} 2M && qemu-io -c 'write -q -P 1 0 2M' {0} && "
                "qemu-img create -q -f qcow2 -b {0} -F qcow2 {1} && qemu-io -c 'write -q -c "
                "-P 2 64k 64k' -c 'write -q -z 128k 64k' -c 'write -q -P 3 200k 4k' {1} && "
                "qemu-img create -q -f qcow2 -b {1} -F qcow2 {2}",
                path("base"), path("mid"), path("top")))
          .status,
      0);
  add(spec("head", "qcow2", path("top")));
  ASSERT_TRUE(run(graph_->add_device("vda", "head")));
  ASSERT_TRUE(attach(root_, node("head"), kWrite));
  for (uint64_t i = 0; i < kBlocks; ++i) model_[i] = i < 16 || i >= 48 ? 1 : i < 32 ? 2 : 0;
  model_[50] = 3;
  ASSERT_EQ(first_wrong(root_), kBlocks);
  CommitRequest wanted = request();
  wanted.top = path("mid");
  EXPECT_EQ(commit(std::move(wanted)), (Words{"j completed"}));
  EXPECT_EQ(first_wrong(root_), kBlocks);
  check_files("top", "qcow2");
}

TEST_F(CommitTest, AnErrorStopsItAndItGoesOnWhenItIsResumed) {
  start("fake");
  write_some(40, 51);
  snap("s1");
  write_some(40, 52);
  snap("s2");
  block::fake_hooks("base").fail_writes = true;
  CommitRequest wanted = request("s1", "base");
  wanted.on_error = OnError::kStop;
  ASSERT_EQ(start_error(wanted), "no error");
  run(until_status(JobStatus::kPaused));
  block::fake_hooks("base").fail_writes = false;
  run(resume_now());
  run(until_gone());
  EXPECT_EQ(outcomes_.take(), (Words{"j error", "j completed"}));
  EXPECT_EQ(first_wrong(root_), kBlocks);
}

TEST_F(CommitTest, AJobThatFailsLeavesTheChain) {
  start("fake");
  write_some(40, 61);
  snap("s1");
  write_some(40, 62);
  snap("s2");
  block::fake_hooks("base").fail_writes = true;
  EXPECT_EQ(commit(request("s1", "base")), (Words{"j error", "j failed: the test says so"}));
  block::fake_hooks("base").fail_writes = false;
  block::fake_hooks("s2").fail_backing_name = true;
  EXPECT_EQ(commit(request("s1", "base")),
            (Words{"j failed: Could not change the backing file of node 's2': the test says so"}));
  block::fake_hooks("s2").fail_backing_name = false;
  EXPECT_EQ(node("s2")->children().backing.child(), node("s1"));
  EXPECT_TRUE(node("base")->read_only());
  EXPECT_EQ(node("s1")->blocked_by(), "");
  EXPECT_EQ(first_wrong(root_), kBlocks);
  EXPECT_EQ(commit(request("s1", "base")), (Words{"j completed"}));
  EXPECT_EQ(first_wrong(root_), kBlocks);
}

TEST_F(CommitTest, ABaseThatCantBeFlushedKeepsItsLayers) {
  start("fake");
  write_some(40, 71);
  snap("s1");
  write_some(40, 72);
  snap("s2");
  block::fake_hooks("base").fail_flush = true;
  EXPECT_EQ(commit(request("s1", "base")), (Words{"j failed: the test says so"}));
  EXPECT_EQ(node("s2")->children().backing.child(), node("s1"));
  EXPECT_EQ(commit_head(request()), (Words{"j ready", "j failed: the test says so"}));
  EXPECT_EQ(root_.head(), node("s2"));
  block::fake_hooks("base").fail_flush = false;
  EXPECT_EQ(first_wrong(root_), kBlocks);
}

TEST_F(CommitTest, ErrorsComeInOrderWithTheirTexts) {
  start("qcow2");
  snap("s1");
  snap("s2");
  make_image("x", kSize);
  add(spec("x", "fake", path("x")));
  CommitRequest wrong = request();
  wrong.device = "nope";
  EXPECT_EQ(start_error(wrong), "Device 'nope' not found");
  wrong = request();
  wrong.device = "s1";
  EXPECT_EQ(start_error(wrong), "Need a root block node");
  wrong = request("s1");
  wrong.top = path("s1");
  EXPECT_EQ(start_error(wrong), "'top-node' and 'top' are mutually exclusive");
  wrong = request("", "base");
  wrong.base = path("base");
  EXPECT_EQ(start_error(wrong), "'base-node' and 'base' are mutually exclusive");
  wrong = request();
  wrong.top = "zz";
  EXPECT_EQ(start_error(wrong), "Top image file zz not found");
  wrong = request();
  wrong.base = "zz";
  EXPECT_EQ(start_error(wrong), "Can't find 'zz' in the backing chain");
  EXPECT_EQ(start_error(request("zz")), "Cannot find device='' nor node-name='zz'");
  EXPECT_EQ(start_error(request("x")), "'x' is not in this backing file chain");
  EXPECT_EQ(start_error(request("s1", "s2")), "'s2' is not in this backing file chain");
  EXPECT_EQ(start_error(request("base")), "cannot commit an image into itself");
  wrong = request();
  wrong.backing_file = "b";
  EXPECT_EQ(start_error(wrong), "'backing-file' specified, but 'top' is the active layer");
  wrong = request("s1");
  wrong.filter_node_name = "x";
  EXPECT_EQ(start_error(wrong), "Duplicate nodes with node-name='x'");
  wrong = request("s1");
  wrong.job_id = "9j";
  EXPECT_EQ(start_error(wrong), "Invalid job ID '9j'");
  wrong = request("s1");
  wrong.speed_bytes_per_s = -1;
  EXPECT_EQ(start_error(wrong), "Parameter 'speed' expects a non-negative value");
  EXPECT_TRUE(jobs_->jobs().empty());
}

TEST_F(CommitTest, WhoElseUsesALayerAndASecondJobAreRefused) {
  start("qcow2");
  write_some(100, 81);
  snap("s1");
  write_some(100, 82);
  snap("s2");
  Root reader("block export 'e1'");
  ASSERT_TRUE(attach(reader, node("base"), kRead));
  EXPECT_EQ(start_error(request("s1")), "Node 'base' is busy: block export 'e1' uses it");
  detach(reader);
  ASSERT_EQ(start_error(request()), "no error");
  run(until_status(JobStatus::kReady));
  CommitRequest second = request("s1");
  second.job_id = "k";
  EXPECT_EQ(start_error(second), "Node 's2' is busy: block device is in use by block job: commit");
  block::SnapshotRequest snapshot_request;
  snapshot_request.device = "vda";
  snapshot_request.overlay_path = path("s3");
  snapshot_request.format = "qcow2";
  EXPECT_EQ(snapshot(std::move(snapshot_request)).error().text(),
            "Node 's2' is busy: block device is in use by block job: commit");
  EXPECT_EQ(attach(reader, node("base"), kRead).error().text(),
            "Node 'base' is busy: block device is in use by block job: commit");
  EXPECT_EQ(attach(reader, node("s1"), kRead).error().text(),
            "Node 's1' is busy: block device is in use by block job: commit");
  run(complete_now());
  run(until_gone());
  EXPECT_EQ(outcomes_.take(), (Words{"j ready", "j completed"}));
}

// Requests of a node above the head are admitted there: the job would neither see nor hold them.
TEST_F(CommitTest, NobodyBuildsOnAHeadThatIsCommitted) {
  start("qcow2");
  snap("s1");
  ASSERT_EQ(start_error(request()), "no error");
  run(until_status(JobStatus::kReady));
  block::NodeSpec above;
  above.node_name = "above";
  above.driver = "raw";
  above.file.emplace("s1");
  EXPECT_EQ(add_error(std::move(above)),
            "Node 's1' is busy: block device is in use by block job: commit");
  run(complete_now());
  run(until_gone());
  EXPECT_EQ(outcomes_.take(), (Words{"j ready", "j completed"}));
}

TEST_F(CommitTest, ManyRoundsLeaveNothingBehind) {
  start("qcow2");
  for (int i = 0; i < 12; ++i) {
    snap(fmt::format("s{}", i));
    write_some(30, 90 + static_cast<uint64_t>(i));
    if (i > 0) {
      ASSERT_EQ(commit(request(fmt::format("s{}", i - 1), "base")), (Words{"j completed"}));
    }
    ASSERT_LE(graph_->nodes().size(), 4u);
  }
  EXPECT_EQ(first_wrong(root_), kBlocks);
  EXPECT_EQ(commit_head(request()), (Words{"j ready", "j completed"}));
  EXPECT_EQ(graph_->nodes().size(), 2u);
  EXPECT_EQ(first_wrong(root_), kBlocks);
  check_files("base", "qcow2");
}

}  // namespace
}  // namespace firn::jobs
