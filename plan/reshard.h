// Moving an array from one placement to another: the one function behind upload, cross-mesh edges, fetch, checkpoint
// restore and re-planning.
#pragma once

#include <vector>

#include "plan/sharding.h"

namespace alpa::plan {

// Copies `region` (of the leaf) from one device's tile to another's.
struct Transfer {
  DeviceId source;
  DeviceId destination;
  Region region;
};
struct DeviceTile {
  DeviceId device;
  Region region;   // of the leaf
};

// Every (device, region) that a placement holds, replicas included, in order of mesh and position; empty tiles left out.
std::vector<DeviceTile> Tiles(const LeafPlacement& placement, const std::vector<cluster::Mesh>& meshes);

// Transfers that fill every destination tile exactly once from source tiles. Of several devices that hold a piece, the
// destination itself is taken where it can be, else the one that has sent the fewest bytes so far (lowest id on a tie).
// REQUIRES: both placements are of one shape, and the source covers it.
std::vector<Transfer> Reshard(const std::vector<DeviceTile>& source, const std::vector<DeviceTile>& destination,
                              Bytes element_size);

}  // namespace alpa::plan
