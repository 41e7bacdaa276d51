// Conformance tests (rows) for reductions over every set of dimensions, reductions over windows, and sorts.
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/conformance/backend/suite.h"

namespace alpa::conformance {
namespace {

using graph::CompareDirection;
using graph::DimsAttrs;
using graph::ReduceKind;
using graph::WindowAttrs;
using graph::WindowDim;

Tolerance SumTolerance(DType dtype) {
  if (!IsFloat(dtype)) return Exact();
  return SizeOf(dtype) == 2 ? Normwise(2) : Normwise(64);
}

bool Has(ReduceKind kind, DType dtype) {
  if (dtype == DType::kPred) return kind != ReduceKind::kSum && kind != ReduceKind::kProduct;
  return !IsFloat(dtype) || (kind != ReduceKind::kAnd && kind != ReduceKind::kOr);
}

void AddReduces(Rows& rows) {
  for (int set = 0; set < 16; ++set) {
    std::vector<int64_t> dims;
    for (int64_t d = 0; d < 4; ++d) {
      if (set >> d & 1) dims.push_back(d);
    }
    const std::string name = absl::StrCat("reduce/dims=", absl::StrJoin(dims, ","));
    AddProgram(rows, name, [=] {
      Maker m(name);
      std::vector<ValueId> results;
      std::vector<Tolerance> tolerances;
      for (DType dtype : {DType::kF32, DType::kBF16, DType::kF64, DType::kS32}) {
        for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMax}) {
          results.push_back(m->Reduce(m.Input({dtype, {3, 4, 5, 9}}), kind, dims));
          tolerances.push_back(kind == ReduceKind::kSum ? SumTolerance(dtype) : Exact());
        }
      }
      results.push_back(m->Reduce(m.Input({DType::kF32, {2, 0, 3, 1}}), ReduceKind::kSum, dims));
      tolerances.push_back(SumTolerance(DType::kF32));
      Program p = m.Finish(results);
      p.tolerances = tolerances;
      return p;
    });
  }
  for (DType dtype : {DType::kPred, DType::kS8, DType::kS16, DType::kS32, DType::kS64, DType::kU8, DType::kU16,
                      DType::kU32, DType::kU64, DType::kF16, DType::kBF16, DType::kF32, DType::kF64}) {
    const std::string name = absl::StrCat("reduce/kinds/", NameOf(dtype));
    AddProgram(rows, name, [=] {
      Maker m(name);
      std::vector<ValueId> results;
      std::vector<Tolerance> tolerances;
      for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin, ReduceKind::kAnd, ReduceKind::kOr,
                              ReduceKind::kProduct}) {
        if (!Has(kind, dtype)) continue;
        for (int64_t n : {0, 1, 7, 31, 64, 1000}) {
          // A product of many numbers only stays in range if the numbers are near 1.
          const ValueId x = !IsFloat(dtype)                ? m.EdgeInput({dtype, {3, n}})
                            : kind == ReduceKind::kProduct ? m.Input({dtype, {3, n}}, 0.98, 1.02)
                                                           : m.Input({dtype, {3, n}});
          results.push_back(m->Reduce(x, kind, {1}));
          results.push_back(m->Reduce(x, kind, {0}));
          for (int i = 0; i < 2; ++i) {
            const bool rounds = kind == ReduceKind::kSum || kind == ReduceKind::kProduct;
            tolerances.push_back(rounds ? (kind == ReduceKind::kProduct && IsFloat(dtype) && SizeOf(dtype) != 2
                                               ? Normwise(1000)
                                               : SumTolerance(dtype))
                                        : Exact());
          }
        }
      }
      Program p = m.Finish(results);
      p.tolerances = tolerances;
      return p;
    });
  }
}

void AddUnusualReduces(Rows& rows) {
  AddProgram(rows, "reduce/nan-and-infinity", [] {
    Maker m("nan");
    std::vector<ValueId> results;
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF64}) {
      const ValueId x = m.Input(LiteralOf(dtype, {4, 3}, {1, NAN, 2, INFINITY, 0, 1, -INFINITY, 3, -1, NAN, NAN, NAN}));
      for (ReduceKind kind : {ReduceKind::kMax, ReduceKind::kMin, ReduceKind::kSum}) {
        results.push_back(m->Reduce(x, kind, {1}));
        results.push_back(m->Reduce(x, kind, {0}));
      }
    }
    return m.Finish(results);
  });
  AddProgram(rows, "reduce/initial-value-counts", [] {
    Maker m("initial");
    std::vector<ValueId> results;
    for (int64_t n : {0, 5}) {
      const ValueId x = m.Input({DType::kS32, {3, n}}, -9, 9), start = m.Input(LiteralOf(DType::kS32, {}, {100}));
      for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin}) {
        results.push_back(m.Add(Opcode::kReduce, {x, start}, DimsAttrs{{1}}, {graph::ReduceRegion(kind, DType::kS32)}));
      }
    }
    return m.Finish(results);
  });
  AddProgram(rows, "reduce/argmax", [] {
    Maker m("argmax");
    const Shape f{DType::kF32, {}}, i{DType::kS32, {}};
    const auto region = Region({f, i, f, i}, [](GraphBuilder& b, std::vector<ValueId> p) {
      const ValueId larger = b.Compare(CompareDirection::kGt, p[0], p[2]);
      const ValueId equal = b.Compare(CompareDirection::kEq, p[0], p[2]);
      const ValueId first = b.Binary(Opcode::kAnd, equal, b.Compare(CompareDirection::kLt, p[1], p[3]));
      const ValueId keep = b.Binary(Opcode::kOr, larger, first);
      return std::vector{b.Select(keep, p[0], p[2]), b.Select(keep, p[1], p[3])};
    });
    const ValueId x = m.Input({DType::kS32, {7, 33}}, 0, 12);  // with ties
    const ValueId values = m->Convert(x, DType::kF32);
    const ValueId low = m->Scalar(DType::kF32, -1), none = m->Scalar(DType::kS32, 0);
    std::vector<ValueId> results =
        m.AddAll(Opcode::kReduce, {values, m->Iota({DType::kS32, {7, 33}}, 1), low, none}, DimsAttrs{{1}}, {region});
    for (ValueId id :
         m.AddAll(Opcode::kReduce, {values, m->Iota({DType::kS32, {7, 33}}, 0), low, none}, DimsAttrs{{0}}, {region})) {
      results.push_back(id);
    }
    return m.Finish(results);
  });
  AddProgram(rows, "reduce/custom-region", [] {
    Maker m("own");
    const Shape f{DType::kF32, {}};
    // max(|a|, |b|) is not a ReduceKind.
    const auto region = Region({f, f}, [](GraphBuilder& b, std::vector<ValueId> p) {
      return std::vector{b.Binary(Opcode::kMaximum, b.Unary(Opcode::kAbs, p[0]), b.Unary(Opcode::kAbs, p[1]))};
    });
    const ValueId x = m.Input({DType::kF32, {5, 6, 7}}), zero = m->Scalar(DType::kF32, 0);
    return m.Finish({m.Add(Opcode::kReduce, {x, zero}, DimsAttrs{{1}}, {region}),
                     m.Add(Opcode::kReduce, {x, zero}, DimsAttrs{{0, 1, 2}}, {region})});
  });
}

void AddWindows(Rows& rows) {
  struct WindowCase {
    const char* name;
    std::vector<int64_t> dims;
    std::vector<WindowDim> window;
  };
  const WindowCase cases[] = {
      {"pool", {2, 8, 6}, {{}, {.size = 2, .stride = 2}, {.size = 3, .stride = 3}}},
      {"padded",
       {5, 7},
       {{.size = 3, .stride = 2, .padding_low = 1, .padding_high = 1}, {.size = 2, .padding_low = 1}}},
      {"cumulative", {3, 31}, {{}, {.size = 31, .padding_low = 30}}},
      {"dilated-window", {9, 9}, {{.size = 3, .window_dilation = 2}, {.size = 2, .stride = 2, .window_dilation = 3}}},
      {"dilated-base", {4, 5}, {{.size = 3, .base_dilation = 2}, {.size = 2, .padding_low = 1, .base_dilation = 3}}},
      {"negative-padding",
       {9, 8},
       {{.size = 2, .padding_low = -2, .padding_high = 1}, {.size = 3, .padding_low = 1, .padding_high = -2}}},
      {"only-padding", {2}, {{.size = 2, .stride = 3, .padding_low = 4, .padding_high = 4}}},
      {"whole", {4, 6}, {{.size = 4}, {.size = 6}}},
  };
  for (const WindowCase& c : cases) {
    AddProgram(rows, absl::StrCat("reduce-window/", c.name), [c] {
      Maker m(c.name);
      std::vector<ValueId> results;
      std::vector<Tolerance> tolerances;
      for (DType dtype : {DType::kF32, DType::kBF16, DType::kS32, DType::kF64}) {
        for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin}) {
          const ValueId start = m->Constant(graph::ReduceIdentity(kind, dtype));
          results.push_back(m.Add(Opcode::kReduceWindow, {m.Input({dtype, c.dims}), start}, WindowAttrs{c.window},
                                  {graph::ReduceRegion(kind, dtype)}));
          tolerances.push_back(kind == ReduceKind::kSum ? SumTolerance(dtype) : Exact());
        }
      }
      Program p = m.Finish(results);
      p.tolerances = tolerances;
      return p;
    });
  }
  AddProgram(rows, "reduce-window/two-operands", [] {
    Maker m("two");
    const Shape f{DType::kF32, {}}, i{DType::kS32, {}};
    const auto region = Region({f, i, f, i}, [](GraphBuilder& b, std::vector<ValueId> p) {
      const ValueId keep = b.Compare(CompareDirection::kGe, p[0], p[2]);
      return std::vector{b.Select(keep, p[0], p[2]), b.Select(keep, p[1], p[3])};
    });
    return m.Finish(m.AddAll(Opcode::kReduceWindow,
                             {m.Input({DType::kF32, {7, 8}}), m->Iota({DType::kS32, {7, 8}}, 1),
                              m->Scalar(DType::kF32, -100), m->Scalar(DType::kS32, -1)},
                             WindowAttrs{{{.size = 2}, {.size = 3, .stride = 2, .padding_low = 1}}}, {region}));
  });
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kS32}) {
    AddProgram(rows, absl::StrCat("select-and-scatter/", NameOf(dtype)), [dtype] {
      Maker m("select-and-scatter");
      const Shape scalar{dtype, {}};
      const auto ge = Region({scalar, scalar}, [](GraphBuilder& b, std::vector<ValueId> p) {
        return std::vector{b.Compare(CompareDirection::kGe, p[0], p[1])};
      });
      const auto add = graph::ReduceRegion(ReduceKind::kSum, dtype);
      auto whole = [&](std::vector<int64_t> dims) {
        return m->Convert(m.Input({DType::kS32, std::move(dims)}, -4, 4), dtype);
      };
      std::vector<ValueId> results;
      results.push_back(m.Add(Opcode::kSelectAndScatter, {whole({2, 8, 6}), whole({2, 4, 2}), m->Scalar(dtype, 0)},
                              WindowAttrs{{{}, {.size = 2, .stride = 2}, {.size = 3, .stride = 3}}}, {ge, add}));
      results.push_back(m.Add(Opcode::kSelectAndScatter, {whole({7, 7}), whole({4, 4}), m->Scalar(dtype, 1)},
                              WindowAttrs{{{.size = 3, .stride = 2, .padding_low = 1, .padding_high = 1},
                                           {.size = 3, .stride = 2, .padding_low = 1, .padding_high = 1}}},
                              {ge, add}));
      return m.Finish(results);
    });
  }
}

std::shared_ptr<const graph::Graph> Less(const std::vector<Shape>& scalars, CompareDirection direction, bool total) {
  return Region(scalars, [=](GraphBuilder& b, std::vector<ValueId> p) {
    return b.AddOp(Opcode::kCompare, {p[0], p[1]}, {Shape{DType::kPred, {}}}, graph::CompareAttrs{direction, total});
  });
}

void AddSorts(Rows& rows) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF64, DType::kS32, DType::kU8, DType::kS64}) {
    AddProgram(rows, absl::StrCat("sort/", NameOf(dtype)), [dtype] {
      Maker m("sort");
      std::vector<ValueId> results;
      const std::vector<Shape> pair(2, Shape{dtype, {}});
      for (CompareDirection direction : {CompareDirection::kLt, CompareDirection::kGt}) {
        for (int64_t n : {0, 1, 2, 7, 31, 64, 1000}) {
          results.push_back(
              m.Add(Opcode::kSort, {m.Input({dtype, {n}})}, graph::SortAttrs{0, true}, {Less(pair, direction, false)}));
        }
        for (int64_t d : {0, 1, 2}) {
          results.push_back(m.Add(Opcode::kSort, {m.EdgeInput({dtype, {3, 10, 5}})}, graph::SortAttrs{d, true},
                                  {Less(pair, direction, true)}));
        }
      }
      return m.Finish(results);
    });
  }
  AddProgram(rows, "sort/stable-by-key", [] {
    Maker m("key");
    const Shape key{DType::kS32, {}}, value{DType::kF32, {}}, position{DType::kS64, {}};
    const auto region = Less({key, key, value, value, position, position}, CompareDirection::kLt, false);
    std::vector<ValueId> results = m.AddAll(
        Opcode::kSort,
        {m.Input({DType::kS32, {5, 200}}, 0, 9), m.Input({DType::kF32, {5, 200}}), m->Iota({DType::kS64, {5, 200}}, 1)},
        graph::SortAttrs{1, true}, {region});
    for (ValueId id : m.AddAll(Opcode::kSort,
                               {m.Input({DType::kS32, {50, 3}}, 0, 9), m.Input({DType::kF32, {50, 3}}),
                                m->Iota({DType::kS64, {50, 3}}, 0)},
                               graph::SortAttrs{0, true}, {region})) {
      results.push_back(id);
    }
    return m.Finish(results);
  });
  AddProgram(rows, "sort/comparator-of-two-keys", [] {
    Maker m("two-keys");
    const Shape s{DType::kS32, {}};
    const auto region = Region({s, s, s, s}, [](GraphBuilder& b, std::vector<ValueId> p) {
      const ValueId less = b.Compare(CompareDirection::kLt, p[0], p[1]);
      const ValueId tie = b.Compare(CompareDirection::kEq, p[0], p[1]);
      const ValueId second = b.Compare(CompareDirection::kGt, p[2], p[3]);
      return std::vector{b.Binary(Opcode::kOr, less, b.Binary(Opcode::kAnd, tie, second))};
    });
    return m.Finish(m.AddAll(Opcode::kSort,
                             {m.Input({DType::kS32, {4, 99}}, 0, 5), m.Input({DType::kS32, {4, 99}}, 0, 5)},
                             graph::SortAttrs{1, true}, {region}));
  });
}

}  // namespace

void AddReductionRows(Rows& rows) {
  AddReduces(rows);
  AddUnusualReduces(rows);
  AddWindows(rows);
  AddSorts(rows);
}

}  // namespace alpa::conformance
