// Conformance tests (rows) for parts of models, and for graphs that a compiler might fuse wrongly: diamonds, values
// with many readers, reductions whose results are broadcast back, transposes that feed dots.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/conformance/backend/suite.h"

namespace alpa::conformance {
namespace {

using graph::ReduceKind;

// Defines short names for methods of `m` that add common ops.
struct Math {
  Maker& m;
  ValueId operator()(Opcode op, ValueId a) { return m->Unary(op, a); }
  ValueId operator()(Opcode op, ValueId a, ValueId b) { return m->Binary(op, a, b); }
  ValueId Add(ValueId a, ValueId b) { return m->Binary(Opcode::kAdd, a, b); }
  ValueId Sub(ValueId a, ValueId b) { return m->Binary(Opcode::kSubtract, a, b); }
  ValueId Mul(ValueId a, ValueId b) { return m->Binary(Opcode::kMultiply, a, b); }
  ValueId Div(ValueId a, ValueId b) { return m->Binary(Opcode::kDivide, a, b); }
  ValueId Full(ValueId like, double value) { return m->Full(m.shape(like), value); }
  // Broadcasts `reduced` to the shape of `like`. `reduced` lacks the last dimension of this shape.
  ValueId Spread(ValueId reduced, ValueId like) {
    std::vector<int64_t> dims(m.shape(like).dims.size() - 1);
    for (size_t d = 0; d < dims.size(); ++d) dims[d] = static_cast<int64_t>(d);
    return m->Broadcast(reduced, m.shape(like).dims, dims);
  }
  ValueId LastSum(ValueId x) { return m->Reduce(x, ReduceKind::kSum, {m.shape(x).rank() - 1}); }
  ValueId Softmax(ValueId x) {
    const ValueId top = m->Reduce(x, ReduceKind::kMax, {m.shape(x).rank() - 1});
    const ValueId e = m->Unary(Opcode::kExp, Sub(x, Spread(top, x)));
    return Div(e, Spread(LastSum(e), e));
  }
  ValueId LayerNorm(ValueId x, ValueId scale, ValueId bias) {
    const int64_t n = m.shape(x).dims.back(), last = m.shape(x).rank() - 1;
    const ValueId mean = LastSum(Mul(x, Full(x, 1.0 / static_cast<double>(n))));
    const ValueId centered = Sub(x, Spread(mean, x));
    const ValueId variance = LastSum(Mul(Mul(centered, centered), Full(x, 1.0 / static_cast<double>(n))));
    const ValueId inverse = m->Unary(Opcode::kRsqrt, Add(variance, Full(variance, 1e-5)));
    const ValueId normal = Mul(centered, Spread(inverse, x));
    return Add(Mul(normal, m->Broadcast(scale, m.shape(x).dims, {last})), m->Broadcast(bias, m.shape(x).dims, {last}));
  }
  // Uses the tanh approximation of GELU.
  ValueId Gelu(ValueId x) {
    const ValueId cube = Mul(x, Mul(x, x));
    const ValueId inner = Mul(Full(x, std::sqrt(2 / M_PI)), Add(x, Mul(Full(x, 0.044715), cube)));
    return Mul(Mul(Full(x, 0.5), x), Add(Full(x, 1), m->Unary(Opcode::kTanh, inner)));
  }
};

Tolerance ModelTolerance(DType dtype) { return SizeOf(dtype) == 2 ? Normwise(8) : Normwise(64); }

void AddModelParts(Rows& rows) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF64}) {
    const std::string type(NameOf(dtype));
    for (int64_t n : {1, 7, 64, 129}) {
      AddProgram(rows, absl::StrCat("pattern/softmax/", type, "/", n), [=] {
        Maker m("softmax");
        Math f{m};
        return m.Finish({f.Softmax(m.Input({dtype, {5, 3, n}}, -8, 8))}, ModelTolerance(dtype));
      });
      AddProgram(rows, absl::StrCat("pattern/layer-norm/", type, "/", n), [=] {
        Maker m("layer-norm");
        Math f{m};
        // At n = 1 the exact centered value is 0. The factor rsqrt(1e-5) amplifies rounding errors in the centered
        // value, so the tolerance is large.
        return m.Finish({f.LayerNorm(m.Input({dtype, {6, n}}, -3, 3), m.Input({dtype, {n}}), m.Input({dtype, {n}}))},
                        SizeOf(dtype) == 2 ? Normwise(24) : Normwise(256));
      });
    }
    AddProgram(rows, absl::StrCat("pattern/gelu/", type), [=] {
      Maker m("gelu");
      Math f{m};
      return m.Finish({f.Gelu(m.Input({dtype, {31, 33}}, -4, 4))}, ModelTolerance(dtype));
    });
    AddProgram(rows, absl::StrCat("pattern/attention/", type), [=] {
      Maker m("attention");
      Math f{m};
      const int64_t b = 2, t = 9, h = 3, d = 8;
      const ValueId x = m.Input({dtype, {b, t, h * d}}, -1, 1);
      const ValueId w = m.Input({dtype, {h * d, 3 * h * d}}, -0.3, 0.3);
      const ValueId qkv = m->Reshape(m->Dot(x, w, {{}, {}, {2}, {0}}, dtype), {b, t, 3, h, d});
      auto part = [&](int64_t i) {
        return m->Reshape(m->Slice(qkv, {0, 0, i, 0, 0}, {b, t, i + 1, h, d}), {b, t, h, d});
      };
      const ValueId q = m->Transpose(part(0), {0, 2, 1, 3}), k = m->Transpose(part(1), {0, 2, 1, 3});
      const ValueId scores = m->Dot(q, k, {{0, 1}, {0, 1}, {3}, {3}}, dtype);
      const Shape square{DType::kS32, {t, t}};
      const ValueId causal = m->Broadcast(
          m->Compare(graph::CompareDirection::kGe, m->Iota(square, 0), m->Iota(square, 1)), {b, h, t, t}, {2, 3});
      const ValueId masked = m->Select(causal, f.Mul(scores, f.Full(scores, 1 / std::sqrt(d))), f.Full(scores, -1e9));
      const ValueId p = f.Softmax(masked);
      const ValueId out = m->Dot(p, part(2), {{0, 1}, {0, 2}, {3}, {1}}, dtype);  // [b, h, t, d]
      const ValueId y = m->Reshape(m->Transpose(out, {0, 2, 1, 3}), {b, t, h * d});
      // Computes the backward of the product with the values and of the softmax.
      const ValueId g = m.Input({dtype, {b, h, t, d}}, -1, 1);
      const ValueId dp = m->Dot(g, part(2), {{0, 1}, {0, 2}, {3}, {3}}, dtype);
      const ValueId ds = f.Mul(p, f.Sub(dp, f.Spread(f.LastSum(f.Mul(dp, p)), dp)));
      const ValueId dq = m->Dot(ds, k, {{0, 1}, {0, 1}, {3}, {2}}, dtype);
      const ValueId dv = m->Dot(p, g, {{0, 1}, {0, 1}, {2}, {2}}, dtype);
      return m.Finish({y, dq, dv}, SizeOf(dtype) == 2 ? Normwise(24) : Normwise(128));
    });
  }
  AddProgram(rows, "pattern/cross-entropy", [] {
    Maker m("cross-entropy");
    Math f{m};
    const ValueId logits = m.Input({DType::kF32, {13, 29}}, -5, 5), labels = m.Input({DType::kS32, {13}}, 0, 28);
    const ValueId top = m->Reduce(logits, ReduceKind::kMax, {1});
    const ValueId shifted = f.Sub(logits, f.Spread(top, logits));
    const ValueId log_sum = m->Unary(Opcode::kLog, f.LastSum(m->Unary(Opcode::kExp, shifted)));
    const ValueId log_p = f.Sub(shifted, f.Spread(log_sum, shifted));
    const ValueId hot = m->Compare(graph::CompareDirection::kEq, m->Broadcast(labels, {13, 29}, {0}),
                                   m->Iota({DType::kS32, {13, 29}}, 1));
    const ValueId one_hot = m->Convert(hot, DType::kF32);
    const ValueId each = f.LastSum(f.Mul(one_hot, log_p));
    const ValueId loss =
        m->Unary(Opcode::kNegate, f.Mul(m->Reduce(each, ReduceKind::kSum, {0}), m->Scalar(DType::kF32, 1.0 / 13)));
    const ValueId gradient = f.Sub(m->Unary(Opcode::kExp, log_p), one_hot);
    return m.Finish({loss, gradient}, Normwise(64));
  });
  AddProgram(rows, "pattern/adam", [] {
    Maker m("adam");
    Math f{m};
    std::vector<ValueId> results;
    for (std::vector<int64_t> dims : {std::vector<int64_t>{64, 31}, {1000}, {}}) {
      const Shape s{DType::kF32, dims};
      const ValueId w = m.Input(s), g = m.Input(s), mean = m.Input(s, -0.1, 0.1), square = m.Input(s, 0.01, 0.1);
      const ValueId count = m.Input(LiteralOf(DType::kS32, {}, {3}));
      const ValueId step = m->Convert(m->Binary(Opcode::kAdd, count, m->Scalar(DType::kS32, 1)), DType::kF32);
      auto mix = [&](ValueId old, ValueId fresh, double keep) {
        return f.Add(f.Mul(f.Full(old, keep), old), f.Mul(f.Full(old, 1 - keep), fresh));
      };
      auto correct = [&](ValueId x, double keep) {
        const ValueId decay = f(Opcode::kPower, m->Scalar(DType::kF32, keep), step);
        return f.Div(x, m->Broadcast(f.Sub(m->Scalar(DType::kF32, 1), decay), dims, {}));
      };
      const ValueId mean1 = mix(mean, g, 0.9), square1 = mix(square, f.Mul(g, g), 0.999);
      const ValueId size = f.Add(m->Unary(Opcode::kSqrt, correct(square1, 0.999)), f.Full(w, 1e-8));
      const ValueId w1 =
          f.Sub(w, f.Mul(f.Full(w, 1e-2), f.Add(f.Div(correct(mean1, 0.9), size), f.Mul(f.Full(w, 0.1), w))));
      results.insert(results.end(), {w1, mean1, square1});
    }
    return m.Finish(results, Near(2000));  // computing 1 - 0.999^4 cancels leading bits
  });
}

// Adds rows with JAX's counter-based random generator: 20 rounds of add, rotate and xor on pairs of words. An error in
// one bit spreads to all bits of the results.
void AddThreefry(Rows& rows) {
  for (int64_t n : {1, 7, 64, 1000}) {
    AddProgram(rows, absl::StrCat("pattern/threefry/", n), [n] {
      Maker m("threefry");
      Math f{m};
      const Shape words{DType::kU32, {n}};
      ValueId key[3];
      const ValueId seed = m.Input({DType::kU32, {2}}, 0, 4e9);
      for (int i : {0, 1}) key[i] = m->Broadcast(m->Reshape(m->Slice(seed, {i}, {i + 1}), {}), {n}, {});
      key[2] = f(Opcode::kXor, f(Opcode::kXor, key[0], key[1]), m->Full(words, 0x1BD11BDA));
      ValueId x = f.Add(m->Iota(words, 0), key[0]);
      ValueId y = f.Add(f.Add(m->Iota(words, 0), m->Full(words, static_cast<double>(n))), key[1]);
      const int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
      for (int round = 0; round < 5; ++round) {
        for (int r : rotations[round % 2]) {
          x = f.Add(x, y);
          const ValueId left = f(Opcode::kShiftLeft, y, m->Full(words, r));
          const ValueId right = f(Opcode::kShiftRightLogical, y, m->Full(words, 32 - r));
          y = f(Opcode::kXor, f(Opcode::kOr, left, right), x);
        }
        x = f.Add(x, key[(round + 1) % 3]);
        y = f.Add(f.Add(y, key[(round + 2) % 3]), m->Full(words, round + 1));
      }
      // Converts the bits to uniform floats in [0, 1).
      const ValueId bits = m->Concatenate({x, y}, 0);
      const ValueId mantissa = f(Opcode::kOr, f(Opcode::kShiftRightLogical, bits, m->Full({DType::kU32, {2 * n}}, 9)),
                                 m->Full({DType::kU32, {2 * n}}, 0x3F800000));
      const ValueId wide = m.Add(Opcode::kBitcastConvert, {mantissa}, {}, {}, {Shape{DType::kF32, {2 * n}}});
      return m.Finish({bits, f.Sub(wide, f.Full(wide, 1))});
    });
  }
}

void AddFusionTraps(Rows& rows) {
  AddProgram(rows, "pattern/diamond", [] {
    Maker m("diamond");
    Math f{m};
    const ValueId x = m.Input({DType::kF32, {31, 7}}, -1, 1);
    const ValueId top = f(Opcode::kTanh, x);
    const ValueId left = f.Mul(top, top), right = f(Opcode::kExp, top);
    const ValueId join = f.Add(left, right);
    // Computes the same sum from transposed operands, and transposes it back.
    const ValueId around = m->Transpose(f.Add(m->Transpose(right, {1, 0}), m->Transpose(left, {1, 0})), {1, 0});
    return m.Finish({join, around, f.Sub(join, around)}, Near(16, 4));
  });
  AddProgram(rows, "pattern/many-readers", [] {
    Maker m("many");
    Math f{m};
    const ValueId x = m.Input({DType::kF32, {5, 64}}, -1, 1);
    const ValueId shared = f(Opcode::kLogistic, x);
    std::vector<ValueId> results{shared};
    for (int i = 1; i <= 12; ++i) results.push_back(f.Mul(shared, f.Full(x, i)));
    results.push_back(m->Reduce(shared, ReduceKind::kSum, {0}));
    results.push_back(m->Reduce(shared, ReduceKind::kMax, {1}));
    results.push_back(m->Transpose(shared, {1, 0}));
    results.push_back(m->Dot(shared, x, {{}, {}, {1}, {1}}, DType::kF32));
    results.push_back(m->Convert(shared, DType::kBF16));
    Program p = m.Finish(results, Normwise(32));
    p.tolerances.back() = Normwise(1);
    return p;
  });
  AddProgram(rows, "pattern/reduce-of-computed", [] {
    Maker m("reduce");
    Math f{m};
    const ValueId x = m.Input({DType::kF32, {9, 10, 11}}, -1, 1), y = m.Input({DType::kF32, {11}}, -1, 1);
    const ValueId product = f.Mul(f(Opcode::kExp, x), m->Broadcast(y, {9, 10, 11}, {2}));
    std::vector<ValueId> results;
    for (std::vector<int64_t> dims : {std::vector<int64_t>{0}, {1}, {2}, {0, 2}, {0, 1, 2}}) {
      results.push_back(m->Reduce(product, ReduceKind::kSum, dims));
      results.push_back(m->Reduce(m->Transpose(product, {2, 0, 1}), ReduceKind::kMax, dims));
    }
    return m.Finish(results, Normwise(32));
  });
  AddProgram(rows, "pattern/chain-of-reduces", [] {
    // Divides x by its sums along one dimension, then the quotient by its sums along the other dimension, and so on.
    Maker m("chain");
    Math f{m};
    ValueId x = m.Input({DType::kF32, {8, 12}}, 0.5, 1);
    for (int i = 0; i < 6; ++i) {
      const int64_t along = i % 2, kept = 1 - along;
      const ValueId sum = m->Reduce(x, ReduceKind::kSum, {along});
      x = f.Div(x, m->Broadcast(sum, {8, 12}, {kept}));
    }
    return m.Finish({x}, Normwise(64));
  });
  AddProgram(rows, "pattern/long-elementwise-chain", [] {
    Maker m("long");
    Math f{m};
    const ValueId start = m.Input({DType::kF32, {1000}}, -1, 1);
    ValueId x = start;
    for (int i = 0; i < 100; ++i) x = f(Opcode::kSine, f.Add(f.Mul(x, f.Full(x, 0.9)), start));
    return m.Finish({x}, Normwise(512));
  });
  AddProgram(rows, "pattern/mixed-types", [] {
    // Every convert must round, whether it is fused or not.
    Maker m("mixed");
    Math f{m};
    const ValueId x = m.Input({DType::kF32, {257}}, -100, 100);
    const ValueId half = m->Convert(m->Convert(x, DType::kBF16), DType::kF32);
    const ValueId lost = f.Sub(x, half);
    const ValueId whole = m->Convert(m->Convert(x, DType::kS8), DType::kF32);
    const ValueId f16 = m->Convert(m->Convert(x, DType::kF16), DType::kF32);
    return m.Finish({half, lost, whole, f.Sub(x, f16), m->Convert(m->Convert(lost, DType::kF64), DType::kF16)});
  });
  AddProgram(rows, "pattern/broadcast-in-the-middle", [] {
    Maker m("middle");
    Math f{m};
    const ValueId row = m.Input({DType::kF32, {7}}, -1, 1), column = m.Input({DType::kF32, {31}}, -1, 1);
    const ValueId a = m->Broadcast(f(Opcode::kExp, row), {31, 7}, {1}),
                  b = m->Broadcast(f(Opcode::kTanh, column), {31, 7}, {0});
    const ValueId grid = f.Add(a, b);
    const ValueId cube = m->Broadcast(grid, {3, 31, 7}, {1, 2});
    const ValueId mixed = f.Mul(cube, m->Broadcast(m.Input({DType::kF32, {3, 7}}), {3, 31, 7}, {0, 2}));
    return m.Finish({grid, mixed, m->Reduce(mixed, ReduceKind::kSum, {0, 2})}, Normwise(32));
  });
  AddProgram(rows, "pattern/slices-of-computed", [] {
    Maker m("slices");
    Math f{m};
    const ValueId x = f(Opcode::kTanh, m.Input({DType::kF32, {16, 10}}, -1, 1));
    const ValueId low = m->Slice(x, {0, 0}, {8, 10}), high = m->Slice(x, {8, 0}, {16, 10});
    const ValueId odd = m->Slice(x, {0, 1}, {16, 10}, {1, 2}), even = m->Slice(x, {0, 0}, {16, 10}, {1, 2});
    const ValueId turned = m->Concatenate({m->Unary(Opcode::kNegate, odd), even}, 1);
    return m.Finish({f.Mul(low, high), m->Concatenate({high, low}, 0), turned, f.Add(turned, x)}, Near(16, 1));
  });
}

}  // namespace

void AddPatternRows(Rows& rows) {
  AddModelParts(rows);
  AddThreefry(rows);
  AddFusionTraps(rows);
}

}  // namespace alpa::conformance
