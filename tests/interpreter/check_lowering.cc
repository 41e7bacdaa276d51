// Plans and lowers a job directory as pinned, interprets each executable on the reference evaluator, and compares with the whole
// batch:
//
//   check_lowering JOB_DIRECTORY [PLAN ...]
//
// A PLAN is a list of pins: "data=2,tensor=2,zero=3,pipeline=2,interleave=2,schedule=gpipe,k=4,remat=layer". "stages=1:3" gives each mesh of a
// pipeline its devices. With "axes=2,seed=7" the executable of one stage is then cut along random axes; "print=1" prints plan
// and lists, "print=2" programs too. "random=300,seed=1,devices=8" draws so many plans instead; with "write=DIRECTORY" as well,
// nothing is interpreted, and they become plan files there. For small models: the evaluator is slow.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <sstream>

#include "absl/strings/str_split.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "graph/import.h"
#include "graph/print.h"
#include "graph/simplify.h"
#include "plan/plan.h"
#include "plan/plan_file.h"
#include "plan/serialize.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"
#include "proto/plan.pb.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/random_axis.h"
#include "tests/interpreter/random_plan.h"

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

constexpr double kTolerance = 1e-3;  // relative to a leaf's largest value

using Pins = std::map<std::string, std::string>;

Pins ParsePins(const std::string& text) {
  Pins pins;
  for (absl::string_view pin : absl::StrSplit(text, ',')) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(pin, absl::MaxSplits('=', 1));
    pins.insert(parts);
  }
  return pins;
}

int Number(const Pins& pins, const std::string& name, int otherwise) {
  const auto found = pins.find(name);
  return found == pins.end() ? otherwise : std::atoi(found->second.c_str());
}

planner::PlanOptions OptionsOf(const Pins& pins) {
  planner::PlanOptions options;
  options.data_parallel = Number(pins, "data", pins.contains("stages") ? 0 : 1);
  options.tensor_parallel = Number(pins, "tensor", 1);
  options.zero = Number(pins, "zero", 0);
  options.shard_from = Number(pins, "shard_from", 16);
  options.microbatches = Number(pins, "k", 1);
  options.pipeline.meshes = Number(pins, "pipeline", 1);
  options.pipeline.stages_per_mesh = Number(pins, "interleave", 1);
  if (pins.contains("schedule")) options.pipeline.schedule = pins.at("schedule");
  options.sequence = Number(pins, "sequence", 0) != 0;
  if (pins.contains("remat")) options.remat = pins.at("remat");
  if (pins.contains("stages")) {
    for (absl::string_view devices : absl::StrSplit(pins.at("stages"), ':')) {
      options.pipeline.devices.push_back(std::atoi(std::string(devices).c_str()));
    }
    options.pipeline.meshes = static_cast<int>(options.pipeline.devices.size());
  }
  return options;
}

cluster::Cluster ClusterOf(int devices) {
  cluster::Cluster cluster;
  for (int i = 0; i < devices; ++i) cluster.devices.push_back({DeviceId(i), "node", i, "cpu", 0});
  return cluster;
}

// A step of a job, and what it gives on the whole batch.
struct Job {
  graph::Graph program;
  plan::Roles roles;
  std::vector<Literal> inputs, expected;  // empty where nothing is interpreted
};

// Verifies, interprets and compares; the largest relative difference.
absl::StatusOr<double> Differs(const Job& job, const plan::Executable& executable) {
  ALPA_RETURN_IF_ERROR(plan::Verify(executable));
  std::vector<int32_t> state_inputs;
  for (const plan::OutputRole& output : job.roles.outputs) state_inputs.push_back(output.state_input);
  ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> actual, testing::Interpret(executable, job.inputs, state_inputs));
  double worst = 0;
  for (size_t r = 0; r < job.expected.size(); ++r) {
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < job.expected[r].shape().elements(); ++i) {
      const double a = actual[r].ValueAt(i), e = job.expected[r].ValueAt(i);
      if (std::isnan(a) && std::isnan(e)) continue;
      largest = std::max(largest, std::abs(e));
      difference = std::isnan(a - e) ? 1e9 : std::max(difference, std::abs(a - e));
    }
    const double relative = difference / std::max(largest, 1e-30);
    if (relative > kTolerance) {
      std::printf("  %s differs by %.2e of %.2e\n", job.roles.outputs[r].path.c_str(), difference, largest);
    }
    worst = std::max(worst, relative);
  }
  if (worst > kTolerance) return Internal("results differ by %.2e", worst);
  return worst;
}

absl::Status Check(const Job& job, const std::string& text) {
  const Pins pins = ParsePins(text);
  const planner::PlanOptions options = OptionsOf(pins);
  int devices = options.data_parallel * options.tensor_parallel * options.pipeline.meshes;
  if (!options.pipeline.devices.empty()) {
    devices = std::accumulate(options.pipeline.devices.begin(), options.pipeline.devices.end(), 0);
  }
  const cluster::Cluster cluster = ClusterOf(devices);
  std::vector<DeviceId> ids;
  for (const cluster::Device& device : cluster.devices) ids.push_back(device.id);
  ALPA_ASSIGN_OR_RETURN(const plan::Plan plan, planner::MakePlan(job.program, job.roles, ids, options));
  ALPA_RETURN_IF_ERROR(plan::Verify(plan, job.program, job.roles, cluster));
  ALPA_ASSIGN_OR_RETURN(plan::Executable executable, planner::Lower(plan, job.program, job.roles));
  std::mt19937 random(Number(pins, "seed", 0));
  for (int axis = 0; axis < Number(pins, "axes", 0); ++axis) {
    const planner::AxisRequest request = testing::RandomAxis(random, executable, absl::StrCat("axis", axis));
    ALPA_ASSIGN_OR_RETURN(executable, planner::CutAlongAxis(executable, request));
  }
  if (Number(pins, "print", 0)) {
    std::printf("%s%s", plan::Print(plan, job.program, job.roles).c_str(), plan::Print(executable).c_str());
  }
  if (Number(pins, "print", 0) > 1) {
    for (const plan::StageProgram& stage : executable.programs) {
      std::printf("---- %s\n%s\n", stage.name.c_str(), graph::Print(stage.graph).c_str());
    }
  }
  ALPA_ASSIGN_OR_RETURN(const double worst, Differs(job, executable));
  std::printf("%s: largest relative difference %.2e\n", text.c_str(), worst);
  return absl::OkStatus();
}

absl::Status WritePlan(const plan::Plan& plan, const std::string& path) {
  proto::Plan message;
  plan::ToProto(plan, &message);
  std::ofstream out(path);
  out << plan::PlanFileText(message);
  return out.flush() ? absl::OkStatus() : Internal("cannot write %s", path);
}

// "random=300,seed=1,devices=8": so many plans that the verifier accepts.
absl::Status CheckRandom(const Job& job, const std::string& text) {
  const Pins pins = ParsePins(text);
  const int count = Number(pins, "random", 0), devices = Number(pins, "devices", 8), first = Number(pins, "seed", 0);
  int done = 0, equal = 0;
  double worst = 0;
  for (int seed = first; done < count && seed < first + 50 * count; ++seed) {
    std::mt19937 random(seed);
    const auto plan = testing::RandomPlan(random, job.program, job.roles, devices);
    if (!plan.ok()) {
      if (!absl::IsFailedPrecondition(plan.status()) && !absl::IsInvalidArgument(plan.status())) {
        std::cout << "  seed " << seed << ": " << plan.status() << "\n";
        ++done;
      }
      continue;
    }
    ++done;
    auto differs = [&]() -> absl::StatusOr<double> {
      ALPA_RETURN_IF_ERROR(plan::Verify(*plan, job.program, job.roles, ClusterOf(devices)));
      if (pins.contains("write")) {
        ALPA_RETURN_IF_ERROR(WritePlan(*plan, absl::StrCat(pins.at("write"), "/", seed, ".json")));
        return 0.0;
      }
      ALPA_ASSIGN_OR_RETURN(const plan::Executable executable, planner::Lower(*plan, job.program, job.roles));
      return Differs(job, executable);
    }();
    if (differs.ok()) ++equal, worst = std::max(worst, *differs);
    else std::cout << "  seed " << seed << ": " << differs.status() << "\n" << plan::Print(*plan, job.program, job.roles);
  }
  if (pins.contains("write")) std::printf("%s: %d of %d plans written\n", text.c_str(), equal, done);
  else std::printf("%s: %d of %d plans equal, largest relative difference %.2e\n", text.c_str(), equal, done, worst);
  return equal < count ? Internal("%d of %d random plans came through", equal, count) : absl::OkStatus();
}

int Main(int argc, char** argv) {
  const std::string directory = argv[1];
  auto imported = graph::ImportHlo(ReadFile(directory + "/program.hlo.pb"));
  if (!imported.ok()) {
    std::cerr << imported.status() << "\n";
    return 1;
  }
  Job job{graph::Simplify(*imported), ReadRoles(nlohmann::json::parse(ReadFile(directory + "/job.json"))), {}, {}};
  std::printf("%d ops imported, %d after simplification\n", imported->size(), job.program.size());
  const bool interpret = std::any_of(argv + 2, argv + argc, [](const char* text) { return !ParsePins(text).contains("write"); });
  if (interpret) {
    job.inputs = Inputs(job.program);
    auto expected = graph::Evaluate(job.program, job.inputs);
    if (!expected.ok()) {
      std::cerr << expected.status() << "\n";
      return 1;
    }
    job.expected = *std::move(expected);
  }
  int failures = 0;
  for (int i = 2; i < argc; ++i) {
    const bool random = ParsePins(argv[i]).contains("random");
    const absl::Status status = random ? CheckRandom(job, argv[i]) : Check(job, argv[i]);
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
    std::cerr << "usage: check_lowering JOB_DIRECTORY [PLAN ...]\n";
    return 2;
  }
  return alpa::Main(argc, argv);
}
