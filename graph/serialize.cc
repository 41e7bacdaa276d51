#include "graph/serialize.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "graph/builder.h"
#include "graph/serialize_attributes.h"
#include "graph/verify.h"
#include "proto/graph.pb.h"

namespace alpa::graph {
namespace {

// Limits the levels of nested regions, because code that walks a graph recurses into them. Real programs nest only a
// few levels.
constexpr int kMaxRegionDepth = 64;
// Limits the ops of a graph. The ops of a region count once per use of the region. Without this limit, a small message
// could describe a graph that takes too long to walk.
constexpr int64_t kMaxExpandedOps = 50'000'000;

class Writer {
 public:
  Writer(bool locations, proto::Graph* out) : locations_(locations), out_(out) {}

  void Write(const Graph& graph) { WriteBody(graph, out_->mutable_body()); }

 private:
  void WriteBody(const Graph& graph, proto::GraphBody* body) {
    if (locations_) {
      for (const std::string& location : graph.locations()) body->add_locations(location);
    }
    body->mutable_ops()->Reserve(graph.size());
    for (const Op& op : graph.ops()) {
      proto::GraphOp* to = body->add_ops();
      to->set_opcode(std::string(NameOf(op.opcode)));
      for (ValueId operand : op.operands) to->add_operands(operand.value());
      for (ValueId result : op.results) internal::ShapeToProto(graph.shape(result), to->add_results());
      for (const auto& region : op.regions) to->add_regions(RegionIndex(region));
      if (locations_) to->set_location(op.location + 1);
      internal::AttributesToProto(op.attrs, to);
    }
    for (ValueId result : graph.results()) body->add_results(result.value());
  }

  // Equal regions get one entry, so that the fingerprint does not depend on whether regions share one object.
  int RegionIndex(const std::shared_ptr<const Graph>& region) {
    if (const auto found = by_pointer_.find(region.get()); found != by_pointer_.end()) return found->second;
    proto::GraphBody body;
    WriteBody(*region, &body);
    const auto [entry, is_new] = by_content_.try_emplace(body.SerializeAsString(), out_->regions_size());
    if (is_new) *out_->add_regions() = std::move(body);
    by_pointer_[region.get()] = entry->second;
    return entry->second;
  }

  const bool locations_;
  proto::Graph* out_;
  absl::flat_hash_map<const Graph*, int> by_pointer_;
  absl::flat_hash_map<std::string, int> by_content_;
};

class Reader {
 public:
  explicit Reader(const proto::Graph& in) : in_(in) {}

  absl::StatusOr<Graph> Read() {
    for (int i = 0; i < in_.regions_size(); ++i) {
      Region region;
      absl::StatusOr<Graph> graph = ReadBody(in_.regions(i), &region);
      if (!graph.ok()) return Annotate(graph.status(), absl::StrCat("region ", i));
      if (region.depth > kMaxRegionDepth) {
        return InvalidArgument("region %d nests %d levels deep; at most %d are allowed", i, region.depth,
                               kMaxRegionDepth);
      }
      region.graph = std::make_shared<const Graph>(*std::move(graph));
      regions_.push_back(std::move(region));
    }
    Region body;
    ALPA_ASSIGN_OR_RETURN(Graph graph, ReadBody(in_.body(), &body));
    VerifyOptions options;
    options.allow_collectives = true;
    ALPA_RETURN_IF_ERROR(Verify(graph, options));
    return graph;
  }

 private:
  struct Region {
    std::shared_ptr<const Graph> graph;
    int depth = 1;
    int64_t expanded_ops = 0;
  };

  absl::StatusOr<Graph> ReadBody(const proto::GraphBody& in, Region* measure) {
    GraphBuilder builder;
    int64_t values = 0;
    for (int i = 0; i < in.ops_size(); ++i) {
      absl::Status status = ReadOp(in, in.ops(i), &builder, &values, measure);
      if (!status.ok())
        return Annotate(status, absl::StrCat("op ", i, " (", in.ops(i).opcode().substr(0, 64), ")"));
    }
    std::vector<ValueId> results;
    for (int32_t result : in.results()) {
      if (result < 0 || result >= values)
        return InvalidArgument("result %d is not one of the %d values", result, values);
      results.emplace_back(result);
    }
    builder.SetResults(std::move(results));
    return builder.Build();
  }

  absl::Status ReadOp(const proto::GraphBody& body, const proto::GraphOp& in, GraphBuilder* builder,
                      int64_t* values, Region* measure) {
    ALPA_ASSIGN_OR_RETURN(const Opcode opcode, ParseOpcode(in.opcode()));
    std::vector<ValueId> operands;
    operands.reserve(in.operands_size());
    for (int32_t operand : in.operands()) {
      if (operand < 0 || operand >= *values)
        return InvalidArgument("reads value %d before it is defined", operand);
      operands.emplace_back(operand);
    }
    std::vector<Shape> results;
    results.reserve(in.results_size());
    for (const proto::Shape& result : in.results()) {
      ALPA_ASSIGN_OR_RETURN(Shape shape, internal::ShapeFromProto(result));
      results.push_back(std::move(shape));
    }
    if (opcode == Opcode::kParameter && results.size() != 1)
      return InvalidArgument("has %d results, but needs 1", results.size());
    *values += static_cast<int64_t>(results.size());
    if (*values > std::numeric_limits<int32_t>::max())
      return InvalidArgument("the graph has more values than fit in 32 bits");
    ++measure->expanded_ops;
    std::vector<std::shared_ptr<const Graph>> regions;
    for (int32_t index : in.regions()) {
      if (index < 0 || static_cast<size_t>(index) >= regions_.size()) {
        return InvalidArgument("region %d is not defined before this op; %d regions are defined", index,
                               regions_.size());
      }
      const Region& region = regions_[index];
      regions.push_back(region.graph);
      measure->depth = std::max(measure->depth, region.depth + 1);
      measure->expanded_ops += region.expanded_ops;
    }
    if (measure->expanded_ops > kMaxExpandedOps) return InvalidArgument("its regions expand to too many ops");
    if (in.location() < 0 || in.location() > body.locations_size()) {
      return InvalidArgument("location %d is not one of the %d locations", in.location(), body.locations_size());
    }
    ALPA_ASSIGN_OR_RETURN(Attributes attrs, internal::AttributesFromProto(in));
    builder->AddOp(opcode, std::move(operands), std::move(results), std::move(attrs), std::move(regions),
                   in.location() > 0 ? body.locations(in.location() - 1) : std::string());
    return absl::OkStatus();
  }

  const proto::Graph& in_;
  std::vector<Region> regions_;
};

}  // namespace

void ToProto(const Graph& graph, proto::Graph* out) {
  out->Clear();
  Writer(/*locations=*/true, out).Write(graph);
}

absl::StatusOr<Graph> FromProto(const proto::Graph& in) { return Reader(in).Read(); }

uint64_t Fingerprint(const Graph& graph) {
  proto::Graph canonical;
  Writer(/*locations=*/false, &canonical).Write(graph);
  const std::string bytes = canonical.SerializeAsString();  // deterministic, because the message contains no maps
  return XXH64(bytes.data(), bytes.size(), 0);
}

}  // namespace alpa::graph
