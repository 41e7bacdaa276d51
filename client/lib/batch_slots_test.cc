#include "client/lib/batch_slots.h"

#include <gtest/gtest.h>

#include <map>

namespace alpa::client {
namespace {

// Simulates a job that starts at step `first` and ends with step `last`. Each step is done as late as its
// command allows. Checks that each step reads its own batch.
void Play(int64_t batches, Bytes bytes, int64_t first, int64_t last) {
  const BatchSlots slots(batches, bytes, last);
  std::map<int32_t, int64_t> content;  // slot -> batch
  std::map<int32_t, int64_t> readers;  // slot -> last step that reads it
  for (int64_t at = first; at <= last;) {
    const BatchSlots::Command command = slots.From(at);
    ASSERT_EQ(command.first, at);
    ASSERT_LE(command.last, last);
    ASSERT_LE(command.free_after, at - 1);
    ASSERT_GE(command.first_slot, 0);
    ASSERT_LE(command.first_slot + command.slots, 1024);
    if (!slots.all_fit()) {
      ASSERT_LE(int64_t{command.first_slot + command.slots} * bytes, std::max<Bytes>(kGiB, 2 * bytes));
    }
    for (int32_t i = 0; i < command.slots; ++i) {
      ASSERT_LE(readers[command.first_slot + i], command.free_after);
      content[command.first_slot + i] = (at - 1 + i) % batches;
    }
    for (int64_t step = command.first; step <= command.last; ++step) {
      const auto slot = static_cast<int32_t>(command.first_slot + (step - command.first) % command.slots);
      ASSERT_EQ(content.at(slot), (step - 1) % batches) << "step " << step;
      readers[slot] = step;
    }
    at = command.last + 1;
  }
}

TEST(BatchSlotsTest, EveryStepReadsItsOwnBatchForAnyFirstStep) {
  for (int64_t batches : {1, 2, 3, 5, 1023, 1024, 1025, 3000}) {
    for (int64_t last : {1, 2, 7, 1024, 5000}) {
      for (int64_t first : {1, 2, 4, 600, 1500, 5000}) {
        if (first > last) continue;
        SCOPED_TRACE(testing::Message() << batches << " batches, steps " << first << " to " << last);
        Play(batches, 1000, first, last);
      }
    }
  }
  Play(100, 40 * kMiB, 1, 350);  // 25 batches fit
  Play(5, 3 * kGiB, 1, 12);      // no batch fits: two slots, windows of one step
  Play(7, 3 * kGiB, 5, 12);
}

TEST(BatchSlotsTest, OneCommandCoversAllStepsIfAllBatchesFit) {
  const BatchSlots slots(1024, 1000, 1'000'000);
  EXPECT_TRUE(slots.all_fit());
  EXPECT_EQ(slots.From(1).last, 1'000'000);
  EXPECT_EQ(slots.From(999'999).slots, 2);
  EXPECT_FALSE(BatchSlots(1025, 1000, 1'000'000).all_fit());
  EXPECT_FALSE(BatchSlots(3, kGiB, 1'000'000).all_fit());
  EXPECT_TRUE(BatchSlots(1025, 1000, 1024).all_fit());  // no step uses the last batch
  EXPECT_TRUE(BatchSlots(16, 0, 5).all_fit());
}

}  // namespace
}  // namespace alpa::client
