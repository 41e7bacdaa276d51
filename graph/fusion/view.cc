#include "graph/fusion/view.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"

namespace alpa::fusion {

View Collapsed(const std::vector<int64_t>& dims, const std::vector<int64_t>& strides, int64_t offset) {
  View view;
  view.offset = offset;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1) continue;
    if (!view.dims.empty() && view.strides.back() == strides[d] * dims[d]) {
      view.dims.back() *= dims[d];
      view.strides.back() = strides[d];
    } else {
      view.dims.push_back(dims[d]);
      view.strides.push_back(strides[d]);
    }
  }
  if (view.dims.size() == 1 && view.strides[0] == 0) view.dims.clear(), view.strides.clear();
  return view;
}

View ViewOf(const graph::Graph& graph, const graph::Op& op) {
  const graph::Shape& in = graph.shape(op.operands[0]);
  const graph::Shape& out = graph.shape(op.results[0]);
  const std::vector<int64_t> from = graph::Strides(in.dims);
  std::vector<int64_t> strides(out.dims.size(), 0);
  int64_t offset = 0;
  switch (op.opcode) {
    case graph::Opcode::kBroadcast: {
      const auto& dims = op.as<graph::DimsAttrs>().dims;
      for (size_t i = 0; i < dims.size(); ++i) strides[dims[i]] = in.dims[i] == 1 ? 0 : from[i];
      break;
    }
    case graph::Opcode::kTranspose: {
      const auto& dims = op.as<graph::DimsAttrs>().dims;
      for (size_t i = 0; i < dims.size(); ++i) strides[i] = from[dims[i]];
      break;
    }
    case graph::Opcode::kSlice: {
      const auto& attrs = op.as<graph::SliceAttrs>();
      for (size_t d = 0; d < strides.size(); ++d) {
        offset += attrs.starts[d] * from[d];
        strides[d] = attrs.strides[d] * from[d];
      }
      break;
    }
    case graph::Opcode::kReverse:
      strides = from;
      for (int64_t d : op.as<graph::DimsAttrs>().dims) {
        offset += (in.dims[d] - 1) * from[d];
        strides[d] = -from[d];
      }
      break;
    default:
      ALPA_CHECK(false && "not a view");
  }
  return Collapsed(out.dims, strides, offset);
}

namespace {

template <typename T>
void CopyRuns(const View& view, const T* from, int64_t begin, int64_t count, T* to) {
  if (view.dims.empty()) {
    std::fill(to, to + count, from[view.offset]);
    return;
  }
  constexpr size_t kMaxRank = 32;  // limits the dimensions of a collapsed view; import allows 16 by default
  const size_t rank = std::min(view.dims.size(), kMaxRank);
  const int64_t inner = view.dims[rank - 1], step = view.strides[rank - 1];
  int64_t index[kMaxRank];
  int64_t rest = begin, at = view.offset;
  for (size_t d = rank; d-- > 0;) {
    index[d] = rest % view.dims[d];
    rest /= view.dims[d];
    at += index[d] * view.strides[d];
  }
  while (true) {
    const int64_t run = std::min(count, inner - index[rank - 1]);
    const T* source = from + at;
    if (step == 1) {
      std::memcpy(to, source, run * sizeof(T));
    } else if (step == 0) {
      const T value = *source;
      for (int64_t i = 0; i < run; ++i) to[i] = value;
    } else {
      for (int64_t i = 0; i < run; ++i) to[i] = source[i * step];
    }
    to += run;
    count -= run;
    if (count == 0) return;
    // Advance to the start of the next run.
    at -= index[rank - 1] * step;
    index[rank - 1] = 0;
    for (size_t d = rank - 1; d-- > 0;) {
      at += view.strides[d];
      if (++index[d] < view.dims[d]) break;
      at -= view.dims[d] * view.strides[d];
      index[d] = 0;
    }
  }
}

}  // namespace

void CopyView(const View& view, const std::byte* from, int element, int64_t begin, int64_t count, std::byte* to) {
  if (count <= 0) return;
  switch (element) {
    case 1:
      return CopyRuns(view, reinterpret_cast<const uint8_t*>(from), begin, count, reinterpret_cast<uint8_t*>(to));
    case 2:
      return CopyRuns(view, reinterpret_cast<const uint16_t*>(from), begin, count, reinterpret_cast<uint16_t*>(to));
    case 4:
      return CopyRuns(view, reinterpret_cast<const uint32_t*>(from), begin, count, reinterpret_cast<uint32_t*>(to));
    default:
      return CopyRuns(view, reinterpret_cast<const uint64_t*>(from), begin, count, reinterpret_cast<uint64_t*>(to));
  }
}

}  // namespace alpa::fusion
