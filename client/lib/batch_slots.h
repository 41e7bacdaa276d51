// Assigns the batches of a job to batch slots on its workers, and the steps of the job to step commands.
//
// Model:   If all batches fit into the slots, one step command covers all steps that remain. In this case, slot 0 holds
//          the batch of the command's first step, so a client can attach to the job at any step. If not all batches
//          fit, a step command covers a window: a range of steps whose batches fill half of the slots. While one window
//          runs, the client sends the batches of the next window.
// Threads: immutable.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace alpa::client {

class BatchSlots {
 public:
  // `bytes_of_one`: the size of one batch. `steps`: the number of steps of the job.
  BatchSlots(int64_t batches, Bytes bytes_of_one, int64_t steps);

  struct Command {
    int64_t first = 0, last = 0;        // first step and last step of the command; steps count from 1
    int32_t first_slot = 0, slots = 0;  // first_batch_slot and batch_slots of the StepCommand
    int64_t free_after = 0;             // once this step is done, the slots may be written; 0: at once
  };
  // Returns the command that begins with step `first`. REQUIRES: 1 <= first <= steps.
  Command From(int64_t first) const;
  bool all_fit() const { return window_ == 0; }

 private:
  int64_t batches_, steps_;
  int64_t window_ = 0;  // steps per window; 0: all batches fit
};

}  // namespace alpa::client
