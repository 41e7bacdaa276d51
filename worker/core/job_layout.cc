#include "worker/core/job_layout.h"

#include <map>
#include <tuple>

#include "base/status.h"

namespace alpa::worker {
namespace {

// Returns the part of a region that the mesh's device at `position` holds, in the leaf's coordinates.
Region LeafTile(const plan::RegionPlacement& placed, const cluster::Mesh& mesh, int64_t position) {
  Region tile = plan::TileOf(placed.region.size, placed.sharding, mesh, position);
  for (size_t d = 0; d < tile.start.size(); ++d) tile.start[d] += placed.region.start[d];
  return tile;
}

// Returns LeafLayout::reporter of an aux leaf.
int Reporter(const plan::Executable& executable, const JobLayout& layout, const plan::LeafPlacement& leaf) {
  if (leaf.regions.size() != 1 || leaf.shape.bytes() > kMaxInlineAux) return -1;
  const plan::RegionPlacement& placed = leaf.regions[0];
  const cluster::Mesh& mesh = executable.meshes[placed.mesh.value()];
  if (placed.region.size != leaf.shape.dims ||
      plan::TileDims(placed.region.size, placed.sharding, mesh) != leaf.shape.dims) {
    return -1;
  }
  for (const Rank& rank : layout.ranks) {  // find the first rank that has the leaf
    for (DeviceId device : mesh.devices) {
      if (device != rank.device) continue;
      for (size_t l = 0; l < layout.devices.size(); ++l) {
        if (layout.devices[l].id == device) return static_cast<int>(l);
      }
      return -1;
    }
  }
  return -1;
}

}  // namespace

absl::StatusOr<JobLayout> MakeLayout(const plan::Executable& executable, std::vector<Rank> ranks) {
  std::map<DeviceId, int> rank_of;
  for (size_t r = 0; r < ranks.size(); ++r) {
    if (!rank_of.emplace(ranks[r].device, static_cast<int>(r)).second) {
      return InvalidArgument("device %d has two ranks", ranks[r].device.value());
    }
  }
  JobLayout layout;
  layout.ranks = std::move(ranks);
  layout.input_is_state = executable.input_is_state;
  size_t placed_devices = 0;
  std::map<std::pair<int32_t, int64_t>, int> local_at;  // (mesh, position) -> index in layout.devices
  for (size_t m = 0; m < executable.meshes.size(); ++m) {
    const cluster::Mesh& mesh = executable.meshes[m];
    for (int64_t position = 0; position < mesh.size(); ++position) {
      const auto found = rank_of.find(mesh.devices[position]);
      if (found == rank_of.end()) {
        return InvalidArgument("device %d of mesh %d has no rank", mesh.devices[position].value(), m);
      }
      ++placed_devices;
      const Rank& rank = layout.ranks[found->second];
      if (rank.local_device < 0) continue;
      local_at[{static_cast<int32_t>(m), position}] = static_cast<int>(layout.devices.size());
      layout.devices.push_back(
          {found->second, rank.local_device, rank.device, MeshId(static_cast<int32_t>(m)), position});
    }
  }
  if (placed_devices != layout.ranks.size()) {
    return InvalidArgument("the job has %d ranks, but the meshes have %d devices", layout.ranks.size(), placed_devices);
  }
  if (layout.devices.empty()) return InvalidArgument("no device of this worker takes part in the job");

  // (is aux, leaf, region) -> slot. A region is on exactly one mesh.
  std::map<std::tuple<bool, int32_t, int32_t>, plan::SlotId> slots;
  for (const plan::MeshProgram& program : executable.mesh_programs) {
    for (size_t s = 0; s < program.slots.size(); ++s) {
      const plan::Slot& slot = program.slots[s];
      if (slot.kind == plan::Slot::Kind::kTemporary) continue;
      slots[{slot.kind == plan::Slot::Kind::kAux, slot.leaf, slot.region}] = plan::SlotId(static_cast<int32_t>(s));
    }
  }
  auto place = [&](const std::vector<plan::LeafPlacement>& leaves, bool aux, std::vector<LeafLayout>& out) {
    for (size_t l = 0; l < leaves.size(); ++l) {
      LeafLayout& leaf = out.emplace_back();
      leaf.path = leaves[l].path;
      leaf.shape = leaves[l].shape;
      for (size_t r = 0; r < leaves[l].regions.size(); ++r) {
        const plan::RegionPlacement& placed = leaves[l].regions[r];
        const cluster::Mesh& mesh = executable.meshes[placed.mesh.value()];
        for (const auto& [at, local] : local_at) {
          if (at.first != placed.mesh.value()) continue;
          leaf.tiles.push_back({local, slots.at({aux, static_cast<int32_t>(l), static_cast<int32_t>(r)}),
                                LeafTile(placed, mesh, at.second),
                                plan::TileDims(placed.region.size, placed.sharding, mesh)});
        }
      }
      if (aux) leaf.reporter = Reporter(executable, layout, leaves[l]);
    }
  };
  place(executable.inputs, false, layout.inputs);
  place(executable.outputs, true, layout.outputs);
  return layout;
}

std::string WhereElse(const plan::Executable& executable, const JobLayout& layout, const plan::LeafPlacement& leaf,
                      const Region& box) {
  for (const plan::RegionPlacement& placed : leaf.regions) {
    const cluster::Mesh& mesh = executable.meshes[placed.mesh.value()];
    for (int64_t position = 0; position < mesh.size(); ++position) {
      if (!Intersect(LeafTile(placed, mesh, position), box)) continue;
      for (const Rank& rank : layout.ranks) {
        if (rank.device == mesh.devices[position] && rank.local_device < 0) {
          return absl::StrFormat("worker \"%s\" (device %d)", rank.worker, rank.device.value());
        }
      }
    }
  }
  return "no worker";
}

}  // namespace alpa::worker
