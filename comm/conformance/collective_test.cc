// Compares the collectives with plain loops that follow their definitions, over every transport.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <random>

#include "base/clock.h"
#include "base/mutex.h"
#include "comm/collective.h"
#include "comm/conformance/world.h"
#include "graph/literal.h"

namespace alpa::comm {
namespace {

using graph::DType;
using graph::ReduceKind;
using kernels::CollectiveGroup;
using ::testing::Each;

// Counts of elements. Arrays of up to 1000 elements use direct exchange, and larger arrays use a ring. The last count
// needs several chunks per block. Only groups of up to 3 ranks use the last count.
constexpr size_t kCounts[] = {0, 1, 7, 1000, 5001, 50'001, 700'003};
std::span<const size_t> CountsFor(int ranks) {
  return std::span(kCounts).first(std::size(kCounts) - (ranks > 3 ? 1 : 0));
}

std::vector<int> Everybody(int n) {
  std::vector<int> members(static_cast<size_t>(n));
  std::iota(members.begin(), members.end(), 0);
  return members;
}

class CollectiveTest : public ::testing::TestWithParam<Subject> {
 protected:
  // Runs `body` on each of n ranks, with a group of all ranks.
  void OnGroup(int n, const std::function<void(CollectiveGroup&)>& body) {
    World world(GetParam(), n);
    Endpoints endpoints = world.Open(++epoch_);
    OnAll(endpoints, [&](Endpoint& e) {
      auto group = MakeGroup(e, Everybody(n), 3);
      ASSERT_TRUE(group.ok()) << group.status();
      body(**group);
    });
  }
  static inline uint64_t epoch_ = 0;
};
INSTANTIATE_TEST_SUITE_P(All, CollectiveTest, ::testing::ValuesIn(AllSubjects()), NameOfSubject);

// Returns a value that every type represents exactly. The value differs between ranks and between neighbouring
// elements.
float ValueOf(int rank, size_t i) { return static_cast<float>((rank + 1) * 3 + static_cast<int>(i % 11)); }
std::vector<float> ValuesOf(int rank, size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = ValueOf(rank, i);
  return values;
}

TEST_P(CollectiveTest, AllReduceSumsTheDataOfAllRanks) {
  for (int n = 1; n <= 5; ++n) {
    OnGroup(n, [&](CollectiveGroup& group) {
      for (size_t count : CountsFor(n)) {
        std::vector<float> data = ValuesOf(group.rank(), count), expected(count);
        for (int r = 0; r < n; ++r) {
          for (size_t i = 0; i < count; ++i) expected[i] += ValueOf(r, i);
        }
        ASSERT_EQ(group.AllReduce(BytesOf(data), DType::kF32, ReduceKind::kSum), absl::OkStatus());
        ASSERT_EQ(data, expected) << count;
      }
    });
  }
}

TEST_P(CollectiveTest, AllGatherConcatenatesTheBlocksAlsoInPlace) {
  for (int n = 1; n <= 5; ++n) {
    OnGroup(n, [&](CollectiveGroup& group) {
      for (size_t count : CountsFor(n)) {
        const std::vector<float> mine = ValuesOf(group.rank(), count);
        std::vector<float> all(count * n, -1), in_place(count * n, -1), expected;
        for (int r = 0; r < n; ++r) {
          for (size_t i = 0; i < count; ++i) expected.push_back(ValueOf(r, i));
        }
        ASSERT_EQ(group.AllGather(std::as_bytes(std::span(mine)), BytesOf(all)), absl::OkStatus());
        ASSERT_EQ(all, expected) << count;
        std::copy(mine.begin(), mine.end(), in_place.begin() + static_cast<ptrdiff_t>(count) * group.rank());
        const auto block = BytesOf(in_place).subspan(count * 4 * static_cast<size_t>(group.rank()), count * 4);
        ASSERT_EQ(group.AllGather(block, BytesOf(in_place)), absl::OkStatus());
        ASSERT_EQ(in_place, expected) << count;
      }
    });
  }
}

TEST_P(CollectiveTest, ReduceScatterGivesEachRankItsBlockAlsoInPlace) {
  for (int n = 1; n <= 5; ++n) {
    OnGroup(n, [&](CollectiveGroup& group) {
      const size_t rank = static_cast<size_t>(group.rank());
      for (size_t count : CountsFor(n)) {
        std::vector<float> in = ValuesOf(group.rank(), count * n), out(count, -1), expected(count);
        const std::vector<float> before = in;
        for (int r = 0; r < n; ++r) {
          for (size_t i = 0; i < count; ++i) expected[i] += ValueOf(r, rank * count + i);
        }
        ASSERT_EQ(group.ReduceScatter(BytesOf(in), BytesOf(out), DType::kF32, ReduceKind::kSum), absl::OkStatus());
        ASSERT_EQ(out, expected) << count;
        ASSERT_EQ(in, before) << "reduce-scatter changed its input";
        const auto block = BytesOf(in).subspan(rank * count * 4, count * 4);
        ASSERT_EQ(group.ReduceScatter(BytesOf(in), block, DType::kF32, ReduceKind::kSum), absl::OkStatus());
        ASSERT_TRUE(std::equal(expected.begin(), expected.end(), in.begin() + static_cast<ptrdiff_t>(rank * count)));
      }
    });
  }
}

TEST_P(CollectiveTest, AllToAllPermuteAndBroadcastMoveTheRightData) {
  for (int n = 1; n <= 5; ++n) {
    OnGroup(n, [&](CollectiveGroup& group) {
      const int rank = group.rank();
      for (size_t count : CountsFor(n)) {
        std::vector<float> in, out(count * n, -1), expected;
        for (int other = 0; other < n; ++other) {
          for (size_t i = 0; i < count; ++i) in.push_back(ValueOf(rank, i) + 100.0f * static_cast<float>(other));
          for (size_t i = 0; i < count; ++i) expected.push_back(ValueOf(other, i) + 100.0f * static_cast<float>(rank));
        }
        ASSERT_EQ(group.AllToAll(BytesOf(in), BytesOf(out)), absl::OkStatus());
        ASSERT_EQ(out, expected) << count;

        // Each rank sends to the next rank. The last rank sends to nobody, and the first rank receives from nobody.
        std::vector<int64_t> shift(static_cast<size_t>(n), -1);
        std::iota(shift.begin(), shift.end() - 1, 1);
        std::vector<float> mine = ValuesOf(rank, count), moved(count, -1);
        ASSERT_EQ(group.Permute(BytesOf(mine), BytesOf(moved), shift), absl::OkStatus());
        ASSERT_EQ(moved, rank == 0 ? std::vector<float>(count) : ValuesOf(rank - 1, count));
        std::vector<int64_t> reversed(static_cast<size_t>(n));
        for (int i = 0; i < n; ++i) reversed[i] = n - 1 - i;   // if n is odd, the middle rank sends to itself
        ASSERT_EQ(group.Permute(BytesOf(mine), BytesOf(moved), reversed), absl::OkStatus());
        ASSERT_EQ(moved, ValuesOf(n - 1 - rank, count));

        for (int root = 0; root < n; ++root) {
          std::vector<float> data = ValuesOf(rank, count);
          ASSERT_EQ(group.Broadcast(BytesOf(data), root), absl::OkStatus());
          ASSERT_EQ(data, ValuesOf(root, count));
        }
        ASSERT_EQ(group.Barrier(), absl::OkStatus());
      }
    });
  }
}

TEST_P(CollectiveTest, BarrierWaitsForTheLastRank) {
  std::atomic<int> arrived{0};
  OnGroup(3, [&](CollectiveGroup& group) {
    SleepMillis(group.rank() * 30);
    ++arrived;
    ASSERT_EQ(group.Barrier(), absl::OkStatus());
    EXPECT_EQ(arrived, 3);
  });
}

// The sums round, so their bits depend on the order. All ranks and a second run must get the same bits.
TEST_P(CollectiveTest, EveryRankAndARerunGetTheSameBits) {
  for (size_t count : {size_t{100}, size_t{200'001}}) {
    std::vector<std::vector<float>> results;
    Mutex mutex;
    for (int run = 0; run < 2; ++run) {
      OnGroup(4, [&](CollectiveGroup& group) {
        std::mt19937 random(static_cast<unsigned>(group.rank()));
        std::vector<float> data(count);
        for (float& x : data) x = std::normal_distribution<float>()(random);
        ASSERT_EQ(group.AllReduce(BytesOf(data), DType::kF32, ReduceKind::kSum), absl::OkStatus());
        MutexLock lock(mutex);
        results.push_back(data);
      });
    }
    ASSERT_EQ(results.size(), 8u);
    EXPECT_THAT(results, Each(results[0]));
  }
}

TEST_P(CollectiveTest, SixteenBitFloatsAreSummedInF32AndRoundedOnce) {
  for (int n : {2, 3, 5}) {
    for (DType dtype : {DType::kBF16, DType::kF16}) {
      auto to_bits = dtype == DType::kBF16 ? graph::FloatToBf16 : graph::FloatToF16;
      // The spacing of bf16 values from 256 up is 2, and so is the spacing of f16 values from 2048 up. A sum that is
      // rounded after each term would therefore lose each added 1.
      const float large = dtype == DType::kBF16 ? 256.0f : 2048.0f;
      const uint16_t expected = to_bits(large + static_cast<float>(n - 1));
      OnGroup(n, [&](CollectiveGroup& group) {
        for (size_t count : {size_t{5}, size_t{60'007}}) {
          std::vector<uint16_t> data(count, to_bits(group.rank() == 0 ? large : 1.0f)), out(count);
          std::vector<uint16_t> in(count * n, data[0]);
          ASSERT_EQ(group.AllReduce(BytesOf(data), dtype, ReduceKind::kSum), absl::OkStatus());
          EXPECT_THAT(data, Each(expected));
          ASSERT_EQ(group.ReduceScatter(BytesOf(in), BytesOf(out), dtype, ReduceKind::kSum), absl::OkStatus());
          EXPECT_THAT(out, Each(expected));
        }
      });
    }
  }
}

TEST_P(CollectiveTest, GroupsOfRowsAndColumnsAreIndependent) {
  World world(GetParam(), 6);
  Endpoints endpoints = world.Open(++epoch_);
  OnAll(endpoints, [](Endpoint& e) {
    const int row = e.rank() / 3, column = e.rank() % 3;
    auto rows = MakeGroup(e, {3 * row + 2, 3 * row, 3 * row + 1}, 1);   // the members of a group may be in any order
    auto columns = MakeGroup(e, {column, column + 3}, 2);
    auto all = MakeGroup(e, Everybody(6), 3);
    ASSERT_TRUE(rows.ok() && columns.ok() && all.ok());
    EXPECT_EQ((*rows)->rank(), (column + 1) % 3);
    for (int i = 0; i < 30; ++i) {
      std::vector<int32_t> x = {e.rank()}, y = {e.rank() + 1}, z = {e.rank()}, places(3);
      ASSERT_EQ((*rows)->AllReduce(BytesOf(x), DType::kS32, ReduceKind::kSum), absl::OkStatus());
      ASSERT_EQ((*columns)->AllReduce(BytesOf(y), DType::kS32, ReduceKind::kProduct), absl::OkStatus());
      ASSERT_EQ((*all)->AllReduce(BytesOf(z), DType::kS32, ReduceKind::kMax), absl::OkStatus());
      EXPECT_EQ(x[0], 9 * row + 3);
      EXPECT_EQ(y[0], (column + 1) * (column + 4));
      EXPECT_EQ(z[0], 5);
      std::vector<int32_t> mine = {e.rank()};
      ASSERT_EQ((*rows)->AllGather(BytesOf(mine), BytesOf(places)), absl::OkStatus());
      EXPECT_EQ(places, (std::vector<int32_t>{3 * row + 2, 3 * row, 3 * row + 1}));
    }
  });
}

using Call = std::function<absl::Status(CollectiveGroup&)>;

std::vector<std::pair<std::string, Call>> AllCalls(size_t count) {
  auto floats = [](size_t n) { return std::make_shared<std::vector<float>>(n, 1.0f); };
  return {
      {"AllReduce",
       [=](CollectiveGroup& g) { return g.AllReduce(BytesOf(*floats(count)), DType::kF32, ReduceKind::kSum); }},
      {"AllGather",
       [=](CollectiveGroup& g) { return g.AllGather(BytesOf(*floats(count)), BytesOf(*floats(3 * count))); }},
      {"ReduceScatter", [=](CollectiveGroup& g) {
         return g.ReduceScatter(BytesOf(*floats(3 * count)), BytesOf(*floats(count)), DType::kF32, ReduceKind::kSum);
       }},
      {"AllToAll",
       [=](CollectiveGroup& g) { return g.AllToAll(BytesOf(*floats(3 * count)), BytesOf(*floats(3 * count))); }},
      {"Permute", [=](CollectiveGroup& g) {
         return g.Permute(BytesOf(*floats(count)), BytesOf(*floats(count)), std::vector<int64_t>{1, 2, 0});
       }},
      {"Broadcast", [=](CollectiveGroup& g) { return g.Broadcast(BytesOf(*floats(count)), 2); }},
      {"Barrier", [=](CollectiveGroup& g) { return g.Barrier(); }},
  };
}

TEST_P(CollectiveTest, AbortUnblocksEveryCall) {
  const absl::Status cause = absl::AbortedError("worker c was lost");
  for (size_t count : {size_t{1}, size_t{300'000}}) {
    for (const auto& [name, call] : AllCalls(count)) {
      World world(GetParam(), 3);
      Endpoints endpoints = world.Open(++epoch_);
      OnAll(endpoints, [&](Endpoint& e) {
        auto group = MakeGroup(e, {0, 1, 2}, 0);
        if (e.rank() == 2) {   // rank 2 takes no part in the call
          SleepMillis(20);
          e.Abort(cause);
          return;
        }
        MonotonicTime aborted;
        std::thread aborter([&] {
          SleepMillis(20);
          aborted = Clock::Real().Now();
          (*group)->Abort(cause);
        });
        absl::Status status = call(**group);
        // The first calls may succeed without rank 2: messages to rank 2 may be buffered, and the other ranks may need
        // no message from rank 2.
        while (status.ok()) status = call(**group);
        aborter.join();
        EXPECT_LT(Clock::Real().Now() - aborted, std::chrono::seconds(1)) << name;
        // Rank 2's abort may arrive before this rank aborts. Over TCP, this rank may lose the connection to rank 2
        // before that abort arrives.
        EXPECT_TRUE(absl::IsAborted(status) || absl::IsUnavailable(status)) << name << ": " << status;
        EXPECT_FALSE((*group)->Barrier().ok()) << name;
      });
    }
  }
}

// If sizes differ, the call fails on the rank that sees the difference, even while its other messages are open. That
// rank's abort then makes the call fail on the other ranks, because they may miss messages.
TEST_P(CollectiveTest, DifferentSizesFailInsteadOfHanging) {
  World world(GetParam(), 3);
  Endpoints endpoints = world.Open(++epoch_);
  OnAll(endpoints, [](Endpoint& e) {
    auto group = MakeGroup(e, {0, 1, 2}, 0);
    std::vector<float> data(e.rank() == 0 ? 10 : 20, 1.0f);
    if (e.rank() == 2) return;   // rank 2 never makes the call
    EXPECT_FALSE((*group)->AllReduce(BytesOf(data), DType::kF32, ReduceKind::kSum).ok());
  });
}

// ---- Tests that do not depend on the transport ----

class ReducingTest : public ::testing::Test {
 protected:
  template <typename T>
  void Check(DType dtype, std::vector<ReduceKind> kinds, int n, size_t count) {
    Endpoints endpoints = MakeLocalEndpoints(n);
    OnAll(endpoints, [&](Endpoint& e) {
      auto group = MakeGroup(e, Everybody(n), 0);
      for (ReduceKind kind : kinds) {
        auto value = [&](int rank, size_t i) {
          const int v = (rank * 7 + static_cast<int>(i) * 5) % 9 - (std::is_signed_v<T> ? 4 : 0);
          return static_cast<T>(dtype == DType::kPred ? v & 1 : v);
        };
        std::vector<T> data(count), expected(count);
        for (size_t i = 0; i < count; ++i) {
          data[i] = expected[i] = value(e.rank(), i);
          T sum = value(0, i);
          for (int r = 1; r < n; ++r) sum = Apply(dtype, kind, sum, value(r, i));
          expected[i] = sum;
        }
        ASSERT_EQ((*group)->AllReduce(BytesOf(data), dtype, kind), absl::OkStatus());
        ASSERT_EQ(data, expected)
            << graph::NameOf(dtype) << " " << graph::NameOf(kind) << ", " << n << " ranks, " << count << " elements";
      }
    });
  }
  template <typename T>
  static T Apply(DType dtype, ReduceKind kind, T a, T b) {
    if (dtype == DType::kPred) {
      const bool any = kind == ReduceKind::kSum || kind == ReduceKind::kMax || kind == ReduceKind::kOr;
      return static_cast<T>(any ? a || b : a && b);
    }
    switch (kind) {
      case ReduceKind::kSum: return static_cast<T>(a + b);
      case ReduceKind::kProduct: return static_cast<T>(a * b);
      case ReduceKind::kMax: return std::max(a, b);
      case ReduceKind::kMin: return std::min(a, b);
      case ReduceKind::kAnd: return static_cast<T>(static_cast<int64_t>(a) & static_cast<int64_t>(b));
      case ReduceKind::kOr: return static_cast<T>(static_cast<int64_t>(a) | static_cast<int64_t>(b));
    }
    return a;
  }
};

TEST_F(ReducingTest, EveryTypeAndKindGivesTheDefinedResult) {
  const std::vector<ReduceKind> ordered = {ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin, ReduceKind::kProduct};
  std::vector<ReduceKind> all = ordered;
  all.insert(all.end(), {ReduceKind::kAnd, ReduceKind::kOr});
  // The cases cover direct exchange and a ring with few ranks, and a tree and a ring with 11 ranks.
  for (auto [n, count] : std::vector<std::pair<int, size_t>>{{2, 13}, {3, 13}, {3, 40'009}, {11, 13}, {11, 40'009}}) {
    Check<uint8_t>(DType::kPred, all, n, count);
    Check<int8_t>(DType::kS8, all, n, count);
    Check<int16_t>(DType::kS16, all, n, count);
    Check<int32_t>(DType::kS32, all, n, count);
    Check<int64_t>(DType::kS64, all, n, count);
    Check<uint8_t>(DType::kU8, all, n, count);
    Check<uint16_t>(DType::kU16, all, n, count);
    Check<uint32_t>(DType::kU32, all, n, count);
    Check<uint64_t>(DType::kU64, all, n, count);
    Check<float>(DType::kF32, {ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin}, n, count);
    Check<double>(DType::kF64, ordered, std::min(n, 3), count);   // products of more terms do not fit 53 bits
  }
}

TEST_F(ReducingTest, ATreeSumsSixteenBitFloatsInF32) {
  Endpoints endpoints = MakeLocalEndpoints(12);
  OnAll(endpoints, [](Endpoint& e) {
    auto group = MakeGroup(e, Everybody(12), 0);
    std::vector<uint16_t> data(9, graph::FloatToBf16(e.rank() == 0 ? 256.0f : 1.0f));
    ASSERT_EQ((*group)->AllReduce(BytesOf(data), DType::kBF16, ReduceKind::kSum), absl::OkStatus());
    EXPECT_THAT(data, Each(graph::FloatToBf16(267.0f)));
  });
}

TEST(GroupTest, BadGroupsAndArgumentsAreRefused) {
  Endpoints endpoints = MakeLocalEndpoints(2);
  EXPECT_FALSE(MakeGroup(*endpoints[0], {1}, 0).ok());
  EXPECT_FALSE(MakeGroup(*endpoints[0], {0, 2}, 0).ok());
  EXPECT_FALSE(MakeGroup(*endpoints[0], {0, 0}, 0).ok());
  EXPECT_FALSE(MakeGroup(*endpoints[0], {0, -1}, 0).ok());
  EXPECT_FALSE(MakeGroup(*endpoints[0], {0, 1}, 1024).ok());
  auto group = *MakeGroup(*endpoints[0], {0, 1}, 0);
  std::vector<float> one(1), two(2), three(3);
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(group->AllReduce(BytesOf(one), DType::kF32, ReduceKind::kAnd).code(), invalid);
  EXPECT_EQ(group->AllReduce(BytesOf(one).first(3), DType::kF32, ReduceKind::kSum).code(), invalid);
  EXPECT_EQ(group->AllGather(BytesOf(one), BytesOf(three)).code(), invalid);
  EXPECT_EQ(group->ReduceScatter(BytesOf(three), BytesOf(one), DType::kF32, ReduceKind::kSum).code(), invalid);
  EXPECT_EQ(group->AllToAll(BytesOf(two), BytesOf(one)).code(), invalid);
  EXPECT_EQ(group->Permute(BytesOf(one), BytesOf(two), std::vector<int64_t>{1, 0}).code(), invalid);
  EXPECT_EQ(group->Permute(BytesOf(one), BytesOf(one), std::vector<int64_t>{1}).code(), invalid);
  EXPECT_EQ(group->Permute(BytesOf(one), BytesOf(one), std::vector<int64_t>{1, 1}).code(), invalid);
  EXPECT_EQ(group->Permute(BytesOf(one), BytesOf(one), std::vector<int64_t>{2, 0}).code(), invalid);
  EXPECT_EQ(group->Broadcast(BytesOf(one), 2).code(), invalid);
}

}  // namespace
}  // namespace alpa::comm
