#include "kernels/cpu/cpu_backend.h"

#include <cstring>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "graph/builder.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DType;
using graph::GraphBuilder;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;

std::unique_ptr<Buffer> BufferOf(Backend& backend, const std::vector<float>& values) {
  auto buffer = backend.Allocate(0, static_cast<Bytes>(values.size() * 4));
  EXPECT_TRUE(buffer.ok()) << buffer.status();
  backend.CopyToDevice(0, std::as_bytes(std::span(values)), **buffer, 0);
  EXPECT_TRUE(backend.stream(0).Record()->Wait().ok());
  return *std::move(buffer);
}

std::vector<float> Read(Backend& backend, Buffer& buffer) {
  std::vector<float> values(buffer.size() / 4);
  backend.CopyToHost(0, buffer, 0, std::as_writable_bytes(std::span(values)));
  EXPECT_TRUE(backend.stream(0).Record()->Wait().ok());
  return values;
}

TEST(CpuBackendTest, RunsAProgramTwice) {
  auto backend = MakeCpuBackend({.devices = 1, .threads_per_device = 2});
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {3}}), y = b.Parameter({DType::kF32, {3}});
  b.SetResults({b.Binary(Opcode::kAdd, x, y)});
  auto program = backend->Compile(0, b.Build(), {});
  ASSERT_TRUE(program.ok()) << program.status();
  auto bx = BufferOf(*backend, {1, 2, 3}), by = BufferOf(*backend, {10, 20, 30}), out = BufferOf(*backend, {0, 0, 0});
  (*program)->Run(backend->stream(0), {bx.get(), by.get()}, {out.get()});
  EXPECT_EQ(Read(*backend, *out), (std::vector<float>{11, 22, 33}));
  (*program)->Run(backend->stream(0), {out.get(), by.get()}, {bx.get()});
  EXPECT_EQ(Read(*backend, *bx), (std::vector<float>{21, 42, 63}));
}

TEST(CpuBackendTest, AliasedResultsReplaceTheirParameters) {
  auto backend = MakeCpuBackend({.devices = 1, .threads_per_device = 1});
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {2}}), y = b.Parameter({DType::kF32, {2}});
  // The results swap the parameters' buffers, and each result needs the old values of both parameters.
  const ValueId sum = b.Binary(Opcode::kAdd, x, y), difference = b.Binary(Opcode::kSubtract, x, y);
  b.SetResults({sum, difference});
  auto program = backend->Compile(0, b.Build(), {.alias = {1, 0}});
  ASSERT_TRUE(program.ok()) << program.status();
  auto bx = BufferOf(*backend, {5, 7}), by = BufferOf(*backend, {1, 2});
  (*program)->Run(backend->stream(0), {bx.get(), by.get()}, {by.get(), bx.get()});
  EXPECT_EQ(Read(*backend, *by), (std::vector<float>{6, 9}));
  EXPECT_EQ(Read(*backend, *bx), (std::vector<float>{4, 5}));
}

TEST(CpuBackendTest, AFailedStreamSkipsItsWorkUntilReset) {
  auto backend = MakeCpuBackend({});
  Stream& stream = backend->stream(0);
  bool ran = false;
  auto before = stream.Record();
  stream.Enqueue([] { return absl::AbortedError("first"); });
  stream.Enqueue([&] {
    ran = true;
    return absl::InternalError("second");
  });
  EXPECT_EQ(stream.Record()->Wait().message(), "first");
  EXPECT_TRUE(before->Wait().ok());
  EXPECT_FALSE(ran);
  stream.Reset();
  EXPECT_TRUE(stream.Record()->Wait().ok());
}

TEST(CpuBackendTest, AnExceptionFailsTheStream) {
  auto backend = MakeCpuBackend({});
  backend->stream(0).Enqueue([]() -> absl::Status { throw std::bad_alloc(); });
  EXPECT_EQ(backend->stream(0).Record()->Wait().code(), absl::StatusCode::kResourceExhausted);
}

TEST(CpuBackendTest, AllocateKeepsToTheMemoryLimit) {
  auto backend = MakeCpuBackend({.devices = 2, .memory_limit = 1000});
  auto first = backend->Allocate(0, 600);
  ASSERT_TRUE(first.ok());
  const auto refused = backend->Allocate(0, 600);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.status().message().find("600 of its 1000"), std::string::npos) << refused.status();
  EXPECT_TRUE(backend->Allocate(1, 600).ok());
  first->reset();
  EXPECT_TRUE(backend->Allocate(0, 600).ok());
}

TEST(CpuBackendTest, ImpossibleSizesAreRefused) {
  auto backend = MakeCpuBackend({});
  EXPECT_EQ(backend->Allocate(0, int64_t{1} << 60).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(backend->Allocate(0, -1).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CpuBackendTest, BuffersOfTheWrongSizeAreRefused) {
  auto backend = MakeCpuBackend({});
  GraphBuilder b;
  b.SetResults({b.Unary(Opcode::kNegate, b.Parameter({DType::kF32, {8}}))});
  auto program = backend->Compile(0, b.Build(), {});
  ASSERT_TRUE(program.ok());
  auto small = BufferOf(*backend, {1});
  (*program)->Run(backend->stream(0), {small.get()}, {small.get()});
  EXPECT_EQ(backend->stream(0).Record()->Wait().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CpuBackendTest, ALoopCarriesItsValues) {
  GraphBuilder condition, body, b;
  const Shape counter{DType::kS32, {}}, vector{DType::kF32, {2}};
  ValueId i = condition.Parameter(counter);
  condition.Parameter(vector);
  condition.SetResults({condition.Compare(graph::CompareDirection::kLt, i, condition.Scalar(DType::kS32, 5))});
  i = body.Parameter(counter);
  const ValueId x = body.Parameter(vector);
  body.SetResults({body.Binary(Opcode::kAdd, i, body.Scalar(DType::kS32, 1)), body.Binary(Opcode::kAdd, x, x)});
  const ValueId start = b.Scalar(DType::kS32, 0), value = b.Parameter(vector);
  const auto results = b.AddOp(Opcode::kWhile, {start, value}, {counter, vector}, {},
                               {std::make_shared<const graph::Graph>(condition.Build()),
                                std::make_shared<const graph::Graph>(body.Build())});
  b.SetResults({results[1]});
  auto backend = MakeCpuBackend({});
  auto program = backend->Compile(0, b.Build(), {});
  ASSERT_TRUE(program.ok()) << program.status();
  auto in = BufferOf(*backend, {1, 3}), out = BufferOf(*backend, {0, 0});
  (*program)->Run(backend->stream(0), {in.get()}, {out.get()});
  EXPECT_EQ(Read(*backend, *out), (std::vector<float>{32, 96}));
  EXPECT_EQ(Read(*backend, *in), (std::vector<float>{1, 3}));
}

TEST(CpuBackendTest, CollectivesWithoutAProviderAreRefused) {
  GraphBuilder b;
  b.SetResults(b.AllReduce({b.Parameter({DType::kF32, {2}})}, {0}, graph::ReduceKind::kSum));
  auto backend = MakeCpuBackend({});
  EXPECT_EQ(backend->Compile(0, b.Build(), {}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(CpuBackendTest, FillRepeatsThePattern) {
  auto backend = MakeCpuBackend({});
  auto buffer = BufferOf(*backend, {0, 0, 0});
  const float value = 1.5f;
  backend->Fill(0, *buffer, std::as_bytes(std::span(&value, 1)));
  EXPECT_EQ(Read(*backend, *buffer), (std::vector<float>{1.5f, 1.5f, 1.5f}));
}

}  // namespace
}  // namespace alpa::kernels::cpu
