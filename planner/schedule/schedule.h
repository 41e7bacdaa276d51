// The order in which the cells of a pipeline run their microbatches, and in which messages go between meshes.
//
// Model:  a simulation gives each mesh the cell that is most urgent by the schedule's rule whenever it is free. All events stand
//         in one order, that of simulated time; every mesh's list keeps that order, so no list can wait for another in a
//         circle, even where sends are not buffered. Each cell takes its microbatches in order, so sums come out alike under
//         every schedule.
//           gpipe        a mesh does all its forwards before any backward (Huang et al., arXiv 1811.06965)
//           1f1b         backwards first; stage s of S holds at most S - s microbatches (PipeDream-Flush, arXiv 2006.09503)
//           zero-bubble  as 1f1b, with weight gradients as cells of their own that fill gaps (H1 of arXiv 2401.10241)
//         Several stages on one mesh (interleaved, arXiv 2104.04473) work under each of them.
// Threads: a pure function.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/stage/cells.h"

namespace alpa::planner {

enum class Schedule : uint8_t { kGPipe, kOneForwardOneBackward, kZeroBubble };
// "gpipe", "1f1b", "zero-bubble"; kInvalidArgument names them.
absl::StatusOr<Schedule> ParseSchedule(const std::string& name);

struct ScheduledCell {
  int mesh = 0;
  int stage = 0;
  Cell::Pass pass = Cell::Pass::kForward;
  double seconds = 1;           // relative to the others
  std::vector<int> needs;       // cells of the same microbatch that must be done before
};

struct ScheduledEvent {
  int cell = 0;
  int64_t microbatch = 0;
  bool done = false;            // false: the cell starts; true: it is done, and what it made is sent
};

// REQUIRES: `needs` has no circle. `stages`: how many there are.
std::vector<ScheduledEvent> OrderCells(Schedule schedule, const std::vector<ScheduledCell>& cells, int stages,
                                       int64_t microbatches);

}  // namespace alpa::planner
