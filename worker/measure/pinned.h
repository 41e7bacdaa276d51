// Keeps the calling thread on one processor for the life of an object. Without a pin, the system often puts two threads
// that wake each other on the same processor. Two busy devices, in contrast, run on different processors.
//
// Threads: only the thread that creates an object uses it.
#pragma once

#include <sched.h>

namespace alpa::worker {

class PinnedThread {
 public:
  // Pins the thread to the first (or last) processor on which it may run. Does nothing if the system refuses.
  explicit PinnedThread(bool last) {
    known_ = sched_getaffinity(0, sizeof(before_), &before_) == 0;
    int chosen = -1;
    for (int cpu = 0; known_ && cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &before_) && (last || chosen < 0)) chosen = cpu;
    }
    if (chosen < 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(chosen, &one);
    sched_setaffinity(0, sizeof(one), &one);
  }
  ~PinnedThread() {
    if (known_) sched_setaffinity(0, sizeof(before_), &before_);
  }
  PinnedThread(const PinnedThread&) = delete;
  PinnedThread& operator=(const PinnedThread&) = delete;

 private:
  cpu_set_t before_;
  bool known_ = false;
};

}  // namespace alpa::worker
