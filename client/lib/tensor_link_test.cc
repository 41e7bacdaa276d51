#include "client/lib/tensor_link.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <numeric>

#include "base/mutex.h"
#include "client/lib/box_cursor.h"
#include "client/lib/outcome.h"

namespace alpa::client {
namespace {

using ::testing::HasSubstr;

constexpr int kRows = 5, kColumns = 7;
const graph::Shape kShape{graph::DType::kF32, {kRows, kColumns}};

// A fake worker that stores complete leaves and counts the calls.
class FakeWorker : public proto::TensorService::Service {
 public:
  FakeWorker() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address = absl::StrCat("127.0.0.1:", port);
  }
  ~FakeWorker() override { server_->Shutdown(); }

  grpc::Status Put(grpc::ServerContext* context, grpc::ServerReader<proto::PutChunk>* reader,
                   proto::PutReply* reply) override {
    proto::PutChunk chunk;
    if (!reader->Read(&chunk)) return {grpc::StatusCode::INVALID_ARGUMENT, "no message arrived"};
    const proto::LeafRef ref = chunk.ref();
    if (ref.job_id() != "job" || ref.epoch() != 3) return {grpc::StatusCode::ABORTED, "another job"};
    if (refuse) {
      context->AddTrailingMetadata("alpa-reason", "STALE_STATE");
      return {grpc::StatusCode::FAILED_PRECONDITION, "not now"};
    }
    BoxCursor cursor(kShape.dims, Box(ref), 4);
    Bytes taken = 0;
    MutexLock lock(mutex);
    std::vector<float>& leaf = Leaf(ref);
    do {
      cursor.CopyIn(reinterpret_cast<uint8_t*>(leaf.data()), reinterpret_cast<const uint8_t*>(chunk.data().data()),
                    static_cast<Bytes>(chunk.data().size()));
      taken += static_cast<Bytes>(chunk.data().size());
    } while (reader->Read(&chunk));
    ++puts;
    reply->set_bytes(lie ? taken - 1 : taken);
    return grpc::Status::OK;
  }
  grpc::Status Get(grpc::ServerContext*, const proto::GetRequest* request,
                   grpc::ServerWriter<proto::GetChunk>* writer) override {
    MutexLock lock(mutex);
    BoxCursor cursor(kShape.dims, Box(request->ref()), 4);
    ++gets;
    while (cursor.remaining() > 0) {
      proto::GetChunk chunk;
      const Bytes size = std::min<Bytes>(cursor.remaining(), 10);  // 10 bytes: a message may end inside an element
      chunk.mutable_data()->resize(static_cast<size_t>(size));
      cursor.CopyOut(reinterpret_cast<const uint8_t*>(Leaf(request->ref()).data()),
                     reinterpret_cast<uint8_t*>(chunk.mutable_data()->data()), size);
      if (lie) chunk.mutable_data()->push_back('x');
      writer->Write(chunk);
    }
    return grpc::Status::OK;
  }
  static plan::Region Box(const proto::LeafRef& ref) {
    return {{ref.region().start().begin(), ref.region().start().end()},
            {ref.region().size().begin(), ref.region().size().end()}};
  }
  std::vector<float>& Leaf(const proto::LeafRef& ref) {
    std::vector<float>& leaf = leaves[{ref.kind(), ref.leaf(), ref.version()}];
    leaf.resize(kRows * kColumns, -1);
    return leaf;
  }

  std::string address;
  bool refuse = false, lie = false;
  Mutex mutex;
  int puts = 0, gets = 0;
  std::map<std::tuple<int, int, int64_t>, std::vector<float>> leaves;

 private:
  std::unique_ptr<grpc::Server> server_;
};

struct TensorLinkTest : ::testing::Test {
  TensorLinkTest() {
    placement.epoch = 3;
    placement.workers = {{"a", workers[0].address}, {"b", workers[1].address}};
    const plan::Region all{{0, 0}, {kRows, kColumns}}, top{{0, 0}, {3, kColumns}}, bottom{{3, 0}, {2, kColumns}};
    placement.inputs = {{kShape, {{all, {0, 1}}}}, {kShape, {{top, {0}}, {bottom, {1}}}}};
    placement.outputs = {{kShape, {{all, {0, 1}}}}, {kShape, {}}};
    values.resize(kRows * kColumns);
    std::iota(values.begin(), values.end(), 0.0f);
  }
  static std::span<uint8_t> Span(std::vector<float>& v) {
    return {reinterpret_cast<uint8_t*>(v.data()), v.size() * sizeof(float)};
  }
  const std::vector<float>& At(int worker, int kind, int leaf, int64_t version) {
    return workers[worker].leaves.at({kind, leaf, version});
  }

  FakeWorker workers[2];
  Placement placement;
  std::vector<float> values;
};

TEST_F(TensorLinkTest, PutReachesEveryHolderOfAPart) {
  TensorLink link("job", placement, nullptr);
  ASSERT_TRUE(link.Put(proto::LeafRef::STATE, {{0, 0, Span(values)}}).ok());
  EXPECT_EQ(At(0, proto::LeafRef::STATE, 0, 0), values);
  EXPECT_EQ(At(1, proto::LeafRef::STATE, 0, 0), values);
  ASSERT_TRUE(link.Put(proto::LeafRef::BATCH, {{1, 5, Span(values)}, {1, 6, Span(values)}}).ok());
  for (int slot : {5, 6}) {
    std::vector<float> top = values, bottom = values;
    std::fill(top.begin() + 3 * kColumns, top.end(), -1.0f);
    std::fill(bottom.begin(), bottom.begin() + 3 * kColumns, -1.0f);
    EXPECT_EQ(At(0, proto::LeafRef::BATCH, 1, slot), top);
    EXPECT_EQ(At(1, proto::LeafRef::BATCH, 1, slot), bottom);
  }
  EXPECT_EQ(workers[0].puts, 3);
}

TEST_F(TensorLinkTest, GetAssemblesALeafFromItsParts) {
  TensorLink link("job", placement, nullptr);
  ASSERT_TRUE(link.Put(proto::LeafRef::STATE, {{0, 9, Span(values)}, {1, 9, Span(values)}}).ok());
  std::vector<float> replicated(values.size()), split(values.size());
  ASSERT_TRUE(link.Get(proto::LeafRef::STATE, 9, {{0, Span(replicated)}, {1, Span(split)}}).ok());
  EXPECT_EQ(replicated, values);
  EXPECT_EQ(split, values);
  EXPECT_EQ(workers[0].gets + workers[1].gets, 3);  // of several replicas, only one is read
}

TEST_F(TensorLinkTest, ARefusalKeepsItsReasonWord) {
  workers[1].refuse = true;
  TensorLink link("job", placement, nullptr);
  const absl::Status status = link.Put(proto::LeafRef::STATE, {{0, 0, Span(values)}});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "STALE_STATE");
  EXPECT_THAT(status.message(), HasSubstr("worker b at " + workers[1].address));
}

TEST_F(TensorLinkTest, RefusesRepliesOfTheWrongSize) {
  workers[0].lie = workers[1].lie = true;
  TensorLink link("job", placement, nullptr);
  EXPECT_EQ(link.Put(proto::LeafRef::STATE, {{0, 0, Span(values)}}).code(), absl::StatusCode::kInternal);
  std::vector<float> got(values.size());
  EXPECT_EQ(link.Get(proto::LeafRef::STATE, 0, {{0, Span(got)}}).code(), absl::StatusCode::kInternal);
  EXPECT_THAT(link.Get(proto::LeafRef::AUX, 1, {{1, Span(got)}}).message(), HasSubstr("has no parts of leaf 1"));
}

TEST_F(TensorLinkTest, ReportsALostWorkerAsUnreachable) {
  placement.workers[1].address = "127.0.0.1:9";
  TensorLink link("job", placement, nullptr);
  const absl::Status status = link.Put(proto::LeafRef::STATE, {{0, 0, Span(values)}});
  EXPECT_EQ(ReasonOf(status), kReasonNoWorker);
  EXPECT_THAT(status.message(), HasSubstr("127.0.0.1:9"));
}

TEST_F(TensorLinkTest, AnInterruptionCancelsEveryLaterCall) {
  Interruption interruption;
  TensorLink link("job", placement, &interruption);
  interruption.Trigger();
  EXPECT_EQ(ReasonOf(link.Put(proto::LeafRef::STATE, {{0, 0, Span(values)}})), kReasonInterrupted);
  interruption.Trigger(absl::InternalError("a later reason"));
  EXPECT_EQ(ReasonOf(link.Put(proto::LeafRef::STATE, {{0, 0, Span(values)}})), kReasonInterrupted);
}

}  // namespace
}  // namespace alpa::client
