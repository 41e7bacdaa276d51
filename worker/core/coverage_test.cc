#include "worker/core/coverage.h"

#include <gtest/gtest.h>

namespace alpa::worker {
namespace {

Region Box(int64_t start, int64_t size) { return {{start}, {size}}; }

TEST(Coverage, IsCompleteOnlyWhenEveryPartWasPut) {
  Coverage coverage({Box(0, 4), Box(2, 6), Box(0, 4)});
  EXPECT_FALSE(coverage.complete());
  for (const Region& part : {Box(0, 3), Box(5, 3)}) {
    ASSERT_TRUE(coverage.Begin(part).ok());
    coverage.End(part, true);
  }
  EXPECT_FALSE(coverage.complete());
  EXPECT_EQ(coverage.Missing(), "[3:4]");
  EXPECT_TRUE(coverage.Covers(Box(5, 2)));
  EXPECT_FALSE(coverage.Covers(Box(2, 2)));
  // A second put of the same region does not cover the regions that are still missing.
  ASSERT_TRUE(coverage.Begin(Box(0, 3)).ok());
  coverage.End(Box(0, 3), true);
  EXPECT_FALSE(coverage.complete());
  ASSERT_TRUE(coverage.Begin(Box(3, 2)).ok());
  coverage.End(Box(3, 2), true);
  EXPECT_TRUE(coverage.complete());
}

TEST(Coverage, AnIncompletePutMakesItsRegionMissing) {
  Coverage coverage({Box(0, 4)});
  ASSERT_TRUE(coverage.Begin(Box(0, 4)).ok());
  coverage.End(Box(0, 4), true);
  EXPECT_TRUE(coverage.complete());
  ASSERT_TRUE(coverage.Begin(Box(1, 2)).ok());
  EXPECT_FALSE(coverage.complete());
  coverage.End(Box(1, 2), false);
  EXPECT_FALSE(coverage.complete());
  EXPECT_EQ(coverage.Missing(), "[1:3]");
}

TEST(Coverage, RefusesAPutThatOverlapsAnotherPutInProgress) {
  Coverage coverage({Box(0, 4)});
  ASSERT_TRUE(coverage.Begin(Box(0, 2)).ok());
  EXPECT_EQ(coverage.Begin(Box(1, 2)).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(coverage.Begin(Box(2, 2)).ok());
}

TEST(Coverage, IsCompleteIfNothingIsNeeded) { EXPECT_TRUE(Coverage({{{0}, {0}}}).complete()); }

}  // namespace
}  // namespace alpa::worker
