// Plans and lowers a job directory for several numbers of devices and micro-batches, interprets each executable on the
// reference evaluator, and compares with the whole batch:
//
//   check_lowering JOB_DIRECTORY [devices,k[,seed[,axes]] ...]
//
// With a seed, the executable is then cut along random axes (1 of them by default).
// For small models: the evaluator is slow.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "base/status.h"
#include "graph/evaluator.h"
#include "graph/import.h"
#include "graph/simplify.h"
#include "plan/plan.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/random_axis.h"

namespace alpa {
namespace {

using graph::DType;
using graph::Literal;
using graph::Shape;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

plan::Roles ReadRoles(const nlohmann::json& job) {
  plan::Roles roles;
  for (const auto& input : job.at("inputs")) {
    const bool state = input.at("kind") == "state";
    roles.inputs.push_back({state ? plan::InputRole::Kind::kState : plan::InputRole::Kind::kBatch, input.at("path")});
  }
  for (const auto& output : job.at("outputs")) {
    const bool state = output.at("kind") == "state";
    roles.outputs.push_back({state ? plan::OutputRole::Kind::kState : plan::OutputRole::Kind::kAux, output.at("path"),
                             state ? output.at("state_input").get<int32_t>() : -1});
  }
  return roles;
}

// Inputs that any model survives: small floats, small non-negative integers.
std::vector<Literal> Inputs(const graph::Graph& program) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.3f);
  std::vector<Literal> inputs;
  for (graph::ValueId v : program.parameters()) {
    const Shape& shape = program.shape(v);
    std::vector<std::byte> bytes(shape.bytes());
    const int64_t size = graph::SizeOf(shape.dtype);
    for (int64_t i = 0; i < shape.elements(); ++i) {
      std::byte* at = &bytes[i * size];
      if (shape.dtype == DType::kF32) {
        const float value = std::abs(normal(random));
        std::memcpy(at, &value, 4);
      } else if (shape.dtype == DType::kBF16) {
        const uint16_t value = graph::FloatToBf16(std::abs(normal(random)));
        std::memcpy(at, &value, 2);
      } else {
        *at = static_cast<std::byte>(random() % (shape.dtype == DType::kPred ? 2 : 7));
      }
    }
    inputs.push_back(Literal(shape, std::move(bytes)));
  }
  return inputs;
}

absl::Status Check(const graph::Graph& program, const plan::Roles& roles, const std::vector<Literal>& inputs,
                   const std::vector<Literal>& expected, int devices, int64_t k, int seed, int axes) {
  planner::PlanOptions options;
  options.data_parallel = devices;
  options.microbatches = k;
  cluster::Cluster cluster;
  std::vector<DeviceId> ids;
  for (int i = 0; i < devices; ++i) {
    cluster.devices.push_back({DeviceId(i), "node", i, "cpu", 0});
    ids.push_back(DeviceId(i));
  }
  ALPA_ASSIGN_OR_RETURN(const plan::Plan plan, planner::MakePlan(program, roles, ids, options));
  ALPA_RETURN_IF_ERROR(plan::Verify(plan, program, roles, cluster));
  ALPA_ASSIGN_OR_RETURN(plan::Executable executable, planner::Lower(plan, program, roles));
  std::mt19937 random(seed);
  for (int axis = 0; axis < axes; ++axis) {
    const planner::AxisRequest request = testing::RandomAxis(random, executable, absl::StrCat("axis", axis));
    ALPA_ASSIGN_OR_RETURN(executable, planner::CutAlongAxis(executable, request));
  }
  ALPA_RETURN_IF_ERROR(plan::Verify(executable));
  if (axes == 0) std::printf("%s%s", plan::Print(plan, program, roles).c_str(), plan::Print(executable).c_str());
  std::vector<int32_t> state_inputs;
  for (const plan::OutputRole& output : roles.outputs) state_inputs.push_back(output.state_input);
  ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> actual, testing::Interpret(executable, inputs, state_inputs));
  double worst = 0;
  for (size_t r = 0; r < expected.size(); ++r) {
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < expected[r].shape().elements(); ++i) {
      const double a = actual[r].ValueAt(i), e = expected[r].ValueAt(i);
      if (std::isnan(a) && std::isnan(e)) continue;
      largest = std::max(largest, std::abs(e));
      difference = std::isnan(a - e) ? 1e9 : std::max(difference, std::abs(a - e));
    }
    const double relative = difference / std::max(largest, 1e-30);
    if (relative > 1e-3) std::printf("  %s differs by %.2e of %.2e\n", roles.outputs[r].path.c_str(), difference, largest);
    worst = std::max(worst, relative);
  }
  std::printf("devices %d, k %lld, seed %d, %d axes: largest relative difference %.2e\n", devices, static_cast<long long>(k),
              seed, axes, worst);
  return worst > 1e-3 ? Internal("results differ") : absl::OkStatus();
}

int Main(int argc, char** argv) {
  const std::string directory = argv[1];
  auto imported = graph::ImportHlo(ReadFile(directory + "/program.hlo.pb"));
  if (!imported.ok()) {
    std::cerr << imported.status() << "\n";
    return 1;
  }
  const graph::Graph program = graph::Simplify(*imported);
  std::printf("%d ops imported, %d after simplification\n", imported->size(), program.size());
  const plan::Roles roles = ReadRoles(nlohmann::json::parse(ReadFile(directory + "/job.json")));
  const std::vector<Literal> inputs = Inputs(program);
  const auto expected = graph::Evaluate(program, inputs);
  if (!expected.ok()) {
    std::cerr << expected.status() << "\n";
    return 1;
  }
  int failures = 0;
  for (int i = 2; i < argc; ++i) {
    int devices = 1, k = 1, seed = 0, axes = 0;
    if (std::sscanf(argv[i], "%d,%d,%d,%d", &devices, &k, &seed, &axes) == 3) axes = 1;
    const absl::Status status = Check(program, roles, inputs, *expected, devices, k, seed, axes);
    if (!status.ok()) {
      std::cout << argv[i] << ": " << status << "\n";
      ++failures;
    }
  }
  return failures > 0;
}

}  // namespace
}  // namespace alpa

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: check_lowering JOB_DIRECTORY [devices,k[,seed[,axes]] ...]\n";
    return 2;
  }
  return alpa::Main(argc, argv);
}
