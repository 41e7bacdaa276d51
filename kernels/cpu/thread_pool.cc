#include "kernels/cpu/thread_pool.h"

#include "kernels/cpu/matrix_product.h"

namespace alpa::kernels::cpu {
namespace {

// The number of times that a worker checks for work before it sleeps. These checks take some tens of microseconds. This
// cost is justified, because within a program one kernel closely follows another.
constexpr int kSpins = 2000;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Work(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Start(int parts, Function function, const void* context) {
  parts_ = parts;
  function_ = function;
  context_ = context;
  // Each call of Start begins a round. Every worker counts itself as done in every round, even if it has no part. So
  // Run returns only after all workers have seen the round, and no worker can miss a round.
  pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  bool wake;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    round_.fetch_add(1, std::memory_order_release);
    wake = sleeping_ > 0;
  }
  if (wake) changed_.notify_all();
}

void ThreadPool::Finish() {
  for (int i = 0; pending_.load(std::memory_order_acquire) != 0; ++i) {
    if (i < kSpins) Pause();
    else std::this_thread::yield();
  }
}

void ThreadPool::Work(int index) {
  KeepBlasOnThisThread();
  uint64_t seen = 0;
  while (true) {
    for (int i = 0; i < kSpins && round_.load(std::memory_order_acquire) == seen && !stopping_; ++i) Pause();
    if (round_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      ++sleeping_;
      changed_.wait(lock, [&] { return stopping_ || round_.load(std::memory_order_acquire) != seen; });
      --sleeping_;
      if (stopping_) return;
    }
    ++seen;
    if (index < parts_) function_(context_, index);
    pending_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace alpa::kernels::cpu
