// How one array lies on a mesh.
//
// Model:  each array dimension is cut by zero or more mesh axes (outer axis first); devices that differ only in other
//         axes hold the same tile. A dimension cut n ways has tiles of ceil(size / n): the last ones may be short or
//         empty.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cluster/cluster.h"
#include "graph/shape.h"

namespace alpa::plan {

struct Sharding {
  // For each array dimension, the mesh axes that cut it. Shorter than the rank: the rest is not cut.
  std::vector<std::vector<int64_t>> dim_axes;

  static Sharding Replicated() { return {}; }
  static Sharding Split(int dim, int64_t mesh_axis);
  bool replicated() const;
  std::string ToString(const cluster::Mesh& mesh) const;  // "[data, *, model]"
  bool operator==(const Sharding&) const = default;
};

// A box inside an array: start and size a dimension. Rank 0 is the whole scalar.
struct Region {
  std::vector<int64_t> start, size;
  int64_t elements() const;
  bool operator==(const Region&) const = default;
};

// The tile of an array of `dims` that the mesh's `index`-th device holds.
Region TileOf(const std::vector<int64_t>& dims, const Sharding& sharding, const cluster::Mesh& mesh, int64_t index);
// Shape of a full (not short) tile: what a StageProgram is compiled for.
std::vector<int64_t> TileDims(const std::vector<int64_t>& dims, const Sharding& sharding, const cluster::Mesh& mesh);
absl::Status Verify(const Sharding& sharding, const std::vector<int64_t>& dims, const cluster::Mesh& mesh);

// Where a leaf lies: possibly several regions, each on one submesh with one sharding (a leaf that spans stages has
// several; most have one that covers the whole array).
struct RegionPlacement {
  Region region;          // of the leaf
  MeshId mesh;            // in Executable::meshes
  Sharding sharding;      // of the region's own dims
};
struct LeafPlacement {
  std::string path;
  graph::Shape shape;     // of the whole leaf
  std::vector<RegionPlacement> regions;  // disjoint, covering the leaf
};

}  // namespace alpa::plan
