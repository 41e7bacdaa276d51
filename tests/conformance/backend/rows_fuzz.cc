// Compares the results that a backend and the evaluator compute for random graphs. ALPA_FUZZ_SEEDS=FIRST:COUNT replaces
// the default seeds, to run more seeds or to repeat one.
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "graph/print.h"
#include "graph/verify.h"
#include "tests/conformance/backend/suite.h"
#include "tests/conformance/random_graph.h"

namespace alpa::conformance {
namespace {

constexpr uint64_t kSeedsPerRow = 25;  // number of graphs that one test runs

absl::Status RunSeed(kernels::Backend& backend, uint64_t seed) {
  const Program program = RandomProgram(seed, {.ops = static_cast<int>(10 + seed % 50)});
  ALPA_RETURN_IF_ERROR(Annotate(graph::Verify(program.graph), "the generated graph is not valid"));
  ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> expected, graph::Evaluate(program.graph, program.arguments));
  ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> actual,
                        RunOn(backend, static_cast<int>(seed % kSuiteDevices), program));
  const absl::Status status = CompareAll(expected, actual, program.tolerances);
  return status.ok() ? status : Annotate(status, graph::Print(program.graph));
}

}  // namespace

void AddFuzzRows(Rows& rows) {
  uint64_t first = 1, count = 400;
  if (const char* seeds = std::getenv("ALPA_FUZZ_SEEDS")) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(seeds, absl::MaxSplits(':', 1));
    if (!absl::SimpleAtoi(parts.first, &first)) first = 1;
    if (!absl::SimpleAtoi(parts.second, &count)) count = 1;
  }
  for (uint64_t begin = first; begin < first + count; begin += kSeedsPerRow) {
    const uint64_t end = std::min(begin + kSeedsPerRow, first + count);
    rows.push_back({absl::StrCat("fuzz/seeds-", begin, "-", end - 1), [=](kernels::Backend& backend) -> absl::Status {
                      for (uint64_t seed = begin; seed < end; ++seed) {
                        ALPA_RETURN_IF_ERROR(Annotate(RunSeed(backend, seed), absl::StrCat("seed ", seed)));
                      }
                      return absl::OkStatus();
                    }});
  }
}

}  // namespace alpa::conformance
