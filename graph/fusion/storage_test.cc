#include "graph/fusion/storage.h"

#include "gtest/gtest.h"

namespace alpa::fusion {
namespace {

using Kind = Place::Kind;

StorageProblem Problem(int values, Bytes size) {
  StorageProblem p;
  p.sizes.assign(values, size);
  p.constant.assign(values, false);
  return p;
}

TEST(StorageTest, AnAliasedResultIsWrittenInPlaceAtTheLastRead) {
  StorageProblem p = Problem(2, 256);
  p.parameters = {0};
  p.results = {1};
  p.alias = {0};
  p.units = {{{0}, {1}, {{{0, Sharing::kElementwise}}}, 0}};
  const StoragePlan plan = PlanStorage(p);
  EXPECT_EQ(plan.values[1], (Place{Kind::kParameter, 0, 0}));
  EXPECT_TRUE(plan.final_copies.empty());
  EXPECT_EQ(plan.arena, 0);
}

TEST(StorageTest, AnAliasedParameterWithALaterReaderIsNotOverwritten) {
  StorageProblem p = Problem(3, 256);
  p.parameters = {0};
  p.results = {1, 2};
  p.alias = {0, -1};
  p.units = {{{0}, {1}, {{{0, Sharing::kElementwise}}}, 0}, {{0}, {2}, {}, 0}};
  const StoragePlan plan = PlanStorage(p);
  EXPECT_EQ(plan.values[1].kind, Kind::kArena);
  EXPECT_EQ(plan.values[2], (Place{Kind::kResult, 1, 0}));
  ASSERT_EQ(plan.final_copies.size(), 1u);
  EXPECT_EQ(plan.final_copies[0].to, (Place{Kind::kParameter, 0, 0}));
}

TEST(StorageTest, AnAliasedResultIsCopiedIfItsUnitDoesNotAllowSharing) {
  StorageProblem p = Problem(2, 256);
  p.parameters = {0};
  p.results = {1};
  p.alias = {0};
  p.units = {{{0}, {1}, {}, 0}};
  const StoragePlan plan = PlanStorage(p);
  EXPECT_EQ(plan.values[1].kind, Kind::kArena);
  EXPECT_EQ(plan.final_copies.size(), 1u);
}

TEST(StorageTest, SwappedParametersAreCopiedThroughTheArena) {
  StorageProblem p = Problem(2, 64);
  p.parameters = {0, 1};
  p.results = {1, 0};
  p.alias = {0, 1};
  const StoragePlan plan = PlanStorage(p);
  ASSERT_EQ(plan.final_copies.size(), 4u);
  EXPECT_EQ(plan.final_copies[0].to.kind, Kind::kArena);
  EXPECT_EQ(plan.final_copies[1].to.kind, Kind::kArena);
  EXPECT_NE(plan.final_copies[0].to.offset, plan.final_copies[1].to.offset);
}

TEST(StorageTest, AResultThatIsItsAliasedParameterNeedsNoCopy) {
  StorageProblem p = Problem(1, 64);
  p.parameters = {0};
  p.results = {0};
  p.alias = {0};
  EXPECT_TRUE(PlanStorage(p).final_copies.empty());
}

TEST(StorageTest, AParameterWithoutAliasIsNeverWritten) {
  StorageProblem p = Problem(3, 64);
  p.parameters = {0};
  p.results = {2};
  p.units = {{{0}, {1}, {{{0, Sharing::kUpdate}}}, 0}, {{1}, {2}, {{{1, Sharing::kElementwise}}}, 0}};
  const StoragePlan plan = PlanStorage(p);
  EXPECT_EQ(plan.values[1].kind, Kind::kArena);
  EXPECT_EQ(plan.values[2].kind, Kind::kResult);
}

TEST(StorageTest, TwoWritesDoNotTakeOverOneRead) {
  StorageProblem p = Problem(5, 64);
  p.parameters = {0};
  p.results = {4};
  p.units = {{{0}, {1}, {}, 0},
             {{1}, {2, 3}, {{{1, Sharing::kElementwise}}, {{1, Sharing::kElementwise}}}, 0},
             {{2, 3}, {4}, {}, 0}};
  const StoragePlan plan = PlanStorage(p);
  EXPECT_EQ(plan.values[2], plan.values[1]);
  EXPECT_NE(plan.values[3].offset, plan.values[1].offset);
}

TEST(StorageTest, AValueThatIsTwoResultsIsCopiedOnce) {
  StorageProblem p = Problem(2, 64);
  p.parameters = {0};
  p.results = {1, 1};
  p.units = {{{0}, {1}, {}, 0}};
  const StoragePlan plan = PlanStorage(p);
  EXPECT_EQ(plan.values[1].kind, Kind::kResult);
  EXPECT_EQ(plan.final_copies.size(), 1u);
}

}  // namespace
}  // namespace alpa::fusion
