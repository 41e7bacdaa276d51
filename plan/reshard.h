// Moving an array from one placement to another: the one function behind upload, cross-mesh edges, fetch, checkpoint
// restore and re-planning.
#pragma once

#include <vector>

#include "plan/sharding.h"

namespace alpa::plan {

struct Edge;  // plan/executable.h

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

// What goes over an edge in one round: every tile of `to` filled exactly once from tiles of `from`. A SEND or RECV starts its
// device's messages in this order, so that messages of one pair of devices meet. Empty tiles take no part.
// REQUIRES: the edge's meshes exist, and its shardings fit them.
std::vector<Transfer> Transfers(const Edge& edge, const std::vector<cluster::Mesh>& meshes);

}  // namespace alpa::plan
