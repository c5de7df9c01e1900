// The transmission phase as a client sees it, byte by byte.
#include "exports/nbd/session.h"

#include <algorithm>

#include "exports/nbd/nbd_test_support.h"

namespace firn::nbd {
namespace {

using testing::Bytes;
using testing::RawClient;

constexpr uint64_t kSize = uint64_t{8} << 20;

class SessionTest : public testing::ServerTest {
 protected:
  void SetUp() override {
    start();
    export_ = serve(add_file("disk", kSize), {.writable = true, .allocation_depth = true});
  }
  Export* export_ = nullptr;
};

TEST_F(SessionTest, SimpleRepliesCarryData) {
  RawClient client = enter(false);
  EXPECT_EQ(client.write(512, std::string(4096, 'a')), WireError::kNone);
  client.send(RawClient::request(Command::kRead, 5, 511, 4098));
  EXPECT_EQ(client.receive_simple(5), WireError::kNone);
  EXPECT_EQ(client.receive(4098).text(), '\0' + std::string(4096, 'a') + '\0');
  client.send(RawClient::request(Command::kRead, 6, kSize, 1));
  EXPECT_EQ(client.receive_simple(6), WireError::kInval);
}

TEST_F(SessionTest, StructuredReadsAreOneChunkWhenShort) {
  RawClient client = enter();
  client.write(0, "firn");
  client.send(RawClient::request(Command::kRead, 5, 0, 8));
  const auto chunk = client.receive_chunk();
  EXPECT_EQ(chunk.type, ChunkType::kOffsetData);
  EXPECT_EQ(chunk.flags, kChunkDone);
  EXPECT_EQ(chunk.cookie, 5u);
  EXPECT_EQ(chunk.data, std::string(8, '\0') + "firn" + std::string(4, '\0'));
  client.send(RawClient::request(Command::kRead, 6, 0, 0));
  EXPECT_EQ(client.receive_chunk().type, ChunkType::kNone);
}

// Joins the chunks of a READ; `holes` counts those that were not sent as data.
std::string join_read(RawClient& client, uint64_t offset, uint32_t length, int& holes,
                      int& chunks) {
  std::string joined(length, '?');
  holes = chunks = 0;
  while (true) {
    const auto chunk = client.receive_chunk();
    ++chunks;
    Bytes data(chunk.data);
    const uint64_t at = data.take<uint64_t>() - offset;
    if (chunk.type == ChunkType::kOffsetHole) {
      ++holes;
      joined.replace(at, data.take<uint32_t>(),
                     std::string(Bytes(chunk.data.substr(8)).take<uint32_t>(), '\0'));
    } else {
      EXPECT_EQ(chunk.type, ChunkType::kOffsetData);
      joined.replace(at, data.text().size(), data.text());
    }
    if ((chunk.flags & kChunkDone) != 0) return joined;
  }
}

TEST_F(SessionTest, LongReadsLeaveHolesOut) {
  RawClient client = enter();
  const std::string data(65536, 'x');
  client.write(1 << 20, data);
  client.write(3 << 20, data);
  int holes = 0;
  int chunks = 0;
  client.send(RawClient::request(Command::kRead, 9, 0, 4 << 20));
  std::string expected(4 << 20, '\0');
  expected.replace(1 << 20, data.size(), data);
  expected.replace(3 << 20, data.size(), data);
  EXPECT_EQ(join_read(client, 0, 4 << 20, holes, chunks), expected);
  EXPECT_EQ(holes, 3);
  EXPECT_EQ(chunks, 5);

  client.send(RawClient::request(Command::kRead, 9, 0, 4 << 20, command_flag::kDf));
  EXPECT_EQ(join_read(client, 0, 4 << 20, holes, chunks), expected);
  EXPECT_EQ(chunks, 1);
  EXPECT_EQ(holes, 0);
}

// A range that was seen as data may be zeroed later: what is read stays right.
TEST_F(SessionTest, ReadsStayRightAfterZeroing) {
  RawClient client = enter();
  const std::string data(1 << 20, 'x');
  client.write(0, data);
  int holes = 0;
  int chunks = 0;
  client.send(RawClient::request(Command::kRead, 1, 0, 1 << 20));
  EXPECT_EQ(join_read(client, 0, 1 << 20, holes, chunks), data);
  client.send(RawClient::request(Command::kWriteZeroes, 2, 0, 1 << 20));
  EXPECT_EQ(client.receive_simple(2), WireError::kNone);
  client.send(RawClient::request(Command::kRead, 3, 0, 1 << 20));
  EXPECT_EQ(join_read(client, 0, 1 << 20, holes, chunks), std::string(1 << 20, '\0'));
}

TEST_F(SessionTest, AllCommandsThatWrite) {
  RawClient client = enter();
  EXPECT_EQ(client.write(0, std::string(65536, 'a'), command_flag::kFua), WireError::kNone);
  uint64_t cookie = 100;
  const auto answer = [&](Command command, uint64_t offset, uint32_t length, uint16_t flags = 0) {
    client.send(RawClient::request(command, ++cookie, offset, length, flags));
    return client.receive_simple(cookie);
  };
  EXPECT_EQ(answer(Command::kWriteZeroes, 4096, 4096, command_flag::kNoHole), WireError::kNone);
  EXPECT_EQ(answer(Command::kWriteZeroes, 8192, 4096, command_flag::kFua), WireError::kNone);
  EXPECT_EQ(answer(Command::kWriteZeroes, 8192, 0), WireError::kNone);
  EXPECT_EQ(answer(Command::kTrim, 65536, 65536, command_flag::kFua), WireError::kNone);
  EXPECT_EQ(answer(Command::kTrim, kSize, 0), WireError::kNone);
  EXPECT_EQ(answer(Command::kCache, 0, 3 << 20), WireError::kNone);
  EXPECT_EQ(answer(Command::kFlush, 0, 0), WireError::kNone);
  client.send(RawClient::request(Command::kRead, 1, 4095, 8194));
  EXPECT_EQ(client.receive_chunk().data.substr(8), 'a' + std::string(8192, '\0') + 'a');
}

TEST_F(SessionTest, ErrorsHaveTextAndTheConnectionGoesOn) {
  RawClient client = enter();
  const std::string payload(5000, 'p');
  client.send(RawClient::request(Command::kWrite, 1, kSize - 1, 5000) + payload);
  EXPECT_EQ(client.receive_error_chunk(1), WireError::kNoSpc);
  EXPECT_EQ(client.last_text, "the request goes beyond the end of the export");
  client.send(RawClient::request(Command::kWrite, 2, 0, 5000, 1u << 9) + payload);
  EXPECT_EQ(client.receive_error_chunk(2), WireError::kInval);
  client.send(RawClient::request(static_cast<Command>(99), 3, 0, 5000));
  EXPECT_EQ(client.receive_error_chunk(3), WireError::kInval);
  client.send(RawClient::request(Command::kBlockStatus, 4, 0, 5000));
  EXPECT_EQ(client.receive_error_chunk(4), WireError::kInval);
  client.send(RawClient::request(Command::kRead, 5, 0, kMaxPayloadBytes + 1));
  EXPECT_EQ(client.receive_error_chunk(5), WireError::kInval);
  EXPECT_EQ(client.write(0, payload), WireError::kNone);
}

// 33 MiB that are not wanted are read and dropped; what follows is a request again.
TEST_F(SessionTest, AnOversizedWriteIsDrained) {
  RawClient client = enter();
  client.send(RawClient::request(Command::kWrite, 1, 0, 33u << 20));
  client.send(std::string(33u << 20, 'x'));
  EXPECT_EQ(client.receive_error_chunk(1), WireError::kInval);
  client.send(RawClient::request(Command::kRead, 2, 0, 4));
  EXPECT_EQ(client.receive_chunk().data.substr(8), std::string(4, '\0'));
}

TEST_F(SessionTest, TheLargestPayloadPasses) {
  stop();
  start();
  serve(add_file("big", uint64_t{64} << 20), {.writable = true});
  RawClient client = enter(false);
  std::string data(kMaxPayloadBytes, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + (i >> 12));
  EXPECT_EQ(client.write(1, data), WireError::kNone);
  client.send(RawClient::request(Command::kRead, 2, 1, kMaxPayloadBytes));
  EXPECT_EQ(client.receive_simple(2), WireError::kNone);
  EXPECT_TRUE(client.receive(data.size()).text() == data);
}

TEST_F(SessionTest, ReadOnlyExports) {
  serve(add_file("frozen", kSize, true), {.name = "frozen"});
  RawClient client = connect();
  client.greet();
  client.structured();
  ASSERT_EQ(client.choose(Option::kGo, "frozen"), OptionReply::kAck);
  EXPECT_TRUE(client.flags & transmission_flag::kReadOnly);
  EXPECT_FALSE(client.flags & transmission_flag::kSendTrim);
  client.send(RawClient::request(Command::kWrite, 1, 0, 4) + "abcd");
  EXPECT_EQ(client.receive_error_chunk(1), WireError::kPerm);
  client.send(RawClient::request(Command::kFlush, 2, 0, 0));
  EXPECT_EQ(client.receive_simple(2), WireError::kNone);
}

struct Extents {
  uint32_t context = 99;
  std::vector<Extent> list;
};
Extents take_status(RawClient& client, bool done) {
  const auto chunk = client.receive_chunk();
  EXPECT_EQ(chunk.type, ChunkType::kBlockStatus);
  EXPECT_EQ(chunk.flags, done ? kChunkDone : 0);
  Bytes data(chunk.data);
  Extents extents{data.take<uint32_t>(), {}};
  while (!data.text().empty()) {
    const auto length = data.take<uint32_t>();
    extents.list.push_back({length, data.take<uint32_t>()});
  }
  return extents;
}

TEST_F(SessionTest, BlockStatusOfBothContexts) {
  RawClient client = enter(true, {"base:allocation", "qemu:allocation-depth"});
  client.write(1 << 20, std::string(1 << 20, 'x'));
  client.send(RawClient::request(Command::kBlockStatus, 7, 0, 4 << 20));
  const Extents allocation = take_status(client, false);
  EXPECT_EQ(allocation.context, kBaseAllocationId);
  ASSERT_EQ(allocation.list.size(), 3u);
  EXPECT_EQ(allocation.list[0].length, 1u << 20);
  EXPECT_EQ(allocation.list[0].flags, 3u);
  EXPECT_EQ(allocation.list[1].length, 1u << 20);
  EXPECT_EQ(allocation.list[1].flags, 0u);
  EXPECT_EQ(allocation.list[2].length, 2u << 20);
  const Extents depth = take_status(client, true);
  EXPECT_EQ(depth.context, kAllocationDepthId);
  ASSERT_FALSE(depth.list.empty());
  EXPECT_EQ(depth.list[0].flags, 1u);

  client.send(RawClient::request(Command::kBlockStatus, 8, 0, 4 << 20, command_flag::kReqOne));
  EXPECT_EQ(take_status(client, false).list.size(), 1u);
  EXPECT_EQ(take_status(client, true).list.size(), 1u);
  client.send(RawClient::request(Command::kBlockStatus, 9, 1 << 20, 1000));
  EXPECT_EQ(take_status(client, false).list[0].length, 1000u);
  take_status(client, true);
}

TEST_F(SessionTest, ManyRequestsInOneGo) {
  RawClient client = enter(false);
  std::string requests;
  for (uint64_t i = 0; i < 1000; ++i) {
    requests += RawClient::request(Command::kWrite, i, i * 512, 512);
    requests += std::string(512, static_cast<char>('a' + i % 26));
  }
  client.send(requests);
  std::vector<bool> seen(1000);
  for (int i = 0; i < 1000; ++i) {
    Bytes head = client.receive(SimpleReply::kBytes);
    ASSERT_EQ(head.text().size(), SimpleReply::kBytes);
    EXPECT_EQ(head.take<uint32_t>(), kSimpleReplyMagic);
    EXPECT_EQ(head.take<uint32_t>(), 0u);
    seen.at(head.take<uint64_t>()) = true;
  }
  EXPECT_EQ(std::ranges::count(seen, true), 1000);
  for (uint64_t i = 0; i < 1000; ++i) {
    client.send(RawClient::request(Command::kRead, i, i * 512, 512));
    EXPECT_EQ(client.receive_simple(i), WireError::kNone);
    EXPECT_EQ(client.receive(512).text(), std::string(512, static_cast<char>('a' + i % 26)));
  }
}

// A client that asks and never reads is held back: the server stops taking requests in.
TEST_F(SessionTest, AClientThatReadsNothingIsHeldBack) {
  serve(add_null("null", kSize), {.name = "null"});
  RawClient client = connect();
  client.greet();
  ASSERT_EQ(client.choose(Option::kGo, "null"), OptionReply::kAck);
  std::string requests;
  for (uint64_t i = 0; i < 1000; ++i) requests += RawClient::request(Command::kRead, i, 0, 4096);
  size_t sent = 0;
  for (int quiet = 0; quiet < 20;) {
    const size_t now = client.send_some(std::string_view(requests).substr(sent % requests.size()));
    sent += now;
    if (now != 0) {
      quiet = 0;
    } else {
      ++quiet;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_LT(sent, size_t{1} << 20);
  }
  // Others are served meanwhile.
  RawClient other = enter(false);
  EXPECT_EQ(other.write(0, "x"), WireError::kNone);
  // And it gets everything once it reads.
  for (uint64_t i = 0; i < 200; ++i) {
    Bytes head = client.receive(SimpleReply::kBytes);
    ASSERT_EQ(head.take<uint32_t>(), kSimpleReplyMagic);
    ASSERT_EQ(client.receive(4096).text().size(), size_t{4096});
  }
}

TEST_F(SessionTest, DisconnectAnswersWhatIsUnderWay) {
  RawClient client = enter(false);
  client.send(RawClient::request(Command::kWrite, 1, 0, 4) + "abcd" +
              RawClient::request(Command::kDisconnect, 2, 0, 0));
  EXPECT_EQ(client.receive_simple(1), WireError::kNone);
  EXPECT_TRUE(client.at_end());
}

TEST_F(SessionTest, ABadMagicEndsTheConnection) {
  RawClient client = enter(false);
  client.send(RawClient::request(Command::kRead, 1, 0, 4, 0, 0x25609514));
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(enter(false).write(0, "x"), WireError::kNone);
}

// Cut off after every byte of a write and of what follows it.
TEST_F(SessionTest, AClientMayDieAtAnyByte) {
  const std::string whole = RawClient::request(Command::kWrite, 1, 0, 40) + std::string(40, 'x') +
                            RawClient::request(Command::kRead, 2, 0, 100);
  for (size_t length = 0; length <= whole.size(); ++length) {
    RawClient client = enter(length % 2 == 0);
    client.send(std::string_view(whole).substr(0, length));
    if (length % 3 == 0) client.shutdown_send();
  }
  EXPECT_EQ(enter(false).write(0, "x"), WireError::kNone);
}

TEST_F(SessionTest, GarbageEndsOnlyItsOwnConnection) {
  std::string garbage(100'000, '\0');
  uint64_t state = 1;
  for (int round = 0; round < 40; ++round) {
    for (char& byte : garbage) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<char>(state >> 56);
    }
    RawClient client = enter(round % 2 == 0);
    // Every other round with good magics, so that the garbage is looked at.
    if (round % 4 < 2) {
      for (size_t at = 0; at + 28 <= garbage.size(); at += 28) {
        base::store_be(garbage.data() + at, kRequestMagic);
        garbage[at + 6] = 0;
        garbage[at + 7] = static_cast<char>(garbage[at + 7] & 7);
        if (garbage[at + 7] == 1) garbage[at + 7] = 0;  // a write would swallow what follows
        garbage[at + 16] = garbage[at + 17] = garbage[at + 18] = garbage[at + 19] = 0;
        garbage[at + 20] = garbage[at + 24] = 0;
      }
    }
    client.send_some(garbage);
  }
  EXPECT_EQ(enter(false).write(0, "x"), WireError::kNone);
}

TEST_F(SessionTest, TwoConnectionsSeeOneDisk) {
  RawClient first = enter();
  RawClient second = enter();
  EXPECT_TRUE(first.flags & transmission_flag::kCanMultiConn);
  first.write(0, "from the first");
  second.send(RawClient::request(Command::kRead, 1, 0, 14));
  EXPECT_EQ(second.receive_chunk().data.substr(8), "from the first");
}

// A client keeps the size that it was told.
TEST_F(SessionTest, AShrunkenDiskRefusesWhatIsBeyond) {
  ASSERT_TRUE(call(server_->remove_export("", RemoveMode::kSafe)).has_value());
  serve(graph_->find_node("disk"));
  RawClient client = enter();
  const auto resized = call(graph_->resize("", "disk", 1 << 20, true));
  ASSERT_TRUE(resized.has_value()) << resized.error().text();
  client.send(RawClient::request(Command::kRead, 1, 2 << 20, 4096));
  EXPECT_EQ(client.receive_error_chunk(1), WireError::kInval);
  client.send(RawClient::request(Command::kRead, 1, 0, 2 << 20));
  EXPECT_EQ(client.receive_error_chunk(1), WireError::kInval);
  RawClient later = enter();
  EXPECT_EQ(later.size, uint64_t{1} << 20);
}

TEST_F(SessionTest, AGrownDiskIsGrownForThoseWhoComeLater) {
  RawClient client = enter();
  const auto resized = call(graph_->resize("", "disk", kSize * 2));
  ASSERT_TRUE(resized.has_value()) << resized.error().text();
  client.send(RawClient::request(Command::kWrite, 1, kSize, 4) + "abcd");
  EXPECT_EQ(client.receive_error_chunk(1), WireError::kNoSpc);
  RawClient later = enter();
  EXPECT_EQ(later.size, kSize * 2);
  EXPECT_EQ(later.write(kSize * 2 - 4, "abcd"), WireError::kNone);
}

}  // namespace
}  // namespace firn::nbd
