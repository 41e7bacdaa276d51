#include "planner/microbatch/analysis.h"

#include <algorithm>
#include <limits>

#include "base/status.h"
#include "graph/cost.h"

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::OpId;
using graph::ValueId;

namespace {

constexpr int kNever = std::numeric_limits<int>::max();

// Finds values that are known to be zero everywhere: zero constants, and zeros that are moved, copied or converted.
std::vector<bool> FindZeros(const Graph& program) {
  std::vector<bool> zero(program.values().size(), false);
  for (const Op& op : program.ops()) {
    bool is_zero = false;
    switch (op.opcode) {
      case Opcode::kConstant:
        is_zero = op.as<graph::ConstantAttrs>().literal.AllEqual(0);
        break;
      case Opcode::kBroadcast: case Opcode::kReshape: case Opcode::kTranspose: case Opcode::kConvert:
      case Opcode::kCopy: case Opcode::kSlice: case Opcode::kReverse: case Opcode::kPad: case Opcode::kConcatenate:
        is_zero = std::all_of(op.operands.begin(), op.operands.end(), [&](ValueId v) { return zero[v.value()]; });
        break;
      default: break;
    }
    for (ValueId v : op.results) zero[v.value()] = is_zero;
  }
  return zero;
}

// The first loop and the last loop in which a value is needed.
struct Span {
  int first = kNever;
  int last = -1;
  bool needed() const { return last >= 0; }
  void Add(const Span& other) {
    first = std::min(first, other.first);
    last = std::max(last, other.last);
  }
};

class Analyser {
 public:
  Analyser(const Graph& program, const plan::Roles& roles, const AnalysisOptions& options)
      : program_(program), roles_(roles), options_(options), values_(program.values().size()) {
    out_.chunks = options.chunks;
    out_.zero = FindZeros(program);
    out_.local.assign(values_, false);
    depends_on_state_.assign(values_, false);
    truth_taken_.assign(values_, false);
  }

  AxisAnalysis Run() {
    for (;;) {
      do {
        Propagate();
        Schedule();
      } while (TakeTruths());
      FindCouplings();
      if (out_.couplings.empty() || !options_.local_statistics) break;
      bool progress = false;
      for (const Coupling& coupling : out_.couplings) {
        const int v = coupling.statistic.value();
        // Only a partial statistic has a version for one chunk alone. A split value has none, because the op that needs
        // its gathered value (for example a sort over the batch) works on all chunks together.
        if (!out_.states[v].partial() || out_.local[v]) continue;
        progress = out_.local[v] = true;
      }
      if (!progress) break;
    }
    CountFlops();
    return std::move(out_);
  }

 private:
  const AxisState& state(ValueId v) const { return out_.states[v.value()]; }
  const OpRule& rule(size_t i) const { return out_.rules[i]; }

  // Forward sweep: finds the state and the earliest segment of each value. `earliest_` holds the once segment of a
  // replicated value, or the loop of a split or partial value. `chunk_earliest_` holds the first loop that can use the
  // value. This loop may come before `earliest_` if the value is built from chunk-local statistics.
  void Propagate() {
    out_.states.assign(values_, {});
    out_.rules.assign(program_.ops().size(), {});
    earliest_.assign(values_, 0);
    chunk_earliest_.assign(values_, 0);
    out_.chunk_local.assign(values_, false);
    const RuleContext context = out_.Context(program_);
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      const Op& op = program_.ops()[i];
      if (op.opcode == Opcode::kParameter) {
        Parameter(op, i);
        continue;
      }
      std::vector<AxisState> states;
      for (ValueId v : op.operands) states.push_back(state(v));
      OpRule chosen = ChooseRule(context, op, states);
      if (!PartialsMeet(op, chosen) || ReadsTruth(op, chosen)) {
        chosen = {std::vector<AxisState>(states.size()), std::vector<AxisState>(op.results.size())};
      }
      Times(op, chosen);
      for (size_t r = 0; r < op.results.size(); ++r) out_.states[op.results[r].value()] = chosen.results[r];
      out_.rules[i] = std::move(chosen);
    }
  }

  void Parameter(const Op& op, size_t index) {
    const int64_t parameter = op.as<graph::ParameterAttrs>().index;
    const int v = op.results[0].value();
    depends_on_state_[v] = roles_.inputs[parameter].kind == plan::InputRole::Kind::kState;
    out_.rules[index].results = {AxisState::Replicated()};
    for (const plan::Seed& seed : options_.seeds) {
      if (seed.leaf == parameter) {
        out_.states[v] = out_.rules[index].results[0] = AxisState::Split(seed.dim, seed.outer);
      }
    }
  }

  // Returns whether a linear op on partial operands can run per chunk: all its operands must be available in the loop
  // that computes the partials. Otherwise the partials and all values that they depend on would move to a later loop.
  bool PartialsMeet(const Op& op, const OpRule& chosen) const {
    if (op.opcode == Opcode::kOptimizationBarrier) return true;
    int loop = -1;
    for (size_t i = 0; i < op.operands.size(); ++i) {
      const ValueId v = op.operands[i];
      if (!chosen.operands[i].partial() || !state(v).partial()) continue;
      if (loop >= 0 && earliest_[v.value()] != loop) return false;
      loop = earliest_[v.value()];
    }
    if (loop < 0) return true;
    for (size_t i = 0; i < op.operands.size(); ++i) {
      const ValueId v = op.operands[i];
      if (state(v).replicated() && chunk_earliest_[v.value()] > loop) return false;
    }
    return true;
  }

  bool ReadsTruth(const Op& op, const OpRule& chosen) const {
    if (op.opcode == Opcode::kOptimizationBarrier) return false;
    bool reads = false;
    for (size_t i = 0; i < op.operands.size(); ++i) {
      if (chosen.operands[i].split()) return false;
      reads = reads || truth_taken_[op.operands[i].value()];
    }
    return reads;
  }

  // If one op needs the reduced value of a partial, every reader uses the reduced value. No reader passes the partial
  // on, to be reduced later in another accumulator. Returns whether this call found another such partial.
  bool TakeTruths() {
    bool more = false;
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      const Op& op = program_.ops()[i];
      if (op.opcode == Opcode::kOptimizationBarrier || op.results.empty() || !state(op.results[0]).partial()) continue;
      if (std::any_of(rule(i).operands.begin(), rule(i).operands.end(),
                      [](const AxisState& s) { return s.split(); })) {
        continue;
      }
      for (ValueId v : op.operands) {
        if (!state(v).partial() || out_.full_in[v.value()] < 0 || truth_taken_[v.value()] || out_.local[v.value()]) {
          continue;
        }
        more = truth_taken_[v.value()] = true;
      }
    }
    return more;
  }

  void Times(const Op& op, const OpRule& chosen) {
    int earliest = 0, chunk_earliest = 0;
    bool chunk_local = false, on_state = false;
    const bool barrier = op.opcode == Opcode::kOptimizationBarrier;
    const bool replicated = chosen.results.empty() || chosen.results[0].replicated();
    for (size_t i = 0; i < op.operands.size(); ++i) {
      const int v = op.operands[i].value();
      on_state = on_state || depends_on_state_[v];
      int exact, chunk;
      if (state(op.operands[i]).replicated()) {
        exact = earliest_[v];
        chunk = chunk_earliest_[v];
        chunk_local = chunk_local || out_.chunk_local[v];
      } else if (chosen.operands[i] == state(op.operands[i])) {
        exact = chunk = earliest_[v];
      } else {
        exact = earliest_[v] + 1;
        chunk = out_.local[v] ? earliest_[v] : exact;
        chunk_local = chunk_local || out_.local[v];
      }
      if (barrier) {
        const int r = op.results[i].value();
        earliest_[r] = exact;
        chunk_earliest_[r] = chunk;
        out_.chunk_local[r] = out_.chunk_local[v];
        depends_on_state_[r] = depends_on_state_[v];
      }
      earliest = std::max(earliest, exact);
      chunk_earliest = std::max(chunk_earliest, chunk);
    }
    if (barrier) return;
    for (ValueId r : op.results) {
      // A split or partial value is computed in a loop, where it can use chunk-local statistics. `chunk_local`
      // describes replicated values only.
      earliest_[r.value()] = replicated ? earliest : chunk_earliest;
      chunk_earliest_[r.value()] = chunk_earliest;
      out_.chunk_local[r.value()] = replicated && chunk_local;
      depends_on_state_[r.value()] = on_state;
    }
  }

  // Backward sweep: finds the latest segment that can compute each needed value.
  void Schedule() {
    int loops = 0;
    for (size_t v = 0; v < values_; ++v) {
      loops = std::max(loops, out_.states[v].replicated() ? earliest_[v] : earliest_[v] + 1);
    }
    out_.loops = loops;
    once_.assign(values_, kNever);
    out_.full_in.assign(values_, kNever);
    truth_consumer_.assign(values_, OpId());
    span_.assign(values_, Span());
    chunk_span_.assign(values_, Span());
    out_.split_result.assign(program_.results().size(), false);
    for (size_t r = 0; r < program_.results().size(); ++r) {
      const ValueId v = program_.results()[r];
      if (state(v).replicated()) {
        once_[v.value()] = loops;
      } else if (StaysSplit(r)) {
        out_.split_result[r] = true;
        span_[v.value()].Add({loops - 1, loops - 1});
      } else {
        WantTruth(v, loops, OpId());
      }
    }
    for (size_t i = program_.ops().size(); i-- > 0;) Demand(i);
    out_.segment.assign(values_, -1);
    for (size_t v = 0; v < values_; ++v) {
      if (out_.states[v].replicated()) {
        if (once_[v] != kNever) out_.segment[v] = once_[v];
      } else if (span_[v].needed()) {
        out_.segment[v] = span_[v].first;
      }
      if (out_.full_in[v] == kNever) out_.full_in[v] = -1;
    }
  }

  // Returns whether a result stays split. This is only possible if its slices are contiguous and `gather_results` is
  // false. In this case, an aux result stays split. A state result stays split if its input is split along the same
  // dimension.
  bool StaysSplit(size_t result) const {
    const AxisState& s = state(program_.results()[result]);
    if (!s.split() || s.outer != 1 || options_.gather_results) return false;
    const plan::OutputRole& role = roles_.outputs[result];
    if (role.kind == plan::OutputRole::Kind::kAux) return true;
    return std::find(options_.seeds.begin(), options_.seeds.end(), plan::Seed{role.state_input, s.dim}) !=
           options_.seeds.end();
  }

  void WantTruth(ValueId v, int once, OpId consumer) {
    if (once < out_.full_in[v.value()]) {
      out_.full_in[v.value()] = once;
      truth_consumer_[v.value()] = consumer;
    }
  }

  void Demand(size_t i) {
    const Op& op = program_.ops()[i];
    const OpId id(static_cast<int32_t>(i));
    for (ValueId r : op.results) {
      const int truth = out_.full_in[r.value()];
      if (truth != kNever) span_[r.value()].Add({truth - 1, truth - 1});
    }
    if (op.opcode == Opcode::kOptimizationBarrier) {
      for (size_t k = 0; k < op.operands.size(); ++k) Pass(op.operands[k], op.results[k]);
      return;
    }
    int once = kNever;
    Span loops, chunk_loops;
    for (ValueId r : op.results) {
      once = std::min(once, once_[r.value()]);
      loops.Add(span_[r.value()]);
      chunk_loops.Add(chunk_span_[r.value()]);
    }
    for (size_t k = 0; k < op.operands.size(); ++k) {
      const ValueId v = op.operands[k];
      const bool kept = !state(v).replicated() && rule(i).operands[k] == state(v);
      if (once != kNever) {
        if (state(v).replicated()) {
          once_[v.value()] = std::min(once_[v.value()], once);
        } else {
          WantTruth(v, once, id);
        }
      }
      Span needed = loops;
      needed.Add(chunk_loops);
      if (!needed.needed()) continue;
      if (kept) {
        span_[v.value()].Add(needed);
      } else if (state(v).replicated()) {
        if (out_.chunk_local[v.value()]) {
          chunk_span_[v.value()].Add(needed);
        } else {
          once_[v.value()] = std::min(once_[v.value()], needed.first);
        }
      } else if (out_.local[v.value()]) {
        span_[v.value()].Add(needed);
      } else {
        WantTruth(v, needed.first, id);
      }
    }
  }

  void Pass(ValueId operand, ValueId result) {
    const int o = operand.value(), r = result.value();
    once_[o] = std::min(once_[o], once_[r]);
    span_[o].Add(span_[r]);
    chunk_span_[o].Add(chunk_span_[r]);
  }

  // Finds matrix products that run in two loops, and the statistics whose full values cause this.
  void FindCouplings() {
    out_.couplings.clear();
    // One entry per value: a repeated product on which the value depends within the value's loop, and the last loop
    // that runs this product.
    std::vector<int> last(values_, -1);
    std::vector<OpId> product(values_);
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      const Op& op = program_.ops()[i];
      const bool barrier = op.opcode == Opcode::kOptimizationBarrier;
      for (size_t r = 0; r < op.results.size(); ++r) {
        const int v = op.results[r].value();
        if (out_.states[v].replicated()) continue;
        for (size_t k = 0; k < op.operands.size(); ++k) {
          const int o = op.operands[k].value();
          if (barrier && k != r) continue;
          if (out_.states[o].replicated() || rule(i).operands[k] != out_.states[o]) continue;
          if (last[o] > last[v]) last[v] = last[o], product[v] = product[o];
        }
        if (graph::IsProduct(op.opcode) && depends_on_state_[v] && span_[v].needed() &&
            span_[v].first != span_[v].last && span_[v].last > last[v]) {
          last[v] = span_[v].last;
          product[v] = OpId(static_cast<int32_t>(i));
        }
        if (out_.full_in[v] > 0 && last[v] > out_.full_in[v] - 1) {
          out_.couplings.push_back({op.results[r], truth_consumer_[v], product[v]});
        }
      }
    }
  }

  void CountFlops() {
    out_.split_flops = out_.total_flops = 0;
    for (const Op& op : program_.ops()) {
      if (!graph::IsProduct(op.opcode)) continue;
      const Flops flops = graph::CostOf(program_, op).flops;
      out_.total_flops += flops;
      if (!state(op.results[0]).replicated()) out_.split_flops += flops;
    }
  }

  const Graph& program_;
  const plan::Roles& roles_;
  const AnalysisOptions& options_;
  const size_t values_;
  AxisAnalysis out_;
  std::vector<bool> depends_on_state_;
  std::vector<bool> truth_taken_;   // one entry per value: it is partial, and all readers use its reduced value
  std::vector<int> earliest_, chunk_earliest_;
  std::vector<int> once_;           // only for replicated values: the latest once segment that can compute the value
  std::vector<Span> span_;          // only for split and partial values: the loops that need the value
  std::vector<Span> chunk_span_;    // only for replicated values: the loops that use the chunk-local version
  std::vector<OpId> truth_consumer_;
};

}  // namespace

RuleContext AxisAnalysis::Context(const Graph& program) const {
  return {&program, chunks, [this](ValueId v) { return zero[v.value()]; }};
}

AxisAnalysis Analyse(const Graph& program, const plan::Roles& roles, const AnalysisOptions& options) {
  return Analyser(program, roles, options).Run();
}

absl::Status CheckSeeds(const Graph& program, const plan::Roles& roles, const std::vector<plan::Seed>& seeds,
                        int64_t chunks) {
  std::set<int32_t> leaves;
  for (const plan::Seed& seed : seeds) {
    if (seed.leaf < 0 || seed.leaf >= static_cast<int32_t>(roles.inputs.size())) {
      return InvalidArgument("batch_dims names input %d, but the program has %d inputs", seed.leaf,
                             roles.inputs.size());
    }
    const std::string& path = roles.inputs[seed.leaf].path;
    if (!leaves.insert(seed.leaf).second) return InvalidArgument("batch_dims names %s twice", path);
    const graph::Shape& shape = program.shape(program.parameters()[seed.leaf]);
    if (seed.dim < 0 || seed.dim >= shape.rank()) {
      return InvalidArgument("batch_dims names dimension %d of %s, which has shape %s", seed.dim, path,
                             shape.ToString());
    }
    if (shape.dims[seed.dim] == 0 || shape.dims[seed.dim] % (seed.outer * chunks) != 0) {
      return InvalidArgument(
          "dimension %d of %s has size %d, which %d chunks (data-parallel devices x microbatches) do not divide",
          seed.dim, path, shape.dims[seed.dim], seed.outer * chunks);
    }
  }
  return absl::OkStatus();
}

absl::Status CouplingError(const Graph& program, const AxisAnalysis& analysis) {
  const Coupling& coupling = analysis.couplings.front();
  auto describe = [&](OpId id) {
    const Op& op = program.op(id);
    const std::string location = program.location(op);
    return absl::StrCat("\"", std::string(graph::NameOf(op.opcode)), "\"", location.empty() ? "" : " at ", location);
  };
  const Op& statistic = program.def(coupling.statistic);
  const std::string where = program.location(statistic);
  return FailedPrecondition(
      "the batch cannot be split into microbatches: the result of %s%s%s depends on the whole batch and feeds back "
      "into each microbatch%s%s, so %s would have to run twice. Use microbatches=1, or declare such statistics local "
      "(local_statistics=True)",
      graph::NameOf(statistic.opcode), where.empty() ? "" : " at ", where, coupling.consumer.valid() ? " through " : "",
      coupling.consumer.valid() ? describe(coupling.consumer) : "", describe(coupling.repeated));
}

}  // namespace alpa::planner
