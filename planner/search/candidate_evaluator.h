// Evaluates candidates of the search, several at a time, and starts on expected ones before the search asks for them.
//
// Order:   A result depends only on the candidate's options, not on what is evaluated at the same time or before. The
//          candidate that Evaluate asks for goes first. Idle threads work on the candidates of the last Expect call.
// Threads: one caller. The evaluator lowers and simulates candidates on its own threads, one per core, at most 16. The
//          destructor waits for the candidates in progress, about a second for large programs.
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

// Returns a human-readable name of a candidate. Options whose shares of work differ by less than a hundredth may have
// the same name; they count as the same candidate.
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

  // Returns the evaluated candidate and waits for it if necessary. The reference is valid as long as the evaluator.
  const EvaluatedCandidate& Evaluate(const PlanOptions& options);
  // Announces the candidates that the caller will ask for next, in this order. Candidates of an earlier call that have
  // not started are dropped.
  void Expect(const std::vector<PlanOptions>& options);

 private:
  struct Entry {
    bool begun = false, done = false;
    EvaluatedCandidate evaluated;  // has only options and name until `done`
  };

  // Makes the plan, lowers it and simulates the executable.
  void Make(EvaluatedCandidate& evaluated);
  Entry& EntryOf(const PlanOptions& options) ALPA_REQUIRES(mutex_);
  // The loop of one thread.
  void Work();

  const graph::Graph& program_;
  const plan::Roles& roles_;
  const cluster::Cluster& cluster_;
  std::vector<DeviceId> devices_;
  TensorCutsMemo tensor_memo_;

  Mutex mutex_;
  CondVar changed_;
  std::map<std::string, std::unique_ptr<Entry>> entries_ ALPA_GUARDED_BY(mutex_);  // by name
  Entry* asked_ ALPA_GUARDED_BY(mutex_) = nullptr;                                 // by the last Evaluate call
  std::deque<Entry*> expected_ ALPA_GUARDED_BY(mutex_);
  bool stopping_ ALPA_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace alpa::planner
