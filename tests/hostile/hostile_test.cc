// Tests untrusted input: programs, plans and executables. Reading a damaged input must not take long. The result must
// be an error that names the fault, or an object that passes its verifier.

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "graph/import.h"
#include "graph/print.h"
#include "graph/serialize.h"
#include "graph/simplify.h"
#include "graph/testing.h"
#include "graph/verify.h"
#include "plan/plan.h"
#include "plan/serialize.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"
#include "proto/graph.pb.h"
#include "proto/hlo.pb.h"
#include "proto/plan.pb.h"
#include "tests/hostile/guard.h"
#include "tests/hostile/mutate.h"
#include "worker/testing/executables.h"

namespace alpa::testing {
namespace {

// Expects one of the error codes for bad input. Any other code would mean a bug in this project.
void ExpectRefusal(const absl::Status& status, const std::string& name) {
  EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsUnimplemented(status) || absl::IsFailedPrecondition(status) ||
              absl::IsResourceExhausted(status))
      << name << ": " << status;
  EXPECT_FALSE(status.message().empty()) << name;
  // gRPC puts the message into a header of at most 8 KiB.
  EXPECT_LT(status.message().size(), 7'000u) << name << ": " << status.message().substr(0, 200);
}

// Returns the number of cases to run. This is `n`, multiplied by the environment variable ALPA_HOSTILE_CASES if the
// variable is set. Set it for a run overnight.
int Cases(int n) {
  const char* factor = std::getenv("ALPA_HOSTILE_CASES");
  return n * (factor == nullptr ? 1 : std::max(1, std::atoi(factor)));
}

// ---- Damaged programs ----

class HostileProgram : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, HostileProgram,
                         ::testing::Values("conditional", "conv_grad", "gather_scatter", "gpt_step", "nested_loops",
                                           "scan_grad", "sort_argmax", "unsupported", "while_unknown"),
                         [](const auto& info) { return std::string(info.param); });

// Imports, verifies and simplifies the program in `bytes`.
void ReadProgram(const std::string& bytes, const std::string& name) {
  CaseGuard guard(name);
  // The limit on unrolled ops bounds the time of the case.
  const absl::StatusOr<graph::Graph> graph = graph::ImportHlo(bytes, {.max_unrolled_ops = 20'000});
  if (!graph.ok()) return ExpectRefusal(graph.status(), name);
  EXPECT_EQ(graph::Verify(*graph), absl::OkStatus()) << name;
  const graph::Graph simple = graph::Simplify(*graph);
  EXPECT_EQ(graph::Verify(simple), absl::OkStatus()) << name;
}

TEST_P(HostileProgram, DamagedBytesAreRefusedOrGiveAVerifiedGraph) {
  const std::string good = graph::testing::ReadTestdata(std::string(GetParam()) + ".pb");
  for (int seed = 0; seed < Cases(150); ++seed) {
    std::string bytes = good;
    Damage(static_cast<uint64_t>(seed)).Bytes(bytes);
    ReadProgram(bytes, std::string(GetParam()) + " bytes " + std::to_string(seed));
  }
  for (size_t size = 0; size < good.size(); size += 1 + good.size() / 100) {
    ReadProgram(good.substr(0, size), std::string(GetParam()) + " cut at " + std::to_string(size));
  }
}

TEST_P(HostileProgram, DamagedFieldsAreRefusedOrGiveAVerifiedGraph) {
  hlo::Module good;
  ASSERT_TRUE(good.ParseFromString(graph::testing::ReadTestdata(std::string(GetParam()) + ".pb")));
  for (int seed = 0; seed < Cases(300); ++seed) {
    hlo::Module message = good;
    Damage(static_cast<uint64_t>(seed)).Message(message);
    ReadProgram(message.SerializeAsString(), std::string(GetParam()) + " fields " + std::to_string(seed));
  }
}

// ---- Damaged graphs, plans and executables ----

struct Job {
  graph::Graph program;
  plan::Roles roles;
  cluster::Cluster cluster;
  plan::Plan plan;
  plan::Executable executable;
};

constexpr int kDevices = 4;

// Returns the training step of a small GPT, planned and lowered for two devices.
const Job& GoodJob() {
  static const Job& job = *[] {
    auto job = std::make_unique<Job>();
    job->program = graph::Simplify(*graph::ImportHlo(graph::testing::ReadTestdata("gpt_step.pb")));
    for (int i = 0; i < 9; ++i) {
      job->roles.inputs.push_back(
          {i < 7 ? plan::InputRole::Kind::kState : plan::InputRole::Kind::kBatch, std::to_string(i)});
    }
    for (int i = 0; i < 8; ++i) {
      const bool state = i < 7;
      job->roles.outputs.push_back(
          {state ? plan::OutputRole::Kind::kState : plan::OutputRole::Kind::kAux, std::to_string(i), state ? i : -1});
    }
    for (int i = 0; i < kDevices; ++i) job->cluster.devices.push_back({DeviceId(i), "node", i, "cpu", 0});
    planner::PlanOptions options;
    options.data_parallel = 2;
    auto plan = planner::MakePlan(job->program, job->roles, {DeviceId(0), DeviceId(1)}, options);
    if (!plan.ok()) ADD_FAILURE() << plan.status();
    job->plan = *std::move(plan);
    auto executable = planner::Lower(job->plan, job->program, job->roles);
    if (!executable.ok()) ADD_FAILURE() << executable.status();
    job->executable = *std::move(executable);
    return job.release();
  }();
  return job;
}

// Makes Cases(cases) damaged copies of `good`. Every fourth copy has damaged bytes, and the others have damaged fields.
// Passes each copy that parses to `read`, which must return OK or an error for bad input.
template <typename M>
void ForDamaged(const M& good, const char* name, int cases, const std::function<absl::Status(const M&)>& read) {
  for (int seed = 0; seed < Cases(cases); ++seed) {
    const std::string label = std::string(name) + " " + std::to_string(seed);
    M message = good;
    if (seed % 4 == 0) {
      std::string bytes = good.SerializeAsString();
      Damage(static_cast<uint64_t>(seed)).Bytes(bytes);
      if (!message.ParseFromString(bytes)) continue;
    } else {
      Damage(static_cast<uint64_t>(seed)).Message(message);
    }
    CaseGuard guard(label);
    if (const absl::Status status = read(message); !status.ok()) ExpectRefusal(status, label);
  }
}

TEST(HostileMessage, DamagedGraphIsRefusedOrVerified) {
  proto::Graph good;
  graph::ToProto(GoodJob().program, &good);
  ForDamaged<proto::Graph>(good, "graph", 1500, [](const proto::Graph& message) {
    const absl::StatusOr<graph::Graph> graph = graph::FromProto(message);
    if (!graph.ok()) return graph.status();
    (void)graph::Print(*graph);
    (void)graph::Fingerprint(*graph);
    return graph::Verify(*graph, {.allow_collectives = true});
  });
}

TEST(HostileMessage, DamagedRolesAndPlacementsAreRefusedOrRead) {
  proto::Roles roles;
  plan::ToProto(GoodJob().roles, &roles);
  ForDamaged<proto::Roles>(roles, "roles", 1500, [](const proto::Roles& message) {
    const absl::StatusOr<plan::Roles> read = plan::FromProto(message);
    return read.ok() ? plan::Verify(*read, GoodJob().program) : read.status();
  });
  proto::LeafPlacement placement;
  plan::ToProto(GoodJob().executable.inputs[0], &placement);
  ForDamaged<proto::LeafPlacement>(placement, "placement", 1500, [](const proto::LeafPlacement& message) {
    return plan::FromProto(message).status();
  });
}

// Reads, verifies and lowers a plan. Lowering a verified plan must give a verified executable or an error.
absl::Status ReadPlan(const proto::Plan& message) {
  const absl::StatusOr<plan::Plan> plan = plan::FromProto(message);
  if (!plan.ok()) return plan.status();
  (void)plan::Print(*plan);
  const Job& job = GoodJob();
  const absl::Status verdict = plan::Verify(*plan, job.program, job.roles, job.cluster);
  if (!verdict.ok()) return verdict;
  (void)plan::Print(*plan, job.program, job.roles);
  const absl::StatusOr<plan::Executable> executable = planner::Lower(*plan, job.program, job.roles);
  if (!executable.ok()) return executable.status();
  EXPECT_EQ(plan::Verify(*executable), absl::OkStatus());
  return absl::OkStatus();
}

TEST(HostileMessage, DamagedPlanIsRefusedOrLowered) {
  proto::Plan good;
  plan::ToProto(GoodJob().plan, &good);
  EXPECT_EQ(ReadPlan(good), absl::OkStatus());
  ForDamaged<proto::Plan>(good, "plan", 3000, ReadPlan);
}

TEST(HostileMessage, DamagedPipelinePlanIsRefusedOrLowered) {
  planner::PlanOptions options;
  options.pipeline.meshes = 2;
  options.tensor_parallel = options.microbatches = 2;
  std::vector<DeviceId> devices;
  for (int i = 0; i < kDevices; ++i) devices.push_back(DeviceId(i));
  const auto plan = planner::MakePlan(GoodJob().program, GoodJob().roles, devices, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  proto::Plan good;
  plan::ToProto(*plan, &good);
  EXPECT_EQ(ReadPlan(good), absl::OkStatus());
  ForDamaged<proto::Plan>(good, "plan of a pipeline", 1500, ReadPlan);
}

// Reads and verifies an executable, then prints it and converts it back.
absl::Status ReadExecutable(const proto::Executable& message) {
  const absl::StatusOr<plan::Executable> executable = plan::FromProto(message);
  if (!executable.ok()) return executable.status();
  const absl::Status verdict = plan::Verify(*executable);
  if (!verdict.ok()) return verdict;
  (void)plan::Print(*executable);
  proto::Executable again;
  plan::ToProto(*executable, &again);
  return absl::OkStatus();
}

TEST(HostileMessage, DamagedExecutableIsRefusedOrVerified) {
  proto::Executable good;
  plan::ToProto(GoodJob().executable, &good);
  ForDamaged<proto::Executable>(good, "executable", 1500, ReadExecutable);
}

TEST(HostileMessage, DamagedExecutableOfSeveralMeshesIsRefusedOrVerified) {
  for (const bool in_a_loop : {false, true}) {
    proto::Executable good;
    plan::ToProto(worker::ExchangeExecutable({worker::TestMesh({2, 2}), worker::TestMesh({3}, 4), {5, 6}, {{{0}, {1}}},
                                              plan::Sharding::Split(1, 0), 3, true, in_a_loop}),
                  &good);
    EXPECT_EQ(ReadExecutable(good), absl::OkStatus());
    ForDamaged<proto::Executable>(good, "executable of several meshes", 3000, ReadExecutable);
  }
}

}  // namespace
}  // namespace alpa::testing
