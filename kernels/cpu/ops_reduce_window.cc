// Builds reductions over windows (sum, maximum, ...), as in pooling and cumulative sums.
//
// Threads split the rows of the output. For each row, a thread goes through the positions of the window. At each
// position, the thread combines operand elements into all outputs of the row that have an element at this position.
// Accumulators have the same types as those of fused reductions (tile_prims.h).
#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

#include "base/status.h"
#include "kernels/cpu/dense_operand.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/tile_prims.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DType;
using graph::ReduceKind;
using graph::WindowDim;
using Dims = std::vector<int64_t>;

// Describes the `count` outputs that have an operand element at one position of the window. The outputs are `first`,
// `first + step`, and so on. These outputs read the operand elements `from`, `from + from_step`, and so on.
struct Tap {
  int64_t first = 0, step = 1, count = 0, from = 0, from_step = 1;
};

Tap TapOf(const WindowDim& w, int64_t k, int64_t in, int64_t out) {
  // Output o reads padded position o * stride + at. Only positions that are multiples of the dilation hold an element.
  const int64_t at = k * w.window_dilation - w.padding_low, dilation = w.base_dilation;
  Tap tap;
  tap.step = dilation / std::gcd(w.stride, dilation);
  tap.from_step = tap.step * w.stride / dilation;
  auto inside = [&](int64_t o) {
    const int64_t padded = o * w.stride + at;
    return padded >= 0 && padded % dilation == 0 && padded / dilation < in;
  };
  tap.first = at >= 0 ? 0 : std::min(out, (-at + w.stride - 1) / w.stride);
  // The pattern of positions that hold an element repeats every tap.step outputs. So the loop below tries only one
  // period.
  for (int64_t i = 0; i < tap.step && tap.first < out && !inside(tap.first); ++i) ++tap.first;
  if (tap.first >= out || !inside(tap.first)) return tap;
  tap.from = (tap.first * w.stride + at) / dilation;
  const int64_t room = (out - 1 - tap.first) / tap.step;
  const int64_t rest = tap.from_step == 0 ? room : (in - 1 - tap.from) / tap.from_step;
  tap.count = 1 + std::min(room, rest);
  return tap;
}

struct WindowPlan {
  Dims in_dims, out_dims, in_strides;
  std::vector<std::vector<Tap>> taps;  // one list per dimension, with one entry per position in the window
  DType dtype = DType::kF32;
  FoldPrim fold = nullptr;
  DType accumulator = DType::kF32;
  int in = -1, initial = -1, out = -1, scratch = -1;
  Bytes row_bytes = 0;  // bytes of scratch per thread: accumulators, lanes and raw elements

  void Run(const Frame& frame) const;
  void RunRow(const Frame& frame, int64_t row, std::byte* memory) const;
  void Fold(const Tap& tap, const std::byte* from, std::byte* accumulators, std::byte* lanes) const;
};

void WindowPlan::Fold(const Tap& tap, const std::byte* from, std::byte* accumulators, std::byte* lanes) const {
  const int64_t element = graph::SizeOf(dtype), width = graph::SizeOf(accumulator);
  const Prim load = LoadPrim(dtype);
  constexpr int64_t kPiece = 512;  // number of elements that are combined at a time
  std::byte* const raw = lanes + kPiece * 8;
  for (int64_t i = 0; i < tap.count; i += kPiece) {
    const int64_t n = std::min(kPiece, tap.count - i);
    const std::byte* source = from + (tap.from + i * tap.from_step) * element;
    if (tap.from_step != 1) {
      for (int64_t j = 0; j < n; ++j) std::memcpy(raw + j * element, source + j * tap.from_step * element, element);
      source = raw;
    }
    if (load != nullptr) {
      load(n, lanes, source, nullptr, nullptr);
      source = lanes;
    }
    std::byte* const to = accumulators + (tap.first + i * tap.step) * width;
    if (tap.step == 1) {
      fold(n, to, source);
    } else {
      const int lane = LaneSize(LaneOf(dtype));
      for (int64_t j = 0; j < n; ++j) fold(1, to + j * tap.step * width, source + j * lane);
    }
  }
}

void WindowPlan::RunRow(const Frame& frame, int64_t row, std::byte* memory) const {
  const size_t rank = out_dims.size(), last = rank - 1;
  const int64_t n = out_dims[last], width = graph::SizeOf(accumulator), element = graph::SizeOf(dtype);
  std::byte* const accumulators = memory;
  std::byte* const lanes = memory + (n * 8 + 63) / 64 * 64;
  // Converts the initial value to the accumulators' type.
  alignas(8) std::byte lane[8], start[8];
  const Prim load = LoadPrim(dtype), widen = ConvertPrim(dtype, accumulator), narrow = ConvertPrim(accumulator, dtype);
  if (load != nullptr)
    load(1, lane, frame.slots[initial], nullptr, nullptr);
  else
    std::memcpy(lane, frame.slots[initial], static_cast<size_t>(element));
  const bool other = accumulator != dtype && widen != nullptr;
  if (other)
    widen(1, start, lane, nullptr, nullptr);
  else
    std::memcpy(start, lane, sizeof(start));
  StridedCopy({n}, {0}, 0, {1}, 0, static_cast<int>(width)).RunHere(start, accumulators);

  Dims at(last);
  int64_t rest = row;
  for (size_t d = last; d-- > 0;) {
    at[d] = rest % out_dims[d];
    rest /= out_dims[d];
  }
  // Goes through all positions of the window in the dimensions before the last.
  int64_t positions = 1;
  for (size_t d = 0; d < last; ++d) positions *= static_cast<int64_t>(taps[d].size());
  for (int64_t p = 0; p < positions; ++p) {
    int64_t which = p, offset = 0;
    bool inside = true;
    for (size_t d = last; d-- > 0;) {
      const auto size = static_cast<int64_t>(taps[d].size());
      const Tap& tap = taps[d][which % size];
      which /= size;
      const int64_t steps = (at[d] - tap.first) / tap.step;
      inside = inside && at[d] >= tap.first && (at[d] - tap.first) % tap.step == 0 && steps < tap.count;
      offset += (tap.from + steps * tap.from_step) * in_strides[d];
    }
    if (!inside) continue;
    for (const Tap& tap : taps[last]) Fold(tap, frame.slots[in] + offset * element, accumulators, lanes);
  }
  const Prim store = StorePrim(dtype);
  std::byte* const to = frame.slots[out] + row * n * element;
  const void* result = accumulators;
  if (other && narrow != nullptr) {
    void* const next = store != nullptr ? static_cast<void*>(accumulators) : to;
    narrow(n, next, result, nullptr, nullptr);
    result = next;
  }
  if (store != nullptr)
    store(n, to, result, nullptr, nullptr);
  else if (result != to)
    std::memcpy(to, result, static_cast<size_t>(n * element));
}

void WindowPlan::Run(const Frame& frame) const {
  int64_t rows = 1, work = out_dims.back();
  for (size_t d = 0; d + 1 < out_dims.size(); ++d) rows *= out_dims[d];
  for (const auto& list : taps) work *= static_cast<int64_t>(list.size());
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, work));
  const int64_t grains = (rows + grain - 1) / grain;
  const int parts = static_cast<int>(std::clamp<int64_t>(grains, 1, frame.pool->size()));
  frame.pool->Run(parts, [&](int part) {
    std::byte* const memory = frame.slots[scratch] + part * row_bytes;
    for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; ++row) RunRow(frame, row, memory);
  });
}

}  // namespace

absl::StatusOr<BuiltKernel> BuildReduceWindow(const OpContext& c) {
  if (c.op->opcode != graph::Opcode::kReduceWindow || c.op->results.size() != 1) return BuiltKernel{};
  const ReduceKind* kind = graph::AsReduceKind(*c.op->regions[0]);
  const graph::Shape &in = c.in_shape(0), &out = c.out_shape();
  if (kind == nullptr || in.rank() == 0 || in.dtype == DType::kPred || out.elements() == 0) return BuiltKernel{};
  auto plan = std::make_shared<WindowPlan>();
  plan->fold = ColumnFold(*kind, LaneOf(in.dtype));
  if (plan->fold == nullptr) return BuiltKernel{};
  plan->in_dims = in.dims;
  plan->out_dims = out.dims;
  plan->in_strides = graph::Strides(in.dims);
  plan->dtype = in.dtype;
  const bool wide = graph::IsFloat(in.dtype) && (*kind == ReduceKind::kSum || *kind == ReduceKind::kProduct);
  // The element type that corresponds to each Lane, in the order of the enumerators.
  static constexpr DType kLaneTypes[] = {DType::kF32, DType::kF64, DType::kS32, DType::kU32, DType::kS64, DType::kU64};
  plan->accumulator = wide ? DType::kF64 : kLaneTypes[static_cast<int>(LaneOf(in.dtype))];
  const auto& window = c.op->as<graph::WindowAttrs>().window;
  for (size_t d = 0; d < window.size(); ++d) {
    plan->taps.emplace_back();
    for (int64_t k = 0; k < window[d].size; ++k) plan->taps[d].push_back(TapOf(window[d], k, in.dims[d], out.dims[d]));
  }
  plan->in = c.in[0];
  plan->initial = c.in[1];
  plan->out = c.out[0];
  plan->scratch = c.scratch;
  ScratchLayout scratch;
  scratch.Take(out.dims.back() * 8);
  scratch.Take(2 * 512 * 8);
  plan->row_bytes = scratch.size();
  BuiltKernel kernel;
  kernel.kind = "reduce window";
  kernel.scratch = plan->row_bytes * c.threads;
  kernel.run = [plan = std::shared_ptr<const WindowPlan>(plan)](const Frame& frame) {
    plan->Run(frame);
    return absl::OkStatus();
  };
  return kernel;
}

}  // namespace alpa::kernels::cpu
