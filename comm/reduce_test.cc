#include "comm/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "graph/literal.h"

namespace alpa::comm {
namespace {

using graph::DType;
using graph::ReduceKind;

template <typename T>
std::vector<T> Reduced(std::vector<T> a, const std::vector<T>& b, DType dtype, ReduceKind kind) {
  std::vector<T> separate(a.size());
  Reduce(std::as_writable_bytes(std::span(separate)), std::as_bytes(std::span(a)), std::as_bytes(std::span(b)), dtype,
         kind);
  Reduce(std::as_writable_bytes(std::span(a)), std::as_bytes(std::span(a)), std::as_bytes(std::span(b)), dtype, kind);
  EXPECT_EQ(0, std::memcmp(a.data(), separate.data(), a.size() * sizeof(T)))
      << "results in place and in separate memory differ";
  return a;
}

TEST(ReduceTest, HalfPrecisionWidensLikeTheReference) {
  std::vector<uint16_t> bits(65536);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  std::vector<float> wide(bits.size());
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    Widen(std::as_bytes(std::span(bits)), std::as_writable_bytes(std::span(wide)), dtype);
    for (size_t i = 0; i < bits.size(); ++i) {
      const float expected = dtype == DType::kF16 ? graph::F16ToFloat(bits[i]) : graph::Bf16ToFloat(bits[i]);
      ASSERT_EQ(std::isnan(expected), std::isnan(wide[i])) << i;
      ASSERT_TRUE(std::isnan(expected) || std::memcmp(&expected, &wide[i], 4) == 0) << i;
    }
  }
}

TEST(ReduceTest, HalfPrecisionRoundsLikeTheReference) {
  std::vector<float> wide;
  // Adds every f16, the midpoint between it and the next f16, and the floats next to that midpoint.
  for (uint32_t i = 0; i < 65536; ++i) {
    const float at = graph::F16ToFloat(static_cast<uint16_t>(i)),
                next = graph::F16ToFloat(static_cast<uint16_t>(i + 1));
    const float half = at / 2 + next / 2;
    for (float x : {at, half, std::nextafter(half, 0.0f), std::nextafter(half, INFINITY)}) wide.push_back(x);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 200'000; ++i) {
    const uint32_t bits = random();
    float x;
    std::memcpy(&x, &bits, 4);
    wide.push_back(x);
  }
  for (float x : {65504.0f, 65519.0f, 65520.0f, -65520.0f, 1e30f, 0.0f, -0.0f, 1e-30f, INFINITY, -INFINITY, NAN}) {
    wide.push_back(x);
  }
  std::vector<uint16_t> narrow(wide.size());
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    Narrow(std::as_bytes(std::span(wide)), std::as_writable_bytes(std::span(narrow)), dtype);
    for (size_t i = 0; i < wide.size(); ++i) {
      const uint16_t expected = dtype == DType::kF16 ? graph::FloatToF16(wide[i]) : graph::FloatToBf16(wide[i]);
      ASSERT_EQ(narrow[i], expected) << wide[i];
    }
  }
}

TEST(ReduceTest, MaxAndMinPropagateNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (ReduceKind kind : {ReduceKind::kMax, ReduceKind::kMin}) {
    const std::vector<float> r =
        Reduced<float>({nan, 1, nan, 1, -INFINITY}, {1, nan, nan, 2, INFINITY}, DType::kF32, kind);
    EXPECT_TRUE(std::isnan(r[0]) && std::isnan(r[1]) && std::isnan(r[2]));
    EXPECT_EQ(r[3], kind == ReduceKind::kMax ? 2 : 1);
    EXPECT_EQ(r[4], kind == ReduceKind::kMax ? INFINITY : -INFINITY);
  }
}

TEST(ReduceTest, IntegersWrap) {
  EXPECT_EQ(Reduced<int32_t>({INT32_MAX}, {1}, DType::kS32, ReduceKind::kSum)[0], INT32_MIN);
  EXPECT_EQ(Reduced<int64_t>({INT64_MAX}, {2}, DType::kS64, ReduceKind::kProduct)[0], -2);
  EXPECT_EQ(Reduced<int8_t>({127}, {127}, DType::kS8, ReduceKind::kSum)[0], -2);
  EXPECT_EQ(Reduced<uint16_t>({65535}, {65535}, DType::kU16, ReduceKind::kProduct)[0], 1);
  EXPECT_EQ(Reduced<uint64_t>({UINT64_MAX}, {1}, DType::kU64, ReduceKind::kSum)[0], 0u);
  EXPECT_EQ(Reduced<uint8_t>({200}, {100}, DType::kU8, ReduceKind::kMax)[0], 200);
  EXPECT_EQ(Reduced<int8_t>({-100}, {100}, DType::kS8, ReduceKind::kMin)[0], -100);
}

TEST(ReduceTest, CheckRefusesUndefinedReductions) {
  EXPECT_TRUE(CheckReduction(8, DType::kF32, ReduceKind::kSum).ok());
  EXPECT_FALSE(CheckReduction(7, DType::kF32, ReduceKind::kSum).ok());
  EXPECT_FALSE(CheckReduction(8, DType::kBF16, ReduceKind::kOr).ok());
  EXPECT_TRUE(CheckReduction(3, DType::kPred, ReduceKind::kAnd).ok());
}

}  // namespace
}  // namespace alpa::comm
