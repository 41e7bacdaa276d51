#include "tests/conformance/random_graph.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace alpa::conformance {
namespace {

using graph::CompareDirection;
using graph::DimsAttrs;
using graph::ReduceKind;

constexpr double kLargest = 100;  // bound on |value| of floats; low enough that no float type overflows

struct Node {
  ValueId id;
  double bound = 0;  // bound on |value|; infinity for an integer that may wrap
  double error = 0;  // bound on the absolute error of an implementation
  bool exact = true;
};

class Generator {
 public:
  Generator(uint64_t seed, const RandomGraphOptions& options)
      : m_(absl::StrCat("random graph ", seed)), options_(options) {}

  Program Make() {
    for (int i = 0; i < 3; ++i) NewInput(RandomType(), RandomDims());
    NewInput(DType::kF32, RandomDims());
    for (int i = 0; i < options_.ops; ++i) Step();
    // The results are the last four values, and about one sixth of the other values, chosen at random.
    std::vector<ValueId> results;
    std::vector<Tolerance> tolerances;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (i + 4 < nodes_.size() && !m_.random().OneIn(6)) continue;
      results.push_back(nodes_[i].id);
      tolerances.push_back({.absolute = 2 * nodes_[i].error});
    }
    Program program = m_.Finish(results);
    program.tolerances = tolerances;
    return program;
  }

 private:
  Random& random() { return m_.random(); }
  const Shape& shape(const Node& x) { return m_.shape(x.id); }
  DType type(const Node& x) { return m_.shape(x.id).dtype; }
  bool IsFloatNode(const Node& x) { return IsFloat(type(x)); }

  DType RandomType() {
    const DType types[] = {DType::kF32, DType::kF32, DType::kF32, DType::kF32, DType::kBF16, DType::kF64,
                           DType::kF16, DType::kS32, DType::kS32, DType::kU32, DType::kS8,   DType::kPred};
    return types[random().Below(std::size(types))];
  }
  std::vector<int64_t> RandomDims() {
    const int64_t sizes[] = {1, 2, 3, 5, 7, 8, 16, 31, 33, 64};
    std::vector<int64_t> dims;
    int64_t elements = 1;
    for (int64_t rank = random().Below(4) + (random().OneIn(4) ? 0 : 1); rank > 0; --rank) {
      const int64_t size = sizes[random().Below(std::size(sizes))];
      if (elements * size > options_.max_elements) break;
      elements *= size;
      dims.push_back(size);
    }
    return dims;
  }

  // Returns the relative error that one op may add. The factor 8 allows for less accurate versions of exp, tanh, ...
  double Unit(DType dtype) { return Epsilon(dtype) * (SizeOf(dtype) == 2 ? 1 : 8); }

  Node Push(ValueId id, double bound, double error, bool exact) {
    Node node{id, bound, error, exact};
    if (IsFloatNode(node) && bound > kLargest) {
      // Later ops could overflow if they read such a large value. The tanh of the value therefore replaces it.
      const DType dtype = type(node);
      node = {m_->Unary(Opcode::kTanh, id), 1, error + Unit(dtype), false};
    }
    nodes_.push_back(node);
    return node;
  }
  // Adds the result of an op that rounds. `error` is the part of the result's error that the errors of the operands
  // cause.
  Node Rounded(ValueId id, double bound, double error) {
    return Push(id, bound, error + bound * Unit(m_.shape(id).dtype), false);
  }

  Node NewInput(DType dtype, const std::vector<int64_t>& dims, double low = -2, double high = 2) {
    if (!IsFloat(dtype)) {
      low = dtype == DType::kU32 || dtype == DType::kPred ? 0 : -20;
      high = 20;
    }
    return Push(m_.Input({dtype, dims}, low, high), std::max(std::fabs(low), std::fabs(high)), 0, true);
  }
  // Returns a random node for which `accepts` is true. If no such node exists, adds and returns an input of type
  // `otherwise`.
  template <typename F>
  Node Pick(F&& accepts, DType otherwise) {
    const size_t n = nodes_.size();
    // Prefers recent nodes, so that graphs become deep.
    size_t at = n - 1 - std::min<size_t>(random().Below(n), random().Below(n));
    for (size_t i = 0; i < n; ++i) {
      const Node& node = nodes_[(at + i) % n];
      if (accepts(node)) return node;
    }
    return NewInput(otherwise, RandomDims());
  }
  Node PickFloat() {
    return Pick([this](const Node& x) { return IsFloatNode(x); }, DType::kF32);
  }
  Node PickInteger() {
    return Pick([this](const Node& x) { return IsInteger(type(x)); }, DType::kS32);
  }
  Node PickExactFloat() {
    return Pick([this](const Node& x) { return IsFloatNode(x) && x.exact; }, DType::kF32);
  }
  Node PickAny() {
    return Pick([](const Node&) { return true; }, DType::kF32);
  }
  // Returns a node of the same shape and type as x. If `exact`, the bits of the node are the same in every
  // implementation.
  Node Partner(const Node& x, bool exact = false) {
    if (random().OneIn(5)) {
      const Node scalar = NewInput(type(x), {});
      return Push(m_->Broadcast(scalar.id, shape(x).dims, {}), scalar.bound, 0, true);
    }
    const Shape wanted = shape(x);
    const size_t n = nodes_.size(), at = random().Below(n);
    for (size_t i = 0; i < n; ++i) {
      const Node& node = nodes_[(at + i) % n];
      if (shape(node) == wanted && (node.exact || !exact)) return node;
    }
    return NewInput(wanted.dtype, wanted.dims);
  }
  ValueId Full(const Node& like, double value) { return m_->Full(shape(like), value); }

  void Step() {
    switch (random().Below(14)) {
      case 0:
      case 1:
        return UnaryFloat();
      case 2:
      case 3:
        return BinaryFloat();
      case 4:
        return Integers();
      case 5:
        return Jumps();
      case 6:
        return Choices();
      case 7:
        return Types();
      case 8:
      case 9:
        return Moves();
      case 10:
        return DynamicMoves();
      case 11:
        return Reductions();
      case 12:
        return Contractions();
      default:
        return Control();
    }
  }

  void UnaryFloat() {
    const Node x = PickFloat();
    const DType dtype = type(x);
    const double b = x.bound, e = x.error;
    switch (random().Below(12)) {
      case 0:
        Rounded(m_->Unary(Opcode::kTanh, x.id), 1, e);
        return;
      case 1:
        Rounded(m_->Unary(Opcode::kLogistic, x.id), 1, e);
        return;
      case 2:
        Rounded(m_->Unary(Opcode::kSine, x.id), 1, e);
        return;
      case 3:
        Rounded(m_->Unary(Opcode::kCosine, x.id), 1, e);
        return;
      case 4:
        Rounded(m_->Unary(Opcode::kErf, x.id), 1, 1.2 * e);
        return;
      case 5:
        if (b <= 3) Rounded(m_->Unary(Opcode::kExp, x.id), std::exp(b), std::exp(b + e) * e);
        return;
      case 6:
        if (b <= 3) Rounded(m_->Unary(Opcode::kExpm1, x.id), std::exp(b), std::exp(b + e) * e);
        return;
      case 7:
        Push(m_->Unary(Opcode::kNegate, x.id), b, e, x.exact);
        return;
      case 8:
        Push(m_->Unary(Opcode::kAbs, x.id), b, e, x.exact);
        return;
      case 9:
        Rounded(m_->Unary(Opcode::kLog1p, m_->Unary(Opcode::kAbs, x.id)), std::log1p(b), e);
        return;
      case 10: {
        // The slope of 1 / sqrt(|x| + 1) is at most 1/2.
        const ValueId shifted = m_->Binary(Opcode::kAdd, m_->Unary(Opcode::kAbs, x.id), Full(x, 1));
        Rounded(m_->Unary(Opcode::kRsqrt, shifted), 1, e / 2 + (b + 1) * Unit(dtype));
        return;
      }
      default: {
        const ValueId shifted = m_->Binary(Opcode::kAdd, m_->Unary(Opcode::kAbs, x.id), Full(x, 1));
        const Opcode op = random().OneIn(2) ? Opcode::kSqrt : Opcode::kLog;
        Rounded(m_->Unary(op, shifted), std::sqrt(b + 1) + std::log1p(b), e + (b + 1) * Unit(dtype));
        return;
      }
    }
  }

  void BinaryFloat() {
    const Node x = PickFloat(), y = Partner(x);
    switch (random().Below(6)) {
      case 0:
        Rounded(m_->Binary(Opcode::kAdd, x.id, y.id), x.bound + y.bound, x.error + y.error);
        return;
      case 1:
        Rounded(m_->Binary(Opcode::kSubtract, x.id, y.id), x.bound + y.bound, x.error + y.error);
        return;
      case 2:
        Rounded(m_->Binary(Opcode::kMultiply, x.id, y.id), x.bound * y.bound,
                x.bound * y.error + y.bound * x.error + x.error * y.error);
        return;
      case 3: {
        // x / (|y| + 1)
        const ValueId divisor = m_->Binary(Opcode::kAdd, m_->Unary(Opcode::kAbs, y.id), Full(y, 1));
        Rounded(m_->Binary(Opcode::kDivide, x.id, divisor), x.bound,
                x.error + x.bound * (y.error + (y.bound + 1) * Unit(type(x))));
        return;
      }
      default: {
        const Opcode op = random().OneIn(2) ? Opcode::kMaximum : Opcode::kMinimum;
        Push(m_->Binary(op, x.id, y.id), std::max(x.bound, y.bound), std::max(x.error, y.error), x.exact && y.exact);
      }
    }
  }

  void Integers() {
    const Node x = PickInteger(), y = Partner(x);
    const Opcode wild[] = {Opcode::kAdd,
                           Opcode::kSubtract,
                           Opcode::kMultiply,
                           Opcode::kXor,
                           Opcode::kOr,
                           Opcode::kShiftLeft,
                           Opcode::kShiftRightLogical,
                           Opcode::kShiftRightArithmetic,
                           Opcode::kDivide,
                           Opcode::kRemainder,
                           Opcode::kPower};
    constexpr double kWild = std::numeric_limits<double>::infinity();
    switch (random().Below(5)) {
      case 0:
        Push(m_->Binary(Opcode::kAnd, x.id, Full(x, 15)), 15, 0, true);
        return;
      case 1:
        Push(m_->Binary(random().OneIn(2) ? Opcode::kMaximum : Opcode::kMinimum, x.id, y.id),
             std::max(x.bound, y.bound), 0, true);
        return;
      case 2: {
        const Opcode ops[] = {Opcode::kNot, Opcode::kPopulationCount, Opcode::kCountLeadingZeros, Opcode::kSign};
        const Opcode op = ops[random().Below(4)];
        Push(m_->Unary(op, x.id), op == Opcode::kNot ? kWild : 64, 0, true);
        return;
      }
      default:
        Push(m_->Binary(wild[random().Below(std::size(wild))], x.id, y.id), kWild, 0, true);
    }
  }

  // Adds an op whose result may jump when an operand changes slightly.
  void Jumps() {
    if (random().OneIn(3)) {
      const Node x = PickInteger(), y = Partner(x);
      Push(m_->Compare(static_cast<CompareDirection>(random().Below(6)), x.id, y.id), 1, 0, true);
      return;
    }
    const Node x = PickExactFloat();
    switch (random().Below(4)) {
      case 0: {
        const Node y = Partner(x, true);
        Push(m_->Compare(static_cast<CompareDirection>(random().Below(6)), x.id, y.id), 1, 0, true);
        return;
      }
      case 1: {
        const Opcode ops[] = {Opcode::kFloor, Opcode::kCeil, Opcode::kRoundNearestEven, Opcode::kRoundNearestAfz,
                              Opcode::kSign};
        Push(m_->Unary(ops[random().Below(5)], x.id), x.bound + 1, 0, true);
        return;
      }
      case 2:
        Push(m_->Convert(x.id, random().OneIn(3) ? DType::kS8 : DType::kS32), x.bound + 1, 0, true);
        return;
      default: {
        if (shape(x).rank() == 0) return;
        const int64_t dim = random().Below(shape(x).rank());
        const Shape scalar{type(x), {}};
        const auto less = Region({scalar, scalar}, [](GraphBuilder& b, std::vector<ValueId> p) {
          return std::vector{b.Compare(CompareDirection::kLt, p[0], p[1])};
        });
        Push(m_.Add(Opcode::kSort, {x.id}, graph::SortAttrs{dim, true}, {less}), x.bound, 0, true);
      }
    }
  }

  void Choices() {
    const Node x = PickAny(), y = Partner(x);
    if (type(x) != DType::kPred && random().OneIn(3)) {
      if (!IsFloatNode(x)) {
        Push(m_.Add(Opcode::kClamp, {m_->Scalar(type(x), 1), x.id, m_->Scalar(type(x), 9)}), 9, 0, true);
        return;
      }
      Push(m_.Add(Opcode::kClamp, {m_->Scalar(type(x), -1), x.id, Full(x, 1)}), 1, x.error, x.exact);
      return;
    }
    const Node p = random().OneIn(4) ? NewInput(DType::kPred, {}) : NewInput(DType::kPred, shape(x).dims);
    Push(m_.Add(Opcode::kSelect, {p.id, x.id, y.id}), std::max(x.bound, y.bound), std::max(x.error, y.error),
         x.exact && y.exact);
  }

  void Types() {
    const Node x = PickAny();
    const DType floats[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF64};
    const DType to = floats[random().Below(4)];
    if (!IsFloatNode(x)) {
      // An integer is converted to a float only if every float type can hold the integer.
      if (x.bound <= kLargest)
        Push(m_->Convert(x.id, to), x.bound, 0, true);
      else
        Push(m_->Convert(x.id, random().OneIn(2) ? DType::kS32 : DType::kU32), std::numeric_limits<double>::infinity(),
             0, true);
      return;
    }
    Push(m_->Convert(x.id, to), x.bound, x.error + (x.exact ? 0 : x.bound * Epsilon(to)), x.exact);
  }

  void Moves() {
    const Node x = PickAny();
    const Shape s = shape(x);
    auto keep = [&](ValueId id) { Push(id, x.bound, x.error, x.exact); };
    switch (random().Below(7)) {
      case 0: {
        std::vector<int64_t> permutation(s.rank());
        for (int d = 0; d < s.rank(); ++d) permutation[d] = d;
        for (int d = s.rank() - 1; d > 0; --d) std::swap(permutation[d], permutation[random().Below(d + 1)]);
        return keep(m_->Transpose(x.id, permutation));
      }
      case 1: {
        std::vector<int64_t> dims;
        int64_t rest = s.elements();
        for (int64_t factor : {2, 3, 5, 7, 8}) {
          if (rest > 1 && rest % factor == 0 && random().OneIn(2)) {
            dims.push_back(factor);
            rest /= factor;
          }
        }
        dims.insert(dims.begin() + random().Below(static_cast<int64_t>(dims.size()) + 1), rest);
        return keep(m_->Reshape(x.id, dims));
      }
      case 2: {
        std::vector<int64_t> starts, limits, strides;
        for (int64_t size : s.dims) {
          starts.push_back(random().Below(size));
          limits.push_back(starts.back() + 1 + random().Below(size - starts.back()));
          strides.push_back(1 + random().Below(3));
        }
        return keep(m_->Slice(x.id, starts, limits, strides));
      }
      case 3: {
        graph::PadAttrs attrs;
        for (int64_t size : s.dims) {
          attrs.low.push_back(random().Below(4) - 1);
          attrs.high.push_back(random().Below(4) - (size > 2 ? 1 : 0));
          attrs.interior.push_back(random().OneIn(3) ? random().Below(3) : 0);
          if (size < 2) attrs.low.back() = std::max<int64_t>(0, attrs.low.back());
        }
        if (s.elements() * 8 > options_.max_elements) return;
        return keep(m_.Add(Opcode::kPad, {x.id, m_->Scalar(type(x), 0)}, attrs));
      }
      case 4: {
        std::vector<int64_t> dims;
        for (int d = 0; d < s.rank(); ++d) {
          if (random().OneIn(2)) dims.push_back(d);
        }
        return keep(m_.Add(Opcode::kReverse, {x.id}, DimsAttrs{dims}));
      }
      case 5: {
        if (s.rank() == 0 || s.elements() * 2 > options_.max_elements) return;
        const Node y = Partner(x);
        Push(m_->Concatenate({x.id, y.id}, random().Below(s.rank())), std::max(x.bound, y.bound),
             std::max(x.error, y.error), x.exact && y.exact);
        return;
      }
      default: {
        const int64_t size = 2 + random().Below(4);
        if (s.elements() * size > options_.max_elements || s.rank() > 4) return;
        std::vector<int64_t> dims = s.dims, map;
        const int64_t at = random().Below(s.rank() + 1);
        dims.insert(dims.begin() + at, size);
        for (int64_t d = 0; d <= s.rank(); ++d) {
          if (d != at) map.push_back(d);
        }
        return keep(m_->Broadcast(x.id, dims, map));
      }
    }
  }

  void DynamicMoves() {
    const Node x = PickAny();
    const Shape s = shape(x);
    if (s.rank() == 0) return;
    std::vector<ValueId> starts;
    std::vector<int64_t> sizes;
    for (int64_t size : s.dims) {
      starts.push_back(m_.Input({DType::kS32, {}}, -2, static_cast<double>(size)));
      sizes.push_back(1 + random().Below(size));
    }
    switch (random().Below(4)) {
      case 0:
        Push(m_->DynamicSlice(x.id, starts, sizes), x.bound, x.error, x.exact);
        return;
      case 1: {
        const Node update = NewInput(type(x), sizes);
        Push(m_->DynamicUpdateSlice(x.id, update.id, starts), std::max(x.bound, update.bound), x.error, x.exact);
        return;
      }
      case 2: {
        // Gathers rows by index.
        const int64_t n = 1 + random().Below(9);
        if (s.elements() / s.dims[0] * n > options_.max_elements) return;
        graph::GatherAttrs attrs{
            .collapsed_slice_dims = {0}, .start_index_map = {0}, .slice_sizes = s.dims, .index_vector_dim = 1};
        attrs.slice_sizes[0] = 1;
        for (int64_t d = 1; d < s.rank(); ++d) attrs.offset_dims.push_back(d);
        const ValueId rows = m_.Input({DType::kS32, {n, 1}}, -1, static_cast<double>(s.dims[0]));
        Push(m_.Add(Opcode::kGather, {x.id, rows}, attrs), x.bound, x.error, x.exact);
        return;
      }
      default: {
        if (!IsFloatNode(x)) return;
        // Adds rows at indices.
        const int64_t n = 1 + random().Below(5);
        std::vector<int64_t> dims = s.dims;
        dims[0] = n;
        if (s.elements() / s.dims[0] * n > options_.max_elements) return;
        graph::ScatterAttrs attrs{
            .inserted_window_dims = {0}, .scatter_dims_to_operand_dims = {0}, .index_vector_dim = 1};
        for (int64_t d = 1; d < s.rank(); ++d) attrs.update_window_dims.push_back(d);
        const Node updates = NewInput(type(x), dims);
        const ValueId rows = m_.Input({DType::kS32, {n, 1}}, -1, static_cast<double>(s.dims[0]));
        const double bound = x.bound + n * updates.bound;
        Push(
            m_.Add(Opcode::kScatter, {x.id, rows, updates.id}, attrs, {graph::ReduceRegion(ReduceKind::kSum, type(x))}),
            bound, x.error + n * bound * Unit(type(x)), false);
      }
    }
  }

  void Reductions() {
    const Node x = PickAny();
    const Shape s = shape(x);
    if (s.rank() == 0 || s.dtype == DType::kPred) return;
    const bool sum = IsFloatNode(x) && random().OneIn(2);
    const ReduceKind kind = sum ? ReduceKind::kSum : random().OneIn(2) ? ReduceKind::kMax : ReduceKind::kMin;
    if (random().OneIn(4)) {
      graph::WindowAttrs attrs;
      int64_t n = 1;
      for (int64_t size : s.dims) {
        graph::WindowDim w{.size = 1 + random().Below(std::min<int64_t>(size, 4)), .stride = 1 + random().Below(2)};
        if (random().OneIn(3)) w.padding_low = random().Below(w.size);
        attrs.window.push_back(w);
        n *= w.size;
      }
      if (s.elements() * n > 100'000) return;
      const double bound = sum ? x.bound * static_cast<double>(n) : x.bound;
      // A window that covers only padding would give the identity, which is infinite for max and min. The low
      // padding is smaller than the window, so every window covers an element.
      Push(m_.Add(Opcode::kReduceWindow, {x.id, m_->Constant(graph::ReduceIdentity(kind, s.dtype))}, attrs,
                  {graph::ReduceRegion(kind, s.dtype)}),
           bound, sum ? static_cast<double>(n) * (x.error + x.bound * Unit(s.dtype)) : x.error, x.exact && !sum);
      return;
    }
    std::vector<int64_t> dims;
    double n = 1;
    for (int64_t d = 0; d < s.rank(); ++d) {
      if (random().OneIn(2)) {
        dims.push_back(d);
        n *= static_cast<double>(s.dims[d]);
      }
    }
    const ValueId id = m_->Reduce(x.id, kind, dims);
    if (!sum) {
      Push(id, x.bound, x.error, x.exact);
      return;
    }
    // A backend may accumulate 16-bit sums in f32 or in f64.
    Push(id, n * x.bound, n * (x.error + x.bound * Unit(s.dtype)), false);
  }

  void Contractions() {
    const Node x = PickFloat();
    const Shape s = shape(x);
    if (s.rank() == 0) return;
    const int64_t dim = random().Below(s.rank()), k = s.dims[dim], free = 1 + random().Below(9);
    if (s.elements() / k * free > options_.max_elements) return;
    graph::DotAttrs attrs;
    attrs.lhs_contracting = {dim};
    std::vector<int64_t> dims;
    const bool batched = s.rank() > 1 && random().OneIn(2);
    if (batched) {
      const int64_t batch = (dim + 1) % s.rank();
      attrs.lhs_batch = {batch};
      attrs.rhs_batch = {0};
      dims.push_back(s.dims[batch]);
    }
    const int64_t base = static_cast<int64_t>(dims.size());
    const bool first = random().OneIn(2);
    attrs.rhs_contracting = {first ? base : base + 1};
    dims.push_back(first ? k : free);
    dims.push_back(first ? free : k);
    const Node y = NewInput(s.dtype, dims, -1, 1);
    const double n = static_cast<double>(k);
    const DType out = SizeOf(s.dtype) == 2 && random().OneIn(2) ? DType::kF32 : s.dtype;
    Push(m_->Dot(x.id, y.id, attrs, out), n * x.bound, n * (x.error + x.bound * Unit(out)) + n * x.bound * Unit(out),
         false);
  }

  void Control() {
    const Node x = PickFloat();
    const Shape s = shape(x);
    if (random().OneIn(2)) {
      // Iterates x = tanh(x / 2 + 1 / 4). The slope is below 1, so the errors of the iterations only add up.
      const Shape count{DType::kS32, {}};
      const int64_t trips = random().Below(5);
      const auto condition = Region({count, s}, [&](GraphBuilder& b, std::vector<ValueId> p) {
        return std::vector{b.Compare(CompareDirection::kLt, p[0], b.Scalar(DType::kS32, static_cast<double>(trips)))};
      });
      const auto body = Region({count, s}, [&](GraphBuilder& b, std::vector<ValueId> p) {
        const ValueId half = b.Binary(Opcode::kMultiply, p[1], b.Full(s, 0.5));
        return std::vector{b.Binary(Opcode::kAdd, p[0], b.Scalar(DType::kS32, 1)),
                           b.Unary(Opcode::kTanh, b.Binary(Opcode::kAdd, half, b.Full(s, 0.25)))};
      });
      const ValueId start = m_.Input(LiteralOf(DType::kS32, {}, {0}));
      const std::vector<ValueId> results = m_.AddAll(Opcode::kWhile, {start, x.id}, {}, {condition, body});
      const double bound = std::max(1.0, x.bound);
      Push(results[1], bound, x.error + 4.0 * static_cast<double>(trips) * bound * Unit(s.dtype),
           x.exact && trips == 0);
      return;
    }
    const auto negated = Region(
        {s}, [](GraphBuilder& b, std::vector<ValueId> p) { return std::vector{b.Unary(Opcode::kNegate, p[0])}; });
    const auto same = Region({s}, [](GraphBuilder&, std::vector<ValueId> p) { return p; });
    const ValueId choice = m_.Input({DType::kPred, {}});
    const std::vector<ValueId> results = m_.AddAll(Opcode::kConditional, {choice, x.id}, {}, {negated, same});
    Push(results[0], x.bound, x.error, x.exact);
  }

  Maker m_;
  const RandomGraphOptions options_;
  std::vector<Node> nodes_;
};

}  // namespace

Program RandomProgram(uint64_t seed, const RandomGraphOptions& options) { return Generator(seed, options).Make(); }

}  // namespace alpa::conformance
