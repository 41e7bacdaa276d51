#include <numeric>
#include <random>

#include "graph/builder.h"
#include "graph/evaluator.h"
#include "graph/print.h"
#include "graph/simplify.h"
#include "graph/testing.h"
#include "graph/verify.h"
#include "gtest/gtest.h"

namespace alpa::graph {
namespace {

using testing::Count;

// Builds programs such as x[arange(rows)[:, None], arange(columns), y] in the form to which JAX lowers them: each index
// is normalised to be non-negative, and all indices are concatenated.
class IndexedProgram {
 public:
  explicit IndexedProgram(std::vector<int64_t> array_dims) : dims_(std::move(array_dims)) {
    x_ = b_.Parameter({DType::kF32, dims_});
  }

  ValueId Iota(const std::vector<int64_t>& batch, int64_t along) {
    const ValueId iota = b_.Iota({DType::kS32, {batch[along]}}, 0);
    return b_.Broadcast(Normalised(iota, batch[along]), batch, {along});
  }
  ValueId Given(const std::vector<int64_t>& batch) { return b_.Parameter({DType::kS32, batch}); }
  ValueId Normalised(ValueId index, int64_t size) {
    const Shape& shape = b_.shape(index);
    const ValueId negative = b_.Compare(CompareDirection::kLt, index, b_.Full(shape, 0));
    return b_.Select(negative, b_.Binary(Opcode::kAdd, index, b_.Full(shape, static_cast<double>(size))), index);
  }

  ValueId Concatenated(const std::vector<ValueId>& components) {
    std::vector<ValueId> columns;
    for (ValueId component : components) {
      std::vector<int64_t> dims = b_.shape(component).dims;
      dims.push_back(1);
      columns.push_back(b_.Reshape(component, dims));
    }
    return b_.Concatenate(columns, static_cast<int64_t>(b_.shape(components[0]).dims.size()));
  }

  // Gathers one element per index vector.
  Graph Gather(const std::vector<ValueId>& components) {
    const Shape batch = b_.shape(components[0]);
    GatherAttrs attrs;
    attrs.index_vector_dim = batch.rank();
    attrs.slice_sizes.assign(dims_.size(), 1);
    for (size_t d = 0; d < dims_.size(); ++d) {
      attrs.start_index_map.push_back(static_cast<int64_t>(d));
      attrs.collapsed_slice_dims.push_back(static_cast<int64_t>(d));
    }
    b_.SetResults(b_.AddOp(Opcode::kGather, {x_, Concatenated(components)}, {{DType::kF32, batch.dims}}, attrs));
    return b_.Build();
  }

  Graph ScatterAdd(const std::vector<ValueId>& components) {
    const Shape batch = b_.shape(components[0]);
    ScatterAttrs attrs;
    attrs.index_vector_dim = batch.rank();
    for (size_t d = 0; d < dims_.size(); ++d) {
      attrs.scatter_dims_to_operand_dims.push_back(static_cast<int64_t>(d));
      attrs.inserted_window_dims.push_back(static_cast<int64_t>(d));
    }
    const ValueId updates = b_.Parameter({DType::kF32, batch.dims});
    b_.SetResults(b_.AddOp(Opcode::kScatter, {x_, Concatenated(components), updates}, {{DType::kF32, dims_}}, attrs,
                           {ReduceRegion(ReduceKind::kSum, DType::kF32)}));
    return b_.Build();
  }

  GraphBuilder& builder() { return b_; }

 private:
  std::vector<int64_t> dims_;
  GraphBuilder b_;
  ValueId x_;
};

// Simplifies the program and checks that its results stay the same.
Graph Checked(const Graph& graph) {
  EXPECT_TRUE(Verify(graph).ok()) << Verify(graph);
  Graph simple = Simplify(graph);
  EXPECT_TRUE(Verify(simple).ok()) << Verify(simple);
  std::mt19937 random(1);
  std::vector<Literal> arguments;
  for (ValueId parameter : graph.parameters()) {
    const Shape& shape = graph.shape(parameter);
    std::vector<std::byte> bytes(shape.bytes());
    for (int64_t i = 0; i < shape.elements(); ++i) {
      // Some indices are outside the array.
      if (shape.dtype == DType::kS32) reinterpret_cast<int32_t*>(bytes.data())[i] = static_cast<int>(random() % 9) - 2;
      else reinterpret_cast<float*>(bytes.data())[i] = static_cast<float>(random() % 100);
    }
    arguments.push_back(Literal(shape, std::move(bytes)));
  }
  const auto expected = Evaluate(graph, arguments), actual = Evaluate(simple, arguments);
  EXPECT_TRUE(expected.ok() && actual.ok()) << expected.status() << actual.status();
  EXPECT_TRUE((*expected)[0] == (*actual)[0]) << Print(simple);
  return simple;
}

TEST(SimplifyIndicesTest, ACoordinateAmongTheIndicesOfAGatherBecomesABatchingDimension) {
  IndexedProgram p({4, 5});
  const Graph simple = Checked(p.Gather({p.Iota({4}, 0), p.Normalised(p.Given({4}), 5)}));
  EXPECT_EQ(Count(simple, Opcode::kConcatenate), 0) << Print(simple);
  const auto& attrs = simple.ops().back().as<GatherAttrs>();
  EXPECT_EQ(attrs.operand_batching_dims, std::vector<int64_t>{0});
  EXPECT_EQ(attrs.start_indices_batching_dims, std::vector<int64_t>{0});
  EXPECT_EQ(attrs.start_index_map, std::vector<int64_t>{1});
  EXPECT_EQ(attrs.collapsed_slice_dims, std::vector<int64_t>{1});
}

TEST(SimplifyIndicesTest, TwoCoordinatesBecomeTwoBatchingDimensions) {
  IndexedProgram p({3, 4, 5});
  const Graph simple = Checked(p.Gather({p.Iota({3, 4}, 0), p.Iota({3, 4}, 1), p.Given({3, 4})}));
  EXPECT_EQ(simple.ops().back().as<GatherAttrs>().operand_batching_dims, (std::vector<int64_t>{0, 1}));
}

TEST(SimplifyIndicesTest, BatchingDimensionsFollowTheOrderOfTheArray) {
  IndexedProgram p({3, 4, 5});
  const Graph simple = Checked(p.Gather({p.Iota({4, 3}, 1), p.Iota({4, 3}, 0), p.Given({4, 3})}));
  const auto& attrs = simple.ops().back().as<GatherAttrs>();
  EXPECT_EQ(attrs.operand_batching_dims, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(attrs.start_indices_batching_dims, (std::vector<int64_t>{1, 0}));
}

TEST(SimplifyIndicesTest, ACoordinateAmongTheIndicesOfAScatterBecomesABatchingDimension) {
  IndexedProgram p({4, 5});
  const Graph simple = Checked(p.ScatterAdd({p.Iota({4}, 0), p.Given({4})}));
  const auto& attrs = simple.ops().back().as<ScatterAttrs>();
  EXPECT_EQ(attrs.input_batching_dims, std::vector<int64_t>{0});
  EXPECT_EQ(attrs.scatter_dims_to_operand_dims, std::vector<int64_t>{1});
}

TEST(SimplifyIndicesTest, AConstantOfAllCoordinatesCountsAsACoordinate) {
  IndexedProgram p({4, 5});
  std::vector<int32_t> rows(4);
  std::iota(rows.begin(), rows.end(), 0);
  const auto bytes = std::as_bytes(std::span(rows));
  const ValueId constant = p.builder().Constant(Literal({DType::kS32, {4}}, {bytes.begin(), bytes.end()}));
  const Graph simple = Checked(p.Gather({constant, p.Given({4})}));
  EXPECT_EQ(simple.ops().back().as<GatherAttrs>().operand_batching_dims, std::vector<int64_t>{0});
}

TEST(SimplifyIndicesTest, OtherIndicesStayIndices) {
  const auto batching = [](IndexedProgram& p, ValueId rows) {
    const Graph simple = Checked(p.Gather({rows, p.Given({4})}));
    return simple.ops().back().as<GatherAttrs>().operand_batching_dims.size();
  };
  {
    IndexedProgram p({5, 5});  // the array has more rows than there are coordinates
    EXPECT_EQ(batching(p, p.Iota({4}, 0)), 0u);
  }
  {
    IndexedProgram p({4, 5});
    const ValueId next = p.builder().Binary(Opcode::kAdd, p.Iota({4}, 0), p.builder().Full({DType::kS32, {4}}, 1));
    EXPECT_EQ(batching(p, next), 0u);
  }
  {
    IndexedProgram p({4, 5});
    EXPECT_EQ(batching(p, p.Given({4})), 0u);
  }
  {
    IndexedProgram p({4, 5});  // a select that tests against a bound other than 0 changes coordinates
    const Shape shape{DType::kS32, {4}};
    GraphBuilder& b = p.builder();
    const ValueId iota = b.Iota(shape, 0);
    const ValueId low = b.Compare(CompareDirection::kLt, iota, b.Full(shape, 2));
    EXPECT_EQ(batching(p, b.Select(low, b.Full(shape, 3), iota)), 0u);
  }
}

}  // namespace
}  // namespace alpa::graph
