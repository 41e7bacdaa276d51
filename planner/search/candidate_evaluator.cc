#include "planner/search/candidate_evaluator.h"

#include <algorithm>
#include <exception>
#include <new>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace alpa::planner {
namespace {

constexpr int kMostThreads = 16;  // maximum number of threads; this limits the memory for lowered candidates

int ThreadCount() { return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads); }

// Describes what is proven about a tensor axis that was chosen exactly.
std::string NoteOn(const ChosenAxis& chosen) {
  const intra_op::ProblemOutcome& outcome = chosen.outcome;
  const char* const among = outcome.tied ? " among those that cut similar layers alike" : "";
  if (outcome.termination == Termination::kOptimal) return absl::StrCat("tensor axis proven cheapest", among);
  const double cost = outcome.evaluation.cost();
  if (outcome.chosen.empty() || !(cost > 0) || !(outcome.bound > 0)) {
    return "the time limit was too short to choose the tensor axis exactly";
  }
  return absl::StrFormat("tensor axis within %.1f %% of the cheapest%s", 100 * std::max(0.0, 1 - outcome.bound / cost),
                         among);
}

}  // namespace

std::string NameOf(const PlanOptions& options) {
  const PipelineOptions& pipeline = options.pipeline;
  std::string name;
  if (pipeline.devices.empty()) {
    name = absl::StrFormat("data %d x tensor %d x pipeline %d", std::max(1, options.data_parallel),
                           options.tensor_of(0), pipeline.meshes);
  } else {
    name = absl::StrFormat("pipeline of %s devices, tensor %s", absl::StrJoin(pipeline.devices, " + "),
                           pipeline.tensor.empty() ? absl::StrCat(options.tensor_of(0))
                                                   : absl::StrJoin(pipeline.tensor, " + "));
  }
  if (pipeline.stages_per_mesh > 1) absl::StrAppend(&name, " x ", pipeline.stages_per_mesh, " stages per mesh");
  if (options.microbatches > 1) absl::StrAppend(&name, ", ", options.microbatches, " microbatches");
  if (pipeline.meshes > 1) absl::StrAppend(&name, ", ", pipeline.schedule);
  if (options.zero > 0) absl::StrAppend(&name, ", ZeRO-", options.zero);
  if (options.sequence) absl::StrAppend(&name, ", sequence sharding");
  if (options.remat != "none") absl::StrAppend(&name, ", remat ", options.remat);
  if (options.most_tensor() > 1 && options.exact_tensor) absl::StrAppend(&name, ", exact tensor axis");
  if (!pipeline.shares.empty()) {
    absl::StrAppend(&name, ", shares of work ", absl::StrJoin(pipeline.shares, ":", [](std::string* out, double share) {
      absl::StrAppendFormat(out, "%.2f", share);
    }));
  }
  return name;
}

CandidateEvaluator::CandidateEvaluator(const graph::Graph& program, const plan::Roles& roles,
                                       const cluster::Cluster& cluster)
    : program_(program), roles_(roles), cluster_(cluster) {
  for (const cluster::Device& device : cluster.devices) devices_.push_back(device.id);
  for (int i = ThreadCount(); i > 0; --i) threads_.emplace_back([this] { Work(); });
}

CandidateEvaluator::~CandidateEvaluator() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

const EvaluatedCandidate& CandidateEvaluator::Evaluate(const PlanOptions& options) {
  MutexLock lock(mutex_);
  Entry& entry = EntryOf(options);
  asked_ = &entry;
  changed_.NotifyAll();
  while (!entry.done) changed_.Wait(lock);
  return entry.evaluated;
}

void CandidateEvaluator::Expect(const std::vector<PlanOptions>& options) {
  MutexLock lock(mutex_);
  expected_.clear();
  for (const PlanOptions& one : options) expected_.push_back(&EntryOf(one));
  changed_.NotifyAll();
}

CandidateEvaluator::Entry& CandidateEvaluator::EntryOf(const PlanOptions& options) {
  std::string name = NameOf(options);
  std::unique_ptr<Entry>& entry = entries_[name];
  if (entry == nullptr) {
    entry = std::make_unique<Entry>();
    entry->evaluated.candidate.options = options;
    entry->evaluated.candidate.name = std::move(name);
  }
  return *entry;
}

void CandidateEvaluator::Work() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    Entry* next = asked_ != nullptr && !asked_->begun ? asked_ : nullptr;
    while (next == nullptr && !expected_.empty()) {
      if (!expected_.front()->begun) next = expected_.front();
      expected_.pop_front();
    }
    if (next == nullptr) {
      changed_.Wait(lock);
      continue;
    }
    next->begun = true;
    {
      MutexUnlock unlock(lock);
      Make(next->evaluated);   // no other thread touches the entry until `done` is set
    }
    next->done = true;
    changed_.NotifyAll();
  }
}

void CandidateEvaluator::Make(EvaluatedCandidate& evaluated) {
  Candidate& candidate = evaluated.candidate;
  PlanOptions options = candidate.options;
  options.cluster = &cluster_;
  options.tensor_memo = &tensor_memo_;
  const auto make = [&]() -> absl::Status {
    ALPA_ASSIGN_OR_RETURN(PlanAndExecutable made, MakeAndLower(program_, roles_, devices_, options));
    ALPA_ASSIGN_OR_RETURN(candidate.simulation, Simulate(made.executable, cluster_));
    candidate.simulation.spans = {};
    candidate.fits = true;
    for (size_t m = 0; m < made.plan.meshes.size(); ++m) {
      for (DeviceId id : made.plan.meshes[m].devices) {
        const Bytes memory = cluster_.Find(id)->memory;
        if (memory > 0 && candidate.simulation.memory[m].total() > memory) candidate.fits = false;
      }
    }
    if (made.tensor && options.exact_tensor) candidate.note = NoteOn(*made.tensor);
    // A plan or an executable that does not verify is a bug in the planner. Its candidate drops out, and the search
    // goes on.
    absl::Status verified = plan::Verify(made.plan, program_, roles_, cluster_);
    if (!verified.ok()) return Internal("the plan does not verify: %s", verified.message());
    verified = plan::Verify(made.executable);
    if (!verified.ok()) return Internal("the executable does not verify: %s", verified.message());
    evaluated.plan = std::move(made.plan);
    return absl::OkStatus();
  };
  // An exception must not escape from a thread of the evaluator.
  try {
    candidate.status = make();
  } catch (const std::bad_alloc&) {
    candidate.status = absl::ResourceExhaustedError("evaluating the candidate needs more memory than the planner has");
  } catch (const std::exception& e) {
    candidate.status = Internal("evaluating the candidate threw an exception: %s", e.what());
  }
}

}  // namespace alpa::planner
