// The part of a job that is on this worker: the positions of its devices in the meshes, and the tiles of every leaf
// that these devices hold.
//
// Threads: value types.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/executable.h"
#include "plan/box.h"

namespace alpa::worker {

using plan::Region;

// A device of the job. All workers have the same list of ranks.
struct Rank {
  DeviceId device;
  std::string worker;             // name of the worker that has the device, for error messages
  std::string transport_address;  // of the worker's process
  int local_device = -1;          // the backend's number; -1 if the device is on another worker
};

struct LocalDevice {
  int rank = -1;
  int device = -1;      // the backend's number
  DeviceId id;
  MeshId mesh;
  int64_t position = 0; // in the mesh
};

// The part of a leaf that one local device holds.
struct Tile {
  int local = -1;                // index in JobLayout::devices
  plan::SlotId slot;
  Region region;                 // in the leaf's coordinates; may be empty
  std::vector<int64_t> dims;     // of the buffer: the size of a full tile, even if this tile is short
};

struct LeafLayout {
  std::string path;
  graph::Shape shape;
  std::vector<Tile> tiles;       // of the local devices
  // Aux only: the local device (index in JobLayout::devices) that reports this leaf with the step's result. The value
  // is -1 if the leaf is split or larger than kMaxInlineAux, or if a device on another worker has a lower rank and
  // reports the leaf.
  int reporter = -1;
};

// Largest aux leaf that is reported with the step's result, in bytes.
inline constexpr Bytes kMaxInlineAux = kKiB;

struct JobLayout {
  std::vector<LocalDevice> devices;
  std::vector<LeafLayout> inputs, outputs;   // one entry per graph parameter, one per graph result
  std::vector<bool> input_is_state;
  std::vector<Rank> ranks;
};

// Fails with kInvalidArgument if the ranks are not exactly the devices of the executable's meshes, or if no rank is
// local. REQUIRES: plan::Verify(executable) is OK.
absl::StatusOr<JobLayout> MakeLayout(const plan::Executable& executable, std::vector<Rank> ranks);

// Returns text for an error message. The text names another worker that holds a part of `box`, and one of that worker's
// devices. Returns "no worker" if there is no such worker.
std::string WhereElse(const plan::Executable& executable, const JobLayout& layout, const plan::LeafPlacement& leaf,
                      const Region& box);

}  // namespace alpa::worker
