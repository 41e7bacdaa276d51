// Builds the collective ops. Each op calls the device's CollectiveGroup for the op's mesh axes.
#include <algorithm>
#include <cstring>
#include <map>

#include "base/status.h"
#include "graph/fusion/packing.h"
#include "kernels/cpu/ops.h"

namespace alpa::kernels::cpu {
namespace {

using graph::CollectiveAttrs;
using graph::Opcode;

Bytes Rounded(Bytes size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

absl::Status At(const OpContext& c, const absl::Status& status) {
  return status.ok() ? status : Annotate(status, c.Where());
}

absl::StatusOr<BuiltKernel> BuildAllReduce(const OpContext& context, CollectiveGroup* group) {
  struct Piece {
    int in, out;
    Bytes size, offset;
  };
  struct Bucket {
    graph::DType dtype;
    std::vector<Piece> pieces;
    Bytes size = 0;
  };
  std::vector<Bucket> buckets;               // one bucket per dtype, for small operands
  std::vector<std::pair<graph::DType, Piece>> alone;
  std::map<graph::DType, size_t> bucket_of;
  const fusion::Packing packing = fusion::PackingOf(*context.graph, *context.op);
  BuiltKernel kernel;
  kernel.kind = "all-reduce";
  kernel.shares.resize(context.in.size());
  for (size_t i = 0; i < context.in.size(); ++i) {
    const graph::DType dtype = context.in_shape(i).dtype;
    const Bytes size = context.in_shape(i).bytes();
    if (size == 0) continue;
    // If two results have the same operand, neither result may overwrite the operand, because the other result still
    // reads it.
    if (std::count(context.in.begin(), context.in.end(), context.in[i]) == 1) {
      kernel.shares[i].push_back({context.in[i], Sharing::kUpdate});
    }
    if (!packing.packed[i]) {
      alone.push_back({dtype, {context.in[i], context.out[i], size, 0}});
      continue;
    }
    const auto [entry, is_new] = bucket_of.try_emplace(dtype, buckets.size());
    if (is_new) buckets.push_back({dtype, {}, 0});
    Bucket& bucket = buckets[entry->second];
    bucket.pieces.push_back({context.in[i], context.out[i], size, bucket.size});
    bucket.size += size;
  }
  kernel.scratch = packing.scratch;
  const graph::ReduceKind kind = context.op->as<CollectiveAttrs>().kind;
  kernel.run = [=, c = context](const Frame& frame) -> absl::Status {
    std::byte* const packed = frame.slots[c.scratch];
    for (const Bucket& bucket : buckets) {
      for (const Piece& piece : bucket.pieces) std::memcpy(packed + piece.offset, frame.slots[piece.in], piece.size);
      ALPA_RETURN_IF_ERROR(At(c, group->AllReduce({packed, static_cast<size_t>(bucket.size)}, bucket.dtype, kind)));
      for (const Piece& piece : bucket.pieces) std::memcpy(frame.slots[piece.out], packed + piece.offset, piece.size);
    }
    for (const auto& [dtype, piece] : alone) {
      std::byte* const data = frame.slots[piece.out];
      if (data != frame.slots[piece.in]) std::memcpy(data, frame.slots[piece.in], piece.size);
      ALPA_RETURN_IF_ERROR(At(c, group->AllReduce({data, static_cast<size_t>(piece.size)}, dtype, kind)));
    }
    return absl::OkStatus();
  };
  return kernel;
}

// Describes an array as [outer, dimension, inner], where `dimension` is one chosen dimension.
struct Cut {
  int64_t outer = 1;
  Bytes inner = 1;  // number of bytes per index of the dimension
};
Cut CutAt(const graph::Shape& shape, int64_t dim) {
  Cut cut;
  for (int64_t d = 0; d < dim; ++d) cut.outer *= shape.dims[d];
  cut.inner = graph::SizeOf(shape.dtype);
  for (int64_t d = dim + 1; d < shape.rank(); ++d) cut.inner *= shape.dims[d];
  return cut;
}

// Interleave turns blocks [n][outer][row] into rows [outer][n][row]. Deinterleave does the reverse.
void Interleave(const std::byte* from, std::byte* to, int64_t n, int64_t outer, Bytes row) {
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t r = 0; r < n; ++r) std::memcpy(to + (o * n + r) * row, from + (r * outer + o) * row, row);
  }
}
void Deinterleave(const std::byte* from, std::byte* to, int64_t n, int64_t outer, Bytes row) {
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t r = 0; r < n; ++r) std::memcpy(to + (r * outer + o) * row, from + (o * n + r) * row, row);
  }
}

std::span<std::byte> Span(std::byte* data, Bytes size) { return {data, static_cast<size_t>(size)}; }

absl::StatusOr<BuiltKernel> BuildAllGather(const OpContext& context, CollectiveGroup* group) {
  const int64_t n = group->size();
  const Bytes in_size = context.in_shape(0).bytes(), out_size = context.out_shape().bytes();
  if (in_size * n != out_size) {
    return Internal("cannot compile %s: %d bytes from each of %d ranks do not make a result of %d bytes",
                    context.Where(), in_size, n, out_size);
  }
  const int64_t dim = context.op->as<CollectiveAttrs>().dim;
  const Cut cut = CutAt(context.in_shape(0), dim);
  const Bytes row = cut.inner * context.in_shape(0).dims[dim];
  const bool direct = cut.outer == 1;
  BuiltKernel kernel;
  kernel.kind = "all-gather";
  kernel.scratch = direct ? 0 : out_size;
  kernel.run = [=, c = context](const Frame& frame) -> absl::Status {
    std::byte* const out = frame.slots[c.out[0]];
    std::byte* const gathered = direct ? out : frame.slots[c.scratch];
    ALPA_RETURN_IF_ERROR(At(c, group->AllGather(Span(frame.slots[c.in[0]], in_size), Span(gathered, out_size))));
    if (!direct) Interleave(gathered, out, n, cut.outer, row);
    return absl::OkStatus();
  };
  return kernel;
}

absl::StatusOr<BuiltKernel> BuildReduceScatter(const OpContext& context, CollectiveGroup* group) {
  const int64_t n = group->size();
  const Bytes in_size = context.in_shape(0).bytes(), out_size = context.out_shape().bytes();
  if (in_size != out_size * n) {
    return Internal("cannot compile %s: an operand of %d bytes does not make %d blocks of %d bytes", context.Where(),
                    in_size, n, out_size);
  }
  const auto& attrs = context.op->as<CollectiveAttrs>();
  const Cut cut = CutAt(context.out_shape(), attrs.dim);
  const Bytes row = cut.inner * context.out_shape().dims[attrs.dim];
  const bool direct = cut.outer == 1;
  const graph::DType dtype = context.out_shape().dtype;
  BuiltKernel kernel;
  kernel.kind = "reduce-scatter";
  kernel.scratch = direct ? 0 : in_size;
  kernel.run = [=, c = context, kind = attrs.kind](const Frame& frame) -> absl::Status {
    const std::byte* in = frame.slots[c.in[0]];
    if (!direct) {
      Deinterleave(in, frame.slots[c.scratch], n, cut.outer, row);
      in = frame.slots[c.scratch];
    }
    return At(c, group->ReduceScatter({in, static_cast<size_t>(in_size)}, Span(frame.slots[c.out[0]], out_size), dtype,
                                      kind));
  };
  return kernel;
}

absl::StatusOr<BuiltKernel> BuildAllToAll(const OpContext& context, CollectiveGroup* group) {
  const int64_t n = group->size();
  const Bytes size = context.in_shape(0).bytes();
  const auto& attrs = context.op->as<CollectiveAttrs>();
  const graph::Shape& in = context.in_shape(0);
  if (in.dims[attrs.dim] % n != 0 || size != context.out_shape().bytes()) {
    return Internal(
        "cannot compile %s: a dimension of size %d is not divisible by %d ranks, or the result has another size",
        context.Where(), in.dims[attrs.dim], n);
  }
  graph::Shape block = in;  // the shape of the part that one rank sends to another
  block.dims[attrs.dim] /= n;
  const Cut split = CutAt(block, attrs.dim), join = CutAt(block, attrs.concat_dim);
  const Bytes split_row = split.inner * block.dims[attrs.dim], join_row = join.inner * block.dims[attrs.concat_dim];
  const bool split_direct = split.outer == 1, join_direct = join.outer == 1;
  BuiltKernel kernel;
  kernel.kind = "all-to-all";
  kernel.scratch = 2 * Rounded(size);
  kernel.run = [=, c = context](const Frame& frame) -> absl::Status {
    const std::byte* in_data = frame.slots[c.in[0]];
    std::byte* const out = frame.slots[c.out[0]];
    std::byte* const sent = frame.slots[c.scratch];
    std::byte* const received = join_direct ? out : sent + Rounded(size);
    if (!split_direct) Deinterleave(in_data, sent, n, split.outer, split_row);
    ALPA_RETURN_IF_ERROR(At(c, group->AllToAll({split_direct ? in_data : sent, static_cast<size_t>(size)},
                                               Span(received, size))));
    if (!join_direct) Interleave(received, out, n, join.outer, join_row);
    return absl::OkStatus();
  };
  return kernel;
}

absl::StatusOr<BuiltKernel> BuildPermute(const OpContext& context, CollectiveGroup* group) {
  const Bytes size = context.in_shape(0).bytes();
  BuiltKernel kernel;
  kernel.kind = "collective-permute";
  kernel.run = [=, c = context](const Frame& frame) -> absl::Status {
    return At(c, group->Permute(Span(frame.slots[c.in[0]], size), Span(frame.slots[c.out[0]], size),
                                c.op->as<CollectiveAttrs>().permutation));
  };
  return kernel;
}

BuiltKernel BuildAxisIndex(const OpContext& context, CollectiveGroup* group) {
  BuiltKernel kernel;
  kernel.kind = "axis-index";
  kernel.run = [rank = group->rank(), out = context.out[0]](const Frame& frame) {
    *frame.at<int32_t>(out) = rank;
    return absl::OkStatus();
  };
  return kernel;
}

}  // namespace

absl::StatusOr<BuiltKernel> BuildCollective(const OpContext& context) {
  const Opcode opcode = context.op->opcode;
  if (!graph::IsCollective(opcode) && opcode != Opcode::kAxisIndex) return BuiltKernel{};
  if (context.collectives == nullptr) {
    return FailedPrecondition("cannot compile %s: the compile options have no provider of collective groups",
                              context.Where());
  }
  absl::StatusOr<CollectiveGroup*> group =
      context.collectives->GroupFor(context.op->as<CollectiveAttrs>().mesh_axes);
  if (!group.ok()) return Annotate(group.status(), context.Where());
  switch (opcode) {
    case Opcode::kAllReduce: return BuildAllReduce(context, *group);
    case Opcode::kAllGather: return BuildAllGather(context, *group);
    case Opcode::kReduceScatter: return BuildReduceScatter(context, *group);
    case Opcode::kAllToAll: return BuildAllToAll(context, *group);
    case Opcode::kCollectivePermute: return BuildPermute(context, *group);
    default: return BuildAxisIndex(context, *group);
  }
}

}  // namespace alpa::kernels::cpu
