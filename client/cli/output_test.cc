#include "client/cli/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace alpa::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

proto::Job Job() {
  proto::Job job;
  job.set_job_id("night-3");
  job.set_name("gpt");
  job.set_state(proto::Job::RUNNING);
  job.set_created_unix_ms(1'000'000);
  job.set_total_steps(100);
  job.set_last_loss(std::nan(""));
  return job;
}

TEST(OutputTest, TableAlignsColumnsByVisibleWidth) {
  EXPECT_EQ(Table({"A", "LONGER", "C"}, {{"xxxxx", "1", ""}, {"\xc3\xa4", "2", "end"}}),
            "A      LONGER  C\n"
            "xxxxx  1\n"
            "\xc3\xa4      2       end\n");
  EXPECT_EQ(Table({"A"}, {}), "A\n");
}

TEST(OutputTest, JobsTableShowsEachJobInOneHarmlessRow) {
  proto::Job job = Job();
  EXPECT_EQ(JobsTable({job}, 1'090'000),
            "JOB      NAME  STATE    STEPS  LOSS  STEP TIME  DEVICES  AGE  REASON\n"
            "night-3  gpt   RUNNING  0/100  -     -          -        90s\n");
  job.set_steps_done(7);
  job.set_last_loss(2.5);
  job.set_median_step_seconds(0.0123);
  job.add_devices(0);
  job.add_devices(1);
  job.set_reason("needs\n8\033[2Jdevices");
  const std::string table = JobsTable({job}, 8'200'000);
  EXPECT_THAT(table, HasSubstr("7/100  2.5000  12.3 ms    0,1      2h   needs 8 [2Jdevices\n"));
}

TEST(OutputTest, JsonOfJobsParses) {
  proto::Job job = Job();
  job.set_name("q\"uote\n\xff");
  nlohmann::json parsed = nlohmann::json::parse(JobJson(job, true));
  EXPECT_EQ(parsed["state"], "RUNNING");
  EXPECT_TRUE(parsed["last_loss"].is_null());
  EXPECT_TRUE(parsed.contains("plan"));
  EXPECT_FALSE(parsed.contains("cause"));
  job.set_state(proto::Job::FAILED);
  job.set_cause(proto::Job::USER);
  EXPECT_EQ(nlohmann::json::parse(JobJson(job, false))["cause"], "USER");
  StepMetrics metrics;
  metrics.step = 4;
  metrics.scalars.push_back({"aux['loss']", 0.5, "0.5", true});
  parsed = nlohmann::json::parse(SubmittedJson(job, &metrics, "out"));
  EXPECT_EQ(parsed["metrics"]["aux['loss']"], 0.5);
  EXPECT_EQ(parsed["output"], "out");
  EXPECT_TRUE(nlohmann::json::parse(SubmittedJson(job, nullptr, ""))["metrics"].is_null());
  for (int count : {0, 1, 2}) {
    const std::vector<std::string> values(count, JobJson(job, false));
    EXPECT_EQ(nlohmann::json::parse(JsonLines(values, true)).size(), static_cast<size_t>(count));
    const std::string lines = JsonLines(values, false);
    EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), count);
  }
  EXPECT_EQ(nlohmann::json::parse(StepsLine(job, 0, true))["total_steps"], 100);
  EXPECT_THAT(StepsLine(job, 0, false), Not(HasSubstr("loss")));
}

TEST(OutputTest, ClusterTableShowsEachDeviceInOneRow) {
  proto::ClusterReply cluster;
  EXPECT_EQ(nlohmann::json::parse(ClusterJson(cluster))["workers"].size(), 0u);
  proto::WorkerState* worker = cluster.add_workers();
  worker->set_name("w0");
  worker->set_up(true);
  worker->set_tensor_address("h:1");
  for (int id : {0, 1}) {
    proto::DeviceState* device = worker->add_devices();
    device->set_id(id);
    device->set_kind("cpu");
    device->set_memory_bytes(int64_t{3} << 29);
    device->set_job_id(id == 0 ? "night-3" : "");
  }
  cluster.add_workers()->set_name("w1");
  EXPECT_EQ(ClusterTable(cluster),
            "WORKER  STATE  DEVICE  KIND  MEMORY   JOB      TENSORS AT\n"
            "w0      up     0       cpu   1.5 GiB  night-3  h:1\n"
            "w0      up     1       cpu   1.5 GiB  free     h:1\n"
            "w1      down   -       -     -        -\n");
  EXPECT_EQ(nlohmann::json::parse(WorkerJson(*worker))["devices"][0]["job_id"], "night-3");
}

TEST(OutputTest, FormatsSecondsAgesAndByteCounts) {
  EXPECT_EQ(Seconds(0), "-");
  EXPECT_EQ(Seconds(-1), "-");
  EXPECT_EQ(Seconds(std::nan("")), "-");
  EXPECT_EQ(Seconds(0.00034), "340 us");
  EXPECT_EQ(Seconds(0.0123), "12.3 ms");
  EXPECT_EQ(Seconds(4.56), "4.56 s");
  EXPECT_EQ(Seconds(200), "3 min 20 s");
  EXPECT_EQ(Seconds(7300), "2 h 1 min");
  EXPECT_THAT(Seconds(HUGE_VAL), HasSubstr(" h "));
  EXPECT_EQ(Age(-5), "0s");
  EXPECT_EQ(Age(119'000), "119s");
  EXPECT_EQ(Age(120'000), "2m");
  EXPECT_EQ(Age(int64_t{7200} * 1000), "2h");
  EXPECT_EQ(Age(int64_t{86400} * 2000), "2d");
  EXPECT_EQ(ByteCount(0), "-");
  EXPECT_EQ(ByteCount(1), "1 B");
  EXPECT_EQ(ByteCount(1536), "1.5 KiB");
  EXPECT_EQ(ByteCount(int64_t{512} << 20), "512 MiB");
}

}  // namespace
}  // namespace alpa::client
