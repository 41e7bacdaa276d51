// A mutex that both Clang's thread-safety analysis and ThreadSanitizer (TSan) understand. This project does not use
// absl::Mutex, because TSan reports false races for it if Abseil itself was built without TSan.
//
//   Mutex mutex_;
//   int count_ ALPA_GUARDED_BY(mutex_);
//   { MutexLock lock(mutex_); ++count_; changed_.NotifyAll(); }
#pragma once

#include <condition_variable>
#include <mutex>

#include "base/clock.h"

#if defined(__clang__)
#define ALPA_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define ALPA_THREAD_ANNOTATION(x)
#endif
#define ALPA_CAPABILITY(x) ALPA_THREAD_ANNOTATION(capability(x))
#define ALPA_SCOPED_CAPABILITY ALPA_THREAD_ANNOTATION(scoped_lockable)
#define ALPA_GUARDED_BY(x) ALPA_THREAD_ANNOTATION(guarded_by(x))
#define ALPA_REQUIRES(...) ALPA_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define ALPA_EXCLUDES(...) ALPA_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define ALPA_ACQUIRE(...) ALPA_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define ALPA_RELEASE(...) ALPA_THREAD_ANNOTATION(release_capability(__VA_ARGS__))

namespace alpa {

class ALPA_CAPABILITY("mutex") Mutex {
 public:
  void Lock() ALPA_ACQUIRE() { mutex_.lock(); }
  void Unlock() ALPA_RELEASE() { mutex_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

class ALPA_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ALPA_ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  ~MutexLock() ALPA_RELEASE() = default;

 private:
  friend class CondVar;
  friend class MutexUnlock;
  std::unique_lock<std::mutex> lock_;
};

// The constructor releases a lock, and the destructor takes it again.
class MutexUnlock {
 public:
  explicit MutexUnlock(MutexLock& lock) : lock_(lock.lock_) { lock_.unlock(); }
  ~MutexUnlock() { lock_.lock(); }

 private:
  std::unique_lock<std::mutex>& lock_;
};

class CondVar {
 public:
  void Wait(MutexLock& lock) { condition_.wait(lock.lock_); }
  // Returns false if the deadline passed. Spurious wake-ups happen, so call WaitUntil in a loop that tests the
  // condition.
  bool WaitUntil(MutexLock& lock, MonotonicTime deadline) {
    return condition_.wait_until(lock.lock_, deadline) == std::cv_status::no_timeout;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace alpa
