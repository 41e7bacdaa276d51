// Builds the reductions that no fused group computes. Such a reduction has several operands (argmax) or a combiner of
// several ops.
//
// The combiner is compiled as a program on vectors, in which each lane computes one combination. The kernel transposes
// operands to [reduced, kept] dimensions, and combines their rows one after the other into the results. If a row has
// few elements, several consecutive rows fill the lanes.
#include <algorithm>
#include <cstring>
#include <memory>

#include "base/status.h"
#include "graph/builder.h"
#include "kernels/cpu/body.h"
#include "kernels/cpu/dense_operand.h"
#include "kernels/cpu/ops.h"

namespace alpa::kernels::cpu {
namespace {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;
using Dims = std::vector<int64_t>;

// Converts `region` from scalars to vectors of n elements. Returns null if an op is neither elementwise nor a constant.
std::shared_ptr<const Graph> OnVectors(const Graph& region, int64_t n) {
  graph::GraphBuilder builder;
  std::vector<ValueId> now(region.values().size());
  for (ValueId id : region.parameters()) now[id.value()] = builder.Parameter({region.shape(id).dtype, {n}});
  for (const Op& op : region.ops()) {
    if (op.opcode == Opcode::kParameter) continue;
    const ValueId result = op.results[0];
    const graph::Shape& scalar = region.shape(result);
    if (scalar.rank() != 0 || op.results.size() != 1) return nullptr;
    if (op.opcode == Opcode::kConstant) {
      now[result.value()] = builder.Broadcast(builder.Clone(region, op, {})[0], {n}, {});
      continue;
    }
    if (!graph::IsElementwise(op.opcode)) return nullptr;
    std::vector<ValueId> operands;
    for (ValueId id : op.operands) operands.push_back(now[id.value()]);
    now[result.value()] = builder.AddOp(op.opcode, std::move(operands), {{scalar.dtype, {n}}}, op.attrs)[0];
  }
  std::vector<ValueId> results;
  for (ValueId id : region.results()) results.push_back(now[id.value()]);
  builder.SetResults(std::move(results));
  return std::make_shared<const Graph>(builder.Build());
}

// Compiles the combiner for `lanes` lanes. Result i shares the memory of parameter i. Returns null if OnVectors returns
// null.
absl::StatusOr<std::shared_ptr<Body>> CompileCombiner(const OpContext& c, int64_t lanes) {
  const std::shared_ptr<const Graph> vectors = OnVectors(*c.op->regions[0], lanes);
  if (vectors == nullptr) return std::shared_ptr<Body>();
  CompileOptions options;
  for (size_t i = 0; i < vectors->results().size(); ++i) options.alias.push_back(static_cast<int32_t>(i));
  absl::StatusOr<std::unique_ptr<Body>> body = Body::Compile(vectors, options, c.threads);
  if (!body.ok()) return Annotate(body.status(), c.Where());
  return std::shared_ptr<Body>(*std::move(body));
}

struct Reduction {
  size_t n = 1;  // operands
  int64_t kept = 1, reduced = 1;
  int64_t together = 1;                // number of rows that one run of `wide` combines
  std::vector<DenseOperand> operands;  // [reduced, kept]
  std::vector<Bytes> elements;         // one entry per operand: bytes per element
  std::vector<Bytes> parts_at;         // one entry per operand: offset in scratch of the accumulators of `wide`
  std::shared_ptr<Body> wide, narrow;  // `wide` combines together * kept lanes, `narrow` combines kept lanes
  Bytes arena_at = 0;
  std::vector<int> in, out;
  int scratch = -1;

  // Computes accumulators = combiner(accumulators, rows) on all lanes of a body.
  absl::Status Combine(Body& body, const std::vector<std::byte*>& accumulators, const std::vector<std::byte*>& rows,
                       const Frame& frame) const {
    std::vector<std::byte*> parameters = accumulators;
    parameters.insert(parameters.end(), rows.begin(), rows.end());
    return body.Run(parameters, accumulators, frame.slots[scratch] + arena_at, *frame.pool);
  }

  absl::Status Run(const Frame& frame) const {
    std::byte* const memory = frame.slots[scratch];
    std::vector<std::byte*> results(n), parts(n), rows(n);
    for (size_t i = 0; i < n; ++i) {
      results[i] = frame.slots[out[i]];
      parts[i] = memory + parts_at[i];
      // The combiner only reads rows[i].
      rows[i] = const_cast<std::byte*>(operands[i].Ready(frame.slots[in[i]], memory, *frame.pool));
      StridedCopy({kept}, {0}, 0, {1}, 0, static_cast<int>(elements[i])).RunHere(frame.slots[in[n + i]], results[i]);
    }
    auto advance = [&](std::vector<std::byte*>& at, int64_t by) {
      for (size_t i = 0; i < n; ++i) at[i] += by * kept * elements[i];
    };
    int64_t done = 0;
    if (together > 1) {
      for (size_t i = 0; i < n; ++i) std::memcpy(parts[i], rows[i], static_cast<size_t>(together * kept * elements[i]));
      advance(rows, together);
      for (done = together; done + together <= reduced; done += together) {
        ALPA_RETURN_IF_ERROR(Combine(*wide, parts, rows, frame));
        advance(rows, together);
      }
      for (int64_t part = 0; part < together; ++part) {
        ALPA_RETURN_IF_ERROR(Combine(*narrow, results, parts, frame));
        advance(parts, 1);
      }
    }
    for (; done < reduced; ++done) {
      ALPA_RETURN_IF_ERROR(Combine(*narrow, results, rows, frame));
      advance(rows, 1);
    }
    return absl::OkStatus();
  }
};

}  // namespace

absl::StatusOr<BuiltKernel> BuildReduce(const OpContext& c) {
  if (c.op->opcode != Opcode::kReduce || c.out_shape().elements() == 0) return BuiltKernel{};
  constexpr int64_t kLanes = 512;  // maximum number of lanes that several rows fill together
  const Dims& reduced = c.op->as<graph::DimsAttrs>().dims;
  auto r = std::make_shared<Reduction>();
  r->n = c.out.size();
  r->in = c.in;
  r->out = c.out;
  r->scratch = c.scratch;
  Dims order = reduced;
  std::sort(order.begin(), order.end());
  for (int64_t d = 0; d < c.in_shape(0).rank(); ++d) {
    const bool keep = std::find(reduced.begin(), reduced.end(), d) == reduced.end();
    if (keep) order.push_back(d);
    (keep ? r->kept : r->reduced) *= c.in_shape(0).dims[d];
  }
  while (r->together * 2 * r->kept <= kLanes && r->together * 4 <= r->reduced) r->together *= 2;
  ALPA_ASSIGN_OR_RETURN(r->narrow, CompileCombiner(c, r->kept));
  if (r->narrow == nullptr) return BuiltKernel{};
  r->wide = r->narrow;
  if (r->together > 1) {
    ALPA_ASSIGN_OR_RETURN(r->wide, CompileCombiner(c, r->together * r->kept));
  }
  ScratchLayout scratch;
  for (size_t i = 0; i < r->n; ++i) {
    const graph::Shape& shape = c.in_shape(i);
    r->elements.push_back(graph::SizeOf(shape.dtype));
    r->operands.emplace_back(shape, order, Dims{}, shape.dtype, scratch);
    r->parts_at.push_back(scratch.Take(r->together * r->kept * r->elements[i]));
  }
  r->arena_at = scratch.Take(std::max(r->narrow->arena_bytes(), r->wide->arena_bytes()));
  BuiltKernel kernel;
  kernel.kind = "reduce";
  kernel.scratch = scratch.size();
  kernel.run = [r = std::shared_ptr<const Reduction>(r)](const Frame& frame) { return r->Run(frame); };
  return kernel;
}

}  // namespace alpa::kernels::cpu
