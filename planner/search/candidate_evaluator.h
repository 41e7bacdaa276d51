// CostModel candidates, several at once, ahead of being asked.
//
// Order:   what is returned depends on the options alone, not on what is priced beside or before it. What only fills the time is
//          what Expect named last; a candidate that is asked for goes first.
// Threads: one caller; candidates are lowered and simulated on threads of its own, one a core. The destructor waits for those that
//          are at work, a second or so for large programs.
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

// Says what a candidate is, for people. Options that differ in less than a hundredth of a share have one name: they are one candidate.
std::string NameOf(const PlanOptions& options);

struct EvaluatedCandidate {
  Candidate candidate;
  plan::Plan plan;           // where it is one
};

class CandidateEvaluator {
 public:
  // All must outlive it.
  CandidateEvaluator(const graph::Graph& program, const plan::Roles& roles, const cluster::Cluster& cluster);
  ~CandidateEvaluator();

  const EvaluatedCandidate& Evaluate(const PlanOptions& options);
  // What will be asked for next, in this order; what was expected before and has not begun is forgotten.
  void Expect(const std::vector<PlanOptions>& options);

 private:
  struct Entry {
    bool begun = false, done = false;
    EvaluatedCandidate evaluated;   // until it is done: options and name
  };

  void Make(EvaluatedCandidate& evaluated);
  Entry& EntryOf(const PlanOptions& options) ALPA_REQUIRES(mutex_);
  void Work();

  const graph::Graph& program_;
  const plan::Roles& roles_;
  const cluster::Cluster& cluster_;
  std::vector<DeviceId> devices_;
  TensorCutsMemo tensor_memo_;

  Mutex mutex_;
  CondVar changed_;
  std::map<std::string, std::unique_ptr<Entry>> entries_ ALPA_GUARDED_BY(mutex_);   // by name
  Entry* asked_ ALPA_GUARDED_BY(mutex_) = nullptr;
  std::deque<Entry*> expected_ ALPA_GUARDED_BY(mutex_);
  bool stopping_ ALPA_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace alpa::planner
