// Runs one forward pass of simplification. The pass visits the ops in order. It rewrites an op, replaces the op by a
// constant, or merges it with an equal op.
//
// Model: Every op and every rewrite goes through `Make`. `Make` tries the rules (simplify_rules.cc), then folding
//        (simplify_fold.cc), then the table of existing ops. All rules are exact: they keep every bit of every result,
//        except NaN payloads. Folding rounds as the reference evaluator does.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "graph/builder.h"
#include "graph/graph.h"

namespace alpa::graph::internal {

// An op that is not yet in the graph.
struct Candidate {
  Opcode opcode;
  std::vector<ValueId> operands;
  std::vector<Shape> shapes;  // the shapes of the results
  Attributes attrs = {};
  std::vector<std::shared_ptr<const Graph>> regions = {};
};

// Simplifies each region once, and maps regions with equal content to one object, the canonical region.
class RegionTable {
 public:
  std::shared_ptr<const Graph> Simplified(const std::shared_ptr<const Graph>& region);
  // Returns the number of a canonical region, for use in KeyOf.
  int IndexOf(const Graph* region) const { return index_.at(region); }

 private:
  absl::flat_hash_map<const Graph*, std::shared_ptr<const Graph>> by_source_;
  absl::flat_hash_map<std::string, std::shared_ptr<const Graph>> by_content_;
  absl::flat_hash_map<const Graph*, int> index_;
  std::vector<std::shared_ptr<const Graph>> sources_;  // holds the regions whose addresses are keys of by_source_
};

class Rewriter {
 public:
  explicit Rewriter(RegionTable* regions) : regions_(regions) {}

  Graph Run(const Graph& graph);

 private:
  std::vector<ValueId> Make(Candidate op);
  // Adds the op without rewriting it. If an equal op exists, returns the results of that op instead.
  std::vector<ValueId> Add(Candidate op);
  ValueId MakeOne(Candidate op) { return Make(std::move(op))[0]; }

  // simplify_rules.cc. Each rule returns an existing or simpler value that equals the op's result, or nothing.
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

  // simplify_indices.cc
  std::optional<ValueId> RewriteGather(const Candidate& op);
  std::optional<ValueId> RewriteScatter(const Candidate& op);
  std::optional<ValueId> BatchIndices(const Shape& array, ValueId indices, int64_t vector_dim,
                                      std::vector<int64_t>& index_map, std::vector<int64_t>& removed_dims,
                                      std::vector<int64_t>& array_batching, std::vector<int64_t>& indices_batching);
  // Returns a dimension of more than one element such that each element of `value` equals its own coordinate along this
  // dimension. Returns nothing if no such dimension is found. `steps`: the number of ops between the index and `value`.
  std::optional<int64_t> CoordinateDim(ValueId value, int steps) const;

  // simplify_fold.cc
  std::optional<std::vector<ValueId>> Fold(const Candidate& op);

  const Shape& shape(ValueId value) const { return builder_.shape(value); }
  const Op& def(ValueId value) const { return builder_.graph().def(value); }
  const Literal* AsConstant(ValueId value) const;
  // Returns the scalar that every element equals. Returns nothing unless the value is a constant of at most 1024
  // elements or the broadcast of a constant scalar.
  std::optional<Literal> AsUniform(ValueId value) const;
  // Returns the start indices as numbers, clamped as in XLA, or nothing if one of them is not constant.
  std::optional<std::vector<int64_t>> ConstantStarts(const std::vector<ValueId>& operands, size_t first,
                                                     const Shape& array,
                                                     const std::vector<int64_t>& sizes) const;

  GraphBuilder builder_;
  RegionTable* regions_;
  std::string location_;  // the location of the op that is being rewritten
  absl::flat_hash_map<std::string, std::vector<ValueId>> known_;

  // A chain of dynamic-update-slices along one dimension.
  struct UpdateChain {
    size_t dim = 0;
    int64_t covered = 0;  // the number of indices along `dim` that the chain writes if no two updates overlap
  };
  absl::flat_hash_map<ValueId, UpdateChain> chains_;  // key: the result of the chain's last update
  // Key: the result of a concatenation. Value: the end of each operand along the concatenated dimension.
  absl::flat_hash_map<ValueId, std::vector<int64_t>> ends_;
  const std::vector<int64_t>& EndsOf(ValueId concatenation);
};

// Returns a key that is equal for two ops if and only if their opcodes, operands, result shapes, attributes and regions
// are equal. The key contains a 128-bit hash in place of each constant above 64 bytes.
std::string KeyOf(const Candidate& op, const RegionTable& regions);

}  // namespace alpa::graph::internal
