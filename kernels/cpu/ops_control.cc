// Builds loops and conditionals. Their regions are nested bodies, whose arenas are in the unit's scratch memory.
#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "kernels/cpu/body.h"
#include "kernels/cpu/index_reader.h"
#include "kernels/cpu/ops.h"

namespace alpa::kernels::cpu {
namespace {

using graph::Opcode;

Bytes Rounded(Bytes size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

absl::StatusOr<std::shared_ptr<Body>> CompileRegion(const OpContext& c, size_t region) {
  CompileOptions options;
  options.collectives = c.collectives;
  absl::StatusOr<std::unique_ptr<Body>> body = Body::Compile(c.op->regions[region], options, c.threads);
  if (!body.ok()) return Annotate(body.status(), c.Where());
  return std::shared_ptr<Body>(*std::move(body));
}

// The values that the loop carries alternate between the results' buffers and a second set of buffers.
absl::StatusOr<BuiltKernel> BuildWhile(const OpContext& context) {
  ALPA_ASSIGN_OR_RETURN(const std::shared_ptr<Body> condition, CompileRegion(context, 0));
  ALPA_ASSIGN_OR_RETURN(const std::shared_ptr<Body> body, CompileRegion(context, 1));
  const size_t n = context.out.size();
  std::vector<Bytes> sizes, offsets;
  Bytes at = kAlignment;  // the condition's result is at offset 0
  for (size_t i = 0; i < n; ++i) {
    sizes.push_back(context.out_shape(i).bytes());
    offsets.push_back(at);
    at += Rounded(sizes[i]);
  }
  const Bytes arena = at;
  BuiltKernel kernel;
  kernel.kind = "while";
  kernel.scratch = arena + std::max(condition->arena_bytes(), body->arena_bytes());
  kernel.shares.resize(n);
  for (size_t i = 0; i < n; ++i) kernel.shares[i].push_back({context.in[i], Sharing::kUpdate});
  kernel.run = [=, in = context.in, out = context.out,
                scratch_slot = context.scratch](const Frame& frame) -> absl::Status {
    std::byte* const scratch = frame.slots[scratch_slot];
    std::vector<std::byte*> here(n), there(n);
    for (size_t i = 0; i < n; ++i) {
      here[i] = frame.slots[out[i]];
      there[i] = scratch + offsets[i];
      if (here[i] != frame.slots[in[i]] && sizes[i] > 0) std::memcpy(here[i], frame.slots[in[i]], sizes[i]);
    }
    while (true) {
      ALPA_RETURN_IF_ERROR(condition->Run(here, {&scratch, 1}, scratch + arena, *frame.pool));
      if (*scratch == std::byte{0}) break;
      ALPA_RETURN_IF_ERROR(body->Run(here, there, scratch + arena, *frame.pool));
      std::swap(here, there);
    }
    for (size_t i = 0; i < n; ++i) {
      if (here[i] != frame.slots[out[i]] && sizes[i] > 0) std::memcpy(frame.slots[out[i]], here[i], sizes[i]);
    }
    return absl::OkStatus();
  };
  return kernel;
}

absl::StatusOr<BuiltKernel> BuildConditional(const OpContext& context) {
  std::vector<std::shared_ptr<Body>> branches;
  BuiltKernel kernel;
  kernel.kind = "conditional";
  for (size_t i = 0; i < context.op->regions.size(); ++i) {
    ALPA_ASSIGN_OR_RETURN(std::shared_ptr<Body> body, CompileRegion(context, i));
    kernel.scratch = std::max(kernel.scratch, body->arena_bytes());
    branches.push_back(std::move(body));
  }
  if (branches.empty()) return InvalidArgument("cannot compile %s: it has no branches", context.Where());
  kernel.scratch = std::max<Bytes>(kernel.scratch, kAlignment);
  const graph::DType dtype = context.in_shape(0).dtype;
  kernel.run = [=, in = context.in, out = context.out, scratch = context.scratch](const Frame& frame) -> absl::Status {
    const std::byte* which = frame.slots[in[0]];
    int64_t branch =
        dtype == graph::DType::kPred ? (*which != std::byte{0} ? 0 : 1) : IndexReader(dtype).Read(which, 0);
    const int64_t last = static_cast<int64_t>(branches.size()) - 1;
    if (branch < 0 || branch > last) branch = last;
    std::vector<std::byte*> arguments, results;
    for (size_t i = 1; i < in.size(); ++i) arguments.push_back(frame.slots[in[i]]);
    for (int slot : out) results.push_back(frame.slots[slot]);
    return branches[branch]->Run(arguments, results, frame.slots[scratch], *frame.pool);
  };
  return kernel;
}

}  // namespace

absl::StatusOr<BuiltKernel> BuildControl(const OpContext& context) {
  if (context.op->opcode == Opcode::kWhile) return BuildWhile(context);
  if (context.op->opcode == Opcode::kConditional) return BuildConditional(context);
  return BuiltKernel{};
}

}  // namespace alpa::kernels::cpu
