// Parts of JobRuntime that its source files share.
#pragma once

#include "comm/counting.h"
#include "worker/core/job_runtime.h"

namespace alpa::worker {

// A step that is enqueued on all local devices.
struct JobRuntime::Step {
  int64_t step = 0;
  std::shared_ptr<BufferSet> aux;
  std::vector<DeviceTimes> times;                            // one entry per local device
  std::vector<std::shared_ptr<kernels::Event>> events;       // one entry per local device: the end of the step
  std::vector<InlineAux> scalars;
  size_t waiting_for = 0;                                    // devices yet to pass the step; under JobRuntime::mutex_
  absl::Status status;                                       // under JobRuntime::mutex_
};

// One local device: its endpoint, its collective groups, its executor, and the queue of steps that its waiter thread
// waits for.
struct JobRuntime::Device {
  std::unique_ptr<comm::CountingEndpoint> endpoint;
  std::unique_ptr<DeviceGroups> groups;
  std::unique_ptr<DeviceExecutor> executor;

  Mutex mutex;
  CondVar changed;
  std::deque<std::shared_ptr<Step>> steps ALPA_GUARDED_BY(mutex);
  bool closed ALPA_GUARDED_BY(mutex) = false;
  std::thread waiter;
};

}  // namespace alpa::worker
