#include "client/lib/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace alpa::client {
namespace {

using graph::DType;

template <typename T>
std::string Raw(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

struct Row {
  const char* path;
  DType dtype;
  std::string data;
};

proto::StepResult Result(const std::vector<Row>& rows, JobDescription& job) {
  proto::StepResult result;
  result.set_step(3);
  result.set_seconds(0.25);
  for (const Row& row : rows) {
    proto::ScalarAux* scalar = result.add_scalars();
    scalar->set_output(static_cast<int32_t>(job.outputs.size()));
    scalar->set_data(row.data);
    job.roles.outputs.push_back({plan::OutputRole::Kind::kAux, row.path, -1});
    job.outputs.push_back({row.dtype, {}});
  }
  return result;
}

TEST(MetricsTest, WritesEveryDtypeAsExactJson) {
  JobDescription job;
  const proto::StepResult result = Result({{"f", DType::kF32, Raw(0.1f)},
                                           {"d", DType::kF64, Raw(0.1)},
                                           {"h", DType::kBF16, Raw<uint16_t>(0x3f80)},
                                           {"i", DType::kS64, Raw<int64_t>(INT64_MIN)},
                                           {"u", DType::kU64, Raw<uint64_t>(UINT64_MAX)},
                                           {"c", DType::kS8, Raw<int8_t>(-1)},
                                           {"p", DType::kPred, Raw<uint8_t>(1)},
                                           {"n", DType::kF32, Raw(std::nanf(""))},
                                           {"inf", DType::kF64, Raw(-std::numeric_limits<double>::infinity())}},
                                          job);
  EXPECT_EQ(MetricsLine(MetricsOf(result, job)),
            "{\"step\":3,\"seconds\":0.25,\"f\":0.1,\"d\":0.1,\"h\":1.0,\"i\":-9223372036854775808,"
            "\"u\":18446744073709551615,\"c\":-1,\"p\":true,\"n\":null,\"inf\":null}");
}

TEST(MetricsTest, LeavesOutNonScalarsAndValuesOfTheWrongSize) {
  JobDescription job;
  proto::StepResult result = Result({{"cut", DType::kF32, "abc"}, {"vector", DType::kF32, Raw(1.0f)}}, job);
  job.outputs[1].dims = {1};
  proto::ScalarAux* stray = result.add_scalars();
  stray->set_output(99);
  EXPECT_TRUE(MetricsOf(result, job).scalars.empty());
  EXPECT_EQ(LossOf(MetricsOf(result, job)), nullptr);
}

TEST(MetricsTest, TheLossIsTheScalarNamedLossOrElseTheFirstFloat) {
  JobDescription job;
  EXPECT_EQ(
      LossOf(MetricsOf(Result({{"count", DType::kS32, Raw(1)}, {"norm", DType::kF32, Raw(1.0f)}}, job), job))->path,
      "norm");
  JobDescription other;
  EXPECT_EQ(LossOf(MetricsOf(Result({{"norm", DType::kF32, Raw(1.0f)}, {"aux['loss']", DType::kF32, Raw(2.0f)}}, other),
                             other))
                ->path,
            "aux['loss']");
}

TEST(MetricsTest, EscapesNames) {
  JobDescription job;
  EXPECT_EQ(MetricsLine(MetricsOf(Result({{"a\"\n", DType::kS32, Raw(1)}}, job), job)),
            "{\"step\":3,\"seconds\":0.25,\"a\\\"\\n\":1}");
}

TEST(MetricsTest, NumbersReadBackUnchanged) {
  for (float f : {1e-45f, 3.4e38f, 0.1f, 1.0f, 16777217.0f, -0.0f}) {
    EXPECT_EQ(std::strtof(JsonNumber(f, true).c_str(), nullptr), f);
  }
  EXPECT_EQ(JsonNumber(5, false), "5.0");
  EXPECT_EQ(JsonNumber(1e30, false), "1e+30");
}

}  // namespace
}  // namespace alpa::client
