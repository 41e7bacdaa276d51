#include "planner/solver/cbc.h"

#include <coin/Cbc_C_Interface.h>
#include <setjmp.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"

namespace alpa::planner {

namespace {

// Costs are scaled so that the largest has this magnitude, because CBC's tolerances are absolute.
constexpr double kLargestCost = 1e6;

// CBC keeps settings in global variables, so one thread at a time may use it.
std::mutex& Only() {
  static std::mutex mutex;
  return mutex;
}

// The libraries of CBC check themselves with `assert`, and a failed check aborts the process. The trap is the place to
// which an abort of the solving thread returns. An abort of any other thread ends the process as usual.
thread_local sigjmp_buf* abort_trap = nullptr;

void OnAbort(int) {
  if (abort_trap != nullptr) siglongjmp(*abort_trap, 1);
}

// Solves the model. Returns false if CBC aborted; the model must then not be used any more, not even be deleted.
bool SolveTrapped(Cbc_Model* model) {
  struct sigaction trapped {}, before {};
  trapped.sa_handler = OnAbort;
  sigemptyset(&trapped.sa_mask);
  sigaction(SIGABRT, &trapped, &before);
  sigjmp_buf trap;
  const bool aborted = sigsetjmp(trap, 1) != 0;
  if (!aborted) {
    abort_trap = &trap;
    Cbc_solve(model);
  }
  abort_trap = nullptr;
  sigaction(SIGABRT, &before, nullptr);
  return !aborted;
}

struct Delete {
  void operator()(void* model) const { Cbc_deleteModel(static_cast<Cbc_Model*>(model)); }
};

double Scale(const IntegerProgram& program) {
  double largest = 0;
  for (const IntegerProgram::Variable& variable : program.variables) {
    largest = std::max(largest, std::abs(variable.cost));
  }
  return largest > 0 ? kLargestCost / largest : 1;
}

void Load(const IntegerProgram& program, double scale, Cbc_Model* model) {
  // CBC takes the matrix column by column.
  std::vector<std::vector<std::pair<int, double>>> columns(program.variables.size());
  std::vector<double> row_lower, row_upper;
  for (size_t r = 0; r < program.rows.size(); ++r) {
    for (const auto& term : program.rows[r].terms) {
      columns[term.variable].push_back({static_cast<int>(r), term.coefficient});
    }
    row_lower.push_back(std::max(program.rows[r].lower, -1e30));
    row_upper.push_back(std::min(program.rows[r].upper, 1e30));
  }
  std::vector<int> starts = {0}, indices;
  std::vector<double> values, lower, upper, cost;
  for (size_t v = 0; v < columns.size(); ++v) {
    for (const auto& [row, value] : columns[v]) indices.push_back(row), values.push_back(value);
    starts.push_back(static_cast<int>(indices.size()));
    lower.push_back(program.variables[v].lower);
    upper.push_back(program.variables[v].upper);
    cost.push_back(program.variables[v].cost * scale);
  }
  Cbc_loadProblem(model, static_cast<int>(columns.size()), static_cast<int>(program.rows.size()), starts.data(),
                  indices.data(), values.data(), lower.data(), upper.data(), cost.data(), row_lower.data(),
                  row_upper.data());
  for (size_t v = 0; v < columns.size(); ++v) {
    if (program.variables[v].integer) Cbc_setInteger(model, static_cast<int>(v));
  }
}

// Returns kAborted if CBC aborted. `preprocess`: whether CBC may simplify the program first.
absl::StatusOr<SolveOutcome> SolveOnce(const IntegerProgram& program, const SolveOptions& options, bool preprocess) {
  SolveOutcome outcome;
  outcome.bound = -IntegerProgram::kInfinity;
  const MonotonicTime begin = Clock::Real().Now();
  std::unique_ptr<void, Delete> owner(Cbc_newModel());
  auto* model = static_cast<Cbc_Model*>(owner.get());
  if (model == nullptr) return Internal("CBC cannot allocate a model");
  const double scale = Scale(program);
  Load(program, scale, model);
  Cbc_setLogLevel(model, 0);
  Cbc_setParameter(model, "log", "0");
  Cbc_setParameter(model, "slog", "0");
  Cbc_setParameter(model, "timeMode", "elapsed");
  if (!preprocess) Cbc_setParameter(model, "preprocess", "off");
  Cbc_setMaximumSeconds(model, options.seconds);
  Cbc_setAllowableFractionGap(model, kOptimalGap / 10);
  Cbc_setAllowableGap(model, 1e-9);
  if (!options.start.empty()) {
    const double known = ObjectiveOf(program, options.start) * scale;
    Cbc_setParameter(model, "feasibilityPump", "off");  // slow, and useful only if no solution is known
    Cbc_setCutoff(model, known - kOptimalGap / 2 * std::abs(known));
  }
  if (!SolveTrapped(model)) {
    (void)owner.release();  // its memory is lost: CBC stopped in the middle of changing it
    return absl::AbortedError("CBC failed one of its own checks");
  }
  outcome.seconds = std::chrono::duration<double>(Clock::Real().Now() - begin).count();

  // Without integer variables, CBC does not branch, and its solution is the solution of the linear program.
  const bool linear =
      std::none_of(program.variables.begin(), program.variables.end(), [](const auto& v) { return v.integer; });
  const double* best = Cbc_bestSolution(model);
  if (linear && Cbc_isProvenOptimal(model)) best = Cbc_getColSolution(model);
  if (best != nullptr) outcome.values.assign(best, best + program.variables.size());
  const double bound = Cbc_getBestPossibleObjValue(model);
  if (!linear && std::isfinite(bound) && std::abs(bound) < 1e40) outcome.bound = bound / scale;
  if (Cbc_isProvenOptimal(model) && best != nullptr) {
    outcome.termination = Termination::kOptimal;
  } else if (best != nullptr) {
    outcome.termination = Termination::kFeasible;
  } else if (Cbc_isProvenInfeasible(model)) {
    outcome.termination = Termination::kInfeasible;
  } else if (Cbc_isAbandoned(model)) {
    return Internal("CBC gave up because of numerical difficulties");
  } else {
    outcome.termination = Termination::kTimeOut;
  }
  return outcome;
}

}  // namespace

absl::StatusOr<SolveOutcome> SolveWithCbc(const IntegerProgram& program, const SolveOptions& options) {
  if (program.variables.empty()) {
    SolveOutcome outcome;
    outcome.termination = Termination::kOptimal;
    for (const auto& row : program.rows) {
      if (row.lower > 0 || row.upper < 0) outcome.termination = Termination::kInfeasible;
    }
    outcome.bound = 0;
    return outcome;
  }
  const std::lock_guard<std::mutex> lock(Only());
  // The checks that were seen to fail are about programs that CBC has simplified. So CBC gets a second chance without.
  absl::StatusOr<SolveOutcome> outcome = SolveOnce(program, options, /*preprocess=*/true);
  if (absl::IsAborted(outcome.status())) outcome = SolveOnce(program, options, /*preprocess=*/false);
  if (absl::IsAborted(outcome.status())) return Internal("%s, twice", outcome.status().message());
  return outcome;
}

}  // namespace alpa::planner
