#include "worker/core/edge_parts.h"

#include "plan/reshard.h"
#include "worker/core/device_groups.h"

namespace alpa::worker {
namespace {

// Alignment of parts in the staging memory, in bytes.
constexpr Bytes kAlignment = 64;

}  // namespace

EdgeParts PartsOf(const plan::Executable& executable, const JobLayout& layout, const LocalDevice& device,
                  const plan::Edge& edge) {
  const bool sends = edge.from_mesh == device.mesh;
  const plan::Sharding& sharding = sends ? edge.from : edge.to;
  const cluster::Mesh& mesh = executable.meshes[device.mesh.value()];
  const Region tile = plan::TileOf(edge.shape.dims, sharding, mesh, device.position);
  const std::vector<int64_t> tile_dims = plan::TileDims(edge.shape.dims, sharding, mesh);
  const Bytes element = graph::SizeOf(edge.shape.dtype);
  EdgeParts result;
  result.short_tile = tile.size != tile_dims;
  for (const plan::Transfer& transfer : plan::Transfers(edge, executable.meshes)) {
    if ((sends ? transfer.source : transfer.destination) != device.id) continue;
    EdgePart part{RankOf(layout, sends ? transfer.destination : transfer.source), transfer.region.elements() * element,
                  false, 0, plan::BoxWalk(transfer.region, transfer.region, tile.start, tile_dims, element)};
    part.direct = part.walk.rows() == 1;
    if (part.direct) {
      part.walk.ForEach(0, part.size, [&](const plan::ByteRun& run) { part.offset = run.tile_offset; });
      result.any_direct = true;
    } else {
      part.offset = result.staging_bytes;
      result.staging_bytes += (part.size + kAlignment - 1) / kAlignment * kAlignment;
    }
    result.parts.push_back(std::move(part));
  }
  return result;
}

}  // namespace alpa::worker
