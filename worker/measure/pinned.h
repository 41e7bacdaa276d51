// Keeps the calling thread on one processor for a while: two threads that wake each other are else often put on one, which two devices
// at work are not.
//
// Threads: each object belongs to the thread that made it.
#pragma once

#include <sched.h>

namespace alpa::worker {

class Pinned {
 public:
  // To the first (or last) processor that the thread may run on. Does nothing where that cannot be had.
  explicit Pinned(bool last) {
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
  ~Pinned() {
    if (known_) sched_setaffinity(0, sizeof(before_), &before_);
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_;
  bool known_ = false;
};

}  // namespace alpa::worker
