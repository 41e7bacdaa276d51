#include "plan/box.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace alpa::plan {
namespace {

TEST(BoxTest, SubtractLeavesDisjointPiecesThatCoverTheRest) {
  std::mt19937 random(7);
  auto box = [&] {
    Region r;
    for (int d = 0; d < 3; ++d) {
      r.start.push_back(random() % 4);
      r.size.push_back(random() % 4);
    }
    return r;
  };
  auto contains = [](const Region& r, const std::vector<int64_t>& p) {
    for (int d = 0; d < 3; ++d) {
      if (p[d] < r.start[d] || p[d] >= r.start[d] + r.size[d]) return false;
    }
    return true;
  };
  for (int i = 0; i < 500; ++i) {
    const Region a = box(), b = box();
    const std::vector<Region> pieces = Subtract(a, b);
    for (int64_t x = 0; x < 8; ++x) {
      for (int64_t y = 0; y < 8; ++y) {
        for (int64_t z = 0; z < 8; ++z) {
          int hits = 0;
          for (const Region& piece : pieces) hits += contains(piece, {x, y, z});
          EXPECT_EQ(hits, contains(a, {x, y, z}) && !contains(b, {x, y, z}) ? 1 : 0);
        }
      }
    }
  }
}

TEST(BoxTest, ScalarsIntersectAndTheirDifferenceIsEmpty) {
  const Region scalar;
  EXPECT_TRUE(Intersect(scalar, scalar).has_value());
  EXPECT_TRUE(Subtract(scalar, scalar).empty());
  EXPECT_FALSE(Empty(scalar));
}

// Copies a random region of a leaf into a short or full tile, in chunks of random size. Compares every element.
TEST(BoxWalkTest, CopiesEveryElementOfTheBoxOnceInChunksOfAnySize) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const int rank = static_cast<int>(random() % 4);
    Region stream, tile;
    std::vector<int64_t> tile_dims;
    for (int d = 0; d < rank; ++d) {
      stream.start.push_back(random() % 3);
      stream.size.push_back(1 + random() % 4);
      tile.start.push_back(random() % 3);
      tile.size.push_back(1 + random() % 4);
      tile_dims.push_back(tile.size[d] + random() % 2);
    }
    const std::optional<Region> box = Intersect(stream, tile);
    if (!box) continue;
    constexpr int64_t kElement = 4;
    std::vector<uint8_t> source(stream.elements() * kElement);
    for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<uint8_t>(1 + i % 250);
    int64_t tile_elements = 1;
    for (int64_t d : tile_dims) tile_elements *= d;
    std::vector<uint8_t> target(tile_elements * kElement, 0);
    const BoxWalk walk(*box, stream, tile.start, tile_dims, kElement);
    int64_t copied = 0;
    for (int64_t begin = 0; begin < static_cast<int64_t>(source.size());) {
      const int64_t end = std::min<int64_t>(begin + 1 + random() % 9, source.size());
      walk.ForEach(begin, end, [&](const ByteRun& run) {
        ASSERT_GE(run.stream_offset, begin);
        ASSERT_LE(run.stream_offset + run.size, end);
        for (int64_t i = 0; i < run.size; ++i) target[run.tile_offset + i] = source[run.stream_offset + i];
        copied += run.size;
      });
      begin = end;
    }
    EXPECT_EQ(copied, box->elements() * kElement);
    // Each element of the buffer that is inside the box equals the stream's element. All other elements keep their
    // values.
    for (int64_t e = 0; e < tile_elements; ++e) {
      std::vector<int64_t> at(rank);
      int64_t rest = e;
      for (int d = rank; d-- > 0;) {
        at[d] = tile.start[d] + rest % tile_dims[d];
        rest /= tile_dims[d];
      }
      bool inside = true;
      int64_t offset = 0;
      for (int d = 0; d < rank; ++d) {
        inside = inside && at[d] >= box->start[d] && at[d] < box->start[d] + box->size[d];
        offset = offset * stream.size[d] + (at[d] - stream.start[d]);
      }
      EXPECT_EQ(target[e * kElement], inside ? source[offset * kElement] : 0);
    }
  }
}

}  // namespace
}  // namespace alpa::plan
