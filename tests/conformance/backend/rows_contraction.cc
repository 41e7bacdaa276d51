// Conformance tests (rows) for dots and convolutions. The evaluator accumulates in double. The tolerances allow a
// backend to accumulate sums of these lengths in f32.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/conformance/backend/suite.h"

namespace alpa::conformance {
namespace {

using graph::ConvolutionAttrs;
using graph::DotAttrs;
using graph::WindowDim;

Tolerance SumTolerance(DType dtype) {
  return dtype == DType::kF32 ? Normwise(32) : dtype == DType::kF64 ? Normwise(64) : Normwise(2);
}

struct DotCase {
  const char* name;
  std::vector<int64_t> lhs, rhs;
  DotAttrs attrs;
};

const std::vector<DotCase>& DotCases() {
  static const auto* cases = new std::vector<DotCase>{
      {"matrix", {7, 31}, {31, 5}, {{}, {}, {1}, {0}}},
      {"square", {64, 64}, {64, 64}, {{}, {}, {1}, {0}}},
      {"long-sum", {3, 1000}, {1000, 2}, {{}, {}, {1}, {0}}},
      {"matrix-transposed-lhs", {31, 7}, {31, 5}, {{}, {}, {0}, {0}}},
      {"matrix-transposed-rhs", {7, 31}, {5, 31}, {{}, {}, {1}, {1}}},
      {"both-transposed", {31, 7}, {5, 31}, {{}, {}, {0}, {1}}},
      {"vectors", {64}, {64}, {{}, {}, {0}, {0}}},
      {"matrix-vector", {7, 31}, {31}, {{}, {}, {1}, {0}}},
      {"vector-matrix", {31}, {31, 7}, {{}, {}, {0}, {0}}},
      {"outer", {7}, {5}, {{}, {}, {}, {}}},
      {"scalar", {}, {3, 4}, {{}, {}, {}, {}}},
      {"batch", {3, 7, 16}, {3, 16, 5}, {{0}, {0}, {2}, {1}}},
      {"two-batch", {2, 3, 7, 8}, {2, 3, 8, 5}, {{0, 1}, {0, 1}, {3}, {2}}},
      {"attention-scores", {2, 7, 3, 8}, {2, 5, 3, 8}, {{0, 2}, {0, 2}, {3}, {3}}},
      {"attention-values", {2, 3, 7, 5}, {2, 5, 3, 8}, {{0, 1}, {0, 2}, {3}, {1}}},
      {"batch-inside", {7, 3, 8}, {8, 5, 3}, {{1}, {2}, {2}, {0}}},
      {"batch-crossed", {2, 3, 4}, {3, 2, 4}, {{0, 1}, {1, 0}, {2}, {2}}},
      {"two-contracted", {4, 3, 6}, {3, 6, 5}, {{}, {}, {1, 2}, {0, 1}}},
      {"two-contracted-crossed", {4, 3, 6}, {6, 3, 5}, {{}, {}, {1, 2}, {1, 0}}},
      {"all-contracted", {4, 3}, {4, 3}, {{}, {}, {0, 1}, {0, 1}}},
      {"many-free", {2, 3, 4}, {4, 5, 2}, {{}, {}, {2}, {0}}},
      {"elementwise-batch", {4, 5}, {4, 5}, {{0, 1}, {0, 1}, {}, {}}},
      {"weight-gradient", {2, 7, 8}, {2, 7, 5}, {{}, {}, {0, 1}, {0, 1}}},
      {"ones", {1, 1}, {1, 1}, {{}, {}, {1}, {0}}},
      {"empty-sum", {3, 0}, {0, 4}, {{}, {}, {1}, {0}}},
      {"empty-result", {0, 3}, {3, 4}, {{}, {}, {1}, {0}}},
  };
  return *cases;
}

void AddDots(Rows& rows) {
  const std::pair<DType, DType> types[] = {
      {DType::kF32, DType::kF32}, {DType::kBF16, DType::kBF16}, {DType::kBF16, DType::kF32}, {DType::kF16, DType::kF16},
      {DType::kF16, DType::kF32}, {DType::kF64, DType::kF64},   {DType::kS32, DType::kS32},  {DType::kS8, DType::kS32},
      {DType::kU8, DType::kU32},  {DType::kS64, DType::kS64}};
  for (const DotCase& c : DotCases()) {
    AddProgram(rows, absl::StrCat("dot/", c.name), [c, types = std::vector(std::begin(types), std::end(types))] {
      Maker m(c.name);
      std::vector<ValueId> results;
      std::vector<Tolerance> tolerances;
      for (auto [in, out] : types) {
        results.push_back(m->Dot(m.Input({in, c.lhs}), m.Input({in, c.rhs}), c.attrs, out));
        tolerances.push_back(IsFloat(out) ? SumTolerance(out) : Exact());
      }
      Program p = m.Finish(results);
      p.tolerances = tolerances;
      return p;
    });
  }
  AddProgram(rows, "dot/integers-wrap", [] {
    Maker m("wrap");
    return m.Finish(
        {m->Dot(m.EdgeInput({DType::kS32, {5, 9}}), m.EdgeInput({DType::kS32, {9, 4}}), {{}, {}, {1}, {0}},
                DType::kS32),
         m->Dot(m.EdgeInput({DType::kU8, {5, 9}}), m.EdgeInput({DType::kU8, {9, 4}}), {{}, {}, {1}, {0}}, DType::kU8)});
  });
  AddProgram(rows, "dot/transposed", [] {
    // Transposes the results of two dots, with every permutation of their dimensions. One result has a dimension of
    // size 1.
    Maker m("transposed");
    const ValueId a = m.Input({DType::kF32, {2, 3, 4, 7}}), b = m.Input({DType::kBF16, {2, 7, 5, 6}}),
                  c = m.Input({DType::kF32, {2, 7, 1, 6}});
    std::vector<ValueId> results;
    std::vector<int64_t> permutation{0, 1, 2, 3, 4};
    do {
      for (ValueId right : {b, c}) {
        const ValueId product = m->Dot(a, right, {{0}, {0}, {3}, {1}}, DType::kF32);
        results.push_back(m->Transpose(product, permutation));
      }
    } while (std::next_permutation(permutation.begin(), permutation.end()));
    return m.Finish(results, SumTolerance(DType::kF32));
  });
  AddProgram(rows, "dot/of-views", [] {
    // The operands of the dots are values that a backend may read through a view: a transpose, a slice, a broadcast, a
    // reverse.
    Maker m("views");
    const ValueId a = m.Input({DType::kF32, {16, 12}}), b = m.Input({DType::kF32, {12, 16}});
    const DotAttrs matrix{{}, {}, {1}, {0}};
    const ValueId sliced = m->Slice(a, {1, 2}, {9, 12}, {1, 2});
    return m.Finish({m->Dot(m->Transpose(b, {1, 0}), m->Transpose(a, {1, 0}), matrix, DType::kF32),
                     m->Dot(sliced, m->Slice(b, {3, 0}, {8, 16}), matrix, DType::kF32),
                     m->Dot(m->Broadcast(m.Input({DType::kF32, {12}}), {5, 12}, {1}), b, matrix, DType::kF32),
                     m->Dot(m.Add(Opcode::kReverse, {a}, graph::DimsAttrs{{0}}), b, matrix, DType::kF32),
                     m->Dot(a, a, {{}, {}, {0}, {0}}, DType::kF32)},
                    Normwise(32));
  });
  AddProgram(rows, "dot/infinite-and-nan", [] {
    Maker m("nan");
    const ValueId a = m.Input(LiteralOf(DType::kF32, {3, 2}, {INFINITY, 0, 1, 2, NAN, 1}));
    const ValueId b = m.Input(LiteralOf(DType::kF32, {2, 2}, {1, 0, 2, 3}));
    return m.Finish({m->Dot(a, b, {{}, {}, {1}, {0}}, DType::kF32)});
  });
}

// Returns the attributes of a convolution. Its input and output have the layout [batch, spatial..., feature], and its
// kernel has the layout [spatial..., in, out].
ConvolutionAttrs FeatureLast(std::vector<WindowDim> window) {
  ConvolutionAttrs attrs;
  const int64_t n = static_cast<int64_t>(window.size());
  attrs.window = std::move(window);
  attrs.input_batch = 0;
  attrs.input_feature = n + 1;
  attrs.kernel_input_feature = n;
  attrs.kernel_output_feature = n + 1;
  attrs.output_batch = 0;
  attrs.output_feature = n + 1;
  for (int64_t d = 0; d < n; ++d) {
    attrs.input_spatial.push_back(d + 1);
    attrs.kernel_spatial.push_back(d);
    attrs.output_spatial.push_back(d + 1);
  }
  return attrs;
}

void AddConvolution(Rows& rows, const std::string& name, std::vector<int64_t> input, std::vector<int64_t> kernel,
                    ConvolutionAttrs attrs) {
  AddProgram(rows, "convolution/" + name, [=] {
    Maker m(name);
    std::vector<ValueId> results;
    std::vector<Tolerance> tolerances;
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF64}) {
      results.push_back(m.Add(Opcode::kConvolution, {m.Input({dtype, input}), m.Input({dtype, kernel})}, attrs, {},
                              {Shape{dtype, {}}}));
      tolerances.push_back(SumTolerance(dtype));
    }
    Program p = m.Finish(results);
    p.tolerances = tolerances;
    return p;
  });
}

void AddConvolutions(Rows& rows) {
  const WindowDim w3{.size = 3};
  const WindowDim same{.size = 3, .padding_low = 1, .padding_high = 1};
  AddConvolution(rows, "plain", {2, 7, 8, 3}, {3, 3, 3, 4}, FeatureLast({w3, w3}));
  AddConvolution(rows, "same", {2, 7, 8, 3}, {3, 3, 3, 4}, FeatureLast({same, same}));
  AddConvolution(rows, "one-by-one", {2, 5, 5, 3}, {1, 1, 3, 8}, FeatureLast({{.size = 1}, {.size = 1}}));
  AddConvolution(rows, "strided", {2, 9, 8, 3}, {3, 2, 3, 4},
                 FeatureLast({{.size = 3, .stride = 2, .padding_low = 1, .padding_high = 0},
                              {.size = 2, .stride = 2}}));
  AddConvolution(rows, "dilated-kernel", {1, 9, 9, 2}, {3, 2, 2, 3},
                 FeatureLast({{.size = 3, .window_dilation = 2}, {.size = 2, .window_dilation = 3}}));
  AddConvolution(rows, "dilated-input", {1, 4, 5, 2}, {3, 3, 2, 3},
                 FeatureLast({{.size = 3, .padding_low = 2, .padding_high = 2, .base_dilation = 2},
                              {.size = 3, .padding_low = 1, .padding_high = 2, .base_dilation = 3}}));
  AddConvolution(rows, "negative-padding", {1, 9, 9, 2}, {3, 3, 2, 3},
                 FeatureLast({{.size = 3, .padding_low = -1, .padding_high = 1},
                              {.size = 3, .padding_low = 2, .padding_high = -2}}));
  AddConvolution(rows, "reversed", {1, 6, 6, 2}, {3, 2, 2, 3},
                 FeatureLast({{.size = 3, .reversal = true}, {.size = 2, .padding_low = 1, .reversal = true}}));
  AddConvolution(rows, "one-dimension", {3, 17, 4}, {5, 4, 6},
                 FeatureLast({{.size = 5, .padding_low = 4, .padding_high = 0}}));
  AddConvolution(rows, "three-dimensions", {1, 4, 5, 6, 2}, {2, 2, 3, 2, 3},
                 FeatureLast({{.size = 2}, {.size = 2, .padding_low = 1}, w3}));
  ConvolutionAttrs grouped = FeatureLast({same, same});
  grouped.feature_group_count = 2;
  AddConvolution(rows, "groups", {2, 5, 6, 6}, {3, 3, 3, 4}, grouped);
  ConvolutionAttrs depthwise = FeatureLast({same, same});
  depthwise.feature_group_count = 6;
  AddConvolution(rows, "depthwise", {2, 5, 6, 6}, {3, 3, 1, 12}, depthwise);
  ConvolutionAttrs batched = FeatureLast({same, same});
  batched.batch_group_count = 2;
  AddConvolution(rows, "batch-groups", {6, 5, 6, 3}, {3, 3, 3, 4}, batched);
  // In the next two layouts, the features precede the spatial dimensions. The second layout, which a weight gradient
  // has, also exchanges batch and features.
  ConvolutionAttrs first;
  first.window = {same, same};
  first.input_spatial = {2, 3};
  first.kernel_spatial = {2, 3};
  first.output_spatial = {2, 3};
  AddConvolution(rows, "feature-first", {2, 3, 7, 6}, {4, 3, 3, 3}, first);
  ConvolutionAttrs gradient = first;
  gradient.window = {{.size = 5, .padding_low = 1, .padding_high = 1, .window_dilation = 1},
                     {.size = 5, .padding_low = 1, .padding_high = 1}};
  gradient.input_batch = 1;
  gradient.input_feature = 0;
  gradient.kernel_input_feature = 0;
  gradient.kernel_output_feature = 1;
  gradient.output_batch = 1;
  gradient.output_feature = 0;
  AddConvolution(rows, "weight-gradient", {4, 3, 5, 5}, {4, 2, 5, 5}, gradient);
}

}  // namespace

void AddContractionRows(Rows& rows) {
  AddDots(rows);
  AddConvolutions(rows);
}

}  // namespace alpa::conformance
