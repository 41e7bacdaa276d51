// Plans and lowers the step of a job directory, and interprets the executables on the reference evaluator. Compares the
// results with those of the program on the whole batch.
//
//   check_lowering JOB_DIRECTORY [PLAN ...]
//
// A PLAN is a list of settings, separated by commas:
//   data=2 tensor=2 zero=3 pipeline=2 interleave=2 schedule=gpipe k=4 remat=layer sequence=1 shard_from=16
//                                Each setting pins the option of planner::PlanOptions with the same meaning.
//   stages=1:4 ways=1:2          For each mesh of a pipeline: pins the number of devices and the tensor degree.
//   axes=2 seed=7                Cuts the executable along two more random axes. The plan must have one stage.
//   print=1                      Prints the plan and the instruction lists. print=2 also prints the programs.
//   random=300 seed=1 devices=8  Draws 300 random plans on at most 8 devices. Ignores all settings above.
//   write=DIRECTORY              With `random`: writes the plans as plan files, and interprets nothing.
//
// The evaluator is slow, so the model should be small.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <random>

#include "absl/strings/str_split.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "graph/print.h"
#include "plan/plan.h"
#include "plan/plan_file.h"
#include "plan/serialize.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"
#include "proto/plan.pb.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/job_directory.h"
#include "tests/interpreter/random_axis.h"
#include "tests/interpreter/random_plan.h"

namespace alpa {
namespace {

using graph::DType;
using graph::Literal;
using graph::Shape;

// Returns inputs that suit every model: small positive floats and small non-negative integers.
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

// These constants define the tolerance of a result. A nudged run changes every float input by one rounding, so it shows
// the effect of rounding. A result may be off by kMoves times the largest change of the result in the nudged runs, plus
// kOfLargest times the largest value of the result.
constexpr double kMoves = 10;
constexpr double kOfLargest = 1e-4;
constexpr float kOneRounding = 3e-7f, kOneHalfRounding = 4e-3f;  // relative changes of an f32 and of a bf16
constexpr int kNudgedRuns = 3;

// Returns the inputs with every float changed by one rounding, up or down at random.
std::vector<Literal> Nudged(const std::vector<Literal>& inputs, int seed) {
  std::mt19937 random(seed);
  std::vector<Literal> nudged;
  for (const Literal& input : inputs) {
    const Shape& shape = input.shape();
    std::vector<std::byte> bytes(input.bytes().begin(), input.bytes().end());
    for (int64_t i = 0; i < shape.elements(); ++i) {
      const float sign = random() % 2 ? 1.0f : -1.0f;
      if (shape.dtype == DType::kF32) {
        const float value = static_cast<float>(input.ValueAt(i)) * (1 + sign * kOneRounding);
        std::memcpy(&bytes[i * 4], &value, 4);
      } else if (shape.dtype == DType::kBF16) {
        const uint16_t value = graph::FloatToBf16(static_cast<float>(input.ValueAt(i)) * (1 + sign * kOneHalfRounding));
        std::memcpy(&bytes[i * 2], &value, 2);
      }
    }
    nudged.push_back(Literal(shape, std::move(bytes)));
  }
  return nudged;
}

struct Difference {
  double most = 0, largest = 0;  // largest difference of two arrays; largest absolute value in the first array
};
Difference Between(const Literal& expected, const Literal& actual) {
  Difference found;
  for (int64_t i = 0; i < expected.shape().elements(); ++i) {
    const double a = actual.ValueAt(i), e = expected.ValueAt(i);
    if (std::isnan(a) && std::isnan(e)) continue;
    found.largest = std::max(found.largest, std::abs(e));
    found.most = std::isnan(a - e) ? 1e9 : std::max(found.most, std::abs(a - e));
  }
  return found;
}

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

// Returns the numbers of a pin such as "1:3", or an empty list if the pin is not set.
std::vector<int> Numbers(const Pins& pins, const std::string& name) {
  std::vector<int> numbers;
  const auto found = pins.find(name);
  if (found == pins.end()) return numbers;
  for (absl::string_view number : absl::StrSplit(found->second, ':')) {
    numbers.push_back(std::atoi(std::string(number).c_str()));
  }
  return numbers;
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
  options.pipeline.devices = Numbers(pins, "stages");
  if (!options.pipeline.devices.empty()) options.pipeline.meshes = static_cast<int>(options.pipeline.devices.size());
  options.pipeline.tensor = Numbers(pins, "ways");
  return options;
}

cluster::Cluster ClusterOf(int devices) {
  cluster::Cluster cluster;
  for (int i = 0; i < devices; ++i) cluster.devices.push_back({DeviceId(i), "node", i, "cpu", 0});
  return cluster;
}

// Holds the step of a job, its inputs and its expected results.
struct Job {
  graph::Graph program;
  plan::Roles roles;
  std::vector<Literal> inputs, expected;  // empty if nothing is interpreted
  std::vector<double> allowed;            // one entry per result: the largest allowed error
};

// Draws inputs for the job, and sets its expected results and their allowed errors.
absl::Status Expect(Job& job) {
  job.inputs = Inputs(job.program);
  ALPA_ASSIGN_OR_RETURN(job.expected, graph::Evaluate(job.program, job.inputs));
  job.allowed.assign(job.expected.size(), 0);
  for (int run = 0; run < kNudgedRuns; ++run) {
    ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> moved, graph::Evaluate(job.program, Nudged(job.inputs, run)));
    for (size_t r = 0; r < moved.size(); ++r) {
      const Difference difference = Between(job.expected[r], moved[r]);
      job.allowed[r] = std::max(job.allowed[r], kMoves * difference.most + kOfLargest * difference.largest);
    }
  }
  return absl::OkStatus();
}

// Verifies and interprets the executable, and compares its results with the expected results. Returns the largest error
// as a multiple of the allowed error, or kInternal if this multiple is more than 1.
absl::StatusOr<double> Differs(const Job& job, const plan::Executable& executable) {
  ALPA_RETURN_IF_ERROR(plan::Verify(executable));
  std::vector<int32_t> state_inputs;
  for (const plan::OutputRole& output : job.roles.outputs) state_inputs.push_back(output.state_input);
  ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> actual, testing::Interpret(executable, job.inputs, state_inputs));
  double worst = 0;
  for (size_t r = 0; r < job.expected.size(); ++r) {
    const Difference difference = Between(job.expected[r], actual[r]);
    const double part = difference.most / std::max(job.allowed[r], 1e-30);
    if (part > 1) {
      std::printf("  %s is off by %.2e; its largest expected value is %.2e, and the allowed error is %.2e\n",
                  job.roles.outputs[r].path.c_str(), difference.most, difference.largest, job.allowed[r]);
    }
    worst = std::max(worst, part);
  }
  if (worst > 1) return Internal("results differ by %.2g times the allowed error", worst);
  return worst;
}

// Makes one plan from pins, lowers it and compares its results.
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
  std::printf("%s: equal, largest difference %.2g of the tolerance\n", text.c_str(), worst);
  return absl::OkStatus();
}

absl::Status WritePlan(const plan::Plan& plan, const std::string& path) {
  proto::Plan message;
  plan::ToProto(plan, &message);
  std::ofstream out(path);
  out << plan::PlanFileText(message);
  return out.flush() ? absl::OkStatus() : Internal("cannot write the plan file %s", path);
}

// Draws plans until the verifier has accepted the requested number of plans. Compares the results of each accepted
// plan, or writes the plan to a file.
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
    else std::cout << "  seed " << seed << ": " << differs.status() << "\n"
                   << plan::Print(*plan, job.program, job.roles);
  }
  if (pins.contains("write")) {
    std::printf("%s: %d of %d plans written\n", text.c_str(), equal, done);
  } else {
    std::printf("%s: %d of %d plans equal, largest difference %.2g of the tolerance\n", text.c_str(), equal, done,
                worst);
  }
  return equal < count ? Internal("%d of %d random plans passed", equal, count) : absl::OkStatus();
}

int Main(int argc, char** argv) {
  auto saved = testing::ReadJobDirectory(argv[1]);
  if (!saved.ok()) {
    std::cerr << saved.status() << "\n";
    return 1;
  }
  Job job{std::move(saved->step.graph), std::move(saved->step.roles), {}, {}, {}};
  std::printf("%d ops imported, %d after simplification\n", saved->imported_ops, job.program.size());
  const bool interpret =
      std::any_of(argv + 2, argv + argc, [](const char* text) { return !ParsePins(text).contains("write"); });
  if (interpret) {
    if (const absl::Status status = Expect(job); !status.ok()) {
      std::cerr << status << "\n";
      return 1;
    }
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
