#include "client/lib/box_cursor.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace alpa::client {
namespace {

// Returns for each element of the box, in row-major order, its index in the array.
std::vector<int64_t> Walk(const std::vector<int64_t>& dims, const plan::Region& box) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < box.elements(); ++i) {
    int64_t rest = i, at = 0, stride = 1;
    for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
      at += (box.start[d] + rest % box.size[d]) * stride;
      rest /= box.size[d];
      stride *= dims[d];
    }
    out.push_back(at);
  }
  return out;
}

struct Case {
  std::vector<int64_t> dims;
  plan::Region box;
};

Case RandomCase(std::mt19937& random, int rank) {
  Case c;
  for (int d = 0; d < rank; ++d) {
    c.dims.push_back(1 + random() % 5);
    const int64_t start = random() % c.dims[d];
    c.box.start.push_back(random() % 2 == 0 ? 0 : start);
    c.box.size.push_back(random() % 2 == 0 ? c.dims[d] - c.box.start[d] : 1 + random() % (c.dims[d] - c.box.start[d]));
  }
  return c;
}

TEST(BoxCursorTest, CopiesABoxInRowMajorOrderForAnySizePerCall) {
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    const Case c = RandomCase(random, i % 5);
    const int64_t elements = std::accumulate(c.dims.begin(), c.dims.end(), int64_t{1}, std::multiplies<>());
    std::vector<uint32_t> array(elements);
    std::iota(array.begin(), array.end(), 0u);
    const std::vector<int64_t> expected = Walk(c.dims, c.box);

    BoxCursor out(c.dims, c.box, 4);
    ASSERT_EQ(out.remaining(), c.box.elements() * 4);
    std::vector<uint8_t> bytes(out.remaining());
    for (Bytes at = 0; out.remaining() > 0;) {
      const Bytes size = std::min<Bytes>(out.remaining(), 1 + random() % 13);
      out.CopyOut(reinterpret_cast<const uint8_t*>(array.data()), bytes.data() + at, size);
      at += size;
    }
    const auto* copied = reinterpret_cast<const uint32_t*>(bytes.data());
    ASSERT_EQ(std::vector<int64_t>(copied, copied + expected.size()), expected);

    // Copying the bytes back changes only the box.
    std::vector<uint32_t> target(elements, ~0u);
    BoxCursor in(c.dims, c.box, 4);
    for (Bytes at = 0; in.remaining() > 0;) {
      const Bytes size = std::min<Bytes>(in.remaining(), 1 + random() % 13);
      in.CopyIn(reinterpret_cast<uint8_t*>(target.data()), bytes.data() + at, size);
      at += size;
    }
    std::vector<uint32_t> wanted(elements, ~0u);
    for (int64_t n : expected) wanted[n] = static_cast<uint32_t>(n);
    ASSERT_EQ(target, wanted);
  }
}

TEST(BoxCursorTest, PiecesCoverTheBoxInOrder) {
  std::mt19937 random(2);
  for (int i = 0; i < 2000; ++i) {
    const Case c = RandomCase(random, i % 5);
    const std::vector<int64_t> whole = Walk(c.dims, c.box);
    std::vector<int64_t> joined;
    for (const plan::Region& piece : CutBox(c.box, 4, 4 + random() % 100)) {
      ASSERT_GT(piece.elements(), 0);
      const std::vector<int64_t> part = Walk(c.dims, piece);
      joined.insert(joined.end(), part.begin(), part.end());
    }
    ASSERT_EQ(joined, whole);
  }
}

TEST(BoxCursorTest, PiecesHaveAboutTheRequestedSize) {
  const plan::Region box{{0, 0}, {1000, 250}};
  const auto pieces = CutBox(box, 4, 100'000);
  EXPECT_EQ(pieces.size(), 10u);
  for (const plan::Region& piece : pieces) EXPECT_EQ(piece.elements() * 4, 100'000);
  EXPECT_EQ(CutBox(box, 4, 1'000'000).size(), 1u);
  EXPECT_EQ(CutBox({{0, 0}, {1, 250}}, 4, 100).size(), 10u);  // cut along the second dimension
  EXPECT_EQ(CutBox({{}, {}}, 4, 1).size(), 1u);
  const plan::Region large{{0}, {int64_t{1} << 40}};  // no product overflows
  EXPECT_EQ(CutBox(large, 8, int64_t{1} << 36).size(), 128u);
}

}  // namespace
}  // namespace alpa::client
