// Evaluates candidates of the search, several at a time, and starts to evaluate expected candidates before the search
// asks for them.
//
// Order:   A result depends only on the candidate's options, not on other candidates. The candidate that Evaluate asks
//          for is evaluated first. Idle threads work on the candidates of the last Expect call.
// Threads: only one thread may call the evaluator. The evaluator lowers and simulates candidates on its own threads:
//          one per core, but at most 16. The destructor waits until the candidates in progress are evaluated. For large
//          programs, this takes about a second.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "cluster/cluster.h"
#include "planner/planner.h"
#include "planner/search/search.h"

namespace alpa::planner {

// Returns a human-readable name of a candidate. Two candidates whose shares of work differ by less than a hundredth may
// have the same name. Candidates with the same name count as one candidate.
std::string NameOf(const PlanOptions& options);

struct EvaluatedCandidate {
  Candidate candidate;
  plan::Plan plan;  // empty if candidate.status is an error
};

class CandidateEvaluator {
 public:
  // The arguments must outlive the evaluator.
  CandidateEvaluator(const graph::Graph& program, const plan::Roles& roles, const cluster::Cluster& cluster);
  ~CandidateEvaluator();

  // Returns the evaluated candidate and waits for it if necessary. The reference is valid until the evaluator is
  // destroyed.
  const EvaluatedCandidate& Evaluate(const PlanOptions& options);
  // Announces the candidates that the caller will ask for next, in this order. Drops the candidates of earlier calls
  // whose evaluation has not started.
  void Expect(const std::vector<PlanOptions>& options);

 private:
  struct Entry {
    bool begun = false, done = false;
    EvaluatedCandidate evaluated;  // until `done`, has only options and name
  };

  // Makes the plan, lowers it and simulates the executable.
  void Make(EvaluatedCandidate& evaluated);
  Entry& EntryOf(const PlanOptions& options) ALPA_REQUIRES(mutex_);
  // The main loop of each thread of the evaluator.
  void Work();

  const graph::Graph& program_;
  const plan::Roles& roles_;
  const cluster::Cluster& cluster_;
  std::vector<DeviceId> devices_;
  TensorCutsMemo tensor_memo_;

  Mutex mutex_;
  CondVar changed_;
  std::map<std::string, std::unique_ptr<Entry>> entries_ ALPA_GUARDED_BY(mutex_);  // by name
  Entry* asked_ ALPA_GUARDED_BY(mutex_) = nullptr;                                 // from the last Evaluate call
  std::deque<Entry*> expected_ ALPA_GUARDED_BY(mutex_);
  bool stopping_ ALPA_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace alpa::planner
