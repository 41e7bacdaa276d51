// Cuts an executable along one more mesh axis. This pass implements tensor parallelism and all other sharding in space.
// It turns one executable into another. Passes compose: each one sees the programs of the previous pass, including
// their collectives.
//
// Model:  Every slot has one state along the axis. A leaf has the state that the request specifies, or the state of its
//         new value. A temporary has the state that its writer produces. An accumulator has the state of the values
//         that are added to it. The pass runs propagation over the instruction list until no state changes. Then the
//         pass rewrites every program.
//         A slot may hold a partial sum. For example, a gradient that is partial in the loop is reduced once, after the
//         loop.
// Threads: a pure function.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "planner/partition/propagate.h"

namespace alpa::planner {

struct AxisRequest {
  MeshId mesh;
  std::string name;                 // name of the new axis, which becomes the last axis of the mesh
  int64_t size = 1;
  std::vector<DeviceId> devices;    // devices of the mesh including the new axis, row-major
  std::vector<plan::Cut> cuts;
  int64_t reduce_scatter_from = 0;    // this and the next three fields: as in plan::AxisCut
  bool shard_accumulators = false;
  std::vector<plan::Cut> reduce_scatter_along;
  std::vector<plan::ValuePin> pins;
  // One entry per slot: whether other meshes hold the slot's value, too. Such a slot holds no partial sum, and its
  // tiles are contiguous. Empty: false for every slot.
  std::vector<bool> exchanged;
  // Dimensions of leaves that a choice of cuts must not name, because the batch is split along them. The ranks of these
  // cuts are ignored.
  std::vector<plan::Cut> reserved;
  bool IsReserved(int32_t leaf, int64_t dim) const;
};

// Returns the request that adds axis `axis` of a plan to mesh `id` of an executable. `mesh`: the mesh of the plan. The
// plan's mesh has the axis, and may have more axes after it.
AxisRequest RequestFor(MeshId id, const cluster::Mesh& mesh, const plan::AxisCut& axis);

// Returns the executable with mesh `request.mesh` cut along the new axis.
// `tiles`: if not null, the sharding of each slot before the pass. The pass adds the new axis to each sharding. The
// entry is not valid for a slot that holds a partial sum or a split that is not contiguous.
// REQUIRES: a verified executable.
// Errors: kInvalidArgument if
//           - the request names a mesh that does not exist, or a size below 1,
//           - a cut names a leaf that is not on the mesh,
//           - a cut names a dimension that another axis already cuts and that this axis does not divide,
//           - a pin names a program or value that is not on the mesh, or a state that the value's op cannot produce.
//         kUnimplemented if the mesh has instructions other than RUN, ALLOC, FREE and LOOP, or if two instructions run
//         the same program. kInternal if the states reach no fixed point.
absl::StatusOr<plan::Executable> CutAlongAxis(const plan::Executable& executable, const AxisRequest& request,
                                              std::vector<plan::Sharding>* tiles = nullptr);

// The programs and slots of the mesh as CutAlongAxis writes them, but not simplified. A draft is enough to compute a
// cost, and takes a fraction of the time of CutAlongAxis. Errors: as CutAlongAxis.
struct AxisDraft {
  std::map<int32_t, graph::Graph> programs;  // key: number of a program that the mesh runs
  std::vector<graph::Shape> slots;           // one entry per slot: the shape of one device's tile
};
absl::StatusOr<AxisDraft> DraftAlongAxis(const plan::Executable& executable, const AxisRequest& request);

// Returns the executable to which CutAlongAxis adds the axis. It is `executable`, except that a leaf is stored in
// ceil-sized tiles if a cut names a dimension that the axis does not divide. Pins use the value numbers of the returned
// executable.
plan::Executable Padded(const plan::Executable& executable, const AxisRequest& request);

// The states of all slots and values along the axis. REQUIRES: an executable that Padded does not change.
// Errors: as CutAlongAxis.
struct AxisStates {
  std::vector<ValueState> slots;
  std::map<int32_t, Propagation> programs;  // key: number of a program that the mesh runs
};
absl::StatusOr<AxisStates> StatesAlongAxis(const plan::Executable& executable, const AxisRequest& request);

// Returns `request` with the pins that make every op follow `rules` (one entry per program and op). Replaces the pins
// that `request` has. Leaves follow the cuts of `request`, and temporaries follow their writers.
// REQUIRES: as StatesAlongAxis; `rules` are rules of the rule table. Errors: as CutAlongAxis, and kInternal if no pins
// have this effect.
absl::StatusOr<AxisRequest> WithPins(const plan::Executable& executable, AxisRequest request,
                                     const std::map<int32_t, std::vector<OpRule>>& rules);

}  // namespace alpa::planner
