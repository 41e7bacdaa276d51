#include "worker/rpc/chunk_wire.h"

#include <gtest/gtest.h>

#include <random>

#include "proto/tensor_service.pb.h"

namespace alpa::worker {
namespace {

std::vector<ByteSpan> CutUp(const std::string& message, std::mt19937& random) {
  std::vector<ByteSpan> pieces;
  const auto bytes = std::as_bytes(std::span(message.data(), message.size()));
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min<size_t>(1 + random() % 9, bytes.size() - at);
    pieces.push_back(bytes.subspan(at, size));
    at += size;
  }
  return pieces;
}

TEST(ChunkWire, ReadsAProtobufMessageCutIntoAnyPieces) {
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    proto::PutChunk chunk;
    if (random() % 2) {
      chunk.mutable_ref()->set_job_id("job");
      chunk.mutable_ref()->set_leaf(static_cast<int32_t>(random() % 100));
      chunk.mutable_ref()->mutable_region()->add_start(7);
    }
    std::string data(random() % 300, 'x');
    for (char& c : data) c = static_cast<char>(random());
    chunk.set_data(data);
    const std::string message = chunk.SerializeAsString();
    const auto view = ParsePutChunk(CutUp(message, random));
    ASSERT_TRUE(view.ok()) << view.status();
    EXPECT_EQ(view->has_ref, chunk.has_ref());
    EXPECT_EQ(view->ref, chunk.has_ref() ? chunk.ref().SerializeAsString() : "");
    std::string read;
    for (ByteSpan part : view->data) read.append(reinterpret_cast<const char*>(part.data()), part.size());
    EXPECT_EQ(read, data);
    EXPECT_EQ(view->data_size, data.size());
  }
}

TEST(ChunkWire, RefusesBrokenMessagesAndNeverReadsPastTheirEnd) {
  std::mt19937 random(2);
  proto::PutChunk chunk;
  chunk.mutable_ref()->set_job_id("a job");
  chunk.set_data("some data");
  const std::string good = chunk.SerializeAsString();
  for (size_t size = 1; size < good.size(); ++size) {
    const std::string cut = good.substr(0, size);
    proto::PutChunk parsed;
    EXPECT_EQ(ParsePutChunk(CutUp(cut, random)).ok(), parsed.ParseFromString(cut)) << size;
  }
  for (int i = 0; i < 5000; ++i) {
    std::string bad(random() % 40, ' ');
    for (char& c : bad) c = static_cast<char>(random());
    static_cast<void>(ParsePutChunk(CutUp(bad, random)));  // must return; the result does not matter
  }
  EXPECT_FALSE(ParsePutChunk(CutUp(good + good, random)).ok());
}

TEST(ChunkWire, WritesAHeaderThatProtobufReads) {
  for (size_t size : {0, 1, 127, 128, 300, 16384, 1 << 20}) {
    proto::GetChunk chunk;
    ASSERT_TRUE(chunk.ParseFromString(GetChunkHeader(size) + std::string(size, 'y')));
    EXPECT_EQ(chunk.data().size(), size);
  }
}

}  // namespace
}  // namespace alpa::worker
