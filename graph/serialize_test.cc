#include "graph/serialize.h"

#include <random>
#include <string>

#include "gmock/gmock.h"
#include "graph/builder.h"
#include "graph/print.h"
#include "graph/verify.h"
#include "gtest/gtest.h"
#include "proto/graph.pb.h"

namespace alpa::graph {
namespace {

using ::testing::HasSubstr;

Shape F32(std::vector<int64_t> dims) { return {DType::kF32, std::move(dims)}; }

// Returns a graph with most kinds of attributes.
Graph Rich() {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({4, 8}), "model.py:1");
  const ValueId w = b.Parameter(F32({8, 6}));
  const ValueId i = b.Parameter({DType::kS32, {}});
  ValueId y = b.Dot(x, w, {{}, {}, {1}, {0}}, DType::kF32);
  y = b.Select(b.Compare(CompareDirection::kGt, y, b.Full(F32({4, 6}), 0.5)), y, b.Full(F32({4, 6}), 0));
  const ValueId s = b.Slice(y, {0, 1}, {4, 6}, {2, 1});
  const ValueId d = b.DynamicSlice(y, {i, i}, {2, 2});
  const ValueId u = b.DynamicUpdateSlice(y, d, {i, i});
  const ValueId p = b.AddOp(Opcode::kPad, {s, b.Scalar(DType::kF32, 0)}, {F32({4, 6})},
                            PadAttrs{{1, 0}, {1, 1}, {0, 0}})[0];
  const ValueId t = b.Transpose(b.Concatenate({u, p}, 1), {1, 0});
  const ValueId r = b.Reduce(t, ReduceKind::kMax, {0});
  const ValueId q = b.Reduce(t, ReduceKind::kSum, {0});
  b.SetResults({r, q, b.Iota({DType::kU64, {3}}, 0)});
  return b.Build();
}

TEST(SerializeTest, ARoundTripKeepsEveryOp) {
  const Graph graph = Rich();
  ASSERT_TRUE(Verify(graph).ok()) << Verify(graph);
  proto::Graph message;
  ToProto(graph, &message);
  const absl::StatusOr<Graph> back = FromProto(message);
  ASSERT_TRUE(back.ok()) << back.status();
  const PrintOptions options{.locations = true, .max_literal_elements = 1000};
  EXPECT_EQ(Print(*back, options), Print(graph, options));
  EXPECT_EQ(Fingerprint(*back), Fingerprint(graph));
}

TEST(SerializeTest, ARoundTripKeepsCollectives) {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({4}));
  CollectiveAttrs gather;
  gather.mesh_axes = {0};
  const ValueId g = b.AddOp(Opcode::kAllGather, {x}, {F32({8})}, gather)[0];
  b.SetResults({b.AllReduce({g}, {0}, ReduceKind::kSum)[0]});
  const Graph graph = b.Build();
  proto::Graph message;
  ToProto(graph, &message);
  const absl::StatusOr<Graph> back = FromProto(message);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(Verify(*back, {.allow_collectives = true, .mesh_shape = {2}}).ok());
  EXPECT_FALSE(Verify(*back, {.allow_collectives = true, .mesh_shape = {4}}).ok());
  EXPECT_FALSE(Verify(*back).ok());
}

TEST(SerializeTest, TheFingerprintIgnoresOnlyLocationsAndSharing) {
  const auto one = [](double constant, const char* location, bool share) {
    GraphBuilder b;
    const ValueId x = b.Parameter(F32({4}), location);
    const auto sum = ReduceRegion(ReduceKind::kSum, DType::kF32);
    const ValueId zero = b.Scalar(DType::kF32, constant);
    const ValueId r = b.AddOp(Opcode::kReduce, {x, zero}, {F32({})}, DimsAttrs{{0}}, {sum})[0];
    const auto other = share ? sum : ReduceRegion(ReduceKind::kSum, DType::kF32);
    const ValueId q = b.AddOp(Opcode::kReduce, {x, zero}, {F32({})}, DimsAttrs{{0}}, {other})[0];
    b.SetResults({r, q});
    return b.Build();
  };
  const uint64_t base = Fingerprint(one(0, "a.py:1", true));
  EXPECT_EQ(base, Fingerprint(one(0, "b.py:2", true)));
  EXPECT_EQ(base, Fingerprint(one(0, "a.py:1", false)));
  EXPECT_NE(base, Fingerprint(one(1, "a.py:1", true)));
}

struct Damage {
  const char* name;
  void (*apply)(proto::Graph*);
  const char* says;
};

TEST(SerializeTest, RefusesHostileMessages) {
  const Damage kDamages[] = {
      {"unknown opcode", [](proto::Graph* g) { g->mutable_body()->mutable_ops(3)->set_opcode("explode"); },
       "is not an opcode"},
      {"operand that is defined later",
       [](proto::Graph* g) { g->mutable_body()->mutable_ops(3)->set_operands(0, 99); },
       "before it is defined"},
      {"negative operand", [](proto::Graph* g) { g->mutable_body()->mutable_ops(3)->set_operands(0, -2); },
       "before it is defined"},
      {"result out of range", [](proto::Graph* g) { g->mutable_body()->set_results(0, 1000); }, "is not one of"},
      {"location out of range", [](proto::Graph* g) { g->mutable_body()->mutable_ops(0)->set_location(7); },
       "location 7"},
      {"unknown element type",
       [](proto::Graph* g) { g->mutable_body()->mutable_ops(0)->mutable_results(0)->set_dtype(15); },
       "element type 15"},
      {"negative dimension",
       [](proto::Graph* g) { g->mutable_body()->mutable_ops(0)->mutable_results(0)->set_dims(0, -1); },
       "negative"},
      {"size that overflows",
       [](proto::Graph* g) {
         auto* shape = g->mutable_body()->mutable_ops(0)->mutable_results(0);
         shape->set_dims(0, int64_t{1} << 40);
         shape->set_dims(1, int64_t{1} << 40);
       },
       "64 bits"},
      {"region index out of range",
       [](proto::Graph* g) {
         for (auto& op : *g->mutable_body()->mutable_ops()) {
           if (op.opcode() == "reduce") op.set_regions(0, 5);
         }
       },
       "region 5"},
      {"region that contains itself",
       [](proto::Graph* g) { g->mutable_regions(0)->mutable_ops(2)->add_regions(0); },
       "not defined before"},
      {"attributes of another op",
       [](proto::Graph* g) { g->mutable_body()->mutable_ops(3)->mutable_sort()->set_dimension(1); },
       "another op"},
      {"literal with a wrong size",
       [](proto::Graph* g) {
         for (auto& op : *g->mutable_body()->mutable_ops()) {
           if (op.opcode() == "constant") op.mutable_constant()->set_data("x");
         }
       },
       "literal"},
      {"shape that the operands do not give",
       [](proto::Graph* g) { g->mutable_body()->mutable_ops(3)->mutable_results(0)->set_dims(0, 5); }, "dot"},
      {"two parameters with the same index",
       [](proto::Graph* g) { g->mutable_body()->mutable_ops(1)->set_parameter(0); }, "order of their index"},
  };
  for (const Damage& damage : kDamages) {
    proto::Graph message;
    ToProto(Rich(), &message);
    damage.apply(&message);
    const absl::StatusOr<Graph> result = FromProto(message);
    ASSERT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << damage.name;
    EXPECT_THAT(std::string(result.status().message()), HasSubstr(damage.says)) << damage.name;
  }
}

TEST(SerializeTest, RefusesRegionsThatExpandToTooManyOps) {
  // Each region uses the region before it four times, so a message of a few KiB expands to more than 2^100 ops.
  proto::Graph message;
  for (int i = 0; i < 60; ++i) {
    proto::GraphBody* body = message.add_regions();
    for (int j = 0; j < 3; ++j) {
      proto::GraphOp* op = body->add_ops();
      op->set_opcode(j == 0 ? "parameter" : "while");
      if (j == 0) op->set_parameter(0);
      op->add_results()->set_dtype(11);
      if (j > 0) op->add_operands(j - 1);
      if (j > 0 && i > 0) op->add_regions(i - 1);
      if (j > 0 && i > 0) op->add_regions(i - 1);
    }
    body->add_results(2);
  }
  const absl::StatusOr<Graph> result = FromProto(message);
  ASSERT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("too many ops"));
}

TEST(SerializeTest, DamagedBytesDoNotCrashFromProto) {
  proto::Graph message;
  ToProto(Rich(), &message);
  const std::string bytes = message.SerializeAsString();
  std::mt19937 random(7);
  int accepted = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    std::string damaged = bytes;
    const int flips = 1 + static_cast<int>(random() % 3);
    for (int i = 0; i < flips; ++i)
      damaged[random() % damaged.size()] ^= static_cast<char>(1u << (random() % 8));
    if (trial % 5 == 0) damaged.resize(random() % damaged.size());
    proto::Graph parsed;
    if (!parsed.ParseFromString(damaged)) continue;
    const absl::StatusOr<Graph> result = FromProto(parsed);
    if (!result.ok()) continue;
    ++accepted;
    EXPECT_TRUE(Verify(*result, {.allow_collectives = true}).ok());
  }
  EXPECT_GT(accepted, 0);  // a graph with a flipped bit in a literal is still valid
}

}  // namespace
}  // namespace alpa::graph
