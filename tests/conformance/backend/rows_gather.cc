// Conformance tests (rows) for gather and scatter, in the forms that JAX produces for `take`, indexing, embeddings,
// one-hot updates and batched indexing.
#include "absl/strings/str_cat.h"
#include "tests/conformance/backend/suite.h"

namespace alpa::conformance {
namespace {

using graph::GatherAttrs;
using graph::ReduceKind;
using graph::ScatterAttrs;

const DType kTypes[] = {DType::kF32, DType::kBF16, DType::kS32, DType::kPred, DType::kF64};

// Adds an input of indices. Some indices are outside [0, limit).
ValueId Indices(Maker& m, std::vector<int64_t> dims, double limit, DType dtype = DType::kS32) {
  return m.Input({dtype, std::move(dims)}, dtype == DType::kU32 ? 0 : -3, limit + 2);
}

ValueId Gather(Maker& m, ValueId operand, ValueId indices, const GatherAttrs& attrs) {
  return m.Add(Opcode::kGather, {operand, indices}, attrs);
}

// Returns the region of a scatter that replaces an element by its update.
std::shared_ptr<const graph::Graph> Second(DType dtype) {
  return Region({{dtype, {}}, {dtype, {}}}, [](GraphBuilder&, std::vector<ValueId> p) { return std::vector{p[1]}; });
}

void AddGathers(Rows& rows) {
  for (DType dtype : kTypes) {
    const std::string name = absl::StrCat("gather/", NameOf(dtype));
    AddProgram(rows, name, [=] {
      Maker m(name);
      std::vector<ValueId> results;
      const ValueId table = m.Input({dtype, {11, 5}}, -9, 9), cube = m.Input({dtype, {4, 6, 5}}, -9, 9);
      for (DType index : {DType::kS32, DType::kU32, DType::kS64, DType::kS8}) {
        // Gathers rows of a table. The index vector has one component and is the last dimension.
        results.push_back(Gather(m, table, Indices(m, {3, 7, 1}, 10, index),
                                 {.offset_dims = {2},
                                  .collapsed_slice_dims = {0},
                                  .start_index_map = {0},
                                  .slice_sizes = {1, 5},
                                  .index_vector_dim = 2}));
      }
      // The indices have no dimension for the index vector, so each index is one number.
      results.push_back(Gather(m, table, Indices(m, {9}, 10),
                               {.offset_dims = {1},
                                .collapsed_slice_dims = {0},
                                .start_index_map = {0},
                                .slice_sizes = {1, 5},
                                .index_vector_dim = 1}));
      // Gathers columns. The offset dimension comes first.
      results.push_back(Gather(m, table, Indices(m, {6, 1}, 4),
                               {.offset_dims = {0},
                                .collapsed_slice_dims = {1},
                                .start_index_map = {1},
                                .slice_sizes = {11, 1},
                                .index_vector_dim = 1}));
      // Gathers windows at positions in two dimensions. The index vector comes first, and its components are in reverse
      // order.
      results.push_back(Gather(m, cube, Indices(m, {2, 8}, 5),
                               {.offset_dims = {0, 2},
                                .collapsed_slice_dims = {0},
                                .start_index_map = {2, 0},
                                .slice_sizes = {1, 6, 2},
                                .index_vector_dim = 0}));
      // Collapses no dimension, so the window keeps its rank.
      results.push_back(Gather(
          m, cube, Indices(m, {3}, 4),
          {.offset_dims = {0, 1, 2}, .start_index_map = {0, 1, 2}, .slice_sizes = {2, 3, 4}, .index_vector_dim = 0}));
      // Gathers single elements.
      results.push_back(Gather(m, cube, Indices(m, {10, 3}, 5),
                               {.collapsed_slice_dims = {0, 1, 2},
                                .start_index_map = {0, 1, 2},
                                .slice_sizes = {1, 1, 1},
                                .index_vector_dim = 1}));
      // Has a batching dimension: row `b` of the indices selects from row `b` of the operand, as in `take_along_axis`.
      results.push_back(Gather(m, cube, Indices(m, {4, 3, 1}, 5),
                               {.offset_dims = {2},
                                .collapsed_slice_dims = {1},
                                .start_index_map = {1},
                                .operand_batching_dims = {0},
                                .start_indices_batching_dims = {0},
                                .slice_sizes = {1, 1, 5},
                                .index_vector_dim = 2}));
      // Has two batching dimensions. The operand and the indices have them in opposite orders.
      results.push_back(Gather(m, cube, Indices(m, {6, 4, 2, 1}, 4),
                               {.collapsed_slice_dims = {2},
                                .start_index_map = {2},
                                .operand_batching_dims = {0, 1},
                                .start_indices_batching_dims = {1, 0},
                                .slice_sizes = {1, 1, 1},
                                .index_vector_dim = 3}));
      // Has no indices.
      results.push_back(Gather(m, table, Indices(m, {0, 1}, 10),
                               {.offset_dims = {1},
                                .collapsed_slice_dims = {0},
                                .start_index_map = {0},
                                .slice_sizes = {1, 5},
                                .index_vector_dim = 1}));
      return m.Finish(results);
    });
  }
}

ValueId Scatter(Maker& m, ValueId operand, ValueId indices, ValueId updates, const ScatterAttrs& attrs,
                std::shared_ptr<const graph::Graph> region) {
  return m.Add(Opcode::kScatter, {operand, indices, updates}, attrs, {std::move(region)});
}

void AddScatters(Rows& rows) {
  for (DType dtype : kTypes) {
    for (int form = 0; form < 3; ++form) {
      if (dtype == DType::kPred && form == 1) continue;
      const char* forms[] = {"set", "add", "max"};
      const std::string name = absl::StrCat("scatter/", forms[form], "/", NameOf(dtype));
      AddProgram(rows, name, [=] {
        Maker m(name);
        std::vector<ValueId> results;
        // Returns an input that holds integers. Their sums are exact in any order.
        auto whole = [&](std::vector<int64_t> dims) {
          const ValueId x = m.Input({DType::kS32, std::move(dims)}, -4, 4);
          return dtype == DType::kS32 ? x : m->Convert(x, dtype);
        };
        const auto region =
            form == 0   ? Second(dtype)
            : form == 1 ? graph::ReduceRegion(ReduceKind::kSum, dtype)
                        : graph::ReduceRegion(dtype == DType::kPred ? ReduceKind::kOr : ReduceKind::kMax, dtype);
        // Updates rows of a table. Updates outside the table are skipped. Some rows are updated twice.
        results.push_back(Scatter(m, whole({11, 5}), Indices(m, {9, 1}, 11), whole({9, 5}),
                                  {.update_window_dims = {1},
                                   .inserted_window_dims = {0},
                                   .scatter_dims_to_operand_dims = {0},
                                   .index_vector_dim = 1},
                                  region));
        // Computes the embedding gradient of a [batch, time] array of tokens.
        results.push_back(Scatter(m, whole({11, 5}), Indices(m, {2, 7, 1}, 10), whole({2, 7, 5}),
                                  {.update_window_dims = {2},
                                   .inserted_window_dims = {0},
                                   .scatter_dims_to_operand_dims = {0},
                                   .index_vector_dim = 2},
                                  region));
        // Updates elements at positions in two dimensions.
        results.push_back(Scatter(
            m, whole({6, 5}), Indices(m, {13, 2}, 5), whole({13}),
            {.inserted_window_dims = {0, 1}, .scatter_dims_to_operand_dims = {1, 0}, .index_vector_dim = 1}, region));
        // Updates windows of more than one element. A window that does not fit is skipped completely.
        results.push_back(Scatter(
            m, whole({6, 5}), Indices(m, {4, 2}, 5), whole({4, 2, 3}),
            {.update_window_dims = {1, 2}, .scatter_dims_to_operand_dims = {0, 1}, .index_vector_dim = 1}, region));
        // The window dimensions come first in the updates.
        results.push_back(Scatter(m, whole({6, 5}), Indices(m, {4, 1}, 4), whole({6, 4}),
                                  {.update_window_dims = {0},
                                   .inserted_window_dims = {1},
                                   .scatter_dims_to_operand_dims = {1},
                                   .index_vector_dim = 1},
                                  region));
        // Has a batching dimension.
        results.push_back(Scatter(m, whole({4, 6, 5}), Indices(m, {4, 3, 1}, 6), whole({4, 3, 5}),
                                  {.update_window_dims = {2},
                                   .inserted_window_dims = {1},
                                   .scatter_dims_to_operand_dims = {1},
                                   .input_batching_dims = {0},
                                   .scatter_indices_batching_dims = {0},
                                   .index_vector_dim = 2},
                                  region));
        // Has no updates.
        results.push_back(Scatter(m, whole({6, 5}), Indices(m, {0, 1}, 6), whole({0, 5}),
                                  {.update_window_dims = {1},
                                   .inserted_window_dims = {0},
                                   .scatter_dims_to_operand_dims = {0},
                                   .index_vector_dim = 1},
                                  region));
        return m.Finish(results);
      });
    }
  }
  AddProgram(rows, "scatter/two-operands-and-custom-region", [] {
    Maker m("pair");
    const Shape f{DType::kF32, {}}, i{DType::kS32, {}};
    // Keeps the pair whose first member is larger.
    const auto region = Region({f, i, f, i}, [](GraphBuilder& b, std::vector<ValueId> p) {
      const ValueId newer = b.Compare(graph::CompareDirection::kGt, p[2], p[0]);
      return std::vector{b.Select(newer, p[2], p[0]), b.Select(newer, p[3], p[1])};
    });
    const auto results =
        m.AddAll(Opcode::kScatter,
                 {m.Input({DType::kF32, {5, 3}}), m.Input({DType::kS32, {5, 3}}, 0, 9), Indices(m, {8, 1}, 5),
                  m.Input({DType::kF32, {8, 3}}), m.Input({DType::kS32, {8, 3}}, 0, 9)},
                 ScatterAttrs{.update_window_dims = {1},
                              .inserted_window_dims = {0},
                              .scatter_dims_to_operand_dims = {0},
                              .index_vector_dim = 1},
                 {region});
    return m.Finish(results);
  });
}

}  // namespace

void AddGatherRows(Rows& rows) {
  AddGathers(rows);
  AddScatters(rows);
}

}  // namespace alpa::conformance
