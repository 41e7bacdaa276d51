#include "coordinator/http/status_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <xxhash.h>

#include <nlohmann/json.hpp>

#include "coordinator/http/metrics.h"
#include "coordinator/testing/rpc_world.h"

namespace alpa::coordinator {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class StatusServerTest : public ::testing::Test {
 protected:
  StatusServerTest() {
    auto started = StartStatusServer(*world_.coordinator, "1.0", "127.0.0.1:0", {"Alpa.example"});
    EXPECT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    const size_t colon = server_->address().rfind(':');
    client_ = std::make_unique<httplib::Client>("127.0.0.1", std::stoi(server_->address().substr(colon + 1)));
  }
  httplib::Response Get(const std::string& path, const httplib::Headers& headers = {}) {
    const auto result = client_->Get(path.c_str(), headers);
    EXPECT_TRUE(result) << path;
    return result ? *result : httplib::Response();
  }
  // Submits a job "waits" that asks for too many devices, and a job "ran" that runs three steps.
  void RunSomething(HandWorker& worker) {
    proto::UploadReply reply;
    const uint64_t hash = XXH64("good", 4, 0);
    ASSERT_TRUE(world_.Upload("good", hash, &reply).ok());
    for (auto [id, devices] : {std::pair("waits", 5), std::pair("ran", 1)}) {
      proto::SubmitRequest request = CoreWorld::Request(id, devices);
      request.set_program_hash(hash);
      world_.coordinator->With([&](Core& core) { EXPECT_TRUE(core.Submit(request).ok()); });
    }
    worker.AnswerPrepare();
    ASSERT_EQ(world_.WaitFor("ran", proto::Job::RUNNING).state(), proto::Job::RUNNING);
    world_.coordinator->With([&](Core& core) {
      proto::StepCommand command;
      command.set_job_id("ran");
      command.set_epoch(core.jobs().at("ran").job.epoch());
      command.set_first_step(1);
      command.set_count(3);
      command.set_batch_slots(1);
      EXPECT_TRUE(core.RunSteps(command).ok());
    });
    worker.AnswerSteps();
    while (world_.Get("ran").steps_done() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  RpcWorld world_;
  std::unique_ptr<StatusServer> server_;
  std::unique_ptr<httplib::Client> client_;
};

TEST_F(StatusServerTest, ServesHealthAndVersion) {
  EXPECT_EQ(Get("/livez").body, "ok\n");
  EXPECT_EQ(Get("/readyz").status, 200);
  EXPECT_EQ(json::parse(Get("/version").body)["version"], "1.0");
  world_.coordinator->With([](Core& core) { core.BeginDrain(); });
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/livez").status, 200);
}

TEST_F(StatusServerTest, AnswersOnlyGetRequestsToAllowedHosts) {
  EXPECT_EQ(client_->Post("/api/v1/jobs", "{}", "application/json")->status, 405);
  EXPECT_EQ(client_->Delete("/api/v1/jobs/ran")->status, 405);
  EXPECT_EQ(client_->Options("/api/v1/jobs")->status, 405);
  EXPECT_EQ(Get("/livez", {{"Host", "evil.example"}}).status, 403);
  EXPECT_EQ(Get("/livez", {{"Host", "alpa.EXAMPLE:7480"}}).status, 200);
  for (const char* host : {"localhost", "LOCALHOST:1", "127.0.0.1:7480", "127.1.2.3", "[::1]", "[::1]:7480"}) {
    EXPECT_TRUE(HostAllowed(host, {})) << host;
  }
  for (const char* host :
       {"", "evil", "127.evil.example", "127.0.0.1.evil", "localhost.evil", "[::2]", "::1", "10.0.0.1"}) {
    EXPECT_FALSE(HostAllowed(host, {})) << host;
  }
}

TEST_F(StatusServerTest, ThePageLoadsNothingFromOtherSites) {
  const httplib::Response page = Get("/");
  EXPECT_THAT(page.get_header_value("Content-Security-Policy"), HasSubstr("default-src 'none'"));
  EXPECT_FALSE(page.has_header("Access-Control-Allow-Origin"));
  EXPECT_THAT(page.body, Not(HasSubstr("http://")));
  EXPECT_THAT(page.body, Not(HasSubstr("https://")));
  EXPECT_EQ(Get("/app.js").status, 200);
  EXPECT_EQ(Get("/app.css").status, 200);
  EXPECT_EQ(Get("/nothing").status, 404);
}

TEST_F(StatusServerTest, TheApiReportsWorkersJobsPlansAndSteps) {
  HandWorker worker(world_, "a", 1);
  worker.Receive(proto::ToWorker::kWelcome);
  RunSomething(worker);
  const json cluster = json::parse(Get("/api/v1/cluster").body);
  EXPECT_EQ(cluster["workers"][0]["devices"][0]["job_id"], "ran");
  EXPECT_EQ(json::parse(Get("/api/v1/workers").body)["workers"][0]["name"], "a");
  const json jobs = json::parse(Get("/api/v1/jobs").body)["jobs"];
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0]["reason"], "needs 5 devices, the cluster has 1");
  EXPECT_EQ(jobs[0]["last_loss"], nullptr);
  EXPECT_EQ(jobs[1]["state"], "RUNNING");
  EXPECT_EQ(jobs[1]["last_loss"], 3.0);
  EXPECT_EQ(json::parse(Get("/api/v1/jobs/ran").body)["steps_done"], 3);
  const json plan = json::parse(Get("/api/v1/jobs/ran/plan").body);
  EXPECT_EQ(plan["text"], "a plan");
  EXPECT_EQ(plan["spans"], json::parse(R"([{"mesh":0,"program":"step","begin":0.0,"end":0.5}])"));
  const json steps = json::parse(Get("/api/v1/jobs/ran/timeline").body)["steps"];
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[2]["loss"], 3.0);
  for (const char* path :
       {"/api/v1/jobs/nobody", "/api/v1/jobs/nobody/plan", "/api/v1/jobs/../jobs", "/api/v1/jobs/A"}) {
    EXPECT_EQ(Get(path).status, 404) << path;
  }
}

TEST_F(StatusServerTest, MetricsFollowThePrometheusFormat) {
  HandWorker worker(world_, "a", 1);
  worker.Receive(proto::ToWorker::kWelcome);
  RunSomething(worker);
  world_.coordinator->CountSubmit(absl::OkStatus());
  const std::string text = Get("/metrics").body;
  for (const char* line :
       {"alpa_build_info{version=\"1.0\"} 1\n", "alpa_coordinator_jobs{state=\"RUNNING\"} 1\n",
        "alpa_coordinator_jobs{state=\"PENDING\"} 1\n", "alpa_coordinator_submits_total{code=\"OK\"} 1\n",
        "alpa_worker_up{worker=\"a\"} 1\n", "alpa_worker_heartbeat_age_seconds{worker=\"a\"} ",
        "alpa_worker_device_memory_bytes{worker=\"a\",kind=\"total\"} 1048576\n",
        "alpa_job_steps_total{job=\"ran\"} 3\n", "alpa_job_step_duration_seconds_bucket{job=\"ran\",le=\"+Inf\"} 3\n",
        "alpa_planner_duration_seconds_count{phase=\"plan\"} 1\n",
        "alpa_job_step_duration_seconds_count{job=\"ran\"} 3\n",
        "alpa_job_last_step_timestamp_seconds{job=\"ran\"} "}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("alpa_job_steps_total{job=\"waits\"}")));
}

TEST_F(StatusServerTest, AnUnusableAddressGivesAClearError) {
  const auto used = StartStatusServer(*world_.coordinator, "1.0", server_->address(), {});
  EXPECT_EQ(used.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(used.status().message()), HasSubstr(server_->address()));
  for (const char* address : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000", "127.0.0.1:-1"}) {
    EXPECT_EQ(StartStatusServer(*world_.coordinator, "1.0", address, {}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << address;
  }
}

}  // namespace
}  // namespace alpa::coordinator
