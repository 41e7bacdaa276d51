// Conformance tests (rows) for elementwise ops. Each op runs with all its element types, and with edge values
// (EdgeLiteral). Some sizes are multiples of a vector length, and some are not.
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/conformance/backend/suite.h"

namespace alpa::conformance {
namespace {

using graph::CompareDirection;

const DType kFloats[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF64};
const DType kIntegers[] = {DType::kS8, DType::kS16, DType::kS32, DType::kS64,
                           DType::kU8, DType::kU16, DType::kU32, DType::kU64};
const DType kAll[] = {DType::kPred, DType::kS8,  DType::kS16, DType::kS32, DType::kS64, DType::kU8,  DType::kU16,
                      DType::kU32,  DType::kU64, DType::kF16, DType::kF32, DType::kF64, DType::kBF16};
const std::vector<std::vector<int64_t>> kSizes = {{0}, {1}, {7}, {31}, {64}, {1000}, {}, {3, 5, 7}, {2, 0, 3}};

std::string Name(DType dtype) { return std::string(NameOf(dtype)); }

struct FloatOp {
  Opcode opcode;
  double low, high;  // range of the arguments
  double ulps;       // tolerance in f32 and f64; 0: exact
  double floor = 0;  // the Tolerance::floor, which allows an absolute error near a zero of the op
};

// A backend may compute 16-bit types in f32 and round the result, so 1 ulp is allowed for them.
Tolerance ToleranceOf(const FloatOp& op, DType dtype) {
  if (op.ulps == 0) return Exact();
  return Near(SizeOf(dtype) == 2 ? 1 : op.ulps, op.floor);
}

const FloatOp kFloatUnary[] = {
    {Opcode::kAbs, -4, 4, 0},
    {Opcode::kCbrt, -8, 8, 4},
    {Opcode::kCeil, -4, 4, 0},
    {Opcode::kCosine, -4, 4, 8, 0.1},
    {Opcode::kErf, -3, 3, 8},
    {Opcode::kExp, -6, 6, 4},
    {Opcode::kExpm1, -2, 2, 8},
    {Opcode::kFloor, -4, 4, 0},
    {Opcode::kIsFinite, -4, 4, 0},
    {Opcode::kLog, 0.01, 10, 4, 0.01},
    {Opcode::kLog1p, -0.9, 10, 8},
    {Opcode::kLogistic, -8, 8, 8},
    {Opcode::kNegate, -4, 4, 0},
    {Opcode::kRoundNearestAfz, -4, 4, 0},
    {Opcode::kRoundNearestEven, -4, 4, 0},
    {Opcode::kRsqrt, 0.01, 10, 4},
    {Opcode::kSign, -4, 4, 0},
    {Opcode::kSine, -4, 4, 8, 0.1},
    {Opcode::kSqrt, 0, 10, 0},
    {Opcode::kTan, -1.4, 1.4, 8, 0.1},
    {Opcode::kTanh, -4, 4, 8},
    {Opcode::kCopy, -4, 4, 0},
};

const FloatOp kFloatBinary[] = {
    {Opcode::kAdd, -4, 4, 0},     {Opcode::kSubtract, -4, 4, 0},   {Opcode::kMultiply, -4, 4, 0},
    {Opcode::kDivide, 0.5, 4, 0}, {Opcode::kRemainder, 0.5, 9, 0}, {Opcode::kMaximum, -4, 4, 0},
    {Opcode::kMinimum, -4, 4, 0}, {Opcode::kPower, 0.2, 4, 16},    {Opcode::kAtan2, -4, 4, 8},
};

// Adds two rows per float type: one for arrays of all sizes, and one for edge values.
void AddFloatRows(Rows& rows, const FloatOp& op, int operands) {
  for (DType dtype : kFloats) {
    const std::string name = absl::StrCat("elementwise/", NameOf(op.opcode), "/", Name(dtype));
    AddProgram(rows, absl::StrCat(name, "/sizes"), [=] {
      Maker m(name);
      std::vector<ValueId> results;
      for (const auto& dims : kSizes) {
        std::vector<ValueId> inputs;
        for (int i = 0; i < operands; ++i) inputs.push_back(m.Input({dtype, dims}, op.low, op.high));
        results.push_back(m.Add(op.opcode, inputs));
      }
      return m.Finish(results, ToleranceOf(op, dtype));
    });
    AddProgram(rows, absl::StrCat(name, "/edge-values"), [=] {
      Maker m(name);
      std::vector<ValueId> inputs;
      for (int i = 0; i < operands; ++i) inputs.push_back(m.EdgeInput({dtype, {777}}));
      return m.Finish({m.Add(op.opcode, inputs)}, ToleranceOf(op, dtype));
    });
  }
}

// Adds one row per type, for edge values in arrays of all sizes. The results must be exact.
void AddBitRows(Rows& rows, Opcode opcode, int operands, const DType* begin, const DType* end) {
  for (const DType* dtype = begin; dtype != end; ++dtype) {
    const std::string name = absl::StrCat("elementwise/", NameOf(opcode), "/", Name(*dtype));
    AddProgram(rows, name, [=, dtype = *dtype] {
      Maker m(name);
      std::vector<ValueId> results;
      for (const auto& dims : kSizes) {
        std::vector<ValueId> inputs;
        for (int i = 0; i < operands; ++i) inputs.push_back(m.EdgeInput({dtype, dims}));
        results.push_back(m.Add(opcode, inputs));
      }
      return m.Finish(results);
    });
  }
}

void AddCompareRows(Rows& rows) {
  for (DType dtype : kAll) {
    for (bool total : {false, true}) {
      if (total && !IsFloat(dtype)) continue;
      const std::string name = absl::StrCat("elementwise/compare", total ? "-total-order/" : "/", Name(dtype));
      AddProgram(rows, name, [=] {
        Maker m(name);
        std::vector<ValueId> results;
        for (int64_t n : {0, 1, 67, 900}) {
          const ValueId a = m.EdgeInput({dtype, {n}}), b = m.EdgeInput({dtype, {n}});
          for (int d = 0; d < 6; ++d) {
            const graph::CompareAttrs attrs{static_cast<CompareDirection>(d), total};
            results.push_back(m.Add(Opcode::kCompare, {a, b}, attrs));
            results.push_back(m.Add(Opcode::kCompare, {a, a}, attrs));
          }
        }
        return m.Finish(results);
      });
    }
  }
}

void AddConvertRows(Rows& rows) {
  for (DType from : kAll) {
    const std::string name = absl::StrCat("elementwise/convert/", Name(from));
    AddProgram(rows, name, [=] {
      Maker m(name);
      std::vector<ValueId> results;
      const ValueId edge = m.EdgeInput({from, {515}}), ordinary = m.Input({from, {7, 9}}, -120, 120);
      for (DType to : kAll) {
        results.push_back(m->Convert(edge, to));
        results.push_back(m->Convert(ordinary, to));
      }
      return m.Finish(results);
    });
    AddProgram(rows, absl::StrCat("elementwise/bitcast-convert/", Name(from)), [=] {
      Maker m(name);
      std::vector<ValueId> results;
      const int64_t size = SizeOf(from);
      const ValueId a = m.EdgeInput({from, {6, 8}});
      for (DType to : kAll) {
        // Skips pred, because pred has only two valid bit patterns.
        if (to == DType::kPred || from == DType::kPred) continue;
        const int64_t to_size = SizeOf(to);
        std::vector<int64_t> dims{6, 8};
        if (to_size < size) dims.push_back(size / to_size);
        if (to_size > size) {
          if (8 % (to_size / size) != 0) continue;
          const ValueId grouped = m->Reshape(a, {6, 8 / (to_size / size), to_size / size});
          results.push_back(m.Add(Opcode::kBitcastConvert, {grouped}, {}, {}, {Shape{to, {6, 8 / (to_size / size)}}}));
          continue;
        }
        results.push_back(m.Add(Opcode::kBitcastConvert, {a}, {}, {}, {Shape{to, dims}}));
      }
      if (results.empty()) results.push_back(a);
      return m.Finish(results);
    });
  }
}

void AddReducePrecisionRows(Rows& rows) {
  const std::pair<int, int> formats[] = {{8, 7}, {5, 10}, {8, 23}, {4, 3}, {5, 2}, {8, 0}, {11, 52}, {2, 1}};
  for (DType dtype : kFloats) {
    const std::string name = absl::StrCat("elementwise/reduce-precision/", Name(dtype));
    AddProgram(rows, name, [=] {
      Maker m(name);
      std::vector<ValueId> results;
      const ValueId a = m.EdgeInput({dtype, {401}}), b = m.Input({dtype, {401}}, -1e4, 1e4);
      for (auto [exponent, mantissa] : formats) {
        const graph::ReducePrecisionAttrs attrs{exponent, mantissa};
        results.push_back(m.Add(Opcode::kReducePrecision, {a}, attrs));
        results.push_back(m.Add(Opcode::kReducePrecision, {b}, attrs));
      }
      return m.Finish(results);
    });
  }
}

void AddTernaryRows(Rows& rows) {
  for (DType dtype : kAll) {
    const std::string name = absl::StrCat("elementwise/select/", Name(dtype));
    AddProgram(rows, name, [=] {
      Maker m(name);
      std::vector<ValueId> results;
      for (const auto& dims : kSizes) {
        const ValueId a = m.EdgeInput({dtype, dims}), b = m.EdgeInput({dtype, dims});
        results.push_back(m.Add(Opcode::kSelect, {m.Input({DType::kPred, dims}), a, b}));
        results.push_back(m.Add(Opcode::kSelect, {m.Input(LiteralOf(DType::kPred, {}, {1})), a, b}));
        results.push_back(m.Add(Opcode::kSelect, {m.Input(LiteralOf(DType::kPred, {}, {0})), a, b}));
      }
      return m.Finish(results);
    });
    if (dtype == DType::kPred) continue;
    AddProgram(rows, absl::StrCat("elementwise/clamp/", Name(dtype)), [=] {
      Maker m(name);
      std::vector<ValueId> results;
      for (const auto& dims : kSizes) {
        const ValueId x = m.EdgeInput({dtype, dims});
        const ValueId low = m.Input({dtype, dims}, 0, 1), high = m.Input({dtype, dims}, 2, 3);
        const ValueId low1 = m.Input({dtype, {}}, 0, 1), high1 = m.Input({dtype, {}}, 2, 3);
        results.push_back(m.Add(Opcode::kClamp, {low, x, high}));
        results.push_back(m.Add(Opcode::kClamp, {low1, x, high}));
        results.push_back(m.Add(Opcode::kClamp, {low, x, high1}));
        results.push_back(m.Add(Opcode::kClamp, {low1, x, high1}));
      }
      return m.Finish(results);
    });
  }
}

// Adds rows with very small and very large arguments, for which simple approximations fail.
void AddExtremeRows(Rows& rows) {
  AddProgram(rows, "elementwise/small-arguments/f32", [] {
    Maker m("small");
    std::vector<ValueId> results;
    const ValueId x = m.Input({DType::kF32, {301}}, -1e-4, 1e-4);
    for (Opcode op : {Opcode::kExpm1, Opcode::kLog1p, Opcode::kTanh, Opcode::kSine, Opcode::kErf, Opcode::kTan}) {
      results.push_back(m.Add(op, {x}));
    }
    return m.Finish(results, Near(8));
  });
  AddProgram(rows, "elementwise/large-arguments/f32", [] {
    Maker m("large");
    std::vector<ValueId> results;
    const ValueId x = m.Input({DType::kF32, {301}}, -90, 86);  // exp(-87) is close to the smallest normal f32
    for (Opcode op : {Opcode::kExp, Opcode::kTanh, Opcode::kLogistic, Opcode::kErf, Opcode::kExpm1}) {
      results.push_back(m.Add(op, {x}));
    }
    results[0] = m.Add(Opcode::kExp, {m.Input({DType::kF32, {301}}, -87, 88.5)});
    results[2] = m.Add(Opcode::kLogistic, {m.Input({DType::kF32, {301}}, -87, 88)});
    const ValueId wide = m.Input({DType::kF32, {301}}, 1e30, 1e38);
    for (Opcode op : {Opcode::kLog, Opcode::kSqrt, Opcode::kRsqrt, Opcode::kCbrt, Opcode::kLog1p}) {
      results.push_back(m.Add(op, {wide}));
    }
    return m.Finish(results, Near(8));
  });
  AddProgram(rows, "elementwise/trigonometric-large/f32", [] {
    Maker m("trigonometric");
    const ValueId x = m.Input({DType::kF32, {301}}, -2000, 2000);
    return m.Finish({m.Add(Opcode::kSine, {x}), m.Add(Opcode::kCosine, {x})}, Near(8, 1));
  });
  AddProgram(rows, "elementwise/wide-integers/convert", [] {
    Maker m("wide");
    std::vector<ValueId> results;
    const ValueId s = m.EdgeInput({DType::kS64, {257}}), u = m.EdgeInput({DType::kU64, {257}});
    const ValueId f = m.Input({DType::kF64, {257}}, -1e19, 1e19), g = m.Input({DType::kF32, {257}}, -5e9, 5e9);
    for (DType to : {DType::kF32, DType::kF64, DType::kS32, DType::kU32, DType::kS64, DType::kU64, DType::kS8}) {
      for (ValueId x : {s, u, f, g}) results.push_back(m->Convert(x, to));
    }
    return m.Finish(results);
  });
}

}  // namespace

void AddElementwiseRows(Rows& rows) {
  for (const FloatOp& op : kFloatUnary) AddFloatRows(rows, op, 1);
  for (const FloatOp& op : kFloatBinary) AddFloatRows(rows, op, 2);
  const DType* integers = std::begin(kIntegers);
  const DType* integers_end = std::end(kIntegers);
  for (Opcode op : {Opcode::kAbs, Opcode::kCountLeadingZeros, Opcode::kNegate, Opcode::kNot, Opcode::kPopulationCount,
                    Opcode::kSign, Opcode::kCopy}) {
    AddBitRows(rows, op, 1, integers, integers_end);
  }
  for (Opcode op : {Opcode::kAdd, Opcode::kSubtract, Opcode::kMultiply, Opcode::kDivide, Opcode::kRemainder,
                    Opcode::kPower, Opcode::kMaximum, Opcode::kMinimum, Opcode::kAnd, Opcode::kOr, Opcode::kXor,
                    Opcode::kShiftLeft, Opcode::kShiftRightArithmetic, Opcode::kShiftRightLogical}) {
    AddBitRows(rows, op, 2, integers, integers_end);
  }
  const DType pred[] = {DType::kPred};
  for (Opcode op : {Opcode::kNot, Opcode::kCopy}) AddBitRows(rows, op, 1, std::begin(pred), std::end(pred));
  for (Opcode op : {Opcode::kAnd, Opcode::kOr, Opcode::kXor, Opcode::kMaximum, Opcode::kMinimum}) {
    AddBitRows(rows, op, 2, std::begin(pred), std::end(pred));
  }
  AddCompareRows(rows);
  AddConvertRows(rows);
  AddReducePrecisionRows(rows);
  AddTernaryRows(rows);
  AddExtremeRows(rows);
}

}  // namespace alpa::conformance
