#include "cluster/wire/inventory_wire.h"
#include "coordinator/testing/core_world.h"
#include "proto/inventory.pb.h"

namespace alpa::coordinator {
namespace {

using proto::Job;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kCode = static_cast<int>(absl::StatusCode::kInternal);
constexpr int kUnavailable = static_cast<int>(absl::StatusCode::kUnavailable);
constexpr int kUnimplemented = static_cast<int>(absl::StatusCode::kUnimplemented);

TEST(CoreWorkersTest, RegistrationReturnsDeviceIdsAndTheHeartbeatInterval) {
  CoreWorld world;
  const auto a = world.core->OnRegister(1, CoreWorld::Registration("a", 2));
  const auto b = world.core->OnRegister(2, CoreWorld::Registration("b", 1));
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_THAT(a->device_ids(), ElementsAre(0, 1));
  EXPECT_THAT(b->device_ids(), ElementsAre(2));
  EXPECT_EQ(a->heartbeat_seconds(), 1.0);
  EXPECT_EQ(a->cluster_epoch(), 1u);
  EXPECT_TRUE(world.actions.sent.empty()) << "the Welcome must be the first message";
}

TEST(CoreWorkersTest, BadRegistrationsAreRefusedAndChangeNothing) {
  struct Row {
    const char* name;
    std::function<void(proto::Register&)> damage;
    const char* word;
  };
  const std::vector<Row> rows = {
      {"no name", [](proto::Register& r) { r.set_name(""); }, "worker name"},
      {"a name with a control character", [](proto::Register& r) { r.set_name("a\nb"); }, "worker name"},
      {"an endless name", [](proto::Register& r) { r.set_name(std::string(1 << 20, 'a')); }, "worker name"},
      {"another version", [](proto::Register& r) { r.set_version("0.9"); }, "0.9"},
      {"no devices", [](proto::Register& r) { r.set_device_count(0); }, "0 devices"},
      {"too many devices", [](proto::Register& r) { r.set_device_count(1 << 30); }, "devices"},
      {"negative memory", [](proto::Register& r) { r.set_device_memory_bytes(-1); }, "-1"},
      {"a huge address", [](proto::Register& r) { r.set_transport_address(std::string(1 << 20, 'x')); }, "too long"},
      {"a huge kind", [](proto::Register& r) { r.set_device_kind(std::string(1 << 20, 'x')); }, "too long"},
      {"a huge incarnation", [](proto::Register& r) { r.set_incarnation(std::string(1 << 20, 'x')); }, "too long"},
  };
  CoreWorld world;
  for (const Row& row : rows) {
    proto::Register message = CoreWorld::Registration("a", 1);
    row.damage(message);
    const auto welcome = world.core->OnRegister(9, message);
    ASSERT_FALSE(welcome.ok()) << row.name;
    EXPECT_THAT(std::string(welcome.status().message()), HasSubstr(row.word)) << row.name;
    EXPECT_LT(welcome.status().message().size(), 500u) << row.name;
  }
  EXPECT_TRUE(world.core->workers().empty());
}

proto::Register WithFacts(const std::string& name, int devices, const std::string& host) {
  cluster::NodeFacts facts;
  facts.host_key = facts.host_name = host;
  facts.cores = 2;
  facts.profile.device.products = {{16, 16, 16, 1e-6}};
  for (cluster::LinkProfile* link : {&facts.profile.inside, &facts.profile.between, &facts.profile.outside}) {
    link->message = cluster::Curve::Line(1e-6, 1e9);
  }
  proto::Register message = CoreWorld::Registration(name, devices);
  *message.mutable_facts() = cluster::ToProto(facts);
  return message;
}

TEST(CoreWorkersTest, TheInventoryHoldsTheWorkersThatAreUp) {
  CoreWorld world;
  ASSERT_TRUE(world.core->OnRegister(101, WithFacts("a", 2, "one")).ok());
  ASSERT_TRUE(world.core->OnRegister(102, WithFacts("b", 1, "one")).ok());
  ASSERT_TRUE(world.core->OnRegister(103, WithFacts("c", 1, "two")).ok());
  cluster::Cluster inventory = world.core->Inventory();
  EXPECT_TRUE(cluster::Check(inventory).ok());
  EXPECT_TRUE(inventory.IsMeasured());
  EXPECT_EQ(inventory.devices.size(), 4u);
  EXPECT_EQ(inventory.hosts.size(), 2u);
  EXPECT_EQ(inventory.profiles.size(), 1u);
  EXPECT_EQ(inventory.devices[0].memory, 1 << 20);
  EXPECT_EQ(world.core->Cluster().inventory().devices_size(), 4);
  world.core->OnSessionEnd(101, "killed");
  inventory = world.core->Inventory();
  ASSERT_EQ(inventory.devices.size(), 2u);
  EXPECT_EQ(inventory.devices[0].id, DeviceId(2));
  // Each job is planned for an inventory that contains only the job's devices.
  world.Submit("job", 1);
  const cluster::Cluster& given = world.TaskOf("job").cluster;
  ASSERT_EQ(given.devices.size(), 1u);
  EXPECT_EQ(given.devices[0].id, world.TaskOf("job").devices[0]);
  EXPECT_TRUE(given.IsMeasured());
}

TEST(CoreWorkersTest, InvalidFactsAreRefused) {
  CoreWorld world;
  proto::Register message = WithFacts("a", 1, "one");
  message.mutable_facts()->mutable_device()->mutable_products(0)->set_seconds(-1);
  const auto welcome = world.core->OnRegister(9, message);
  EXPECT_EQ(welcome.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(welcome.status().message()), HasSubstr("worker a reports invalid facts about its machine"));
  EXPECT_TRUE(world.core->workers().empty());
  world.Worker("b", 1);  // a worker without facts is accepted
  EXPECT_FALSE(world.core->Inventory().IsMeasured());
}

TEST(CoreWorkersTest, AWorkerWithTheNameOfAConnectedOneIsRefused) {
  CoreWorld world;
  world.Worker("a", 1);
  const auto second = world.core->OnRegister(9, CoreWorld::Registration("a", 1));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(world.core->workers().at("a").up);
}

TEST(CoreWorkersTest, ANewIncarnationKeepsItsDeviceIdsAndGetsNewOnesForMoreDevices) {
  CoreWorld world;
  const uint64_t first = world.Worker("a", 2);
  world.Worker("b", 1);
  world.core->OnSessionEnd(first, "killed");
  const auto again = world.core->OnRegister(9, CoreWorld::Registration("a", 3));
  ASSERT_TRUE(again.ok());
  EXPECT_THAT(again->device_ids(), ElementsAre(0, 1, 3));
}

TEST(CoreWorkersTest, MessagesOfAnEndedSessionAreDropped) {
  CoreWorld world;
  const uint64_t old = world.Worker("a", 1);
  world.core->OnSessionEnd(old, "broke");
  const uint64_t now = world.Worker("a", 1);
  world.Submit("job", 1);
  world.Plan("job");
  world.Prepared(old, "job");
  EXPECT_EQ(world.Job("job").state(), Job::PLANNING);
  world.core->OnSessionEnd(old, "again");
  EXPECT_TRUE(world.core->workers().at("a").up);
  world.Prepared(now, "job");
  EXPECT_EQ(world.Job("job").state(), Job::RUNNING);
}

TEST(CoreWorkersTest, LeaseExpiryFailsOnlyTheJobsOnThatWorker) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.RunningJob("doomed", 1);
  world.RunningJob("safe", 1);
  ASSERT_EQ(world.core->jobs().at("doomed").workers, std::vector<std::string>{"a"});
  for (int i = 0; i < 10; ++i) {
    world.Advance(milliseconds(999));
    world.Heartbeat(b);
  }
  EXPECT_EQ(world.Job("doomed").state(), Job::RUNNING);
  world.Advance(milliseconds(20));
  const Job failed = world.Job("doomed");
  EXPECT_EQ(failed.state(), Job::FAILED);
  EXPECT_EQ(failed.cause(), Job::INFRASTRUCTURE);
  EXPECT_EQ(failed.failed_worker(), "a");
  EXPECT_THAT(failed.reason(), HasSubstr("no heartbeat for 10.0 s"));
  EXPECT_EQ(world.Job("safe").state(), Job::RUNNING);
  EXPECT_EQ(world.actions.ended.count(a), 1u);
  EXPECT_FALSE(world.core->workers().at("a").up);
}

TEST(CoreWorkersTest, LosingAWorkerReleasesTheOtherWorkersOfItsJob) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.RunningJob("job", 2);
  world.core->OnSessionEnd(a, "its connection ended");
  EXPECT_EQ(world.Job("job").state(), Job::FAILED);
  EXPECT_EQ(world.SentReleases(b, "job"), 1);
  EXPECT_EQ(world.SentReleases(a, "job"), 0);
  EXPECT_EQ(world.Submit("next", 1).state(), Job::PLANNING) << "b's device is free again";
}

TEST(CoreWorkersTest, AJobWhoseWorkerIsLostDuringPlanningIsQueuedAgain) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.Submit("job", 1);
  const PlanTask old = world.TaskOf("job");
  world.core->OnSessionEnd(a, "killed");
  EXPECT_EQ(world.Job("job").state(), Job::PENDING);
  EXPECT_THAT(world.Job("job").reason(), HasSubstr("no workers"));
  EXPECT_FALSE(world.core->Wants(old));
  world.core->OnPlanned("job", old.epoch, world.PlanOf(old));
  EXPECT_EQ(world.Job("job").state(), Job::PENDING) << "a stale plan must not start the job";
  const uint64_t again = world.Worker("a", 1);
  world.Plan("job");
  world.Prepared(again, "job");
  EXPECT_EQ(world.Job("job").state(), Job::RUNNING);
  EXPECT_GT(world.Job("job").epoch(), old.epoch);
}

TEST(CoreWorkersTest, AnErrorSetsWorkerOpAndCause) {
  struct Row {
    int code;
    Job::Cause cause;
    const char* word;
  };
  for (const Row& row : {Row{kCode, Job::PLATFORM, "JOB_FAILED"}, Row{kUnavailable, Job::INFRASTRUCTURE, "JOB_FAILED"},
                         Row{kUnimplemented, Job::USER, "UNSUPPORTED_OP"}, Row{12345, Job::PLATFORM, "JOB_FAILED"},
                         Row{-1, Job::PLATFORM, "JOB_FAILED"}}) {
    CoreWorld world;
    const uint64_t a = world.Worker("a", 1);
    world.RunningJob("job", 1);
    ASSERT_TRUE(world.Steps("job", 1, 1).ok());
    world.StepFailed(a, "job", 1, row.code, "dot.7 at model.py:12");
    const Job job = world.Job("job");
    EXPECT_EQ(job.state(), Job::FAILED) << row.code;
    EXPECT_EQ(job.cause(), row.cause) << row.code;
    EXPECT_EQ(job.error_reason(), row.word) << row.code;
    EXPECT_EQ(job.failed_worker(), "a");
    EXPECT_EQ(job.failed_op(), "dot.7 at model.py:12");
    EXPECT_THAT(job.reason(), HasSubstr("step 1: it went wrong"));
  }
}

TEST(CoreWorkersTest, ASecondaryErrorWaitsForThePrimaryOne) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.RunningJob("job", 2);
  ASSERT_TRUE(world.Steps("job", 1, 1).ok());
  world.StepFailed(b, "job", 1, kUnavailable, "all-reduce", /*secondary=*/true);
  EXPECT_EQ(world.Job("job").state(), Job::RUNNING);
  world.Advance(milliseconds(500));
  world.StepFailed(a, "job", 1, kCode, "dot");
  EXPECT_EQ(world.Job("job").failed_worker(), "a");
  EXPECT_EQ(world.Job("job").failed_op(), "dot");
}

TEST(CoreWorkersTest, ASecondaryErrorAloneFailsTheJobAfterASecond) {
  CoreWorld world;
  world.Worker("a", 1);
  const uint64_t b = world.Worker("b", 1);
  world.RunningJob("job", 2);
  ASSERT_TRUE(world.Steps("job", 1, 1).ok());
  world.StepFailed(b, "job", 1, kUnavailable, "all-reduce", /*secondary=*/true);
  world.Advance(milliseconds(1100));
  EXPECT_EQ(world.Job("job").state(), Job::FAILED);
  EXPECT_EQ(world.Job("job").failed_worker(), "b");
}

TEST(CoreWorkersTest, PrepareErrorsFailTheJobAndFreeItsDevices) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.Submit("job", 2);
  world.Plan("job");
  world.Prepared(a, "job");
  EXPECT_EQ(world.Job("job").state(), Job::PLANNING);
  world.Prepared(b, "job", kCode);
  EXPECT_EQ(world.Job("job").state(), Job::FAILED);
  EXPECT_EQ(world.Job("job").failed_worker(), "b");
  EXPECT_THAT(world.Job("job").reason(), HasSubstr("compiling"));
  EXPECT_EQ(world.SentReleases(a, "job"), 1);
  EXPECT_EQ(world.SentReleases(b, "job"), 1);
  EXPECT_EQ(world.Submit("next", 2).state(), Job::PLANNING);
}

TEST(CoreWorkersTest, PlanningAndCompilingHaveDeadlines) {
  Limits limits;
  limits.lease = std::chrono::hours(100);
  CoreWorld world(limits);
  world.Worker("a", 1);
  world.Submit("plans", 1);
  world.Advance(limits.planning_timeout + seconds(1));
  EXPECT_EQ(world.Job("plans").state(), Job::FAILED);
  EXPECT_EQ(world.Job("plans").error_reason(), reason::kNoFeasiblePlan);
  world.Submit("compiles", 1);
  world.Plan("compiles");
  world.Advance(limits.prepare_timeout + seconds(1));
  EXPECT_EQ(world.Job("compiles").state(), Job::FAILED);
  EXPECT_EQ(world.Job("compiles").failed_worker(), "a");
}

TEST(CoreWorkersTest, HostileMessagesDoNoHarm) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.RunningJob("job", 1);
  ASSERT_TRUE(world.Steps("job", 1, 2).ok());
  const auto send = [&](uint64_t session, auto fill) {
    proto::FromWorker message = world.StepMessage("job", 1);
    fill(message);
    world.core->OnMessage(session, message);
  };
  send(a, [](proto::FromWorker& m) { m.mutable_step_done()->set_job_id("nobody"); });
  send(a, [](proto::FromWorker& m) { m.mutable_step_done()->set_epoch(99); });
  send(a, [](proto::FromWorker& m) { m.mutable_step_done()->set_step(-5); });
  send(a, [](proto::FromWorker& m) { m.mutable_step_done()->set_step(1'000'000); });
  send(b, [](proto::FromWorker&) {});  // not a worker of the job
  send(b, [](proto::FromWorker& m) { m.mutable_step_done()->mutable_error()->set_code(kCode); });
  send(777, [](proto::FromWorker&) {});  // a session that does not exist
  send(a, [](proto::FromWorker& m) { *m.mutable_register_() = CoreWorld::Registration("c", 1); });
  send(a, [](proto::FromWorker& m) { m.mutable_prepared()->set_job_id("job"); });
  send(a, [](proto::FromWorker& m) { m.Clear(); });
  send(a, [](proto::FromWorker& m) {
    for (int i = 0; i < 100'000; ++i) m.mutable_heartbeat()->add_device_bytes_in_use(-1);
  });
  EXPECT_EQ(world.Job("job").state(), Job::RUNNING);
  EXPECT_EQ(world.Job("job").steps_done(), 0);
  EXPECT_EQ(world.core->workers().size(), 2u);
  EXPECT_EQ(world.core->workers().at("a").bytes_in_use.size(), 1u);
  // A valid step counts, but its invalid scalars are dropped.
  send(a, [](proto::FromWorker& m) {
    for (int output : {-1, 5, 1 << 30}) m.mutable_step_done()->add_scalars()->set_output(output);
    m.mutable_step_done()->add_scalars()->set_data(std::string(1 << 20, 'x'));
    for (int i = 0; i < 1000; ++i) m.mutable_step_done()->add_scalars()->set_data("odd");
  });
  EXPECT_EQ(world.Job("job").steps_done(), 1);
  const auto results = world.core->ResultsFrom("job", 1, 10);
  ASSERT_TRUE(results.ok());
  EXPECT_EQ(results->results[0].scalars_size(), 1);
  EXPECT_TRUE(std::isnan(world.Job("job").last_loss()));
}

TEST(CoreWorkersTest, AHugeErrorMessageIsCut) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.RunningJob("job", 1);
  ASSERT_TRUE(world.Steps("job", 1, 1).ok());
  proto::FromWorker message = world.StepMessage("job", 1);
  message.mutable_step_done()->mutable_error()->set_code(kCode);
  message.mutable_step_done()->mutable_error()->set_message(std::string(1 << 22, 'm'));
  message.mutable_step_done()->mutable_error()->set_op(std::string(1 << 22, 'o'));
  world.core->OnMessage(a, message);
  EXPECT_EQ(world.Job("job").state(), Job::FAILED);
  EXPECT_LT(world.Job("job").ByteSizeLong(), 20'000u);
}

TEST(CoreWorkersTest, LostWorkersStayListedForAWhile) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.core->OnSessionEnd(a, "killed");
  ASSERT_EQ(world.core->Cluster().workers_size(), 1);
  EXPECT_FALSE(world.core->Cluster().workers(0).up());
  world.Advance(std::chrono::hours(2));
  EXPECT_EQ(world.core->Cluster().workers_size(), 0);
}

}  // namespace
}  // namespace alpa::coordinator
