#include "planner/partition/combine.h"

#include <algorithm>
#include <map>
#include <set>

#include "graph/builder.h"

namespace alpa::planner {

using graph::Graph;
using graph::GraphBuilder;
using graph::Op;
using graph::Opcode;
using graph::ReduceKind;
using graph::ValueId;

namespace {

class Combiner {
 public:
  explicit Combiner(const Graph& program) : program_(program), here_(program.values().size()) {}

  Graph Run() {
    for (const Op& op : program_.ops()) {
      if (op.opcode == Opcode::kParameter) {
        here_[op.results[0].value()] = builder_.Parameter(program_.shape(op.results[0]), program_.location(op));
      } else if (op.opcode == Opcode::kAllReduce) {
        // An operand may be the result of another deferred all-reduce.
        for (ValueId v : op.operands) Require(v);
        const auto& attrs = op.as<graph::CollectiveAttrs>();
        auto& group = waiting_[{attrs.mesh_axes, attrs.kind}];
        for (size_t i = 0; i < op.operands.size(); ++i) group.push_back({op.operands[i], op.results[i]});
        due_.insert(op.results.begin(), op.results.end());
      } else {
        const std::vector<ValueId> operands = Here(op.operands);
        const std::vector<ValueId> results = builder_.Clone(program_, op, operands);
        for (size_t r = 0; r < results.size(); ++r) here_[op.results[r].value()] = results[r];
      }
    }
    builder_.SetResults(Here(program_.results()));
    return builder_.Build();
  }

 private:
  using Key = std::pair<std::vector<int64_t>, ReduceKind>;

  std::vector<ValueId> Here(const std::vector<ValueId>& values) {
    std::vector<ValueId> found;
    for (ValueId v : values) {
      Require(v);
      found.push_back(here_[v.value()]);
    }
    return found;
  }

  void Require(ValueId v) {
    if (!due_.contains(v)) return;
    const auto& attrs = program_.def(v).as<graph::CollectiveAttrs>();
    auto& group = waiting_[{attrs.mesh_axes, attrs.kind}];
    std::vector<ValueId> operands;
    for (const auto& [operand, result] : group) operands.push_back(here_[operand.value()]);
    const std::vector<ValueId> results = builder_.AllReduce(operands, attrs.mesh_axes, attrs.kind);
    for (size_t i = 0; i < results.size(); ++i) {
      here_[group[i].second.value()] = results[i];
      due_.erase(group[i].second);
    }
    group.clear();
  }

  const Graph& program_;
  GraphBuilder builder_;
  std::vector<ValueId> here_;                                          // one entry per value of the program
  std::map<Key, std::vector<std::pair<ValueId, ValueId>>> waiting_;    // operand, result
  std::set<ValueId> due_;                                              // results of the deferred all-reduces
};

}  // namespace

Graph CombineAllReduces(const Graph& program) { return Combiner(program).Run(); }

}  // namespace alpa::planner
