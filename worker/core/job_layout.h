// Which part of a job lies on this worker: its devices' places in the meshes, and the tiles of every leaf they hold.
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

// A device of the job, in rank order; the same list on all workers.
struct Rank {
  DeviceId device;
  std::string worker;             // that holds it, for messages
  std::string transport_address;  // of that worker's process
  int local_device = -1;          // the backend's number where it is ours
};

struct LocalDevice {
  int rank = -1;
  int device = -1;      // the backend's number
  DeviceId id;
  MeshId mesh;
  int64_t position = 0; // in the mesh
};

// What one local device holds of a leaf.
struct Tile {
  int local = -1;                // index in JobLayout::devices
  plan::SlotId slot;
  Region region;                 // in the leaf's coordinates; may be empty
  std::vector<int64_t> dims;     // of the buffer: a full tile, which a short one does not fill
};

struct LeafLayout {
  std::string path;
  graph::Shape shape;
  std::vector<Tile> tiles;       // local ones
  // kAux: the local device that reports this leaf with the step's result, or -1: it is too large or split, or a device
  // of a lower rank on another worker has it.
  int reporter = -1;
};

inline constexpr Bytes kMaxInlineAux = kKiB;

struct JobLayout {
  std::vector<LocalDevice> devices;
  std::vector<LeafLayout> inputs, outputs;   // by graph parameter and result
  std::vector<bool> input_is_state;
  std::vector<Rank> ranks;
};

// kInvalidArgument where the ranks are not exactly the devices of the executable's meshes.
// REQUIRES: plan::Verify(executable) is OK.
absl::StatusOr<JobLayout> MakeLayout(const plan::Executable& executable, std::vector<Rank> ranks);

// Which device on which worker holds some part of `box`, for messages.
std::string WhereElse(const plan::Executable& executable, const JobLayout& layout, const plan::LeafPlacement& leaf,
                      const Region& box);

}  // namespace alpa::worker
