#include "api/decoder.h"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>
#include <string>

#include "api/codec.h"
#include "api/encoder.h"
#include "api/keyval.h"
#include "api/types.h"

namespace firn::api {
namespace {

template <typename T>
std::string error_of(std::string_view json) {
  auto decoded = decode_as<T>(base::parse_json(json).value());
  return decoded ? "" : decoded.error().text();
}

template <typename T>
std::string keyval_error_of(std::string_view text, std::string_view implied_key = {}) {
  auto tree = parse_keyval(text, implied_key);
  if (!tree) return tree.error().text();
  auto decoded = decode_as<T>(*tree, InputMode::kKeyval);
  return decoded ? "" : decoded.error().text();
}

struct Case {
  std::string_view input;
  std::string_view error;
};

// What qemu-storage-daemon 7.2 says to the same arguments.
TEST(Decoder, SaysWhatQemuSaysOfNodes) {
  const Case cases[] = {
      {"{}", "Parameter 'driver' is missing"},
      {"{'driver':1}", "Invalid parameter type for 'driver', expected: string"},
      {"{'driver':null}", "Invalid parameter type for 'driver', expected: string"},
      {"{'driver':'bogus'}", "Parameter 'driver' does not accept value 'bogus'"},
      {"{'driver':'raw'}", "Parameter 'file' is missing"},
      {"{'driver':'raw','file':1}", "Invalid parameter type for 'file', expected: BlockdevRef"},
      {"{'driver':'raw','file':{'driver':'file'}}", "Parameter 'file.filename' is missing"},
      {"{'driver':'raw','file':{'driver':'file','filename':1}}",
       "Invalid parameter type for 'file.filename', expected: string"},
      {"{'driver':'raw','file':{'driver':'file','filename':'x','foo':1},'bar':2}",
       "Parameter 'file.foo' is unexpected"},
      {"{'driver':'raw','cache':1,'file':'x'}",
       "Invalid parameter type for 'cache', expected: object"},
      {"{'driver':'raw','cache':{'direct':'on'},'file':'x'}",
       "Invalid parameter type for 'cache.direct', expected: boolean"},
      {"{'driver':'raw','offset':-1.5,'file':'x'}",
       "Invalid parameter type for 'offset', expected: integer"},
      {"{'driver':'null-co','size':18446744073709551615}",
       "Invalid parameter type for 'size', expected: integer"},
      {"{'driver':'null-co','latency-ns':'1'}", "Parameter 'latency-ns' expects uint64"},
      {"{'driver':'qcow2','file':'x','overlap-check':{'template':'x'}}",
       "Parameter 'template' does not accept value 'x'"},
      {"{'driver':'qcow2','file':'x','overlap-check':'bogus'}",
       "Parameter 'overlap-check' does not accept value 'bogus'"},
      {"{'driver':'qcow2','file':'x','overlap-check':1}",
       "Invalid parameter type for 'overlap-check', expected: Qcow2OverlapChecks"},
      {"{'driver':'qcow2','file':'x','backing':1}",
       "Invalid parameter type for 'backing', expected: BlockdevRefOrNull"},
      {"{'driver':'qcow2','file':'x','backing':{'driver':'qcow2','file':{'driver':'qcow2',"
       "'file':true}}}",
       "Invalid parameter type for 'file', expected: BlockdevRef"},
      {"{'driver':'file','filename':'x','drop-cache':1}",
       "Invalid parameter type for 'drop-cache', expected: boolean"},
      {"{'driver':'file','filename':'x','aio-max-batch':-1,'x':1}", "Parameter 'x' is unexpected"},
      {"[]", "Invalid parameter type for '<anonymous>', expected: object"},
      {"{'driver':'file','filename':'x'}", ""},
  };
  for (const Case& c : cases) EXPECT_EQ(error_of<BlockdevOptions>(c.input), c.error) << c.input;
}

TEST(Decoder, SaysWhatQemuSaysOfListsAndRanges) {
  EXPECT_EQ(error_of<QmpCapabilitiesArgs>("{'enable':['oob',1]}"),
            "Invalid parameter type for 'enable[1]', expected: string");
  EXPECT_EQ(error_of<QmpCapabilitiesArgs>("{'enable':['bogus']}"),
            "Parameter 'null' does not accept value 'bogus'");
  EXPECT_EQ(error_of<QmpCapabilitiesArgs>("{'enable':'oob'}"),
            "Invalid parameter type for 'enable', expected: array");
  const std::string_view address = "{'addr':{'type':'inet','data':{'host':'h','port':'1','to':%}}}";
  const auto with_to = [&](std::string_view to) {
    std::string text(address);
    return text.replace(text.find('%'), 1, to);
  };
  EXPECT_EQ(error_of<NbdServerStartArgs>(with_to("65536")), "Parameter 'to' expects uint16_t");
  EXPECT_EQ(error_of<NbdServerStartArgs>(with_to("-1")), "Parameter 'to' expects uint16_t");
  EXPECT_EQ(error_of<NbdServerStartArgs>(with_to("'1'")),
            "Parameter 'addr.data.to' expects uint64");
  EXPECT_EQ(error_of<NbdServerStartArgs>(with_to("65535")), "");
  EXPECT_EQ(error_of<BlockExportOptions>("{'type':'nbd','id':'x','node-name':'y','bitmaps':[1]}"),
            "Invalid parameter type for 'null', expected: BlockDirtyBitmapOrStr");
  EXPECT_EQ(error_of<BlockExportOptions>("{'type':'nbd','id':'x','node-name':'y','bitmaps':[{}]}"),
            "Parameter 'bitmaps[0].node' is missing");
}

TEST(Decoder, SaysWhatQemuSaysOfKeyval) {
  const Case cases[] = {
      {"driver=null-co,size=1k", "Parameter 'size' expects integer"},
      {"driver=null-co,size=", "Parameter 'size' expects integer"},
      {"driver=null-co,size=99999999999999999999", "Parameter 'size' expects integer"},
      {"driver=null-co,size=0x10", ""},
      {"driver=null-co,read-only=true", ""},
      {"driver=null-co,read-only=maybe", "Parameter 'read-only' expects 'on' or 'off'"},
      {"driver=null-co,cache=on", "Invalid parameter type for 'cache', expected: object"},
      {"driver=null-co,cache.foo=on", "Parameter 'cache.foo' is unexpected"},
      {"driver=null-co,cache.direct.x=1", "Parameters 'cache.direct.*' are unexpected"},
      {"driver.x=1", "Parameters 'driver.*' are unexpected"},
      {"driver=raw,file.driver=file,file.filename=/x,file=y",
       "Parameters 'file.*' used inconsistently"},
      {"=3", "Invalid parameter ''"},
      {"driver", "Parameter 'driver' does not accept value 'driver'"},
      {"driver=null-co,", ""},
      {"driver=null-co,1a=2", "Invalid parameter '1a'"},
      {"driver=null-co,a..b=2", "Invalid parameter 'a..b'"},
      {"driver=null-co,size", "Expected '=' after parameter 'size'"},
      {"driver=null-co,node_name=a", "Parameter 'node_name' is unexpected"},
      {"driver=qcow2,file=x,backing=", ""},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(keyval_error_of<BlockdevOptions>(c.input, "driver"), c.error) << c.input;
  }
  const std::string long_name(200, 'a');
  EXPECT_EQ(keyval_error_of<BlockdevOptions>(long_name + "=1"),
            "Parameter '" + long_name + "' is too long");
  const std::string_view exported = "type=nbd,id=x,node-name=y,bitmaps.";
  const auto bitmaps = [&](std::string_view rest) {
    return keyval_error_of<BlockExportOptions>(std::string(exported).append(rest));
  };
  EXPECT_EQ(bitmaps("0=a,bitmaps.1.node=b"), "Parameter 'bitmaps.1.name' is missing");
  EXPECT_EQ(bitmaps("0=a,bitmaps.2=b"), "Parameter 'bitmaps.1' missing");
  EXPECT_EQ(bitmaps("0=a,bitmaps.x=b"), "Parameters 'bitmaps.*' used inconsistently");
  EXPECT_EQ(bitmaps("x=b"), "Invalid parameter type for 'bitmaps', expected: array");
  EXPECT_EQ(bitmaps("99999999999999999999=b"), "Parameter 'bitmaps.0' missing");
}

TEST(Decoder, FillsUnionsAndAlternates) {
  auto options = decode_as<BlockdevOptions>(
      base::parse_json("{'driver':'qcow2','node-name':'top','cache':{'direct':true},"
                       "'file':{'driver':'file','filename':'/x','aio':'io_uring'},'backing':null,"
                       "'cache-size':-5,'overlap-check':'none'}")
          .value());
  ASSERT_TRUE(options) << options.error().text();
  EXPECT_EQ(options->driver, BlockdevDriver::kQcow2);
  EXPECT_EQ(options->node_name, "top");
  EXPECT_EQ(options->cache->direct, true);
  EXPECT_FALSE(options->cache->no_flush);
  const auto& qcow2 = std::get<BlockdevOptionsQcow2>(options->u);
  EXPECT_EQ(qcow2.cache_size, -5);
  ASSERT_TRUE(qcow2.backing);
  EXPECT_TRUE(qcow2.backing->null());
  EXPECT_FALSE(qcow2.backing->definition());
  ASSERT_TRUE(qcow2.overlap_check->mode());
  EXPECT_EQ(*qcow2.overlap_check->mode(), Qcow2OverlapCheckMode::kNone);
  const BlockdevOptions* file = qcow2.file.definition();
  ASSERT_TRUE(file);
  EXPECT_EQ(std::get<BlockdevOptionsFile>(file->u).filename, "/x");
  EXPECT_EQ(std::get<BlockdevOptionsFile>(file->u).aio, BlockdevAioOptions::kIoUring);

  const BlockdevOptions copy = *options;
  options->node_name = "changed";
  std::get<BlockdevOptionsQcow2>(options->u).file.u = "changed";
  EXPECT_EQ(copy.node_name, "top");
  const BlockdevOptions* copied_file = std::get<BlockdevOptionsQcow2>(copy.u).file.definition();
  ASSERT_TRUE(copied_file);
  EXPECT_EQ(std::get<BlockdevOptionsFile>(copied_file->u).filename, "/x");
}

TEST(Decoder, EncodesWhatItDecodes) {
  const std::string_view texts[] = {
      R"({"driver": "qcow2", "node-name": "a", "file": "f", "backing": null, "cache-size": 7})",
      R"({"driver": "host_device", "read-only": false, "filename": "/dev/x", "locking": "auto"})",
      R"({"driver": "raw", "file": {"driver": "null-co", "size": 0, "latency-ns": 18446744073709551615}})",
  };
  for (std::string_view text : texts) {
    auto options = decode_as<BlockdevOptions>(base::parse_json(text).value());
    ASSERT_TRUE(options) << options.error().text();
    EXPECT_EQ(base::print_json(encode(*options)), text);
  }
}

TEST(Decoder, ReadsKeyvalTrees) {
  InputMode mode;
  auto tree = parse_option(
      "qcow2,file.driver=file,file.filename=a,,b=c,node-name=x,backing=", "driver", mode);
  ASSERT_TRUE(tree) << tree.error().text();
  EXPECT_EQ(mode, InputMode::kKeyval);
  auto options = decode_as<BlockdevOptions>(*tree, mode);
  ASSERT_TRUE(options) << options.error().text();
  const auto& qcow2 = std::get<BlockdevOptionsQcow2>(options->u);
  EXPECT_EQ(std::get<BlockdevOptionsFile>(qcow2.file.definition()->u).filename, "a,b=c");
  EXPECT_EQ(*qcow2.backing->reference(), "");

  tree = parse_option("{'driver':'null-co','size':5}", "driver", mode);
  ASSERT_TRUE(tree);
  EXPECT_EQ(mode, InputMode::kJson);

  auto exported = decode_as<BlockExportOptions>(
      parse_keyval("type=nbd,id=e,node-name=n,writable=on,bitmaps.1.node=q,bitmaps.0=a,"
                   "bitmaps.1.name=z")
          .value(),
      InputMode::kKeyval);
  ASSERT_TRUE(exported) << exported.error().text();
  EXPECT_EQ(exported->writable, true);
  const auto& nbd = std::get<BlockExportOptionsNbd>(exported->u);
  ASSERT_EQ(nbd.bitmaps->size(), 2u);
  EXPECT_EQ(*nbd.bitmaps->at(0).local(), "a");
  EXPECT_EQ(nbd.bitmaps->at(1).external()->node, "q");
  EXPECT_EQ(nbd.bitmaps->at(1).external()->name, "z");
}

TEST(Decoder, ReadsSizesWithSuffixes) {
  const auto size_of = [](std::string_view text) -> uint64_t {
    Decoder decoder(InputMode::kKeyval);
    uint64_t bytes = 0;
    return decode(decoder, JsonValue(text), as_size(bytes)) ? bytes : 0;
  };
  EXPECT_EQ(size_of("64k"), 65536u);
  EXPECT_EQ(size_of("1.5G"), 1610612736u);
  EXPECT_EQ(size_of("0x200"), 512u);
  Decoder decoder(InputMode::kKeyval);
  uint64_t bytes = 0;
  EXPECT_FALSE(decode(decoder, JsonValue("64q"), as_size(bytes)));
  EXPECT_EQ(decoder.take_error().text(), "Parameter '<anonymous>' expects size");
}

TEST(Enums, HaveNamesBothWays) {
  EXPECT_EQ(to_string(NewImageMode::kAbsolutePaths), "absolute-paths");
  EXPECT_EQ(parse_enum<NewImageMode>("existing"), NewImageMode::kExisting);
  EXPECT_FALSE(parse_enum<NewImageMode>("bogus"));
  EXPECT_EQ(to_string(BlockdevDriver::kHostDevice), "host_device");
}

}  // namespace
}  // namespace firn::api
