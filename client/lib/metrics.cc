#include "client/lib/metrics.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "graph/literal.h"

namespace alpa::client {
namespace {

using graph::DType;

template <typename T>
T Load(const std::string& data) {
  T value;
  std::memcpy(&value, data.data(), sizeof(T));
  return value;
}

template <typename T>
void SetInteger(ScalarMetric& metric, const std::string& data) {
  const T value = Load<T>(data);
  metric.value = static_cast<double>(value);
  metric.json =
      std::is_signed_v<T> ? absl::StrCat(static_cast<int64_t>(value)) : absl::StrCat(static_cast<uint64_t>(value));
}

void SetFloat(ScalarMetric& metric, double value, bool single_precision) {
  metric.value = value;
  metric.is_float = true;
  metric.json = JsonNumber(value, single_precision);
}

void SetValue(ScalarMetric& metric, DType dtype, const std::string& data) {
  switch (dtype) {
    case DType::kPred:
      metric.value = data[0] != 0;
      metric.json = data[0] != 0 ? "true" : "false";
      return;
    case DType::kS8:
      return SetInteger<int8_t>(metric, data);
    case DType::kS16:
      return SetInteger<int16_t>(metric, data);
    case DType::kS32:
      return SetInteger<int32_t>(metric, data);
    case DType::kS64:
      return SetInteger<int64_t>(metric, data);
    case DType::kU8:
      return SetInteger<uint8_t>(metric, data);
    case DType::kU16:
      return SetInteger<uint16_t>(metric, data);
    case DType::kU32:
      return SetInteger<uint32_t>(metric, data);
    case DType::kU64:
      return SetInteger<uint64_t>(metric, data);
    case DType::kF16:
      return SetFloat(metric, graph::F16ToFloat(Load<uint16_t>(data)), true);
    case DType::kBF16:
      return SetFloat(metric, graph::Bf16ToFloat(Load<uint16_t>(data)), true);
    case DType::kF32:
      return SetFloat(metric, Load<float>(data), true);
    case DType::kF64:
      return SetFloat(metric, Load<double>(data), false);
  }
}

}  // namespace

std::string JsonNumber(double value, bool single_precision) {
  if (!std::isfinite(value)) return "null";
  char text[64];
  const std::to_chars_result end = single_precision
                                       ? std::to_chars(text, text + sizeof(text), static_cast<float>(value))
                                       : std::to_chars(text, text + sizeof(text), value);
  std::string out(text, end.ptr);
  // Appends ".0" to an integral value, so that JSON readers parse it as a float.
  if (out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

StepMetrics MetricsOf(const proto::StepResult& result, const JobDescription& job) {
  StepMetrics out;
  out.step = result.step();
  out.seconds = result.seconds();
  for (size_t i = 0; i < job.outputs.size(); ++i) {
    if (job.roles.outputs[i].kind != plan::OutputRole::Kind::kAux || job.outputs[i].rank() != 0) continue;
    for (const proto::ScalarAux& scalar : result.scalars()) {
      if (scalar.output() != static_cast<int>(i) ||
          static_cast<Bytes>(scalar.data().size()) != job.outputs[i].bytes()) {
        continue;
      }
      ScalarMetric metric;
      metric.path = job.roles.outputs[i].path;
      SetValue(metric, job.outputs[i].dtype, scalar.data());
      out.scalars.push_back(std::move(metric));
      break;
    }
  }
  return out;
}

std::string MetricsLine(const StepMetrics& metrics) {
  std::string line = absl::StrCat("{\"step\":", metrics.step, ",\"seconds\":", JsonNumber(metrics.seconds, false));
  for (const ScalarMetric& scalar : metrics.scalars) {
    absl::StrAppend(&line, ",",
                    nlohmann::json(scalar.path).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), ":",
                    scalar.json);
  }
  return line + "}";
}

const ScalarMetric* LossOf(const StepMetrics& metrics) {
  const ScalarMetric* first = nullptr;
  for (const ScalarMetric& scalar : metrics.scalars) {
    if (!scalar.is_float) continue;
    if (absl::StrContains(scalar.path, "loss")) return &scalar;
    if (first == nullptr) first = &scalar;
  }
  return first;
}

}  // namespace alpa::client
