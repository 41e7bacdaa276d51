#include "planner/schedule/schedule.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <tuple>

#include "base/status.h"

namespace alpa::planner {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

class ScheduleBuilder {
 public:
  ScheduleBuilder(Schedule schedule, const std::vector<ScheduledCell>& cells, int stages, int64_t microbatches)
      : schedule_(schedule), cells_(cells), stages_(stages), microbatches_(microbatches), next_(cells.size(), 0),
        finish_(cells.size()), cells_of_stage_(stages) {
    int meshes = 0;
    for (size_t c = 0; c < cells.size(); ++c) {
      meshes = std::max(meshes, cells[c].mesh + 1);
      cells_of_stage_[cells[c].stage].push_back(static_cast<int>(c));
    }
    free_.assign(meshes, 0);
    cells_of_mesh_.resize(meshes);
    for (size_t c = 0; c < cells.size(); ++c) cells_of_mesh_[cells[c].mesh].push_back(static_cast<int>(c));
  }

  std::vector<ScheduledEvent> Run() {
    for (int64_t left = static_cast<int64_t>(cells_.size()) * microbatches_; left > 0; --left) {
      // Find the mesh that can start a cell earliest.
      int mesh = -1;
      double start = kNever;
      for (bool admit_all : {false, true}) {  // true: ignore the schedule's limits, because they admit no cell
        for (size_t m = 0; m < free_.size(); ++m) {
          for (int c : cells_of_mesh_[m]) {
            if (!admit_all && !Admitted(c)) continue;
            const double at = std::max(free_[m], Ready(c));
            if (at < start) start = at, mesh = static_cast<int>(m);
          }
        }
        if (mesh < 0) continue;
        int best = -1;
        for (int c : cells_of_mesh_[mesh]) {
          if ((!admit_all && !Admitted(c)) || Ready(c) > start) continue;
          if (best < 0 || Urgency(c) < Urgency(best)) best = c;
        }
        Start(best, start);
        break;
      }
    }
    Flush(kNever);
    return std::move(events_);
  }

 private:
  // Returns the time at which the cell's next microbatch can start. Returns kNever if no microbatch is left, or if a
  // cell in `needs` has not started this microbatch.
  double Ready(int c) const {
    const int64_t m = next_[c];
    if (m == microbatches_) return kNever;
    double ready = 0;
    for (int need : cells_[c].needs) {
      if (next_[need] <= m) return kNever;
      ready = std::max(ready, finish_[need][m]);
    }
    return ready;
  }

  bool Admitted(int c) const {
    const ScheduledCell& cell = cells_[c];
    if (schedule_ == Schedule::kGPipe) {
      if (cell.pass == Cell::Pass::kForward) return true;
      return std::all_of(cells_of_mesh_[cell.mesh].begin(), cells_of_mesh_[cell.mesh].end(), [&](int other) {
        return cells_[other].pass != Cell::Pass::kForward || next_[other] == microbatches_;
      });
    }
    if (cell.pass != Cell::Pass::kForward) return true;
    // `done`: the number of microbatches that all cells of this stage have started.
    int64_t done = microbatches_;
    for (int other : cells_of_stage_[cell.stage]) done = std::min(done, next_[other]);
    return next_[c] - done < stages_ - cell.stage;
  }

  // Returns the cell's place in the order of starting. The cell with the smallest result starts first.
  std::tuple<int, int64_t, int, int64_t> Urgency(int c) const {
    const ScheduledCell& cell = cells_[c];
    const int64_t m = next_[c];
    // A mesh with several stages takes microbatches in groups. A group has one microbatch per mesh. The whole group
    // passes one stage before it enters the next stage.
    const int64_t group = static_cast<int64_t>(free_.size());
    switch (cell.pass) {
      case Cell::Pass::kBackward: return {0, m / group, -cell.stage, m};
      case Cell::Pass::kForward: return {1, m / group, cell.stage, m};
      case Cell::Pass::kWeights: {
        // The inputs of this cell stay in memory until it runs. It becomes the most urgent cell when the stage has
        // begun `stages_ - cell.stage` microbatches, counted from the cell's own microbatch.
        int64_t begun = 0;
        for (int other : cells_of_stage_[cell.stage]) begun = std::max(begun, next_[other]);
        return {begun - m >= stages_ - cell.stage ? -1 : 2, m / group, -cell.stage, m};
      }
    }
    return {};
  }

  void Start(int c, double at) {
    Flush(at);
    const int64_t m = next_[c]++;
    events_.push_back({c, m, false});
    const double end = at + std::max(cells_[c].seconds, 1e-12);
    finish_[c].push_back(end);
    free_[cells_[c].mesh] = end;
    done_.push({end, static_cast<int64_t>(events_.size()), c, m});
  }

  void Flush(double until) {
    while (!done_.empty() && std::get<0>(done_.top()) <= until) {
      const auto [end, order, c, m] = done_.top();
      done_.pop();
      events_.push_back({c, m, true});
    }
  }

  using Done = std::tuple<double, int64_t, int, int64_t>;
  const Schedule schedule_;
  const std::vector<ScheduledCell>& cells_;
  const int stages_;
  const int64_t microbatches_;
  std::vector<int64_t> next_;                  // one entry per cell: the next microbatch to start
  std::vector<std::vector<double>> finish_;    // one entry per cell and microbatch
  std::vector<std::vector<int>> cells_of_stage_, cells_of_mesh_;
  std::vector<double> free_;                   // one entry per mesh: the time at which it becomes free
  std::priority_queue<Done, std::vector<Done>, std::greater<>> done_;
  std::vector<ScheduledEvent> events_;
};

}  // namespace

absl::StatusOr<Schedule> ParseSchedule(const std::string& name) {
  if (name == "gpipe") return Schedule::kGPipe;
  if (name == "1f1b") return Schedule::kOneForwardOneBackward;
  if (name == "zero-bubble") return Schedule::kZeroBubble;
  return InvalidArgument("schedule \"%s\" is unknown; use \"gpipe\", \"1f1b\" or \"zero-bubble\"", name);
}

std::vector<ScheduledEvent> OrderCells(Schedule schedule, const std::vector<ScheduledCell>& cells, int stages,
                                       int64_t microbatches) {
  return ScheduleBuilder(schedule, cells, stages, microbatches).Run();
}

}  // namespace alpa::planner
