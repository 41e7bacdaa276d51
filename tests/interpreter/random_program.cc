#include "tests/interpreter/random_program.h"

#include <algorithm>
#include <numeric>

#include "graph/builder.h"
#include "graph/simplify.h"

namespace alpa::testing {

namespace {

using graph::DType;
using graph::Opcode;
using graph::ReduceKind;
using graph::ValueId;

constexpr int kMostElements = 1 << 10;  // maximum number of elements per value; larger values are dropped

class Drawing {
 public:
  explicit Drawing(std::mt19937& random) : random_(random) {}

  Step Draw(int ops) {
    Step step;
    const auto input = [&](plan::InputRole::Kind kind, const std::string& path) {
      step.roles.inputs.push_back({kind, path});
      pool_.push_back(b_.Parameter({DType::kF32, Dims(2)}));
    };
    input(plan::InputRole::Kind::kState, "u");
    input(plan::InputRole::Kind::kState, "v");
    input(plan::InputRole::Kind::kBatch, "x");
    for (int tries = 0, made = 0; made < ops && tries < 50 * ops; ++tries) {
      const ValueId v = Op();
      if (!v.valid() || b_.shape(v).elements() > kMostElements) continue;
      pool_.push_back(v);
      ++made;
    }
    std::vector<ValueId> results;
    for (int leaf = 0; leaf < 2; ++leaf) {
      ValueId next = b_.Unary(Opcode::kNegate, pool_[leaf]);
      for (size_t i = 3; i < pool_.size(); ++i) {
        if (b_.shape(pool_[i]).dims == b_.shape(pool_[leaf]).dims && Below(2) == 0) next = pool_[i];
      }
      results.push_back(next);
      step.roles.outputs.push_back({plan::OutputRole::Kind::kState, step.roles.inputs[leaf].path, leaf});
    }
    for (int i = 1, last = 1 + Below(3); i <= last; ++i) {
      results.push_back(pool_[pool_.size() - i]);
      step.roles.outputs.push_back({plan::OutputRole::Kind::kAux, "aux" + std::to_string(i), -1});
    }
    b_.SetResults(results);
    step.graph = graph::Simplify(b_.Build());
    return step;
  }

 private:
  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  // Returns a random value. Prefers values that were added late.
  ValueId Any() {
    return pool_[std::max(Below(static_cast<int>(pool_.size())), Below(static_cast<int>(pool_.size())))];
  }
  std::vector<int64_t> Dims(int rank) {
    std::vector<int64_t> dims;
    for (int d = 0; d < rank; ++d) dims.push_back(std::vector<int64_t>{2, 4, 6, 3}[Below(4)]);
    return dims;
  }

  // Adds a random op. Returns an invalid id if the drawn op does not fit its operands.
  ValueId Op() {
    const ValueId a = Any(), b = Any();
    const std::vector<int64_t> dims = b_.shape(a).dims, others = b_.shape(b).dims;
    const auto rank = static_cast<int>(dims.size());
    switch (Below(10)) {
      case 0: case 1: return Dot(a, b);
      case 2: case 3: {
        if (dims != others) return ValueId();
        return b_.Binary(
            std::vector<Opcode>{Opcode::kAdd, Opcode::kMultiply, Opcode::kSubtract, Opcode::kMaximum}[Below(4)], a, b);
      }
      case 4: return b_.Unary(Below(2) == 0 ? Opcode::kTanh : Opcode::kNegate, a);
      case 5: {
        std::vector<int64_t> order(rank);
        std::iota(order.begin(), order.end(), 0);
        std::shuffle(order.begin(), order.end(), random_);
        return rank < 2 ? ValueId() : b_.Transpose(a, order);
      }
      case 6:
        return rank < 1 ? ValueId()
                        : b_.Reduce(a, Below(3) == 0 ? ReduceKind::kMax : ReduceKind::kSum, {Below(rank)});
      case 7: {
        if (rank < 1) return ValueId();
        const int d = Below(rank);
        std::vector<int64_t> to = dims;
        if (rank > 1 && d + 1 < rank && Below(2) == 0) {
          to[d] *= to[d + 1];
          to.erase(to.begin() + d + 1);
        } else if (dims[d] % 2 == 0 && rank < 4) {
          to[d] = 2;
          to.insert(to.begin() + d + 1, dims[d] / 2);
        } else {
          return ValueId();
        }
        return b_.Reshape(a, to);
      }
      case 8: return rank < 1 ? ValueId() : Blocks(a, b, Below(rank));
      default: {
        if (rank > 2) return ValueId();
        const int at = Below(rank + 1);
        std::vector<int64_t> to = dims, from;
        to.insert(to.begin() + at, Dims(1)[0]);
        for (int d = 0; d < rank; ++d) from.push_back(d < at ? d : d + 1);
        return b_.Broadcast(a, to, from);
      }
    }
  }

  // Concatenates, slices or pads along dimension `dim`.
  ValueId Blocks(ValueId a, ValueId b, int dim) {
    const std::vector<int64_t> dims = b_.shape(a).dims;
    std::vector<int64_t> others = b_.shape(b).dims, starts(dims.size()), limits = dims;
    switch (Below(3)) {
      case 0: {
        if (others.size() == dims.size()) others[dim] = dims[dim];
        return b_.Concatenate({a, others == dims ? b : a}, dim);
      }
      case 1: {
        if (dims[dim] % 2 != 0) return ValueId();
        (Below(2) == 0 ? starts : limits)[dim] = dims[dim] / 2;
        return b_.Slice(a, starts, limits);
      }
      default: {
        graph::PadAttrs attrs{starts, starts, starts};
        const int64_t added = Below(2) == 0 ? dims[dim] : 1;
        (Below(2) == 0 ? attrs.low : attrs.high)[dim] = added;
        graph::Shape shape{DType::kF32, dims};
        shape.dims[dim] += added;
        return b_.AddOp(Opcode::kPad, {a, b_.Scalar(DType::kF32, 0)}, {shape}, attrs)[0];
      }
    }
  }

  ValueId Dot(ValueId a, ValueId b) {
    const std::vector<int64_t> left = b_.shape(a).dims, right = b_.shape(b).dims;
    std::vector<std::pair<int64_t, int64_t>> pairs;
    for (size_t i = 0; i < left.size(); ++i) {
      for (size_t j = 0; j < right.size(); ++j) {
        if (left[i] == right[j]) pairs.push_back({static_cast<int64_t>(i), static_cast<int64_t>(j)});
      }
    }
    if (pairs.empty()) return ValueId();
    graph::DotAttrs attrs;
    const auto [i, j] = pairs[Below(static_cast<int>(pairs.size()))];
    attrs.lhs_contracting = {i};
    attrs.rhs_contracting = {j};
    const auto other =
        std::find_if(pairs.begin(), pairs.end(), [&](const auto& p) { return p.first != i && p.second != j; });
    if (other != pairs.end() && Below(2) == 0) {
      attrs.lhs_batch = {other->first};
      attrs.rhs_batch = {other->second};
    }
    return b_.Dot(a, b, attrs, DType::kF32);
  }

  std::mt19937& random_;
  graph::GraphBuilder b_;
  std::vector<ValueId> pool_;
};

}  // namespace

Step RandomProgram(std::mt19937& random, int ops) { return Drawing(random).Draw(ops); }

}  // namespace alpa::testing
