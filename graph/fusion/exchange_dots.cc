#include "graph/fusion/exchange_dots.h"

#include <map>
#include <utility>
#include <vector>

#include "graph/builder.h"

namespace alpa::fusion {
namespace {

using graph::DimsAttrs;
using graph::DotAttrs;
using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;
using Dims = std::vector<int64_t>;

// Returns the run length of a transpose by `permutation`: the number of contiguous elements that it moves together.
int64_t RunOf(const Dims& operand_dims, const Dims& permutation) {
  int64_t run = 1, expected = static_cast<int64_t>(permutation.size()) - 1;
  for (size_t i = permutation.size(); i-- > 0;) {
    if (operand_dims[permutation[i]] == 1) continue;
    while (expected >= 0 && operand_dims[expected] == 1) --expected;
    if (permutation[i] != expected) break;
    run *= operand_dims[expected--];
  }
  return run;
}

struct Exchange {
  DotAttrs dot;
  graph::Shape shape;  // the shape of the exchanged dot
  Dims permutation;    // the permutation of the transpose that reads the exchanged dot
};

// Finds each dot whose transpose has longer runs if the operands of the dot are exchanged. Returns the exchanged form
// of each such dot. The key of the map is the index of the transpose.
std::map<int, Exchange> FindExchanges(const Graph& g) {
  std::vector<int> uses(g.values().size(), 0);
  for (ValueId id : g.results()) ++uses[id.value()];
  for (const Op& op : g.ops()) {
    for (ValueId id : op.operands) ++uses[id.value()];
  }
  std::map<int, Exchange> exchanges;
  for (int i = 0; i < g.size(); ++i) {
    const Op& transpose = g.ops()[i];
    if (transpose.opcode != Opcode::kTranspose || uses[transpose.operands[0].value()] != 1) continue;
    const Op& dot = g.def(transpose.operands[0]);
    if (dot.opcode != Opcode::kDot) continue;
    const auto& attrs = dot.as<DotAttrs>();
    const graph::Shape& shape = g.shape(dot.results[0]);
    const auto batch = static_cast<int64_t>(attrs.lhs_batch.size());
    const int64_t left = g.shape(dot.operands[0]).rank() - batch - static_cast<int64_t>(attrs.lhs_contracting.size());
    const int64_t right = shape.rank() - batch - left;
    Exchange e{{attrs.rhs_batch, attrs.lhs_batch, attrs.rhs_contracting, attrs.lhs_contracting}, shape, {}};
    Dims moved(shape.dims.size());  // the new position of each result dimension
    for (int64_t d = 0; d < shape.rank(); ++d) {
      moved[d] = d < batch ? d : d < batch + left ? d + right : d - left;
      e.shape.dims[moved[d]] = shape.dims[d];
    }
    const Dims& permutation = transpose.as<DimsAttrs>().dims;
    for (int64_t d : permutation) e.permutation.push_back(moved[d]);
    if (RunOf(e.shape.dims, e.permutation) > RunOf(shape.dims, permutation)) exchanges.emplace(i, std::move(e));
  }
  return exchanges;
}

}  // namespace

std::shared_ptr<const Graph> ExchangeDots(std::shared_ptr<const Graph> graph) {
  const Graph& g = *graph;
  const std::map<int, Exchange> exchanges = FindExchanges(g);
  if (exchanges.empty()) return graph;
  std::vector<bool> replaced(g.size(), false);
  for (const auto& [transpose, exchange] : exchanges)
    replaced[g.value(g.ops()[transpose].operands[0]).op.value()] = true;

  graph::GraphBuilder builder;
  std::vector<ValueId> now(g.values().size());
  for (ValueId id : g.parameters()) now[id.value()] = builder.Parameter(g.shape(id), g.location(g.def(id)));
  for (int i = 0; i < g.size(); ++i) {
    const Op& op = g.ops()[i];
    if (replaced[i] || op.opcode == Opcode::kParameter) continue;
    const auto exchange = exchanges.find(i);
    if (exchange == exchanges.end()) {
      std::vector<ValueId> operands;
      for (ValueId id : op.operands) operands.push_back(now[id.value()]);
      const std::vector<ValueId> results = builder.Clone(g, op, std::move(operands));
      for (size_t r = 0; r < results.size(); ++r) now[op.results[r].value()] = results[r];
      continue;
    }
    const Op& dot = g.def(op.operands[0]);
    const Exchange& e = exchange->second;
    const ValueId product = builder.AddOp(Opcode::kDot, {now[dot.operands[1].value()], now[dot.operands[0].value()]},
                                          {e.shape}, e.dot, {}, g.location(dot))[0];
    const bool same = RunOf(e.shape.dims, e.permutation) == e.shape.elements();
    // If the bytes stay in place, the transpose moves only dimensions of size 1, so a reshape can replace it.
    now[op.results[0].value()] =
        same ? builder.AddOp(Opcode::kReshape, {product}, {g.shape(op.results[0])}, {}, {}, g.location(op))[0]
             : builder.AddOp(Opcode::kTranspose, {product}, {g.shape(op.results[0])}, DimsAttrs{e.permutation}, {},
                             g.location(op))[0];
  }
  std::vector<ValueId> results;
  for (ValueId id : g.results()) results.push_back(now[id.value()]);
  builder.SetResults(std::move(results));
  return std::make_shared<const Graph>(builder.Build());
}

}  // namespace alpa::fusion
