#include "planner/microbatch/seeds.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;
using plan::Seed;

namespace {

// The maximum number of dimensions that FindSeeds tries. Each one costs at least one analysis of the program.
constexpr int kMaxCandidates = 64;

// Records how the program reads a replicated value: in full, or only in certain slices.
struct Reads {
  bool whole = false;
  std::vector<AxisState> slices;
  void Add(const AxisState& slice) {
    if (std::find(slices.begin(), slices.end(), slice) == slices.end()) slices.push_back(slice);
  }
};

// Returns the score of seeds. A larger score is better. The FLOPs of split products count first, even if the program is
// coupled: a batch that cannot be split into microbatches is still the batch. If these FLOPs are equal, an uncoupled
// program wins (if `avoid_couplings`), then the program with fewer loops, then the program with more split bytes. A
// split along features would need many loops, because each layer would end a phase.
std::tuple<Flops, bool, int, int64_t> Score(const Graph& program, const AxisAnalysis& analysis, bool avoid_couplings) {
  int64_t cut_bytes = 0;
  for (size_t v = 0; v < analysis.states.size(); ++v) {
    if (analysis.states[v].split()) cut_bytes += program.shape(ValueId(static_cast<int32_t>(v))).bytes();
  }
  return {analysis.split_flops, !avoid_couplings || analysis.couplings.empty(), -analysis.loops, cut_bytes};
}

// Returns whether the step learns: some new state depends on a sum over the batch. The state of such a step consists of
// parameters. If a dimension of a parameter can be split together with a batch leaf, it is a feature dimension, not a
// batch dimension.
bool Learns(const Graph& program, const plan::Roles& roles, const AxisAnalysis& analysis) {
  std::vector<bool> from_truth(program.values().size(), false);
  for (size_t i = 0; i < program.ops().size(); ++i) {
    const Op& op = program.ops()[i];
    if (op.opcode == Opcode::kParameter) continue;
    bool learned = false;
    for (size_t k = 0; k < op.operands.size(); ++k) {
      const ValueId v = op.operands[k];
      const AxisState& state = analysis.states[v.value()];
      learned = learned || from_truth[v.value()] || (!state.replicated() && state != analysis.rules[i].operands[k]);
    }
    for (ValueId v : op.results) from_truth[v.value()] = learned;
  }
  for (size_t r = 0; r < roles.outputs.size(); ++r) {
    const ValueId v = program.results()[r];
    if (roles.outputs[r].kind != plan::OutputRole::Kind::kState) continue;
    if (from_truth[v.value()] || analysis.states[v.value()].partial()) return true;
  }
  return false;
}

// Returns the inputs of which each chunk reads only its own contiguous slice along one dimension. These inputs are
// split together with the seeds.
std::vector<Seed> Followers(const Graph& program, const plan::Roles& roles, const AxisAnalysis& analysis) {
  std::vector<Reads> reads(program.values().size());
  const RuleContext context = analysis.Context(program);
  auto replicated = [&](ValueId v) { return analysis.states[v.value()].replicated(); };
  for (size_t r = 0; r < program.results().size(); ++r) {
    if (replicated(program.results()[r])) reads[program.results()[r].value()].whole = true;
  }
  for (size_t i = program.ops().size(); i-- > 0;) {
    const Op& op = program.ops()[i];
    if (op.opcode == Opcode::kParameter) continue;
    const OpRule& rule = analysis.rules[i];
    if (!replicated(op.results[0])) {
      for (size_t k = 0; k < op.operands.size(); ++k) {
        if (!replicated(op.operands[k])) continue;
        if (rule.operands[k].split()) reads[op.operands[k].value()].Add(rule.operands[k]);
        else reads[op.operands[k].value()].whole = true;
      }
      continue;
    }
    Reads& own = reads[op.results[0].value()];
    bool sinks = op.results.size() == 1 && !own.whole;
    for (const AxisState& slice : own.slices) sinks = sinks && OperandsForSlice(context, op, slice).has_value();
    for (size_t k = 0; k < op.operands.size(); ++k) {
      if (!replicated(op.operands[k])) continue;
      Reads& operand = reads[op.operands[k].value()];
      if (!sinks) {
        operand.whole = true;
        continue;
      }
      for (const AxisState& slice : own.slices) {
        const AxisState wanted = (*OperandsForSlice(context, op, slice))[k];
        if (wanted.split()) operand.Add(wanted);
        else operand.whole = true;
      }
    }
  }
  const bool learns = Learns(program, roles, analysis);
  std::vector<Seed> followers;
  for (size_t p = 0; p < program.parameters().size(); ++p) {
    const ValueId v = program.parameters()[p];
    const Reads& read = reads[v.value()];
    if (!replicated(v) || read.whole || read.slices.size() != 1 || read.slices[0].outer != 1) continue;
    const Seed seed{static_cast<int32_t>(p), read.slices[0].dim};
    if (roles.inputs[p].kind == plan::InputRole::Kind::kState) {
      // A state leaf follows only if the step does not learn and the leaf's new value has the same split.
      if (learns) continue;
      const AxisState& next = analysis.states[program.results()[roles.StateOutputOf(static_cast<int>(p))].value()];
      if (next != read.slices[0]) continue;
    }
    followers.push_back(seed);
  }
  return followers;
}

// Tries dimensions of the other batch leaves as additional seeds. Keeps a seed if it raises the score and adds no
// coupling. This finds labels that only serve as indices, as in a scatter of ones. Such labels are not followers,
// because no op reads them in slices. If a label stayed replicated, all values computed from it would be replicated as
// well.
void AddOthers(const Graph& program, const plan::Roles& roles, const std::vector<Seed>& candidates,
               AnalysisOptions options, SeedSearch& best) {
  std::set<int32_t> seeded;
  for (const Seed& seed : best.seeds) seeded.insert(seed.leaf);
  for (const Seed& candidate : candidates) {
    if (seeded.contains(candidate.leaf)) continue;
    options.seeds = best.seeds;
    options.seeds.push_back(candidate);
    AxisAnalysis analysis = Analyse(program, roles, options);
    if (analysis.couplings.size() > best.analysis.couplings.size()) continue;
    if (Score(program, analysis, true) <= Score(program, best.analysis, true)) continue;
    best = {options.seeds, std::move(analysis)};
    seeded.insert(candidate.leaf);
  }
}

}  // namespace

SeedSearch FindSeeds(const Graph& program, const plan::Roles& roles, int64_t chunks, bool avoid_couplings,
                     bool local_statistics) {
  std::vector<Seed> candidates;
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    if (roles.inputs[p].kind != plan::InputRole::Kind::kBatch) continue;
    const graph::Shape& shape = program.shape(program.parameters()[p]);
    for (int64_t d = 0; d < shape.rank(); ++d) {
      if (CanSplit(shape.dims, d, 1, chunks)) candidates.push_back({static_cast<int32_t>(p), d});
    }
  }
  // Put large leaves first, because a large leaf is more likely to hold the batch. If there are too many candidates,
  // only the first ones are tried.
  std::stable_sort(candidates.begin(), candidates.end(), [&](const Seed& a, const Seed& b) {
    return program.shape(program.parameters()[a.leaf]).elements() >
           program.shape(program.parameters()[b.leaf]).elements();
  });
  if (candidates.size() > kMaxCandidates) candidates.resize(kMaxCandidates);

  SeedSearch best;
  std::set<std::pair<int32_t, int64_t>> covered;
  bool found = false;
  for (const Seed& candidate : candidates) {
    if (covered.contains({candidate.leaf, candidate.dim})) continue;
    SeedSearch found_here;
    found_here.seeds = {candidate};
    AnalysisOptions options{chunks, found_here.seeds, local_statistics, false};
    found_here.analysis = Analyse(program, roles, options);
    for (int round = 0; round < 4; ++round) {
      const std::vector<Seed> followers = Followers(program, roles, found_here.analysis);
      if (followers.empty()) break;
      options.seeds.insert(options.seeds.end(), followers.begin(), followers.end());
      found_here.analysis = Analyse(program, roles, options);
      found_here.seeds = options.seeds;
    }
    for (const Seed& seed : found_here.seeds) covered.insert({seed.leaf, seed.dim});
    if (!found ||
        Score(program, found_here.analysis, avoid_couplings) > Score(program, best.analysis, avoid_couplings)) {
      best = std::move(found_here);
      found = true;
    }
  }
  if (found) AddOthers(program, roles, candidates, {chunks, {}, local_statistics, false}, best);
  std::sort(best.seeds.begin(), best.seeds.end(), [](const Seed& a, const Seed& b) { return a.leaf < b.leaf; });
  return best;
}

}  // namespace alpa::planner
