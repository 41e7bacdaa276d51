#include "graph/simplify.h"

#include <utility>

#include "graph/builder.h"
#include "graph/rewriter.h"

namespace alpa::graph {
namespace {

// Limits the rewriting passes. Most graphs need two passes, and later passes gain little.
constexpr int kMaxPasses = 4;

// Removes ops on which no result depends. Also removes an operand of a barrier if no op reads the barrier's result for
// this operand.
Graph RemoveDead(const Graph& graph) {
  std::vector<bool> live(graph.values().size());
  for (ValueId result : graph.results()) live[result.value()] = true;
  std::vector<bool> keep(graph.ops().size());
  for (size_t i = graph.ops().size(); i-- > 0;) {
    const Op& op = graph.ops()[i];
    keep[i] = op.opcode == Opcode::kParameter;
    for (ValueId result : op.results) keep[i] = keep[i] || live[result.value()];
    if (!keep[i]) continue;
    for (size_t j = 0; j < op.operands.size(); ++j) {
      if (op.opcode == Opcode::kOptimizationBarrier && !live[op.results[j].value()]) continue;
      live[op.operands[j].value()] = true;
    }
  }
  GraphBuilder builder;
  std::vector<ValueId> mapped(graph.values().size());
  for (size_t i = 0; i < graph.ops().size(); ++i) {
    const Op& op = graph.ops()[i];
    if (!keep[i]) continue;
    if (op.opcode == Opcode::kParameter) {
      mapped[op.results[0].value()] = builder.Parameter(graph.shape(op.results[0]), graph.location(op));
      continue;
    }
    const bool barrier = op.opcode == Opcode::kOptimizationBarrier;
    std::vector<ValueId> operands, sources;
    std::vector<Shape> shapes;
    for (size_t j = 0; j < op.operands.size(); ++j) {
      if (!barrier || live[op.results[j].value()]) operands.push_back(mapped[op.operands[j].value()]);
    }
    for (ValueId result : op.results) {
      if (barrier && !live[result.value()]) continue;
      sources.push_back(result);
      shapes.push_back(graph.shape(result));
    }
    const std::vector<ValueId> results = builder.AddOp(op.opcode, std::move(operands), std::move(shapes),
                                                       op.attrs, op.regions, graph.location(op));
    for (size_t j = 0; j < results.size(); ++j) mapped[sources[j].value()] = results[j];
  }
  std::vector<ValueId> results;
  results.reserve(graph.results().size());
  for (ValueId result : graph.results()) results.push_back(mapped[result.value()]);
  builder.SetResults(std::move(results));
  return builder.Build();
}

Graph SimplifyWith(const Graph& graph, internal::RegionTable* regions) {
  Graph current = RemoveDead(graph);
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    const int before = current.size();
    current = RemoveDead(internal::Rewriter(regions).Run(current));
    if (current.size() >= before) break;
  }
  return current;
}

}  // namespace

namespace internal {

std::shared_ptr<const Graph> RegionTable::Simplified(const std::shared_ptr<const Graph>& region) {
  if (const auto found = by_source_.find(region.get()); found != by_source_.end()) return found->second;
  auto simplified = std::make_shared<const Graph>(SimplifyWith(*region, this));
  // Nested regions are canonical by now, so equal graphs have equal keys.
  std::string key;
  for (const Op& op : simplified->ops()) {
    Candidate candidate{op.opcode, op.operands, {}, op.attrs, op.regions};
    for (ValueId result : op.results) candidate.shapes.push_back(simplified->shape(result));
    const std::string part = KeyOf(candidate, *this);
    key += std::to_string(part.size()) + ":" + part;
  }
  for (ValueId result : simplified->results()) key += "r" + std::to_string(result.value());
  const auto [entry, is_new] = by_content_.try_emplace(std::move(key), simplified);
  if (is_new) index_[simplified.get()] = static_cast<int>(index_.size());
  const std::shared_ptr<const Graph> canonical = entry->second;
  by_source_[region.get()] = canonical;
  by_source_[canonical.get()] = canonical;
  sources_.push_back(region);
  return canonical;
}

}  // namespace internal

Graph Simplify(const Graph& graph) {
  internal::RegionTable regions;
  return SimplifyWith(graph, &regions);
}

}  // namespace alpa::graph
