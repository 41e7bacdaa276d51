// Compares two ways to shard a step along a tensor axis: the cheapest sharding, from an integer program
// (planner/intra_op), and the greedy one (planner/partition/choose_cuts.h). The step comes from a job directory. Prints
// sizes, times and costs.
//
//   choose_axis_report JOB_DIRECTORY WAYS [TIE_FROM [MICROBATCHES [PRINT]]]
//
// WAYS is the size of the axis. TIE_FROM is planner::ChooseAxisOptions::tie_from. If PRINT is given, the report also
// lists the cuts and pins.

#include <chrono>
#include <cstdio>
#include <iostream>

#include "base/status.h"
#include "planner/intra_op/choose_axis.h"
#include "planner/lower/lower.h"
#include "planner/partition/choose_cuts.h"
#include "planner/planner.h"
#include "tests/interpreter/job_directory.h"
#include "tests/interpreter/steps.h"

namespace alpa {
namespace {

absl::Status Main(int argc, char** argv) {
  const int ways = std::atoi(argv[2]);
  ALPA_ASSIGN_OR_RETURN(const testing::SavedStep saved, testing::ReadJobDirectory(argv[1]));
  const graph::Graph& program = saved.step.graph;
  const plan::Roles& roles = saved.step.roles;
  planner::PlanOptions options;
  options.data_parallel = 1;
  options.microbatches = argc > 4 ? std::atoi(argv[4]) : 1;
  ALPA_ASSIGN_OR_RETURN(const plan::Plan plan, planner::MakePlan(program, roles, testing::Devices(1), options));
  ALPA_ASSIGN_OR_RETURN(const plan::Executable executable, planner::Lower(plan, program, roles));
  planner::AxisRequest request;
  request.mesh = MeshId(0);
  request.name = "tensor";
  request.size = ways;
  request.devices = testing::Devices(ways);
  cluster::Mesh mesh = executable.meshes[0];
  mesh.shape.push_back(ways);
  mesh.axis_names.push_back("tensor");
  mesh.devices = request.devices;
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto since = [&](auto begin) { return std::chrono::duration<double>(now() - begin).count(); };
  auto begin = now();
  ALPA_ASSIGN_OR_RETURN(const planner::AxisRequest greedy, planner::ChooseTensorCuts(executable, request));
  const double greedy_seconds = since(begin);
  begin = now();
  planner::ChooseAxisOptions choose;
  if (argc > 3) choose.tie_from = std::atoi(argv[3]);
  ALPA_ASSIGN_OR_RETURN(const planner::ChosenAxis chosen, planner::ChooseAxis(executable, request, mesh, choose));
  const double seconds = since(begin);
  ALPA_ASSIGN_OR_RETURN(const plan::Executable greedy_cut, planner::CutAlongAxis(executable, greedy));
  ALPA_ASSIGN_OR_RETURN(const plan::Executable cut, planner::CutAlongAxis(executable, chosen.request));
  const auto print = [&](const char* name, const plan::Executable& of, size_t cuts, size_t pins) {
    const planner::StepCost cost = planner::StepCostOf(of, MeshId(0));
    std::printf("%s: %zu cuts, %zu pins; per device: %.4g product FLOPs, %.4g B sent, %.4g B of state\n", name, cuts,
                pins, cost.product_flops, cost.sent_bytes, cost.state_bytes);
  };
  std::printf("%d ops; greedy choice %.2f s, exact choice %.2f s (solving %.2f s), %s%s%s; "
              "cost %.6g, bound %.6g, greedy cost %.6g; %d open nodes, %d variables, %d rows\n",
              program.size(), greedy_seconds, seconds, chosen.outcome.seconds,
              planner::ToString(chosen.outcome.termination).c_str(), chosen.outcome.tied ? ", tied" : "",
              chosen.rigid ? "" : ", not rigid", chosen.outcome.evaluation.cost(), chosen.outcome.bound,
              chosen.greedy_cost, chosen.outcome.open_nodes, chosen.outcome.variables, chosen.outcome.rows);
  print("greedy", greedy_cut, greedy.cuts.size(), 0);
  print("exact", cut, chosen.request.cuts.size(), chosen.request.pins.size());
  if (argc > 5) {
    for (const auto* r : {&greedy, &chosen.request}) {
      for (const plan::Cut& c : r->cuts) {
        std::printf("  %s along %d\n", roles.inputs[c.leaf].path.c_str(), static_cast<int>(c.dim));
      }
      std::printf("--\n");
    }
    for (const plan::ValuePin& pin : chosen.request.pins) {
      const graph::Graph& g = executable.programs[pin.program].graph;
      const graph::Op& op = g.def(graph::ValueId(pin.value));
      std::string from;
      for (const auto& s : pin.operands) from += s.ToString() + " ";
      std::printf("  pin %d.%d %s %s: %s from %s (%s)\n", pin.program, pin.value,
                  std::string(graph::NameOf(op.opcode)).c_str(),
                  g.shape(graph::ValueId(pin.value)).ToString().c_str(), pin.state.ToString().c_str(), from.c_str(),
                  g.location(op).c_str());
    }
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace alpa

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const absl::Status status = alpa::Main(argc, argv);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
