// The threads of one device: runs a kernel's parts side by side.
//
// Threads:  Run is called from one thread at a time (the device's stream); it does the first part itself and returns when
//           all parts are done. Workers sleep between calls after a short spin.
// Same bits: the caller decides the parts, from sizes and size() alone.
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
  // `threads` >= 1 counts the caller.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // f(part) for every part in [0, parts). Parts are at most size(). f must not throw.
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

  // f(begin, end) over [0, n) in at most size() even parts; parts begin at multiples of `grain`, and there is one part only
  // below 2 * grain.
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
  int sleeping_ = 0;  // under mutex_
  int parts_ = 0;
  Function function_ = nullptr;
  const void* context_ = nullptr;
};

}  // namespace alpa::kernels::cpu
