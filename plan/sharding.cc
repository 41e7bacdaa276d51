#include "plan/sharding.h"

#include <algorithm>
#include <set>

#include "base/status.h"

namespace alpa::plan {
namespace {

// The number of ways in which a dimension is split, and the index of the part that one device holds.
struct Cut {
  int64_t ways = 1;
  int64_t index = 0;
};
Cut CutOf(const Sharding& sharding, size_t dim, const cluster::Mesh& mesh, const std::vector<int64_t>& coordinates) {
  Cut cut;
  if (dim >= sharding.dim_axes.size()) return cut;
  for (int64_t axis : sharding.dim_axes[dim]) {
    cut.ways *= mesh.shape[axis];
    cut.index = cut.index * mesh.shape[axis] + coordinates[axis];
  }
  return cut;
}

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Sharding Sharding::Split(int dim, int64_t mesh_axis) {
  Sharding sharding;
  sharding.dim_axes.resize(dim + 1);
  sharding.dim_axes[dim] = {mesh_axis};
  return sharding;
}

bool Sharding::replicated() const {
  return std::all_of(dim_axes.begin(), dim_axes.end(), [](const auto& axes) { return axes.empty(); });
}

std::string Sharding::ToString(const cluster::Mesh& mesh) const {
  if (replicated()) return "replicated";
  std::string text = "[";
  for (size_t d = 0; d < dim_axes.size(); ++d) {
    if (d > 0) text += ", ";
    if (dim_axes[d].empty()) text += "*";
    for (size_t i = 0; i < dim_axes[d].size(); ++i) {
      absl::StrAppend(&text, i > 0 ? "+" : "", mesh.axis_names[dim_axes[d][i]]);
    }
  }
  return text + "]";
}

int64_t Region::elements() const {
  int64_t n = 1;
  for (int64_t s : size) n *= s;
  return n;
}

Region TileOf(const std::vector<int64_t>& dims, const Sharding& sharding, const cluster::Mesh& mesh, int64_t index) {
  const std::vector<int64_t> coordinates = mesh.Coordinates(index);
  Region tile;
  for (size_t d = 0; d < dims.size(); ++d) {
    const Cut cut = CutOf(sharding, d, mesh, coordinates);
    const int64_t full = CeilDiv(dims[d], cut.ways);
    const int64_t start = std::min(dims[d], full * cut.index);
    tile.start.push_back(start);
    tile.size.push_back(std::min(dims[d], start + full) - start);
  }
  return tile;
}

std::vector<int64_t> TileDims(const std::vector<int64_t>& dims, const Sharding& sharding, const cluster::Mesh& mesh) {
  const std::vector<int64_t> origin(mesh.shape.size(), 0);
  std::vector<int64_t> tile(dims.size());
  for (size_t d = 0; d < dims.size(); ++d) tile[d] = CeilDiv(dims[d], CutOf(sharding, d, mesh, origin).ways);
  return tile;
}

absl::Status Verify(const Sharding& sharding, const std::vector<int64_t>& dims, const cluster::Mesh& mesh) {
  if (sharding.dim_axes.size() > dims.size()) {
    return InvalidArgument("sharding names %d dimensions of an array of rank %d", sharding.dim_axes.size(),
                           dims.size());
  }
  std::set<int64_t> used;
  for (const std::vector<int64_t>& axes : sharding.dim_axes) {
    for (int64_t axis : axes) {
      if (axis < 0 || axis >= static_cast<int64_t>(mesh.shape.size())) {
        return InvalidArgument("sharding names mesh axis %d of a mesh with %d axes", axis, mesh.shape.size());
      }
      if (!used.insert(axis).second) return InvalidArgument("sharding uses mesh axis %d twice", axis);
    }
  }
  return absl::OkStatus();
}

}  // namespace alpa::plan
