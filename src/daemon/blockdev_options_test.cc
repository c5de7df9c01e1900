#include "daemon/blockdev_options.h"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>

#include "api/codec.h"
#include "drivers/file/file_driver.h"
#include "drivers/null/null_driver.h"
#include "drivers/qcow2/options.h"
#include "drivers/raw/raw_driver.h"

namespace firn::daemon {
namespace {

base::Result<block::NodeSpec> convert(std::string_view json) {
  return node_spec(TRY(api::decode_as<api::BlockdevOptions>(TRY(base::parse_json(json)))));
}
std::string error_of(std::string_view json) {
  auto spec = convert(json);
  return spec ? "no error" : spec.error().text();
}
template <typename T>
const T& own(const block::NodeSpec& spec) {
  const auto* options = dynamic_cast<const T*>(spec.driver_options.get());
  EXPECT_NE(options, nullptr);
  return *options;
}
const block::NodeSpec& below(const std::optional<block::ChildSpec>& child) {
  return *std::get<std::unique_ptr<block::NodeSpec>>(*child);
}

TEST(NodeSpec, TakesWhatEveryNodeHas) {
  auto spec = convert(
      "{'driver': 'file', 'node-name': 'f', 'filename': 'x', 'read-only': true, "
      "'auto-read-only': true, 'discard': 'unmap', 'cache': {'direct': true, 'no-flush': true}, "
      "'force-share': true, 'detect-zeroes': 'unmap', 'locking': 'off', 'aio': 'native'}");
  ASSERT_TRUE(spec) << spec.error().text();
  EXPECT_EQ(spec->driver, "file");
  EXPECT_EQ(spec->node_name, "f");
  const block::NodeOptions& options = spec->options;
  EXPECT_TRUE(options.read_only && options.auto_read_only && options.unmap && options.direct &&
              options.no_flush && options.force_share);
  EXPECT_EQ(options.detect_zeroes, block::DetectZeroes::kUnmap);
  EXPECT_EQ(own<file::Options>(*spec).filename, "x");
  EXPECT_EQ(own<file::Options>(*spec).locking, file::Options::Locking::kOff);
  EXPECT_EQ(own<file::Options>(*spec).aio, file::Options::Aio::kNative);
}

TEST(NodeSpec, HandsOptionsDownWhereTheChildHasNone) {
  auto spec = convert(
      "{'driver': 'raw', 'node-name': 'r', 'read-only': true, 'cache': {'direct': true}, "
      "'offset': 512, 'size': 1024, 'file': {'driver': 'file', 'filename': 'x', "
      "'cache': {'direct': false}}}");
  ASSERT_TRUE(spec) << spec.error().text();
  EXPECT_EQ(own<raw::Options>(*spec).offset_bytes, 512u);
  EXPECT_EQ(own<raw::Options>(*spec).size_bytes, 1024u);
  const block::NodeSpec& file = below(spec->file);
  EXPECT_EQ(file.driver, "file");
  EXPECT_EQ(file.node_name, "");
  EXPECT_TRUE(file.options.read_only);
  EXPECT_FALSE(file.options.direct);
}

TEST(NodeSpec, TellsTheKindsOfBacking) {
  const std::string head = "{'driver': 'qcow2', 'node-name': 'q', 'file': 'f'";
  auto spec = convert(head + "}");
  ASSERT_TRUE(spec) << spec.error().text();
  EXPECT_EQ(std::get<std::string>(*spec->file), "f");
  EXPECT_FALSE(spec->backing);  // as the header says
  for (const char* none : {", 'backing': null}", ", 'backing': ''}"}) {
    spec = convert(head + none);
    ASSERT_TRUE(spec->backing);
    EXPECT_EQ(std::get<std::unique_ptr<block::NodeSpec>>(*spec->backing), nullptr);
  }
  spec = convert(head + ", 'backing': 'b'}");
  EXPECT_EQ(std::get<std::string>(*spec->backing), "b");
  spec = convert(head + ", 'backing': {'driver': 'null-co', 'size': 4096}}");
  EXPECT_EQ(own<null::Options>(below(spec->backing)).size_bytes, 4096u);
  EXPECT_TRUE(below(spec->backing).options.read_only);
}

TEST(NodeSpec, TakesQcow2sOwn) {
  auto spec = convert(
      "{'driver': 'qcow2', 'node-name': 'q', 'file': 'f', 'lazy-refcounts': true, "
      "'pass-discard-request': false, 'pass-discard-other': true, 'l2-cache-size': 65536, "
      "'refcount-cache-size': 4096, 'cache-clean-interval': 5, 'overlap-check': 'none'}");
  ASSERT_TRUE(spec) << spec.error().text();
  const auto& options = own<qcow2::Options>(*spec);
  EXPECT_EQ(options.lazy_refcounts, true);
  EXPECT_EQ(options.pass_discard_request, false);
  EXPECT_EQ(options.pass_discard_other, true);
  EXPECT_EQ(options.l2_cache_size, 65536u);
  EXPECT_EQ(options.refcount_cache_size, 4096u);
  EXPECT_EQ(options.cache_clean_interval_s, 5u);
}

TEST(NodeSpec, RefusesByName) {
  const std::string file = "{'driver': 'file', 'node-name': 'f', 'filename': 'x', ";
  const std::string qcow2 = "{'driver': 'qcow2', 'node-name': 'q', 'file': 'f', ";
  for (const auto& [json, name] : std::vector<std::pair<std::string, std::string>>{
           {file + "'pr-manager': 'p'}", "pr-manager"},
           {file + "'x-check-cache-dropped': true}", "x-check-cache-dropped"},
           {file + "'aio-max-batch': 3}", "aio-max-batch"},
           {qcow2 + "'encrypt': {'format': 'luks'}}", "encrypt"},
           {qcow2 + "'data-file': 'd'}", "data-file"},
           {qcow2 + "'l2-cache-entry-size': 4096}", "l2-cache-entry-size"},
           {qcow2 + "'overlap-check': 'all'}", "overlap-check"}}) {
    EXPECT_TRUE(error_of(json).starts_with("Parameter '" + name + "' is not supported by firn: "))
        << error_of(json);
  }
}

TEST(NodeSpec, RefusesWhatMakesNoSense) {
  EXPECT_EQ(error_of("{'driver': 'null-co'}"), "'node-name' must be specified for the root node");
  EXPECT_EQ(error_of("{'driver': 'null-co', 'node-name': 'n', 'size': -1}"),
            "Parameter 'size' expects a non-negative number");
  EXPECT_EQ(error_of("{'driver': 'null-co', 'node-name': 'n', 'latency-ns': 18446744073709551615}"),
            "Parameter 'latency-ns' expects at most 4611686018427387904");
  EXPECT_EQ(error_of("{'driver': 'qcow2', 'node-name': 'q', 'file': 'f', "
                     "'cache-clean-interval': 4294967296}"),
            "Cache clean interval too big");
  EXPECT_EQ(error_of("{'driver': 'null-co', 'node-name': 'n', 'force-share': true}"),
            "force-share=on can only be used with read-only images");
  EXPECT_EQ(error_of("{'driver': 'null-co', 'node-name': 'n', 'detect-zeroes': 'unmap'}"),
            "setting detect-zeroes to unmap is not allowed without setting discard operation to "
            "unmap");
}

}  // namespace
}  // namespace firn::daemon
