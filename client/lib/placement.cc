#include "client/lib/placement.h"

#include <algorithm>
#include <map>

#include "base/status.h"
#include "plan/serialize.h"

namespace alpa::client {
namespace {

absl::Status Bad(absl::string_view what) { return Internal("the coordinator's placement is not valid: %s", what); }

bool Inside(const plan::Region& region, const std::vector<int64_t>& dims) {
  if (region.start.size() != dims.size() || region.size.size() != dims.size()) return false;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (region.start[d] < 0 || region.size[d] < 0 || region.size[d] > dims[d] ||
        region.start[d] > dims[d] - region.size[d]) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<LeafParts> PartsOf(const plan::LeafPlacement& leaf, const graph::Shape& shape,
                                  const std::vector<cluster::Mesh>& meshes, const std::map<DeviceId, int>& worker_of) {
  if (leaf.shape != shape) {
    return Bad(absl::StrCat(leaf.path, " is ", leaf.shape.ToString(), " in the placement, but ", shape.ToString(),
                            " in the job"));
  }
  LeafParts out;
  out.shape = shape;
  int64_t covered = 0;
  for (const plan::RegionPlacement& placed : leaf.regions) {
    if (placed.mesh.value() < 0 || placed.mesh.value() >= static_cast<int>(meshes.size())) {
      return Bad(absl::StrCat(leaf.path, " lies on an unknown mesh"));
    }
    const cluster::Mesh& mesh = meshes[placed.mesh.value()];
    if (!Inside(placed.region, shape.dims)) return Bad(absl::StrCat("a region lies outside of the leaf ", leaf.path));
    if (absl::Status s = plan::Verify(placed.sharding, placed.region.size, mesh); !s.ok()) return Bad(s.message());
    for (int64_t i = 0; i < mesh.size(); ++i) {
      const auto worker = worker_of.find(mesh.devices[i]);
      if (worker == worker_of.end()) {
        return Bad(absl::StrCat(leaf.path, " lies on device ", mesh.devices[i].value(), ", which no worker has"));
      }
      plan::Region tile = plan::TileOf(placed.region.size, placed.sharding, mesh, i);
      if (tile.elements() == 0) continue;
      for (size_t d = 0; d < tile.start.size(); ++d) tile.start[d] += placed.region.start[d];
      auto part = std::find_if(out.parts.begin(), out.parts.end(), [&](const HeldPart& p) { return p.region == tile; });
      if (part == out.parts.end()) {
        covered += tile.elements();
        out.parts.push_back({std::move(tile), {}});
        part = out.parts.end() - 1;
      }
      if (std::find(part->workers.begin(), part->workers.end(), worker->second) == part->workers.end()) {
        part->workers.push_back(worker->second);
      }
    }
  }
  // Tiles are disjoint, so they cover the leaf if they have as many elements as the leaf.
  if (!leaf.regions.empty() && covered != shape.elements()) {
    return Bad(absl::StrCat(leaf.path, " is not covered by its regions"));
  }
  return out;
}

}  // namespace

absl::StatusOr<Placement> Placement::FromProto(const proto::Placement& in, const std::vector<graph::Shape>& inputs,
                                               const std::vector<graph::Shape>& outputs) {
  Placement out;
  out.epoch = in.epoch();
  std::map<DeviceId, int> worker_of;
  for (const proto::WorkerAddress& worker : in.workers()) {
    for (int32_t device : worker.devices()) worker_of[DeviceId(device)] = static_cast<int>(out.workers.size());
    out.workers.push_back({worker.worker(), worker.tensor_address()});
  }
  std::vector<cluster::Mesh> meshes;
  for (const proto::Mesh& mesh : in.meshes()) {
    absl::StatusOr<cluster::Mesh> read = plan::FromProto(mesh);
    if (!read.ok()) return Bad(read.status().message());
    meshes.push_back(*std::move(read));
  }
  if (in.inputs_size() != static_cast<int>(inputs.size()) || in.outputs_size() != static_cast<int>(outputs.size())) {
    return Bad(absl::StrFormat("it has %d inputs and %d outputs; the job has %d and %d", in.inputs_size(),
                               in.outputs_size(), inputs.size(), outputs.size()));
  }
  const auto read_all = [&](const auto& leaves, const std::vector<graph::Shape>& shapes,
                            std::vector<LeafParts>& parts) -> absl::Status {
    for (int i = 0; i < leaves.size(); ++i) {
      absl::StatusOr<plan::LeafPlacement> leaf = plan::FromProto(leaves[i]);
      if (!leaf.ok()) return Bad(leaf.status().message());
      ALPA_ASSIGN_OR_RETURN(LeafParts read, PartsOf(*leaf, shapes[i], meshes, worker_of));
      parts.push_back(std::move(read));
    }
    return absl::OkStatus();
  };
  ALPA_RETURN_IF_ERROR(read_all(in.inputs(), inputs, out.inputs));
  ALPA_RETURN_IF_ERROR(read_all(in.outputs(), outputs, out.outputs));
  return out;
}

}  // namespace alpa::client
