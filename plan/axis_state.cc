#include "plan/axis_state.h"

#include "absl/strings/str_cat.h"

namespace alpa::plan {

std::string AxisState::ToString() const {
  switch (kind) {
    case Kind::kReplicated: return "replicated";
    case Kind::kSplit:
      return outer == 1 ? absl::StrCat("split(", dim, ")") : absl::StrCat("split(", dim, " of ", outer, "x)");
    case Kind::kPartial: return absl::StrCat("partial(", graph::NameOf(reduce), ")");
  }
  return "?";
}

std::vector<int64_t> ChunkDims(const std::vector<int64_t>& dims, const AxisState& state, int64_t chunks) {
  std::vector<int64_t> result = dims;
  if (state.split()) result[state.dim] /= chunks;
  return result;
}

bool CanSplit(const std::vector<int64_t>& dims, int64_t dim, int64_t outer, int64_t chunks) {
  return dim >= 0 && dim < static_cast<int64_t>(dims.size()) && outer >= 1 && dims[dim] > 0 &&
         dims[dim] % (outer * chunks) == 0;
}

}  // namespace alpa::plan
