#include "drivers/qcow2/image.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "async/scope.h"
#include "async/testing.h"
#include "drivers/qcow2/backing_path.h"
#include "drivers/qcow2/check.h"
#include "drivers/qcow2/create.h"
#include "drivers/qcow2/test_image.h"

namespace firn::qcow2 {
namespace {

using async::TaskScope;
using async::testing::run_on_loop;
using base::ErrorKind;
using testing::create_image;
using testing::CreateOptionList;
using testing::Directory;
using ::testing::HasSubstr;
using testing::must;
using testing::Opened;
using testing::OpenSpec;
using testing::pattern;
using testing::shell;
using Bytes = std::vector<std::byte>;

// Changes bytes of a file in place.
void poke(const std::string& path, uint64_t offset, const Bytes& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}
template <typename T>
void poke_be(const std::string& path, uint64_t offset, T value) {
  Bytes bytes(sizeof value);
  base::store_be<T>(bytes.data(), value);
  poke(path, offset, bytes);
}
template <typename T>
T peek_be(const std::string& path, uint64_t offset) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  Bytes bytes(sizeof(T));
  file.read(reinterpret_cast<char*>(bytes.data()), sizeof(T));
  return base::load_be<T>(bytes.data());
}

#define EXPECT_DONE(result) \
  if (const auto& r = (result); !r) ADD_FAILURE() << r.error().text()
#define ASSERT_DONE(result) \
  if (const auto& r = (result); !r) FAIL() << r.error().text()

class ImageTest : public ::testing::Test {
 protected:
  void SetUp() override { FIRN_NEEDS_QEMU(); }
  void make(uint64_t size_bytes, CreateOptionList options = {}) {
    ASSERT_DONE(run_on_loop(create_image(path_, size_bytes, std::move(options))));
  }
  void expect_clean() {
    EXPECT_THAT(must("qemu-img check " + path_), HasSubstr("No errors were found"));
  }
  const Directory directory_;
  const std::string path_ = directory_.path("a.qcow2");
};

// Opening ---------------------------------------------------------------------------------------

Task<Result<>> open_and_close(std::string path, OpenSpec spec) {
  auto image = CO_TRY(co_await Opened::open(std::move(path), spec));
  co_return co_await image->close();
}

TEST_F(ImageTest, RawFileIsRefused) {
  must("truncate -s 1M " + path_);
  const auto opened = run_on_loop(open_and_close(path_, {}));
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().text(), HasSubstr("Image is not in qcow2 format"));
}

TEST_F(ImageTest, CorruptImageOpensForReadingOnly) {
  make(1 << 20);
  poke_be<uint64_t>(path_, 72, format::incompatible::kCorrupt);
  const auto opened = run_on_loop(open_and_close(path_, {}));
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().text(),
              HasSubstr("qcow2: Image is corrupt; cannot be opened read/write"));
  EXPECT_DONE(run_on_loop(open_and_close(path_, {.read_only = true})));
  EXPECT_EQ(peek_be<uint64_t>(path_, 72), format::incompatible::kCorrupt);
}

TEST_F(ImageTest, AutoclearBitsAreClearedBeforeTheFirstWrite) {
  make(1 << 20);
  const uint64_t unknown = uint64_t{1} << 33;
  poke_be<uint64_t>(path_, 88, unknown);
  EXPECT_DONE(run_on_loop(open_and_close(path_, {.read_only = true})));
  EXPECT_EQ(peek_be<uint64_t>(path_, 88), unknown);
  EXPECT_DONE(run_on_loop(open_and_close(path_, {})));
  EXPECT_EQ(peek_be<uint64_t>(path_, 88), 0u);
}

TEST_F(ImageTest, BitmapsOfOthersAreMarkedStale) {
  must("qemu-img create -f qcow2 " + path_ + " 8M");
  must("qemu-img bitmap --add " + path_ + " b0");
  ASSERT_EQ(peek_be<uint64_t>(path_, 88), format::autoclear::kBitmaps);
  ::testing::internal::CaptureStderr();
  EXPECT_DONE(run_on_loop(open_and_close(path_, {})));
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(peek_be<uint64_t>(path_, 88), 0u);
  EXPECT_NE(log.find("the dirty bitmaps in '" + path_ + "' are no longer valid"), std::string::npos)
      << log;
}

Task<Result<>> write_pieces(std::string path, uint64_t count, uint64_t stride) {
  auto image = CO_TRY(co_await Opened::open(std::move(path)));
  Result<> written;
  for (uint64_t i = 0; i < count && written; ++i) {
    written = co_await image->write(i * stride, pattern(5000, i));
  }
  Result<> closed = co_await image->close();
  co_return written ? closed : written;
}

Task<Result<CheckReport>> check_file(std::string path) {
  auto image = CO_TRY(co_await Opened::open(std::move(path), {.read_only = true}));
  Result<CheckReport> report = co_await check(image->node().children().file);
  CO_TRY(co_await image->close());
  co_return report;
}

TEST_F(ImageTest, DirtyImageIsRepairedBeforeUse) {
  for (const char* cluster_size : {"512", "64k"}) {
    must("rm -f " + path_);
    make(4 << 20, {{"cluster_size", cluster_size}});
    ASSERT_DONE(run_on_loop(write_pieces(path_, 30, 130000)));
    // The first refcount block is lost, and with it what it counted.
    const uint64_t table = peek_be<uint64_t>(path_, 48);
    const uint64_t block = peek_be<uint64_t>(path_, table);
    poke(path_, block, Bytes(512));
    const Result<CheckReport> broken = run_on_loop(check_file(path_));
    ASSERT_DONE(broken);
    EXPECT_GT(broken->corruptions, 0u);
    EXPECT_EQ(broken->structural, 0u) << broken->findings.front();
    EXPECT_FALSE(shell("qemu-img check " + path_).ok);
    poke_be<uint64_t>(path_, 72, format::incompatible::kDirty);

    ASSERT_DONE(run_on_loop(write_pieces(path_, 40, 100000)));
    EXPECT_EQ(peek_be<uint64_t>(path_, 72), 0u);
    expect_clean();
    const Result<CheckReport> mended = run_on_loop(check_file(path_));
    ASSERT_DONE(mended);
    EXPECT_TRUE(mended->is_clean()) << mended->findings.front();
  }
}

TEST_F(ImageTest, DirtyImageThatQemuLeftIsRepaired) {
  must("qemu-img create -f qcow2 -o lazy_refcounts=on " + path_ + " 64M");
  // A writer that ends without closing the image.
  (void)shell("qemu-io -c 'write 1M 3M' -c 'write -z 2M 1M' -c abort " + path_);
  ASSERT_EQ(peek_be<uint64_t>(path_, 72), format::incompatible::kDirty);
  ASSERT_DONE(run_on_loop(write_pieces(path_, 3, 1 << 20)));
  EXPECT_EQ(peek_be<uint64_t>(path_, 72), 0u);
  expect_clean();
}

TEST_F(ImageTest, ARepairThatNeedsTooMuchMemoryIsRefused) {
  make(1 << 20, {{"cluster_size", "512"}});
  ASSERT_DONE(run_on_loop(write_pieces(path_, 2, 512)));
  // A file with holes in it, and an entry that leads to its far end.
  must("truncate -s 256G " + path_);
  const uint64_t l1 = peek_be<uint64_t>(path_, 40);
  const uint64_t l2 = peek_be<uint64_t>(path_, l1) & format::kOffsetMask;
  poke_be<uint64_t>(path_, l2, ((uint64_t{256} << 30) - 512) | format::kCopied);
  poke_be<uint64_t>(path_, 72, format::incompatible::kDirty);
  const Result<> opened = run_on_loop(open_and_close(path_, {}));
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().text(), HasSubstr("clusters"));
  EXPECT_EQ(peek_be<uint64_t>(path_, 72), format::incompatible::kDirty);
}

TEST_F(ImageTest, WrongTablesAreErrorsAndStayAsTheyAre) {
  make(64 << 20);
  ASSERT_DONE(run_on_loop(write_pieces(path_, 2, 1 << 20)));
  const uint64_t l1 = peek_be<uint64_t>(path_, 40);
  const uint64_t l2 = peek_be<uint64_t>(path_, l1) & format::kOffsetMask;
  const uint64_t good = peek_be<uint64_t>(path_, l2);
  for (const uint64_t bad :
       {good + 512, (uint64_t{1} << 50) | format::kCopied, format::kCopied, l1 | format::kCopied,
        peek_be<uint64_t>(path_, 48) | format::kCopied}) {
    poke_be<uint64_t>(path_, l2, bad);
    const Result<> written = run_on_loop(write_pieces(path_, 1, 512));
    ASSERT_FALSE(written) << std::hex << bad;
    EXPECT_EQ(written.error().kind(), ErrorKind::kCorrupt) << written.error().text();
    EXPECT_EQ(peek_be<uint64_t>(path_, l2), bad);
  }
  poke_be<uint64_t>(path_, l2, good);
  for (const uint64_t bad : {l2 + 512, uint64_t{1} << 40}) {
    poke_be<uint64_t>(path_, l1, bad | format::kCopied);
    const Result<> written = run_on_loop(write_pieces(path_, 1, 512));
    ASSERT_FALSE(written) << std::hex << bad;
    EXPECT_EQ(written.error().kind(), ErrorKind::kCorrupt) << written.error().text();
  }
  const uint64_t table = peek_be<uint64_t>(path_, 48);
  for (const uint64_t bad : {uint64_t{0x10200}, uint64_t{1} << 40, uint64_t{1} << 60}) {
    poke_be<uint64_t>(path_, table, bad);
    const Result<> opened = run_on_loop(open_and_close(path_, {}));
    ASSERT_FALSE(opened) << std::hex << bad;
    EXPECT_EQ(opened.error().kind(), ErrorKind::kCorrupt);
  }
}

// Backing files ---------------------------------------------------------------------------------

TEST(BackingPath, RelatesToTheImagesDirectory) {
  EXPECT_EQ(resolve_backing_path("/a/b/c.qcow2", "d.raw"), "/a/b/d.raw");
  EXPECT_EQ(resolve_backing_path("/a/b/c.qcow2", "../d.raw"), "/a/b/../d.raw");
  EXPECT_EQ(resolve_backing_path("/a/b/c.qcow2", "/d.raw"), "/d.raw");
  EXPECT_EQ(resolve_backing_path("/a/b/c.qcow2", "nbd:host:1"), "nbd:host:1");
  EXPECT_EQ(resolve_backing_path("/a/b/c.qcow2", "x/y:z"), "/a/b/x/y:z");
  EXPECT_EQ(resolve_backing_path("c.qcow2", "d.raw"), "d.raw");
  EXPECT_EQ(resolve_backing_path("/a/b/c.qcow2", ""), "");
}

Task<Result<>> rename_backing(std::string path, std::string name, std::string format) {
  auto image = CO_TRY(co_await Opened::open(std::move(path), {.no_backing = true}));
  Result<> renamed = co_await image->image().set_backing_name(name, format);
  CO_TRY(co_await image->close());
  co_return renamed;
}

TEST_F(ImageTest, BackingNameIsStoredAndTakenBack) {
  make(1 << 20, {{"backing_file", "one.raw"}, {"backing_fmt", "raw"}});
  ASSERT_DONE(run_on_loop(rename_backing(path_, "other.qcow2", "qcow2")));
  EXPECT_THAT(must("qemu-img info " + path_), HasSubstr("backing file: other.qcow2"));
  const Result<> too_long = run_on_loop(rename_backing(path_, std::string(1024, 'x'), "raw"));
  ASSERT_FALSE(too_long);
  EXPECT_THAT(must("qemu-img info " + path_), HasSubstr("backing file: other.qcow2"));
  ASSERT_DONE(run_on_loop(rename_backing(path_, "", "")));
  EXPECT_EQ(must("qemu-img info " + path_).find("backing"), std::string::npos);
}

// The first sector decides which name counts: with the old one in its place, all is as it was.
TEST_F(ImageTest, ANewBackingNameLeavesTheOldOneWhole) {
  make(1 << 20, {{"backing_file", std::string(300, 'o') + ".qcow2"}, {"backing_fmt", "qcow2"}});
  std::string before = std::string(300, 'o') + ".qcow2";
  for (int i = 0; i < 5; ++i) {
    const std::string now = std::string(200 + static_cast<size_t>(i) * 150, 'n') + ".raw";
    must("head -c 512 " + path_ + " > " + path_ + ".sector");
    ASSERT_DONE(run_on_loop(rename_backing(path_, now, i % 2 == 0 ? "raw" : "qcow2")));
    EXPECT_THAT(must("qemu-img info " + path_), HasSubstr("backing file: " + now + " ("));
    must("cp " + path_ + " " + path_ + ".torn && dd if=" + path_ + ".sector of=" + path_ +
         ".torn conv=notrunc status=none");
    EXPECT_THAT(must("qemu-img info " + path_ + ".torn"),
                HasSubstr("backing file: " + before + " ("));
    before = now;
  }
}

TEST_F(ImageTest, MissingBackingFileFailsTheOpening) {
  make(1 << 20, {{"backing_file", "missing.raw"}, {"backing_fmt", "raw"}});
  const Result<> opened = run_on_loop(open_and_close(path_, {}));
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().text(), HasSubstr("missing.raw"));
}

// Sizes -----------------------------------------------------------------------------------------

Task<Result<>> resize_image(std::string path, uint64_t size_bytes) {
  auto image = CO_TRY(co_await Opened::open(std::move(path)));
  Result<> resized = co_await image->image().resize(size_bytes);
  CO_TRY(co_await image->close());
  co_return resized;
}

TEST_F(ImageTest, GrowsBeyondItsL1Table) {
  make(1 << 20, {{"cluster_size", "512"}});
  ASSERT_DONE(run_on_loop(write_pieces(path_, 20, 50000)));
  must("qemu-img convert -O raw " + path_ + " " + directory_.path("before.raw"));
  ASSERT_DONE(run_on_loop(resize_image(path_, 300 << 20)));
  ASSERT_DONE(run_on_loop(write_pieces(path_, 20, 50000)));
  expect_clean();
  must("truncate -s 300M " + directory_.path("before.raw"));
  must(fmt::format("qemu-img compare -f qcow2 -F raw {} {}", path_, directory_.path("before.raw")));
}

TEST_F(ImageTest, GrownPartShowsNothingOfALongerBackingFile) {
  for (const char* compat : {"0.10", "1.1"}) {
    const std::string base = directory_.path("base.raw");
    must("rm -f " + path_ + " && head -c 4M /dev/urandom > " + base);
    make((1 << 20) + 512, {{"backing_file", base}, {"backing_fmt", "raw"}, {"compat", compat}});
    ASSERT_DONE(run_on_loop(resize_image(path_, 8 << 20)));
    expect_clean();
    const std::string expected = directory_.path("expected.raw");
    must(fmt::format("head -c {} {} > {} && truncate -s 8M {}", (1 << 20) + 512, base, expected,
                     expected));
    must(fmt::format("qemu-img compare -f qcow2 -F raw {} {}", path_, expected));
  }
}

TEST_F(ImageTest, ShrinksAndForgets) {
  make(8 << 20);
  ASSERT_DONE(run_on_loop(write_pieces(path_, 16, 500000)));
  ASSERT_DONE(run_on_loop(resize_image(path_, (3 << 20) + 1024)));
  expect_clean();
  const std::string expected = directory_.path("expected.raw");
  must(fmt::format("qemu-img convert -O raw {} {}", path_, expected));
  ASSERT_DONE(run_on_loop(resize_image(path_, 8 << 20)));
  must(fmt::format("truncate -s 8M {}", expected));
  must(fmt::format("qemu-img compare -f qcow2 -F raw {} {}", path_, expected));
  expect_clean();
  const Result<> odd = run_on_loop(resize_image(path_, 1000));
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().text(), "The new size must be a multiple of 512");
}

// As a cut leaves it that comes between a shrinking's header and the rest of it.
TEST_F(ImageTest, GrownPartShowsNothingThatAnInterruptedShrinkingLeft) {
  for (const char* extended : {"off", "on"}) {
    must("rm -f " + path_);
    make(8 << 20, {{"extended_l2", extended}});
    ASSERT_DONE(run_on_loop(write_pieces(path_, 64, 128 << 10)));
    constexpr uint64_t kShrunk = (3 << 20) + 512;
    const std::string expected = directory_.path("expected.raw");
    must(fmt::format("qemu-img convert -O raw {} {}", path_, expected));
    poke_be<uint64_t>(path_, 24, kShrunk);
    must(fmt::format("truncate -s {} {}", kShrunk, expected));
    for (const uint64_t size : {uint64_t{5} << 20, uint64_t{8} << 20, uint64_t{16} << 20}) {
      ASSERT_DONE(run_on_loop(resize_image(path_, size)));
      must(fmt::format("truncate -s {} {}", size, expected));
      must(fmt::format("qemu-img compare -f qcow2 -F raw {} {}", path_, expected));
    }
    expect_clean();
  }
}

Task<void> resize_aside(Image* image, uint64_t size_bytes, Result<>* result) {
  *result = co_await image->resize(size_bytes);
}

// Whoever sees the new size may write there, and what is zeroed on the way would destroy it.
Task<Result<>> look_at_size_while_growing(std::string path) {
  auto image = CO_TRY(co_await Opened::open(std::move(path)));
  Result<> resized;
  {
    async::TaskScope scope;
    scope.spawn(resize_aside(&image->image(), 16 << 20, &resized));
    while (scope.running() != 0) {
      EXPECT_EQ(image->image().size_bytes(), (1u << 20) + 512);
      co_await async::Loop::current().yield();
    }
    co_await scope.join();
  }
  EXPECT_EQ(image->image().size_bytes(), 16u << 20);
  CO_TRY(std::move(resized));
  co_return co_await image->close();
}

TEST_F(ImageTest, TheNewSizeIsSeenWhenTheGrowingIsOver) {
  const std::string base = directory_.path("base.raw");
  must("head -c 8M /dev/urandom > " + base);
  make((1 << 20) + 512, {{"backing_file", base}, {"backing_fmt", "raw"}, {"compat", "0.10"}});
  ASSERT_DONE(run_on_loop(look_at_size_while_growing(path_)));
  expect_clean();
}

// Requests --------------------------------------------------------------------------------------

Task<Result<>> try_zeroing(std::string path) {
  auto image = CO_TRY(co_await Opened::open(std::move(path)));
  CO_TRY(co_await image->write(0, pattern(131072, 1)));
  const Result<> part = co_await image->image().write_zeroes(512, 512, block::flag::kNoFallback);
  EXPECT_FALSE(part);
  if (!part) EXPECT_EQ(part.error().kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(CO_TRY(co_await image->read(0, 4096)), [] {
    Bytes bytes = pattern(131072, 1);
    bytes.resize(4096);
    return bytes;
  }());
  CO_TRY(co_await image->image().write_zeroes(65536, 65536, block::flag::kNoFallback));
  block::Run run = CO_TRY(co_await image->image().status(0, 1 << 20));
  EXPECT_EQ(run.kind, block::RunKind::kData);
  EXPECT_EQ(run.length_bytes, 65536u);
  EXPECT_TRUE(run.host_offset);
  run = CO_TRY(co_await image->image().status(65536, 1 << 20));
  EXPECT_EQ(run.kind, block::RunKind::kZero);
  EXPECT_EQ(run.length_bytes, 65536u);
  run = CO_TRY(co_await image->image().status(131072, (1 << 20) - 131072));
  EXPECT_EQ(run.kind, block::RunKind::kUnallocated);
  EXPECT_EQ(run.length_bytes, (1u << 20) - 131072);
  co_return co_await image->close();
}

TEST_F(ImageTest, ZeroingAndTheMap) {
  make(1 << 20);
  EXPECT_DONE(run_on_loop(try_zeroing(path_)));
  expect_clean();
}

Task<Result<>> zero_without_backing(std::string path) {
  auto image = CO_TRY(co_await Opened::open(std::move(path), {.no_backing = true}));
  CO_TRY(co_await image->write(65536, pattern(512, 1)));
  CO_TRY(co_await image->image().write_zeroes(4096, 512, block::flag::kNone));
  CO_TRY(co_await image->image().write_zeroes(65536 + 4096, 8192, block::flag::kNone));
  CO_TRY(co_await image->image().write_zeroes(2 * 65536, 65536, block::flag::kMayUnmap));
  co_return co_await image->close();
}

TEST_F(ImageTest, ZeroesStayWhenTheBackingFileIsThereAgain) {
  for (const char* compat : {"0.10", "1.1"}) {
    const std::string base = directory_.path("base.raw");
    must("rm -f " + path_ + " && head -c 1M /dev/urandom > " + base);
    make(1 << 20, {{"backing_file", base}, {"backing_fmt", "raw"}, {"compat", compat}});
    ASSERT_DONE(run_on_loop(zero_without_backing(path_)));
    expect_clean();
    for (const char* zero : {"4096 512", "69632 8192", "131072 65536"}) {
      EXPECT_THAT(must(fmt::format("qemu-io -c 'read -P 0 {}' {}", zero, path_)),
                  Not(HasSubstr("Pattern verification failed")))
          << compat << " " << zero;
    }
  }
}

Task<Result<>> discard_all(std::string path) {
  auto image = CO_TRY(co_await Opened::open(path, {.unmap = true}));
  CO_TRY(co_await image->write(0, pattern(8 << 20, 1)));
  CO_TRY(co_await image->image().flush());
  const auto full = *CO_TRY(co_await image->image().facts()).actual_size_bytes;
  CO_TRY(co_await image->image().discard(0, 8 << 20, block::flag::kNone));
  CO_TRY(co_await image->image().flush());
  // Storage goes back behind the flush; to be read-only waits for it.
  CO_TRY(co_await image->image().set_read_only(true));
  CO_TRY(co_await image->image().set_read_only(false));
  const auto empty = *CO_TRY(co_await image->image().facts()).actual_size_bytes;
  EXPECT_LT(empty, full / 4);
  // What was freed is used again, so the file does not grow.
  const uint64_t file_size = image->node().children().file.size_bytes();
  CO_TRY(co_await image->write(0, pattern(8 << 20, 2)));
  EXPECT_EQ(image->node().children().file.size_bytes(), file_size);
  co_return co_await image->close();
}

TEST_F(ImageTest, DiscardGivesStorageBack) {
  make(8 << 20);
  EXPECT_DONE(run_on_loop(discard_all(path_)));
  expect_clean();
}

Task<void> read_one(Opened& image, uint64_t offset, const Bytes& expected, int& wrong) {
  const Result<Bytes> bytes = co_await image.read(offset, 4096);
  wrong += !bytes || !std::equal(bytes->begin(), bytes->end(), expected.begin() + offset);
}

Task<Result<int>> read_beside_each_other(std::string path, const Bytes& expected) {
  auto image = CO_TRY(co_await Opened::open(std::move(path), {.read_only = true}));
  int wrong = 0;
  TaskScope scope;
  for (uint64_t at = 0; at < expected.size(); at += 4096) {
    scope.spawn(read_one(*image, (at * 37) % expected.size(), expected, wrong));
  }
  co_await scope.join();
  CO_TRY(co_await image->close());
  co_return wrong;
}

TEST_F(ImageTest, CompressedClustersAreReadBesideEachOther) {
  Bytes bytes(1 << 20);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i / 512 + i % 3);
  const std::string source = directory_.path("source.raw");
  must("truncate -s 1M " + source);
  poke(source, 0, bytes);
  for (const char* type : {"zlib", "zstd"}) {
    must(fmt::format("qemu-img convert -c -f raw -O qcow2 -o compression_type={} {} {}", type,
                     source, path_));
    const Result<int> wrong = run_on_loop(read_beside_each_other(path_, bytes));
    ASSERT_DONE(wrong);
    EXPECT_EQ(*wrong, 0);
  }
  // Damage gives errors, not other bytes.
  const uint64_t l1 = peek_be<uint64_t>(path_, 40);
  const uint64_t l2 = peek_be<uint64_t>(path_, l1) & format::kOffsetMask;
  const CompressedRange range = compressed_range({}, peek_be<uint64_t>(path_, l2));
  poke(path_, range.offset, Bytes(range.length, std::byte{0x5a}));
  EXPECT_GT(*run_on_loop(read_beside_each_other(path_, bytes)), 0);
}

TEST_F(ImageTest, InternalSnapshotsKeepTheirContents) {
  for (const char* subclusters : {"on", "off"}) {
    must("rm -f " + path_);
    make(4 << 20, {{"extended_l2", subclusters}});
    ASSERT_DONE(run_on_loop(write_pieces(path_, 30, 100000)));
    must(fmt::format("qemu-img convert -O raw {} {}", path_, directory_.path("then.raw")));
    must("qemu-img snapshot -c s0 " + path_);
    ASSERT_DONE(run_on_loop(write_pieces(path_, 40, 77824)));
    expect_clean();
    must(fmt::format("qemu-img convert -l snapshot.name=s0 -O raw {} {}", path_,
                     directory_.path("snapshot.raw")));
    must(fmt::format("cmp {} {}", directory_.path("then.raw"), directory_.path("snapshot.raw")));
  }
}

Task<Result<>> leave_alone(std::string path) {
  OpenSpec spec{.read_only = true};
  spec.options.cache_clean_interval_s = 1;
  auto image = CO_TRY(co_await Opened::open(std::move(path), spec));
  CO_TRY(co_await image->read(0, 4096));
  EXPECT_GT(image->image().cached_table_bytes(), 0u);
  // The first time around they count as used.
  co_await async::Loop::current().sleep_for(std::chrono::milliseconds(2200));
  EXPECT_EQ(image->image().cached_table_bytes(), 0u);
  co_return co_await image->close();
}

TEST_F(ImageTest, TablesNotUsedLeaveMemory) {
  make(1 << 20);
  ASSERT_DONE(run_on_loop(write_pieces(path_, 2, 65536)));
  EXPECT_DONE(run_on_loop(leave_alone(path_)));
}

// Facts -----------------------------------------------------------------------------------------

Task<Result<block::ImageFacts>> facts_of(std::string path) {
  auto image = CO_TRY(co_await Opened::open(std::move(path), {.read_only = true}));
  auto facts = co_await image->image().facts();
  CO_TRY(co_await image->close());
  co_return facts;
}

TEST_F(ImageTest, FactsAreThoseThatQemuTells) {
  must(
      "qemu-img create -f qcow2 -o extended_l2=on,lazy_refcounts=on,compression_type=zstd,"
      "refcount_bits=32 " +
      path_ + " 64M");
  must("qemu-img snapshot -c first " + path_);
  const auto facts = run_on_loop(facts_of(path_));
  ASSERT_DONE(facts);
  using Members = std::vector<std::pair<std::string, block::FactValue>>;
  EXPECT_EQ(facts->format_specific, (Members{{"compat", std::string("1.1")},
                                             {"compression-type", std::string("zstd")},
                                             {"lazy-refcounts", true},
                                             {"refcount-bits", int64_t{32}},
                                             {"corrupt", false},
                                             {"extended-l2", true}}));
  EXPECT_EQ(facts->virtual_size_bytes, 64u << 20);
  EXPECT_EQ(facts->cluster_size_bytes, 65536u);
  ASSERT_EQ(facts->snapshots.size(), 1u);
  EXPECT_EQ(facts->snapshots[0].name, "first");
  EXPECT_EQ(facts->snapshots[0].id, "1");
  EXPECT_GT(facts->snapshots[0].date_s, 1700000000);
}

// Creating --------------------------------------------------------------------------------------

TEST(CreateOptions, AreRefusedWithQemusTexts) {
  const std::vector<std::pair<CreateOptionList, std::string>> cases = {
      {{{"compat", "0.9"}}, "Parameter 'version' does not accept value '0.9'"},
      {{{"cluster_size", "1000"}}, "Cluster size must be a power of two between 512 and 2048k"},
      {{{"cluster_size", "4M"}}, "Cluster size must be a power of two between 512 and 2048k"},
      {{{"cluster_size", "abc"}},
       "Parameter 'cluster_size' expects a non-negative number below 2^64"},
      {{{"refcount_bits", "3"}},
       "Refcount width must be a power of two and may not exceed 64 bits"},
      {{{"compat", "0.10"}, {"refcount_bits", "8"}},
       "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
       "version=v3 or greater)"},
      {{{"compat", "0.10"}, {"lazy_refcounts", "on"}},
       "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or "
       "greater)"},
      {{{"compat", "0.10"}, {"extended_l2", "on"}},
       "Extended L2 entries are only supported with compatibility level 1.1 and above (use "
       "version=v3 or greater)"},
      {{{"cluster_size", "8k"}, {"extended_l2", "on"}},
       "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes"},
      {{{"compat", "0.10"}, {"compression_type", "zstd"}},
       "Non-zlib compression type is only supported with compatibility level 1.1 and above (use "
       "version=v3 or greater)"},
      {{{"compression_type", "foo"}}, "Parameter 'compression-type' does not accept value 'foo'"},
      {{{"preallocation", "foo"}}, "Parameter 'preallocation' does not accept value 'foo'"},
      {{{"backing_fmt", "raw"}}, "Backing format cannot be used without backing file"},
      {{{"preallocation", "metadata"}, {"backing_file", "x"}},
       "Backing file and preallocation can only be used at the same time if extended_l2 is on"},
      {{{"bogus", "1"}}, "Invalid parameter 'bogus'"},
      {{{"lazy_refcounts", "maybe"}}, "Parameter 'lazy_refcounts' expects 'on' or 'off'"},
      {{{"encryption", "on"}}, "encryption: encryption is not supported"},
      {{{"data_file", "x"}}, "data_file: external data files are not supported"},
  };
  for (const auto& [options, text] : cases) {
    const auto parsed = parse_create_options(options);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().text(), text);
  }
}

TEST_F(ImageTest, CreatedImagesAreThoseThatQemuMakes) {
  const std::vector<CreateOptionList> cases = {
      {},
      {{"cluster_size", "512"}},
      {{"cluster_size", "2M"}, {"extended_l2", "on"}},
      {{"compat", "0.10"}},
      {{"refcount_bits", "1"}, {"cluster_size", "4k"}},
      {{"refcount_bits", "64"}, {"lazy_refcounts", "on"}, {"compression_type", "zstd"}},
      {{"preallocation", "metadata"}, {"cluster_size", "1k"}},
      {{"preallocation", "falloc"}, {"extended_l2", "on"}},
  };
  for (const CreateOptionList& options : cases) {
    must("rm -f " + path_);
    make(10 << 20, options);
    expect_clean();
    std::string text;
    for (const auto& [name, value] : options) text += fmt::format("{}={},", name, value);
    text += "size=10M";
    const std::string theirs = directory_.path("theirs.qcow2");
    must(fmt::format("qemu-img create -q -f qcow2 -o {} {}", text, theirs));
    const std::string facts = "qemu-img info --output=json {} | grep -v 'filename\\|actual-size'";
    EXPECT_EQ(must(fmt::format(fmt::runtime(facts), path_)),
              must(fmt::format(fmt::runtime(facts), theirs)))
        << text;
    must(fmt::format("qemu-img compare {} {}", path_, theirs));
  }
}

TEST_F(ImageTest, TooLargeADiskIsRefused) {
  const Result<> made =
      run_on_loop(create_image(path_, uint64_t{1} << 50, {{"cluster_size", "512"}}));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().text(),
            "The image size is too large for file format 'qcow2' (try using a larger cluster "
            "size)");
  EXPECT_DONE(run_on_loop(create_image(directory_.path("b"), uint64_t{1} << 50, {})));
}

TEST(CacheOptions, AreCheckedAsQemuDoes) {
  Options options;
  options.cache_size = 1 << 20;
  options.l2_cache_size = 2 << 20;
  EXPECT_EQ(cache_sizes(options, 1 << 30, 16, false).error().text(),
            "l2-cache-size may not exceed cache-size");
  options.refcount_cache_size = 1;
  EXPECT_EQ(cache_sizes(options, 1 << 30, 16, false).error().text(),
            "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time");
  options.l2_cache_size.reset();
  EXPECT_EQ(cache_sizes(options, 1 << 30, 16, false)->l2_bytes, (1u << 20) - 1);
}

}  // namespace
}  // namespace firn::qcow2
