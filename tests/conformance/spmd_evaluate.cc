#include "tests/conformance/spmd_evaluate.h"

#include <functional>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "graph/builder.h"
#include "graph/evaluator.h"
#include "tests/conformance/fake_collectives.h"

namespace alpa::conformance {
namespace {

using graph::CollectiveAttrs;
using graph::Graph;
using graph::GraphBuilder;
using graph::Literal;
using graph::Op;
using graph::Opcode;
using graph::ValueId;
using Operands = std::vector<Literal>;

// Evaluates a graph with one result. `body` gets the parameters, which have the shapes of `arguments`.
absl::StatusOr<Literal> Compute(const Operands& arguments,
                                const std::function<ValueId(GraphBuilder&, const std::vector<ValueId>&)>& body) {
  GraphBuilder b;
  std::vector<ValueId> parameters;
  for (const Literal& argument : arguments) parameters.push_back(b.Parameter(argument.shape()));
  b.SetResults({body(b, parameters)});
  ALPA_ASSIGN_OR_RETURN(const Operands results, graph::Evaluate(b.Build(), arguments));
  return results[0];
}

// Cuts x along `dim` into `count` equal blocks, and returns block number `index`.
absl::StatusOr<Literal> Block(const Literal& x, int64_t dim, int64_t index, int64_t count) {
  std::vector<int64_t> starts(x.shape().dims.size(), 0), limits = x.shape().dims;
  const int64_t size = limits[dim] / count;
  starts[dim] = index * size;
  limits[dim] = starts[dim] + size;
  return Compute({x}, [&](GraphBuilder& b, const std::vector<ValueId>& p) { return b.Slice(p[0], starts, limits); });
}

absl::StatusOr<Literal> Joined(const Operands& parts, int64_t dim) {
  return Compute(parts, [&](GraphBuilder& b, const std::vector<ValueId>& p) { return b.Concatenate(p, dim); });
}

// Stacks the parts along a new first dimension and reduces that dimension.
absl::StatusOr<Literal> Reduced(const Operands& parts, graph::ReduceKind kind) {
  return Compute(parts, [&](GraphBuilder& b, const std::vector<ValueId>& p) {
    std::vector<ValueId> rows;
    for (ValueId part : p) {
      std::vector<int64_t> dims = b.shape(part).dims;
      dims.insert(dims.begin(), 1);
      rows.push_back(b.Reshape(part, dims));
    }
    return b.Reduce(b.Concatenate(rows, 0), kind, {0});
  });
}

// Returns the results that the collective has on rank `rank`. `all[r]` holds the operands of rank `r`.
absl::StatusOr<Operands> ByDefinition(const Op& op, const std::vector<Operands>& all, int rank) {
  const auto& attrs = op.as<CollectiveAttrs>();
  const int64_t n = static_cast<int64_t>(all.size());
  if (op.opcode == Opcode::kAxisIndex) return Operands{Literal::Scalar<int32_t>(graph::DType::kS32, rank)};
  Operands results;
  for (size_t i = 0; i < all[0].size(); ++i) {
    Operands parts;
    for (const Operands& operands : all) parts.push_back(operands[i]);
    absl::StatusOr<Literal> result = parts[rank];
    switch (op.opcode) {
      case Opcode::kAllReduce:
        result = Reduced(parts, attrs.kind);
        break;
      case Opcode::kAllGather:
        result = Joined(parts, attrs.dim);
        break;
      case Opcode::kReduceScatter:
        result = Reduced(parts, attrs.kind);
        if (result.ok()) result = Block(*result, attrs.dim, rank, n);
        break;
      case Opcode::kAllToAll:
        for (Literal& part : parts) {
          ALPA_ASSIGN_OR_RETURN(part, Block(part, attrs.dim, rank, n));
        }
        result = Joined(parts, attrs.concat_dim);
        break;
      case Opcode::kCollectivePermute:
        result = Literal::Zeros(parts[rank].shape());
        for (int64_t r = 0; r < n; ++r) {
          if (attrs.permutation[r] == rank) result = parts[r];
        }
        break;
      default:
        return Unimplemented("SpmdEvaluate does not support the collective %s", std::string(NameOf(op.opcode)));
    }
    if (!result.ok()) return result.status();
    results.push_back(*std::move(result));
  }
  return results;
}

// The threads of all devices meet here at every collective.
class Meeting {
 public:
  explicit Meeting(const std::vector<int64_t>& mesh_shape, int devices) : mesh_shape_(mesh_shape), posts_(devices) {}

  absl::StatusOr<Operands> Collective(int device, const Op& op, std::span<const Literal> operands) {
    ALPA_RETURN_IF_ERROR(Arrive([&] { posts_[device].assign(operands.begin(), operands.end()); }));
    const std::vector<int64_t>& axes = op.as<CollectiveAttrs>().mesh_axes;
    // Collect the operands of the group's devices, one entry per rank. The coordinates of these devices differ from
    // those of this device only along the axes.
    int64_t size = 1;
    for (int64_t axis : axes) size *= mesh_shape_[axis];
    std::vector<Operands> all(size);
    const std::vector<int64_t> mine = CoordinatesOf(device, mesh_shape_);
    {
      MutexLock lock(mutex_);
      for (int d = 0; d < static_cast<int>(posts_.size()); ++d) {
        std::vector<int64_t> theirs = CoordinatesOf(d, mesh_shape_);
        for (int64_t axis : axes) theirs[axis] = mine[axis];
        if (theirs == mine) all[RankAlong(d, mesh_shape_, axes)] = posts_[d];
      }
    }
    ALPA_RETURN_IF_ERROR(Arrive([] {}));
    return ByDefinition(op, all, RankAlong(device, mesh_shape_, axes));
  }
  void Fail(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (status_.ok()) status_ = status;
    changed_.NotifyAll();
  }

 private:
  template <typename F>
  absl::Status Arrive(F&& post) {
    MutexLock lock(mutex_);
    post();
    const int64_t round = round_;
    if (++arrived_ == posts_.size()) {
      arrived_ = 0;
      ++round_;
      changed_.NotifyAll();
    }
    while (round_ == round && status_.ok()) changed_.Wait(lock);
    return status_;
  }

  const std::vector<int64_t> mesh_shape_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<Operands> posts_ ALPA_GUARDED_BY(mutex_);
  absl::Status status_ ALPA_GUARDED_BY(mutex_);
  size_t arrived_ ALPA_GUARDED_BY(mutex_) = 0;
  int64_t round_ ALPA_GUARDED_BY(mutex_) = 0;
};

}  // namespace

absl::StatusOr<std::vector<Operands>> SpmdEvaluate(const Graph& graph, const std::vector<int64_t>& mesh_shape,
                                                   const std::vector<Operands>& arguments) {
  const int devices = static_cast<int>(arguments.size());
  Meeting meeting(mesh_shape, devices);
  std::vector<absl::StatusOr<Operands>> results(devices, Operands{});
  std::vector<std::thread> threads;
  for (int d = 0; d < devices; ++d) {
    threads.emplace_back([&, d] {
      graph::EvaluateOptions options;
      options.collective = [&, d](const Graph&, const Op& op, std::span<const Literal> operands) {
        return meeting.Collective(d, op, operands);
      };
      results[d] = graph::EvaluateWith(options, graph, arguments[d]);
      if (!results[d].ok()) meeting.Fail(results[d].status());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<Operands> all;
  for (absl::StatusOr<Operands>& result : results) {
    if (!result.ok()) return result.status();
    all.push_back(*std::move(result));
  }
  return all;
}

}  // namespace alpa::conformance
