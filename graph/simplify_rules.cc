#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "graph/rewriter.h"
#include "graph/scalar_fold.h"

namespace alpa::graph::internal {
namespace {

bool IsIdentity(const std::vector<int64_t>& permutation) {
  for (size_t i = 0; i < permutation.size(); ++i) {
    if (permutation[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

bool AllOf(const std::vector<int64_t>& values, int64_t value) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == value; });
}

// Returns the number of bits of the magnitude of an integer type, or of the significand of a float type.
int Digits(DType dtype) {
  switch (dtype) {
    case DType::kPred:
      return 1;
    case DType::kBF16:
      return 8;
    case DType::kF16:
      return 11;
    case DType::kF32:
      return 24;
    case DType::kF64:
      return 53;
    default:
      return static_cast<int>(8 * SizeOf(dtype)) - (IsSigned(dtype) ? 1 : 0);
  }
}

// Returns whether every value of type `from` is also a value of type `to`.
bool Widens(DType from, DType to) {
  if (from == to) return true;
  if (from == DType::kPred) return true;
  if (to == DType::kPred) return false;
  if (IsFloat(from)) {
    return (to == DType::kF64) || (to == DType::kF32 && from != DType::kF64);
  }
  if (to == DType::kF16) return Digits(from) <= 8;  // an integer of 8 bits is at most 255, far below the largest f16
  if (IsFloat(to)) return Digits(from) <= Digits(to);
  return (IsSigned(to) || !IsSigned(from)) && Digits(from) <= Digits(to);
}

}  // namespace

std::optional<ValueId> Rewriter::Rewrite(const Candidate& op) {
  switch (op.opcode) {
    case Opcode::kCopy:
      return op.operands[0];
    case Opcode::kConvert:
      return RewriteConvert(op);
    case Opcode::kBitcastConvert:
      return op.shapes[0] == shape(op.operands[0]) ? std::optional(op.operands[0]) : std::nullopt;
    case Opcode::kReshape:
      return RewriteReshape(op);
    case Opcode::kTranspose:
      return RewriteTranspose(op);
    case Opcode::kBroadcast:
      return RewriteBroadcast(op);
    case Opcode::kSlice:
      return RewriteSlice(op);
    case Opcode::kDynamicSlice:
      return RewriteDynamicSlice(op);
    case Opcode::kDynamicUpdateSlice:
      return RewriteDynamicUpdateSlice(op);
    case Opcode::kConcatenate:
      return RewriteConcatenate(op);
    case Opcode::kReverse:
      return std::get<DimsAttrs>(op.attrs).dims.empty() ? std::optional(op.operands[0]) : std::nullopt;
    case Opcode::kPad: {
      const auto& pad = std::get<PadAttrs>(op.attrs);
      const bool nothing = AllOf(pad.low, 0) && AllOf(pad.high, 0) && op.shapes[0] == shape(op.operands[0]);
      return nothing ? std::optional(op.operands[0]) : std::nullopt;
    }
    case Opcode::kGather:
      return RewriteGather(op);
    case Opcode::kScatter:
      return RewriteScatter(op);
    case Opcode::kSelect:
      if (const std::optional<ValueId> value = RewriteSelect(op)) return value;
      return RewriteUniform(op);
    default:
      break;
  }
  if (!IsElementwise(op.opcode)) return std::nullopt;
  if (const std::optional<ValueId> value = RewriteArithmetic(op)) return value;
  return RewriteUniform(op);
}

// Rewrites x * 1, x - 0 and similar ops if every bit stays the same. x + 0.0 does not qualify, because it turns -0.0
// into 0.0.
std::optional<ValueId> Rewriter::RewriteArithmetic(const Candidate& op) {
  const ValueId a = op.operands[0];
  if (op.operands.size() == 1) {
    const Op& inner = def(a);
    const bool involution = op.opcode == Opcode::kNot || op.opcode == Opcode::kNegate;
    if (involution && inner.opcode == op.opcode) return inner.operands[0];
    if (op.opcode == Opcode::kReducePrecision) {
      const auto& attrs = std::get<ReducePrecisionAttrs>(op.attrs);
      const bool keeps_all_bits =
          op.shapes[0].dtype == DType::kF32 && attrs.exponent_bits == 8 && attrs.mantissa_bits == 23;
      if (keeps_all_bits) return a;
    }
    return std::nullopt;
  }
  if (op.operands.size() != 2) return std::nullopt;
  const ValueId b = op.operands[1];
  const bool is_float = IsFloat(shape(a).dtype);
  const auto is = [&](ValueId value, double number, bool negative_zero) {
    const std::optional<Literal> uniform = AsUniform(value);
    if (!uniform) return false;
    const double found = uniform->ValueAt(0);
    return found == number && (!is_float || number != 0 || std::signbit(found) == negative_zero);
  };
  switch (op.opcode) {
    case Opcode::kAdd:
      if (is(b, 0, /*negative_zero=*/true)) return a;
      if (is(a, 0, /*negative_zero=*/true)) return b;
      break;
    case Opcode::kSubtract:
      if (is(b, 0, /*negative_zero=*/false)) return a;
      break;
    case Opcode::kMultiply:
      if (is(b, 1, false)) return a;
      if (is(a, 1, false)) return b;
      break;
    case Opcode::kDivide:
      if (is(b, 1, false)) return a;
      break;
    case Opcode::kShiftLeft:
    case Opcode::kShiftRightLogical:
    case Opcode::kShiftRightArithmetic:
      if (is(b, 0, false)) return a;
      break;
    case Opcode::kAnd:
    case Opcode::kOr:
      if (a == b) return a;
      if (shape(a).dtype == DType::kPred) {
        const bool neutral = op.opcode == Opcode::kAnd;
        for (const auto& [x, other] : {std::pair(a, b), std::pair(b, a)}) {
          if (is(x, neutral, false)) return other;
          if (is(x, !neutral, false)) return x;
        }
      }
      break;
    case Opcode::kMaximum:
    case Opcode::kMinimum:
      if (a == b) return a;
      break;
    default:
      break;
  }
  return std::nullopt;
}

// Rewrites an elementwise op on arrays whose elements are all equal: computes one element, then broadcasts it.
std::optional<ValueId> Rewriter::RewriteUniform(const Candidate& op) {
  if (op.shapes[0].rank() == 0 || op.opcode == Opcode::kBitcastConvert) return std::nullopt;
  std::vector<Literal> scalars;
  for (ValueId operand : op.operands) {
    std::optional<Literal> scalar = AsUniform(operand);
    if (!scalar) return std::nullopt;
    scalars.push_back(*std::move(scalar));
  }
  Candidate alone{op.opcode, {}, {Shape{op.shapes[0].dtype, {}}}, op.attrs};
  for (Literal& scalar : scalars) {
    Shape shape = scalar.shape();
    alone.operands.push_back(
        MakeOne({Opcode::kConstant, {}, {std::move(shape)}, ConstantAttrs{std::move(scalar)}}));
  }
  const ValueId value = MakeOne(std::move(alone));
  return MakeOne({Opcode::kBroadcast, {value}, op.shapes, DimsAttrs{}});
}

std::optional<ValueId> Rewriter::RewriteConvert(const Candidate& op) {
  const ValueId a = op.operands[0];
  if (op.shapes[0] == shape(a)) return a;
  const Op& inner = def(a);
  if (inner.opcode == Opcode::kConvert && Widens(shape(inner.operands[0]).dtype, shape(a).dtype)) {
    return MakeOne({Opcode::kConvert, {inner.operands[0]}, op.shapes});
  }
  return RewriteUniform(op);
}

std::optional<ValueId> Rewriter::RewriteReshape(const Candidate& op) {
  const ValueId a = op.operands[0];
  if (op.shapes[0] == shape(a)) return a;
  const Op& inner = def(a);
  if (inner.opcode == Opcode::kReshape) return MakeOne({Opcode::kReshape, {inner.operands[0]}, op.shapes});
  if (inner.opcode == Opcode::kBroadcast && shape(inner.operands[0]).rank() == 0) {
    return MakeOne({Opcode::kBroadcast, {inner.operands[0]}, op.shapes, DimsAttrs{}});
  }
  return std::nullopt;
}

std::optional<ValueId> Rewriter::RewriteTranspose(const Candidate& op) {
  const ValueId a = op.operands[0];
  const std::vector<int64_t>& permutation = std::get<DimsAttrs>(op.attrs).dims;
  if (IsIdentity(permutation)) return a;
  const Op& inner = def(a);
  if (inner.opcode == Opcode::kTranspose) {
    DimsAttrs both;
    for (int64_t dim : permutation) both.dims.push_back(inner.as<DimsAttrs>().dims[dim]);
    return MakeOne({Opcode::kTranspose, {inner.operands[0]}, op.shapes, std::move(both)});
  }
  if (inner.opcode == Opcode::kBroadcast) {
    // Result dimension i is dimension permutation[i] of the broadcast.
    std::vector<int64_t> position(permutation.size());
    for (size_t i = 0; i < permutation.size(); ++i) position[permutation[i]] = static_cast<int64_t>(i);
    DimsAttrs dims;
    for (int64_t dim : inner.as<DimsAttrs>().dims) dims.dims.push_back(position[dim]);
    return MakeOne({Opcode::kBroadcast, {inner.operands[0]}, op.shapes, std::move(dims)});
  }
  return std::nullopt;
}

std::optional<ValueId> Rewriter::RewriteBroadcast(const Candidate& op) {
  const ValueId a = op.operands[0];
  const std::vector<int64_t>& dims = std::get<DimsAttrs>(op.attrs).dims;
  if (op.shapes[0] == shape(a) && IsIdentity(dims)) return a;
  const Op& inner = def(a);
  if (inner.opcode == Opcode::kBroadcast) {
    DimsAttrs both;
    for (int64_t dim : inner.as<DimsAttrs>().dims) both.dims.push_back(dims[dim]);
    return MakeOne({Opcode::kBroadcast, {inner.operands[0]}, op.shapes, std::move(both)});
  }
  if (shape(a).rank() > 0) {
    if (std::optional<Literal> uniform = AsUniform(a)) {
      Shape scalar = uniform->shape();
      const ValueId value =
          MakeOne({Opcode::kConstant, {}, {std::move(scalar)}, ConstantAttrs{*std::move(uniform)}});
      return MakeOne({Opcode::kBroadcast, {value}, op.shapes, DimsAttrs{}});
    }
  }
  return std::nullopt;
}

const std::vector<int64_t>& Rewriter::EndsOf(ValueId concatenation) {
  const auto [entry, is_new] = ends_.try_emplace(concatenation);
  if (is_new) {
    const Op& op = def(concatenation);
    int64_t end = 0;
    for (ValueId operand : op.operands) {
      end += shape(operand).dims[op.as<DimsAttrs>().dims[0]];
      entry->second.push_back(end);
    }
  }
  return entry->second;
}

std::optional<ValueId> Rewriter::RewriteSlice(const Candidate& op) {
  constexpr int kMostSteps = 256;  // maximum number of ops that are skipped per slice
  SliceAttrs cut = std::get<SliceAttrs>(op.attrs);
  ValueId a = op.operands[0];
  const bool dense = AllOf(cut.strides, 1);
  const auto inside = [&](size_t i, int64_t start, int64_t size) {
    return cut.starts[i] >= start && cut.limits[i] <= start + size;
  };
  // Go back from the sliced array to earlier values, step by step. If an update covers the slice, slice the update
  // instead. If an update does not touch the slice, skip it. If one operand of a concatenation covers the slice, slice
  // this operand instead.
  bool moved = false;
  for (int step = 0; step < kMostSteps && dense; ++step) {
    const Op& inner = def(a);
    if (inner.opcode == Opcode::kDynamicUpdateSlice) {
      const Shape& update = shape(inner.operands[1]);
      const auto starts = ConstantStarts(inner.operands, 2, shape(a), update.dims);
      if (!starts) break;
      bool covered = true, apart = false;
      for (size_t i = 0; i < cut.starts.size(); ++i) {
        covered = covered && inside(i, (*starts)[i], update.dims[i]);
        apart = apart || cut.limits[i] <= (*starts)[i] || cut.starts[i] >= (*starts)[i] + update.dims[i];
      }
      if (covered) {
        for (size_t i = 0; i < cut.starts.size(); ++i) {
          cut.starts[i] -= (*starts)[i];
          cut.limits[i] -= (*starts)[i];
        }
        a = inner.operands[1];
      } else if (apart) {
        a = inner.operands[0];
      } else {
        break;
      }
      moved = true;
    } else if (inner.opcode == Opcode::kConcatenate) {
      const size_t dim = static_cast<size_t>(inner.as<DimsAttrs>().dims[0]);
      const std::vector<int64_t>& ends = EndsOf(a);
      // The slice begins in the operand that ends at `*end`.
      const auto end = std::upper_bound(ends.begin(), ends.end(), cut.starts[dim]);
      if (end == ends.end() || cut.limits[dim] > *end) break;
      const ValueId piece = inner.operands[end - ends.begin()];
      const int64_t start = *end - shape(piece).dims[dim];
      cut.starts[dim] -= start;
      cut.limits[dim] -= start;
      a = piece;
      moved = true;
    } else {
      break;
    }
  }
  if (op.shapes[0] == shape(a) && AllOf(cut.starts, 0)) return a;
  const Op& inner = def(a);
  if (inner.opcode == Opcode::kSlice) {
    const auto& first = inner.as<SliceAttrs>();
    SliceAttrs both;
    for (size_t i = 0; i < cut.starts.size(); ++i) {
      const int64_t stride = first.strides[i];
      both.starts.push_back(first.starts[i] + cut.starts[i] * stride);
      const int64_t size = op.shapes[0].dims[i];
      both.strides.push_back(stride * cut.strides[i]);
      both.limits.push_back(size == 0 ? both.starts[i] : both.starts[i] + (size - 1) * both.strides[i] + 1);
    }
    return MakeOne({Opcode::kSlice, {inner.operands[0]}, op.shapes, std::move(both)});
  }
  if (inner.opcode == Opcode::kBroadcast && shape(inner.operands[0]).rank() == 0) {
    return MakeOne({Opcode::kBroadcast, {inner.operands[0]}, op.shapes, DimsAttrs{}});
  }
  if (moved) return MakeOne({Opcode::kSlice, {a}, op.shapes, std::move(cut)});
  return std::nullopt;
}

std::optional<ValueId> Rewriter::RewriteDynamicSlice(const Candidate& op) {
  const Shape& array = shape(op.operands[0]);
  const auto starts = ConstantStarts(op.operands, 1, array, op.shapes[0].dims);
  if (!starts) return op.shapes[0] == array ? std::optional(op.operands[0]) : std::nullopt;
  SliceAttrs attrs{*starts, {}, std::vector<int64_t>(starts->size(), 1)};
  for (size_t i = 0; i < starts->size(); ++i) attrs.limits.push_back((*starts)[i] + op.shapes[0].dims[i]);
  return MakeOne({Opcode::kSlice, {op.operands[0]}, op.shapes, std::move(attrs)});
}

// If a chain of updates writes the whole array, replaces the chain by a concatenation. `op` is the chain's last update.
std::optional<ValueId> Rewriter::RewriteDynamicUpdateSlice(const Candidate& op) {
  const Shape& array = op.shapes[0];
  const Shape& update = shape(op.operands[1]);
  if (update == array) return op.operands[1];
  size_t dim = array.dims.size();
  for (size_t i = 0; i < array.dims.size(); ++i) {
    if (update.dims[i] == array.dims[i]) continue;
    if (dim != array.dims.size()) return std::nullopt;  // the update is smaller than the array in two dimensions
    dim = i;
  }
  // Walk back along the chain only if its updates are large enough to cover the whole array. This gives one walk per
  // chain instead of one walk per update.
  UpdateChain chain{dim, update.dims[dim]};
  if (const auto before = chains_.find(op.operands[0]); before != chains_.end() && before->second.dim == dim) {
    chain.covered += before->second.covered;
  }
  std::optional<ValueId> concatenation;
  if (chain.covered >= array.dims[dim] && array.dims[dim] > 0) {
    concatenation = AsConcatenation(op, dim);
    chain.covered = 0;  // after a failed walk (for example, because updates overlap), count again from 0
  }
  if (concatenation) return concatenation;
  const std::vector<ValueId> added = Add(op);
  chains_[added[0]] = chain;
  return added[0];
}

std::optional<ValueId> Rewriter::AsConcatenation(const Candidate& op, size_t dim) {
  const Shape& array = op.shapes[0];
  std::map<int64_t, ValueId> pieces;  // the updates of the chain; key: the start of the update
  int64_t covered = 0;
  std::vector<ValueId> operands = op.operands;
  while (true) {
    const Shape& piece = shape(operands[1]);
    const auto starts = ConstantStarts(operands, 2, array, piece.dims);
    for (size_t i = 0; i < array.dims.size(); ++i) {
      if (i != dim && piece.dims[i] != array.dims[i]) return std::nullopt;
    }
    if (!starts || piece.dims[dim] == 0) return std::nullopt;
    const int64_t start = (*starts)[dim], size = piece.dims[dim];
    const auto after = pieces.lower_bound(start);
    if (after != pieces.end() && after->first < start + size) return std::nullopt;  // this piece overlaps a later one
    if (after != pieces.begin()) {
      const auto& [before_start, before] = *std::prev(after);
      if (before_start + shape(before).dims[dim] > start) return std::nullopt;
    }
    pieces[start] = operands[1];
    covered += size;
    if (covered == array.dims[dim]) break;
    const Op& inner = def(operands[0]);
    if (inner.opcode != Opcode::kDynamicUpdateSlice) return std::nullopt;
    operands = inner.operands;
  }
  Candidate concatenation{Opcode::kConcatenate, {}, op.shapes, DimsAttrs{{static_cast<int64_t>(dim)}}};
  for (const auto& [start, piece] : pieces) concatenation.operands.push_back(piece);
  return MakeOne(std::move(concatenation));
}

std::optional<ValueId> Rewriter::RewriteConcatenate(const Candidate& op) {
  if (op.operands.size() == 1) return op.operands[0];
  const int64_t dim = std::get<DimsAttrs>(op.attrs).dims[0];
  Candidate full = op;
  std::erase_if(full.operands, [&](ValueId operand) { return shape(operand).dims[dim] == 0; });
  if (full.operands.empty() || full.operands.size() == op.operands.size()) return std::nullopt;
  return MakeOne(std::move(full));
}

std::optional<ValueId> Rewriter::RewriteSelect(const Candidate& op) {
  if (op.operands[1] == op.operands[2]) return op.operands[1];
  const std::optional<Literal> predicate = AsUniform(op.operands[0]);
  if (!predicate) return std::nullopt;
  return predicate->ValueAt(0) != 0 ? op.operands[1] : op.operands[2];
}

std::optional<std::vector<ValueId>> Rewriter::RewriteConditional(const Candidate& op) {
  const Literal* literal = AsConstant(op.operands[0]);
  if (literal == nullptr) return std::nullopt;
  int64_t taken = *ScalarValue(*literal);
  const int64_t branches = static_cast<int64_t>(op.regions.size());
  if (literal->shape().dtype == DType::kPred) taken = taken != 0 ? 0 : 1;
  if (taken < 0 || taken >= branches) taken = branches - 1;
  const Graph& body = *op.regions[taken];
  std::vector<ValueId> mapped(body.values().size());
  for (size_t i = 0; i < body.parameters().size(); ++i)
    mapped[body.parameters()[i].value()] = op.operands[i + 1];
  for (const Op& inner : body.ops()) {
    if (inner.opcode == Opcode::kParameter) continue;
    Candidate candidate{inner.opcode, {}, {}, inner.attrs, inner.regions};
    for (ValueId operand : inner.operands) candidate.operands.push_back(mapped[operand.value()]);
    for (ValueId result : inner.results) candidate.shapes.push_back(body.shape(result));
    const std::vector<ValueId> results = Make(std::move(candidate));
    for (size_t i = 0; i < results.size(); ++i) mapped[inner.results[i].value()] = results[i];
  }
  std::vector<ValueId> results;
  for (ValueId result : body.results()) results.push_back(mapped[result.value()]);
  return results;
}

}  // namespace alpa::graph::internal
