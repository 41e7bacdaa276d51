// Resharding: the transfers that move an array from one placement to another. The edges between two meshes use these
// transfers.
//
// Threads: pure functions.
#pragma once

#include <vector>

#include "plan/sharding.h"

namespace alpa::plan {

struct Edge;  // plan/executable.h

// One copy: `region` of the array goes from the tile of `source` to the tile of `destination`.
struct Transfer {
  DeviceId source;
  DeviceId destination;
  Region region;
};
struct DeviceTile {
  DeviceId device;
  Region region;   // the part of the array that the device holds
};

// Returns the tile of every device of a placement, including replicas. The order is by region of the placement, then by
// position in the mesh. Omits empty tiles.
std::vector<DeviceTile> Tiles(const LeafPlacement& placement, const std::vector<cluster::Mesh>& meshes);

// Returns transfers that fill every destination tile exactly once from source tiles. If several devices hold missing
// elements of a tile, the destination itself is the source if it is one of them. Otherwise the source is the device
// that holds the largest missing part. Ties go to the device that has sent the fewest bytes so far, then to the device
// with the lowest id.
// REQUIRES: both lists hold tiles of the same array, and the source tiles cover the array.
std::vector<Transfer> Reshard(const std::vector<DeviceTile>& source, const std::vector<DeviceTile>& destination,
                              Bytes element_size);

// Returns the transfers of one round of an edge (one SEND and its RECV). They fill every tile of `to` exactly once from
// tiles of `from`. A SEND or RECV starts the messages of its device in the order of this list, so the messages between
// two devices match. Empty tiles have no transfers.
// REQUIRES: the edge's meshes exist, and its shardings fit them.
std::vector<Transfer> Transfers(const Edge& edge, const std::vector<cluster::Mesh>& meshes);

}  // namespace alpa::plan
