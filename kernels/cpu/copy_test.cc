#include "kernels/cpu/copy.h"

#include <cstring>
#include <numeric>
#include <random>

#include "graph/shape.h"
#include "gtest/gtest.h"

namespace alpa::kernels::cpu {
namespace {

using Dims = std::vector<int64_t>;

// The dimensions and strides of one copy. Source and destination are dense arrays with their dimensions in random
// orders. The source may be reversed or repeated along some dimensions.
struct Walk {
  Dims dims, from, to;
  int64_t from_offset = 0;
};

Walk RandomWalk(std::mt19937_64& random) {
  Walk walk;
  const int rank = static_cast<int>(random() % 5);
  const int64_t sizes[] = {1, 2, 3, 5, 16, 17, 40};
  for (int d = 0; d < rank; ++d) walk.dims.push_back(sizes[random() % std::size(sizes)]);
  Dims order(rank);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  walk.from = StridesInOrder(walk.dims, order);
  std::shuffle(order.begin(), order.end(), random);
  walk.to = StridesInOrder(walk.dims, order);
  for (int d = 0; d < rank; ++d) {
    if (random() % 4 == 0)
      walk.from_offset += (walk.dims[d] - 1) * walk.from[d], walk.from[d] = -walk.from[d];
    else if (random() % 6 == 0)
      walk.from[d] = 0;
  }
  return walk;
}

TEST(StridedCopyTest, CopiesTheSameElementsAsAPlainLoop) {
  std::mt19937_64 random(1);
  ThreadPool one(1), three(3);
  for (int round = 0; round < 300; ++round) {
    const Walk walk = RandomWalk(random);
    const int element = 1 << random() % 4;
    const int64_t n = std::accumulate(walk.dims.begin(), walk.dims.end(), int64_t{1}, std::multiplies<>());
    std::vector<std::byte> from(n * element), expected(n * element), actual(n * element);
    for (std::byte& b : from) b = static_cast<std::byte>(random());
    const Dims counting = graph::Strides(walk.dims);
    for (int64_t i = 0; i < n; ++i) {
      int64_t source = walk.from_offset, target = 0;
      for (size_t d = 0; d < walk.dims.size(); ++d) {
        const int64_t index = i / counting[d] % walk.dims[d];
        source += index * walk.from[d];
        target += index * walk.to[d];
      }
      std::memcpy(&expected[target * element], &from[source * element], element);
    }
    const StridedCopy copy(walk.dims, walk.from, walk.from_offset, walk.to, 0, element);
    copy.Run(from.data(), actual.data(), round % 2 == 0 ? one : three);
    EXPECT_EQ(actual, expected) << "round " << round;
  }
}

TEST(StridedCopyTest, SplitsALargeCopyAmongThreads) {
  ThreadPool pool(3);
  const int64_t rows = 300, columns = 500;
  std::vector<uint32_t> from(rows * columns), to(rows * columns);
  std::iota(from.begin(), from.end(), 0);
  StridedCopy({columns, rows}, {1, columns}, 0, {rows, 1}, 0, 4)
      .Run(reinterpret_cast<const std::byte*>(from.data()), reinterpret_cast<std::byte*>(to.data()), pool);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) ASSERT_EQ(to[c * rows + r], from[r * columns + c]);
  }
}

TEST(StridedCopyTest, RecognizesASingleDenseRun) {
  EXPECT_TRUE(StridedCopy({4, 1, 8}, {8, 99, 1}, 3, {8, 7, 1}, 0, 4).IsRun());
  EXPECT_FALSE(StridedCopy({4, 8}, {9, 1}, 0, {8, 1}, 0, 4).IsRun());
  EXPECT_FALSE(StridedCopy({4, 8}, {1, 4}, 0, {8, 1}, 0, 4).IsRun());
}

}  // namespace
}  // namespace alpa::kernels::cpu
