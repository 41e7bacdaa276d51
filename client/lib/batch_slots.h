// Where the batches of a job lie on its workers, and which steps go in one command.
//
// Model:   a batch's place is its slot. Where all batches fit, one command holds all steps and slots count from its
// first
//          step's batch, so that a job can be picked up at any step. Otherwise steps go in windows, half of the slots
//          each: one runs while the next one's batches are sent.
// Threads: immutable.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace alpa::client {

class BatchSlots {
 public:
  BatchSlots(int64_t batches, Bytes bytes_of_one, int64_t steps);

  struct Command {
    int64_t first = 0, last = 0;        // steps
    int32_t first_slot = 0, slots = 0;  // as StepCommand's
    int64_t free_after = 0;             // once this step is done, the slots may be written
  };
  // The command that begins with step `first`. REQUIRES: 1 <= first <= steps.
  Command From(int64_t first) const;
  bool all_fit() const { return window_ == 0; }

 private:
  int64_t batches_, steps_;
  int64_t window_ = 0;  // steps; 0: all batches fit
};

}  // namespace alpa::client
