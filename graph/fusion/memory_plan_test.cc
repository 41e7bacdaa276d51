#include "graph/fusion/memory_plan.h"

#include <random>

#include "gtest/gtest.h"

namespace alpa::fusion {
namespace {

std::vector<Block> RandomBlocks(int n, int steps, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Block> blocks;
  for (int i = 0; i < n; ++i) {
    const int first = static_cast<int>(random() % steps);
    blocks.push_back({static_cast<Bytes>(random() % 5000), first, first + static_cast<int>(random() % 20)});
  }
  return blocks;
}

void ExpectNoOverlap(const std::vector<Block>& blocks, const MemoryPlan& plan) {
  for (size_t a = 0; a < blocks.size(); ++a) {
    EXPECT_EQ(plan.offsets[a] % kAlignment, 0);
    EXPECT_LE(plan.offsets[a] + blocks[a].size, plan.total);
    for (size_t b = a + 1; b < blocks.size(); ++b) {
      if (blocks[a].last < blocks[b].first || blocks[b].last < blocks[a].first) continue;
      EXPECT_TRUE(plan.offsets[a] + blocks[a].size <= plan.offsets[b] ||
                  plan.offsets[b] + blocks[b].size <= plan.offsets[a])
          << "blocks " << a << " and " << b << " overlap";
    }
  }
}

TEST(MemoryPlanTest, BlocksThatLiveTogetherDoNotOverlap) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const std::vector<Block> blocks = RandomBlocks(200, 100, seed);
    ExpectNoOverlap(blocks, PlanMemory(blocks));
  }
}

TEST(MemoryPlanTest, ManyBlocksPlacedInOrderOfTimeDoNotOverlap) {
  std::vector<Block> blocks = RandomBlocks(static_cast<int>(kMaxBySize) + 500, 3000, 7);
  const MemoryPlan plan = PlanMemory(blocks);
  // For each step, sort the live blocks by offset and compare neighbours.
  std::vector<std::vector<int>> live(3100);
  for (size_t b = 0; b < blocks.size(); ++b) {
    for (int s = blocks[b].first; s <= blocks[b].last; ++s) live[s].push_back(static_cast<int>(b));
  }
  for (auto& at : live) {
    std::sort(at.begin(), at.end(), [&](int a, int b) { return plan.offsets[a] < plan.offsets[b]; });
    for (size_t i = 1; i < at.size(); ++i) {
      ASSERT_LE(plan.offsets[at[i - 1]] + blocks[at[i - 1]].size, plan.offsets[at[i]]);
    }
  }
}

TEST(MemoryPlanTest, DeadBlocksReleaseTheirMemory) {
  std::vector<Block> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back({1 << 20, i, i + 1});
  EXPECT_EQ(PlanMemory(blocks).total, 2 << 20);
}

}  // namespace
}  // namespace alpa::fusion
