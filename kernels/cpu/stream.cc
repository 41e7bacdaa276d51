#include "kernels/cpu/stream.h"

#include <exception>
#include <utility>

#include "base/status.h"
#include "kernels/cpu/matrix_product.h"

namespace alpa::kernels::cpu {

class CpuStream::CpuEvent : public Event {
 public:
  absl::Status Wait() override {
    MutexLock lock(mutex_);
    while (!done_) changed_.Wait(lock);
    return status_;
  }
  bool Done() override {
    MutexLock lock(mutex_);
    return done_;
  }
  void Finish(absl::Status status) {
    MutexLock lock(mutex_);
    status_ = std::move(status);
    done_ = true;
    changed_.NotifyAll();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  absl::Status status_ ALPA_GUARDED_BY(mutex_);
  bool done_ ALPA_GUARDED_BY(mutex_) = false;
};

namespace {

// Runs `work` and converts exceptions into a Status. Libraries that kernels call may throw, most likely std::bad_alloc.
// No exception may leave the stream.
absl::Status RunGuarded(const std::function<absl::Status()>& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory while executing a program");
  } catch (const std::exception& e) {
    return Internal("a kernel threw an exception: %s", e.what());
  }
}

}  // namespace

CpuStream::CpuStream() : thread_([this] { Work(); }) {}

CpuStream::~CpuStream() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void CpuStream::Push(Item item) {
  MutexLock lock(mutex_);
  queue_.push_back(std::move(item));
  changed_.NotifyOne();
}

void CpuStream::Enqueue(std::function<absl::Status()> work) { Push({std::move(work), nullptr}); }

std::shared_ptr<Event> CpuStream::Record() {
  auto event = std::make_shared<CpuEvent>();
  Push({nullptr, event});
  return event;
}

void CpuStream::Reset() {
  MutexLock lock(mutex_);
  failure_ = absl::OkStatus();
}

void CpuStream::Work() {
  KeepBlasOnThisThread();
  while (true) {
    Item item;
    absl::Status failure;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) changed_.Wait(lock);
      if (queue_.empty()) return;
      item = std::move(queue_.front());
      queue_.pop_front();
      failure = failure_;
    }
    if (item.event != nullptr) {
      item.event->Finish(std::move(failure));
    } else if (failure.ok()) {
      if (absl::Status status = RunGuarded(item.work); !status.ok()) {
        MutexLock lock(mutex_);
        failure_ = std::move(status);
      }
    }
  }
}

}  // namespace alpa::kernels::cpu
