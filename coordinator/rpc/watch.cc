#include "coordinator/rpc/watch.h"

#include "coordinator/rpc/coordinator.h"

namespace alpa::coordinator {

absl::StatusOr<std::unique_ptr<Watch>> Watch::Open(Coordinator& coordinator) {
  std::unique_ptr<Watch> watch(new Watch(coordinator));
  if (absl::Status status = coordinator.AddWatch(watch.get()); !status.ok()) return status;
  return watch;
}

Watch::~Watch() { coordinator_.RemoveWatch(this); }

void Watch::Follow(const std::string& job_id) { coordinator_.FollowJob(this, job_id); }

void Watch::Wake() {
  MutexLock lock(mutex_);
  woken_ = true;
  changed_.NotifyOne();
}

void Watch::Wait(Duration limit) {
  const MonotonicTime until = Clock::Real().Now() + limit;
  MutexLock lock(mutex_);
  while (!woken_ && Clock::Real().Now() < until) changed_.WaitUntil(lock, until);
  woken_ = false;
}

}  // namespace alpa::coordinator
