#include "planner/intra_op/choose_axis.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/clock.h"
#include "base/status.h"
#include "planner/intra_op/space.h"
#include "planner/partition/choose_cuts.h"

namespace alpa::planner {

using intra_op::Evaluate;
using intra_op::kForbidden;
using intra_op::ProblemOutcome;
using intra_op::Space;

namespace {

// Returns the smallest memory of the mesh's devices in bytes, or kForbidden if none of them has a limit.
double MemoryOf(const cluster::Mesh& mesh, const cluster::Cluster& cluster) {
  double least = kForbidden;
  for (DeviceId id : mesh.devices) {
    const Bytes memory = cluster.Find(id)->memory;
    if (memory > 0) least = std::min(least, static_cast<double>(memory));
  }
  return least;
}

}  // namespace

absl::StatusOr<ChosenAxis> ChooseAxis(const plan::Executable& executable, const AxisRequest& request,
                                      const cluster::Mesh& mesh, const ChooseAxisOptions& options) {
  const MonotonicTime begin = Clock::Real().Now();
  const auto left = [&] {
    const double spent = std::chrono::duration<double>(Clock::Real().Now() - begin).count();
    return std::max(0.5, options.seconds - spent);
  };
  const bool measured = options.cluster != nullptr && options.cluster->IsMeasured();
  const intra_op::CostModel model =
      measured ? intra_op::MeasuredCostModel(mesh, *options.cluster)
               : intra_op::FixedCostModel(executable.meshes[request.mesh.value()], request.size);
  intra_op::SpaceOptions space_options;
  if (measured) space_options.memory_limit = MemoryOf(mesh, *options.cluster);
  ALPA_ASSIGN_OR_RETURN(const AxisRequest greedy, ChooseTensorCuts(executable, request));

  std::optional<Space> space;
  ChosenAxis chosen;
  chosen.greedy_cost = kForbidden;
  // Returns the answer of ChooseTensorCuts.
  const auto fallen_back = [&] {
    chosen.request = greedy;
    chosen.cost = chosen.greedy_cost;
    chosen.rigid = false;
    return chosen;
  };
  for (bool rigid : {true, false}) {
    for (bool limited : {true, false}) {
      if (limited && space_options.memory_limit == kForbidden) continue;
      intra_op::SpaceOptions mine = space_options;
      mine.rigid_weights = rigid;
      if (!limited) mine.memory_limit = kForbidden;
      absl::StatusOr<Space> made = intra_op::MakeSpace(executable, request, model, mine);
      if (absl::IsUnimplemented(made.status())) break;
      ALPA_RETURN_IF_ERROR(made.status());
      space = *std::move(made);
      intra_op::ProblemOptions problem;
      // An attempt with a memory limit leaves half of the remaining time to the next attempt, which has no limit. An
      // attempt without a limit gets at least half of the total time.
      problem.seconds = limited ? left() / 2 : std::max(left(), options.seconds / 2);
      problem.tie_from = options.tie_from;
      ALPA_ASSIGN_OR_RETURN(problem.start, intra_op::ChoicesOf(*space, greedy));
      chosen.greedy_cost = problem.start.empty() ? kForbidden : Evaluate(space->problem, problem.start).cost();
      ALPA_ASSIGN_OR_RETURN(chosen.outcome, intra_op::SolveProblem(space->problem, problem));
      chosen.rigid = rigid;
      chosen.fits = limited || space_options.memory_limit == kForbidden;
      if (chosen.outcome.chosen.empty()) {
        // After this attempt, the weights need not stay rigid any more. A timeout is no reason to give that up, because
        // it does not show that no choice with rigid weights exists.
        if (rigid && !limited && chosen.outcome.termination == Termination::kTimeOut) return fallen_back();
        continue;
      }
      chosen.cost = chosen.outcome.evaluation.cost();
      if (options.leaves_only) {
        ALPA_ASSIGN_OR_RETURN(chosen.request, intra_op::CutsOf(*space, chosen.outcome.chosen));
        ALPA_ASSIGN_OR_RETURN(const std::vector<int> followed, intra_op::ChoicesOf(*space, chosen.request));
        chosen.cost = followed.empty() ? kForbidden : Evaluate(space->problem, followed).cost();
        if (chosen.greedy_cost <= chosen.cost) {
          chosen.request = greedy;
          chosen.cost = chosen.greedy_cost;
        }
        return chosen;
      }
      ALPA_ASSIGN_OR_RETURN(chosen.request, intra_op::RequestOf(*space, chosen.outcome.chosen));
      return chosen;
    }
  }
  return fallen_back();
}

}  // namespace alpa::planner
