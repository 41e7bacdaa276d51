// The stream of a device: a thread that executes enqueued work in order. See Stream in kernels/backend.h.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "base/mutex.h"
#include "kernels/backend.h"

namespace alpa::kernels::cpu {

class CpuStream : public Stream {
 public:
  CpuStream();
  // Waits until all enqueued work is done.
  ~CpuStream() override;

  void Enqueue(std::function<absl::Status()> work) override;
  std::shared_ptr<Event> Record() override;
  void Reset() override;

 private:
  class CpuEvent;
  struct Item {
    std::function<absl::Status()> work;
    std::shared_ptr<CpuEvent> event;  // if set, the item is a recorded point and has no work
  };
  void Push(Item item);
  void Work();

  Mutex mutex_;
  CondVar changed_;
  std::deque<Item> queue_ ALPA_GUARDED_BY(mutex_);
  absl::Status failure_ ALPA_GUARDED_BY(mutex_);
  bool stopping_ ALPA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace alpa::kernels::cpu
