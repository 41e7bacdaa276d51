// Orders the cells of a pipeline and the messages between its meshes.
//
// Model:  The order comes from a simulation in time. Whenever a mesh is free, it starts the ready cell that the
//         schedule ranks as most urgent. All events form one list in order of simulated time. Each mesh's instruction
//         list keeps this order, so the lists cannot deadlock, even if sends are not buffered. Each cell processes its
//         microbatches in order, so sums are the same under every schedule.
//           gpipe        A mesh runs all its forwards before any backward (Huang et al., arXiv 1811.06965)
//           1f1b         Backwards run first. Stage `s` of `S` stages holds at most `S - s` microbatches
//                        (PipeDream-Flush, arXiv 2006.09503)
//           zero-bubble  Like 1f1b, but weight gradients are separate cells that fill bubbles (H1 of arXiv 2401.10241)
//         Each schedule supports several stages per mesh (interleaved, arXiv 2104.04473).
// Threads: a pure function.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/stage/cells.h"

namespace alpa::planner {

enum class Schedule : uint8_t { kGPipe, kOneForwardOneBackward, kZeroBubble };
// Parses "gpipe", "1f1b" or "zero-bubble". For any other name, returns kInvalidArgument with a message that lists these
// three names.
absl::StatusOr<Schedule> ParseSchedule(const std::string& name);

struct ScheduledCell {
  int mesh = 0;
  int stage = 0;
  Cell::Pass pass = Cell::Pass::kForward;
  double seconds = 1;           // in any unit, because only the ratios between cells matter
  std::vector<int> needs;       // cells that must be done first, for the same microbatch
};

struct ScheduledEvent {
  int cell = 0;
  int64_t microbatch = 0;
  bool done = false;            // false: the cell starts; true: it is done, and its results are sent
};

// Returns two events for each cell and microbatch (start and done), in order of simulated time. `stages`: the number of
// stages. REQUIRES: `needs` contains no cycle.
std::vector<ScheduledEvent> OrderCells(Schedule schedule, const std::vector<ScheduledCell>& cells, int stages,
                                       int64_t microbatches);

}  // namespace alpa::planner
