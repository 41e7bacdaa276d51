#include "plan/reshard.h"

#include <algorithm>
#include <map>

#include "base/status.h"
#include "plan/box.h"
#include "plan/executable.h"

namespace alpa::plan {
std::vector<DeviceTile> Tiles(const LeafPlacement& placement, const std::vector<cluster::Mesh>& meshes) {
  std::vector<DeviceTile> tiles;
  for (const RegionPlacement& region : placement.regions) {
    const cluster::Mesh& mesh = meshes[region.mesh.value()];
    for (int64_t i = 0; i < mesh.size(); ++i) {
      Region tile = TileOf(region.region.size, region.sharding, mesh, i);
      if (tile.elements() == 0) continue;
      for (size_t d = 0; d < tile.start.size(); ++d) tile.start[d] += region.region.start[d];
      tiles.push_back({mesh.devices[i], std::move(tile)});
    }
  }
  return tiles;
}

std::vector<Transfer> Reshard(const std::vector<DeviceTile>& source, const std::vector<DeviceTile>& destination,
                              Bytes element_size) {
  std::map<DeviceId, Bytes> sent;
  std::vector<Transfer> transfers;
  for (const DeviceTile& target : destination) {
    std::vector<Region> missing = {target.region};
    while (!missing.empty()) {
      const Region want = missing.back();
      missing.pop_back();
      // Find the best source tile that holds a part of `want`. Prefer the tile of the destination itself, then the tile
      // with the largest part, then the device that has sent the fewest bytes.
      const DeviceTile* best = nullptr;
      Region best_part;
      auto key = [&](const DeviceTile& tile, const Region& part) {
        const bool local = tile.device == target.device;
        return std::tuple(!local, -part.elements(), local ? 0 : sent[tile.device], tile.device);
      };
      for (const DeviceTile& tile : source) {
        std::optional<Region> part = Intersect(want, tile.region);
        if (!part) continue;
        if (best == nullptr || key(tile, *part) < key(*best, best_part)) {
          best = &tile;
          best_part = *std::move(part);
        }
      }
      ALPA_CHECK(best != nullptr);
      if (best->device != target.device) sent[best->device] += best_part.elements() * element_size;
      for (Region& rest : Subtract(want, best_part)) missing.push_back(std::move(rest));
      transfers.push_back({best->device, target.device, std::move(best_part)});
    }
  }
  return transfers;
}

std::vector<Transfer> Transfers(const Edge& edge, const std::vector<cluster::Mesh>& meshes) {
  const Region whole{std::vector<int64_t>(edge.shape.dims.size(), 0), edge.shape.dims};
  const LeafPlacement from{"", edge.shape, {{whole, edge.from_mesh, edge.from}}};
  const LeafPlacement to{"", edge.shape, {{whole, edge.to_mesh, edge.to}}};
  return Reshard(Tiles(from, meshes), Tiles(to, meshes), graph::SizeOf(edge.shape.dtype));
}

}  // namespace alpa::plan
