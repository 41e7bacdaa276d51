// One forward pass of simplification: ops come in order, leave rewritten, merged with equal ones, or as
// constants.
//
// Model: `Make` is what every op and every rewrite goes through: rules first (simplify_rules.cc), then
// folding, then the
//        table of ops that exist. All rules are exact: they keep every bit of every result, NaN payloads
//        aside; folding rounds as the reference evaluator does.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "graph/builder.h"
#include "graph/graph.h"

namespace alpa::graph::internal {

// An op before it has results.
struct Candidate {
  Opcode opcode;
  std::vector<ValueId> operands;
  std::vector<Shape> shapes;  // of the results
  Attributes attrs = {};
  std::vector<std::shared_ptr<const Graph>> regions = {};
};

// Regions by content: equal ones become one object, simplified once.
class RegionTable {
 public:
  std::shared_ptr<const Graph> Simplified(const std::shared_ptr<const Graph>& region);
  // The canonical region's number, for keys.
  int IndexOf(const Graph* region) const { return index_.at(region); }

 private:
  absl::flat_hash_map<const Graph*, std::shared_ptr<const Graph>> by_source_;
  absl::flat_hash_map<std::string, std::shared_ptr<const Graph>> by_content_;
  absl::flat_hash_map<const Graph*, int> index_;
  std::vector<std::shared_ptr<const Graph>> sources_;  // keeps by_source_'s keys alive
};

class Rewriter {
 public:
  explicit Rewriter(RegionTable* regions) : regions_(regions) {}

  Graph Run(const Graph& graph);

 private:
  std::vector<ValueId> Make(Candidate op);
  std::vector<ValueId> Add(Candidate op);  // as it is, unless an equal op exists
  ValueId MakeOne(Candidate op) { return Make(std::move(op))[0]; }

  // simplify_rules.cc: what the op equals, where it is something that exists or something simpler.
  std::optional<ValueId> Rewrite(const Candidate& op);
  std::optional<ValueId> RewriteArithmetic(const Candidate& op);
  std::optional<ValueId> RewriteConvert(const Candidate& op);
  std::optional<ValueId> RewriteReshape(const Candidate& op);
  std::optional<ValueId> RewriteTranspose(const Candidate& op);
  std::optional<ValueId> RewriteBroadcast(const Candidate& op);
  std::optional<ValueId> RewriteSlice(const Candidate& op);
  std::optional<ValueId> RewriteDynamicSlice(const Candidate& op);
  std::optional<ValueId> RewriteDynamicUpdateSlice(const Candidate& op);
  std::optional<ValueId> AsConcatenation(const Candidate& op, size_t dim);
  std::optional<ValueId> RewriteConcatenate(const Candidate& op);
  std::optional<ValueId> RewriteSelect(const Candidate& op);
  std::optional<ValueId> RewriteUniform(const Candidate& op);
  std::optional<std::vector<ValueId>> RewriteConditional(const Candidate& op);

  // simplify_fold.cc
  std::optional<std::vector<ValueId>> Fold(const Candidate& op);

  const Shape& shape(ValueId value) const { return builder_.shape(value); }
  const Op& def(ValueId value) const { return builder_.graph().def(value); }
  const Literal* AsConstant(ValueId value) const;
  // The scalar that every element equals, where that shows.
  std::optional<Literal> AsUniform(ValueId value) const;
  // Start indices as numbers, clamped as XLA clamps them.
  std::optional<std::vector<int64_t>> ConstantStarts(const std::vector<ValueId>& operands, size_t first,
                                                     const Shape& array,
                                                     const std::vector<int64_t>& sizes) const;

  GraphBuilder builder_;
  RegionTable* regions_;
  std::string location_;  // of the op being rewritten
  absl::flat_hash_map<std::string, std::vector<ValueId>> known_;

  // A row of updates along one dimension, by its last: how much they write together if none overlaps another.
  struct UpdateRow {
    size_t dim = 0;
    int64_t covered = 0;
  };
  absl::flat_hash_map<ValueId, UpdateRow> rows_;
  // Of a concatenation: where each operand ends.
  absl::flat_hash_map<ValueId, std::vector<int64_t>> ends_;
  const std::vector<int64_t>& EndsOf(ValueId concatenation);
};

// Bytes that are equal exactly for ops that compute the same from the same values.
std::string KeyOf(const Candidate& op, const RegionTable& regions);

}  // namespace alpa::graph::internal
