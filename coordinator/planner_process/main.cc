// alpa-planner: plans one job for alpa-coordinator, which starts it. Planning runs in a separate process, so that no
// program can end the coordinator.
#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/strings/string_view.h"
#include "base/config.h"
#include "coordinator/core/planning.h"
#include "coordinator/planner_process/child.h"

int main(int argc, char** argv) {
  using namespace alpa;
  const std::string version(Version());
  if (argc == 2 && absl::string_view(argv[1]) == "--version") {
    std::printf("alpa-planner %s\n", version.c_str());
    return 0;
  }
  const auto arguments = coordinator::ParseArguments(argc, argv);
  if (!arguments.ok()) {
    std::fprintf(stderr, "alpa-planner: %s. This program plans one job; alpa-coordinator starts it.\n",
                 std::string(arguments.status().message()).c_str());
    return kExitConfig;
  }
  if (const absl::Status status = coordinator::BecomePlanner(*arguments); !status.ok()) {
    std::fprintf(stderr, "alpa-planner: %s\n", std::string(status.message()).c_str());
    return coordinator::kExitCannotPlan;
  }
  const auto check = [](const coordinator::PlanTask& task, absl::string_view program,
                        const coordinator::PlanningProgress&) { return coordinator::CheckProgram(task, program); };
  // Skips destructors: the coordinator has the answer, and large graphs take time to free.
  _exit(coordinator::PlanOneTask(coordinator::kPlannerSocket, version, {coordinator::PlanProgram, check}));
}
