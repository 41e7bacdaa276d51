// Cuts a whole executable along one more mesh axis: tensor parallelism, and whatever else is sharding in space, as a pass from
// executable to executable. Passes compose: each sees the programs of the one before, collectives included.
//
// Model:  every slot has one state along the axis: leaves as the request says, or as their new value turns out to be
//         made; temporaries as their writer makes them; accumulators as what is added to them. States are found by
//         running propagation over the instruction list until nothing changes; then every program is written anew.
//         A partial sum may stay in a slot: a gradient that is partial in the loop is reduced once, where it is used.
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
  std::string name;                 // of the new axis, which becomes the mesh's last
  int64_t size = 1;
  std::vector<DeviceId> devices;    // of the mesh with the new axis, row-major
  std::vector<plan::Cut> cuts;
  int64_t reduce_scatter_from = 0;    // as plan::AxisCut
  bool shard_accumulators = false;
  std::vector<plan::Cut> reduce_scatter_along;
  std::vector<plan::ValuePin> pins;
  // By slot, or empty: what also lies on other meshes, and so has to hold true values in contiguous tiles.
  std::vector<bool> exchanged;
};

// The request for an axis of a plan, on mesh `id` of the executable; `mesh` has that axis, and perhaps others behind it.
AxisRequest RequestFor(MeshId id, const cluster::Mesh& mesh, const plan::AxisCut& axis);

// REQUIRES: a verified executable. kInvalidArgument: a cut that names no leaf of the mesh, or a dimension that another axis has
// cut already and that this one does not divide; kUnimplemented: instructions other than RUN, ALLOC, FREE and LOOP on that mesh.
// `tiles`: where not null, how each slot is cut already, to which the new axis is added; right for all but sums that are kept in
// parts and for cuts that are not contiguous.
// kInvalidArgument too: a pin of what is not there, or that an op cannot make.
absl::StatusOr<plan::Executable> CutAlongAxis(const plan::Executable& executable, const AxisRequest& request,
                                              std::vector<plan::Sharding>* tiles = nullptr);

// What CutAlongAxis makes of the mesh's programs and slots, not yet simplified: enough to price it, in a fraction of the time.
// Errors: as CutAlongAxis.
struct AxisDraft {
  std::map<int32_t, graph::Graph> programs;  // by number: those that the mesh runs
  std::vector<graph::Shape> slots;           // what a device has of each
};
absl::StatusOr<AxisDraft> DraftAlongAxis(const plan::Executable& executable, const AxisRequest& request);

// The executable that the axis is really added to: leaves that are cut by name where the axis does not divide are stored in ceil
// tiles. Values that pins name are numbered as here.
plan::Executable Padded(const plan::Executable& executable, const AxisRequest& request);

// How everything lies along the axis. REQUIRES: an executable that Padded leaves as it is.
struct AxisStates {
  std::vector<ValueState> slots;
  std::map<int32_t, Propagation> programs;  // by number: those that the mesh runs
};
absl::StatusOr<AxisStates> StatesAlongAxis(const plan::Executable& executable, const AxisRequest& request);

// The request with the pins that it takes for every op to follow `rules` (by program, then by op); slots as its cuts say, temporary
// ones as they are made. REQUIRES: as StatesAlongAxis; rules of the rule table. kInternal: no pins do so.
absl::StatusOr<AxisRequest> WithPins(const plan::Executable& executable, AxisRequest request,
                                     const std::map<int32_t, std::vector<OpRule>>& rules);

}  // namespace alpa::planner
