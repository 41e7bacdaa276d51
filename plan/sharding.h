// The sharding of an array on a mesh, and the placement of a leaf.
//
// Model:   Zero or more mesh axes split each array dimension (outer axis first). Devices that differ only along other
//          axes hold the same tile. A dimension that is split n ways has tiles of ceil(size / n); the last tiles may be
//          short or empty.
// Threads: value types and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cluster/cluster.h"
#include "graph/shape.h"

namespace alpa::plan {

struct Sharding {
  // One entry per array dimension: the mesh axes that split it. Dimensions beyond the end of this list are not split.
  std::vector<std::vector<int64_t>> dim_axes;

  static Sharding Replicated() { return {}; }
  static Sharding Split(int dim, int64_t mesh_axis);
  bool replicated() const;
  std::string ToString(const cluster::Mesh& mesh) const;  // "[data, *, tensor]" or "replicated"
  bool operator==(const Sharding&) const = default;
};

// A box inside an array: a start and a size per dimension. A region of rank 0 is a scalar.
struct Region {
  std::vector<int64_t> start, size;
  int64_t elements() const;
  bool operator==(const Region&) const = default;
};

// Returns the tile of an array of shape `dims` that the device at position `index` of the mesh holds.
Region TileOf(const std::vector<int64_t>& dims, const Sharding& sharding, const cluster::Mesh& mesh, int64_t index);
// Returns the shape of a full (not short) tile. Stage programs are compiled for this shape.
std::vector<int64_t> TileDims(const std::vector<int64_t>& dims, const Sharding& sharding, const cluster::Mesh& mesh);
// Returns OK, or kInvalidArgument if the sharding names too many dimensions, an unknown axis, or an axis twice.
absl::Status Verify(const Sharding& sharding, const std::vector<int64_t>& dims, const cluster::Mesh& mesh);

// The placement of a leaf: one or more regions, each on one mesh with one sharding. Most leaves have a single region,
// which covers the complete array. A leaf that spans stages can have several.
struct RegionPlacement {
  Region region;          // the part of the leaf that the region covers
  MeshId mesh;            // in Executable::meshes
  Sharding sharding;      // the sharding of the region, as if the region were the complete array
};
struct LeafPlacement {
  std::string path;
  graph::Shape shape;     // the shape of the complete leaf
  std::vector<RegionPlacement> regions;  // disjoint; together they cover the leaf
};

}  // namespace alpa::plan
