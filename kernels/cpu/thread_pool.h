// The threads of one device. They run the parts of a kernel in parallel.
//
// Threads:   only one thread at a time (the device's stream) may call Run. The calling thread runs the first part
//            itself. Run returns when all parts are done. Workers spin briefly between calls and then sleep.
// Same bits: the caller derives the parts only from array sizes and size().
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace alpa::kernels::cpu {

class ThreadPool {
 public:
  // `threads` includes the calling thread. REQUIRES: threads >= 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls f(part) for every part in [0, parts). REQUIRES: parts <= size(); f does not throw.
  template <typename F>
  void Run(int parts, const F& f) {
    if (parts <= 1) {
      f(0);
      return;
    }
    Start(parts, [](const void* context, int part) { (*static_cast<const F*>(context))(part); }, &f);
    f(0);
    Finish();
  }

  // Splits [0, n) into at most size() parts of about equal size, and calls f(begin, end) for each part. Parts begin at
  // multiples of `grain`. If n <= grain, there is one part.
  template <typename F>
  void For(int64_t n, int64_t grain, const F& f) {
    const int64_t grains = (n + grain - 1) / grain;
    const int parts = static_cast<int>(grains < size() ? (grains < 1 ? 1 : grains) : size());
    Run(parts, [&](int part) {
      const int64_t begin = grains * part / parts * grain, end = grains * (part + 1) / parts * grain;
      f(begin, end < n ? end : n);
    });
  }

 private:
  using Function = void (*)(const void* context, int part);
  void Start(int parts, Function function, const void* context);
  void Finish();
  void Work(int index);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<uint64_t> round_{0};
  std::atomic<int> pending_{0};
  std::atomic<bool> stopping_{false};
  int sleeping_ = 0;  // number of workers that sleep; guarded by mutex_
  int parts_ = 0;
  Function function_ = nullptr;
  const void* context_ = nullptr;
};

}  // namespace alpa::kernels::cpu
