#include "client/lib/job_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "client/lib/testing.h"

namespace alpa::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Text(std::span<const uint8_t> bytes) { return std::string(bytes.begin(), bytes.end()); }

TEST(JobDirectoryTest, OpensAGoodDirectory) {
  Folder folder;
  WriteJob(folder);
  const auto job = JobDirectory::Open(folder.path());
  ASSERT_TRUE(job.ok()) << job.status();
  const JobDescription& description = (*job)->description();
  EXPECT_EQ(description.name, "a step");
  EXPECT_EQ(description.batches, 2);
  EXPECT_EQ(description.inputs[0].ToString(), "f32[2]");
  EXPECT_EQ(description.roles.outputs[0].state_input, 0);
  EXPECT_EQ(description.plan.data_parallel(), 2);
  EXPECT_EQ(description.plan.batch_dims(0).leaf(), 0);
  EXPECT_EQ(description.plan.statistics(), proto::Plan::LOCAL);
  EXPECT_THAT((*job)->InputsOf(plan::InputRole::Kind::kState), ElementsAre(0));
  EXPECT_THAT((*job)->InputsOf(plan::InputRole::Kind::kBatch), ElementsAre(1));
  EXPECT_EQ(Text((*job)->state(0)), "abcdefgh");
  EXPECT_EQ(Text((*job)->batch(1, 1)), "1bcd");
  EXPECT_EQ((*job)->program().size(), 6u);
}

TEST(JobDirectoryTest, ReadsThePinsOfAPipeline) {
  const std::string text = absl::StrReplaceAll(
      kJobJson, {{"\"devices\": 2",
                  "\"tensor_cuts\": [{\"leaf\": 0, \"dim\": -1}], \"remat\": \"layer\", \"pipeline\": "
                  "{\"meshes\": 2, \"stages_per_mesh\": 3, \"schedule\": \"gpipe\", \"devices\": [1, 3]}"}});
  const auto job = ParseJobDescription(text);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->plan.pipeline().meshes(), 2);
  EXPECT_EQ(job->plan.pipeline().stages_per_mesh(), 3);
  EXPECT_EQ(job->plan.pipeline().schedule(), "gpipe");
  EXPECT_THAT(job->plan.pipeline().devices(), ElementsAre(1, 3));
  EXPECT_EQ(job->plan.remat(), "layer");
  EXPECT_EQ(job->plan.tensor_cuts(0).dim(), -1);
}

TEST(JobDirectoryTest, RefusesBadDescriptions) {
  ASSERT_TRUE(ParseJobDescription(kJobJson).ok());
  const struct {
    const char *name, *from, *to, *says;
  } rows[] = {
      {"truncated", "\n})", "\n", "not JSON"},
      {"unknown version", "\"version\": 1", "\"version\": 2", "version 2 is not known"},
      {"no version", "\"version\": 1,", "", "lacks 'version'"},
      {"version is text", "\"version\": 1", "\"version\": \"1\"", "'version' must be a whole number"},
      {"unknown member", "\"version\": 1", "\"version\": 1, \"more\": 1", "unknown member 'more'"},
      {"no batches", "\"batches\": 2", "\"batches\": 0", "'batches' is 0"},
      {"too many batches", "\"batches\": 2", "\"batches\": 9223372036854775807", "expected 1 to"},
      {"batches past int64", "\"batches\": 2", "\"batches\": 18446744073709551615", "must be a whole number"},
      {"unknown kind of input", "\"kind\": \"batch\"", "\"kind\": \"state?\"", "input 1: kind 'state?'"},
      {"unknown kind of output", "\"kind\": \"aux\"", "\"kind\": \"batch\"", "output 1: kind 'batch'"},
      {"unknown dtype", "\"dtype\": \"s32\"", "\"dtype\": \"s33\"", "input 1: dtype 's33'"},
      {"negative size", "\"shape\": [2]}", "\"shape\": [-2]}", "must be a list of sizes"},
      {"size overflows", "\"shape\": [2]}", "\"shape\": [4611686018427387904, 4]}", "too large"},
      {"too many dimensions", "\"shape\": [2]}", "\"shape\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", "rank 17"},
      {"state changes shape", "\"state_input\": 0, \"dtype\": \"f32\", \"shape\": [2]",
       "\"state_input\": 0, \"dtype\": \"f32\", \"shape\": [3]", "must keep shape and dtype"},
      {"state changes dtype", "\"state_input\": 0, \"dtype\": \"f32\"", "\"state_input\": 0, \"dtype\": \"s32\"",
       "must keep shape and dtype"},
      {"output replaces an unknown input", "\"state_input\": 0", "\"state_input\": 2", "'state_input' is 2"},
      {"output replaces a batch leaf", "\"state_input\": 0", "\"state_input\": 1", "which is not state"},
      {"no output replaces the state", "\"kind\": \"state\", \"path\": \"state['w']\", \"state_input\"",
       "\"kind\": \"aux\", \"path\": \"x\", \"state_input\"", "no output replaces it"},
      {"two outputs replace the state", "\"kind\": \"aux\", \"path\": \"aux['loss']\", \"state_input\": -1",
       "\"kind\": \"state\", \"path\": \"y\", \"state_input\": 0", "replaced by two outputs"},
      {"inputs are not a list", "\"inputs\": [", "\"inputs\": {}, \"x\": [", "unknown member 'x'"},
      {"seed of an unknown leaf", "\"leaf\": 0", "\"leaf\": 2", "'leaf' is 2"},
      {"seed of an unknown dimension", "\"dim\": 0", "\"dim\": 1", "'dim' is 1"},
      {"unknown statistics", "\"local\"", "\"none\"", "statistics 'none'"},
      {"unknown pin", "\"devices\"", "\"devics\"", "unknown member 'devics'"},
      {"pipeline without meshes", "\"devices\": 2", "\"pipeline\": {}", "lacks 'meshes'"},
      {"pipeline with too many meshes", "\"devices\": 2", "\"pipeline\": {\"meshes\": 65}", "'meshes' is 65"},
      {"mesh without devices", "\"devices\": 2", "\"pipeline\": {\"meshes\": 2, \"devices\": [1, 0]}",
       "a list of counts"},
      {"cut of an unknown dimension", "\"devices\": 2", "\"tensor_cuts\": [{\"leaf\": 0, \"dim\": 1}]", "'dim' is 1"},
      {"negative pin", "\"devices\": 2", "\"devices\": -1", "'devices' is -1"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const std::string text = absl::StrReplaceAll(kJobJson, {{row.from, row.to}});
    if (std::string(row.name) != "truncated") {
      ASSERT_NE(text, kJobJson);
    }
    const auto job = ParseJobDescription(std::string(row.name) == "truncated" ? text.substr(0, text.size() - 3) : text);
    ASSERT_FALSE(job.ok());
    EXPECT_EQ(job.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(job.status().message(), HasSubstr(row.says));
  }
  EXPECT_FALSE(ParseJobDescription("").ok());
  EXPECT_FALSE(ParseJobDescription("[]").ok());
  EXPECT_FALSE(ParseJobDescription(std::string(1 << 20, '[')).ok());
}

TEST(JobDirectoryTest, ErrorsNameTheFile) {
  const struct {
    const char *name, *file, *content, *says;
  } rows[] = {
      {"no description", "job.json", nullptr, "job.json"},
      {"broken description", "job.json", "{", "job.json: not JSON"},
      {"no program", "program.hlo.pb", nullptr, "program.hlo.pb"},
      {"empty program", "program.hlo.pb", "", "has 0 bytes"},
      {"truncated program", "program.hlo.pb", "\x0a\x04st", "truncated or damaged"},
      {"no state", "state.safetensors", nullptr, "state.safetensors"},
      {"broken state", "state.safetensors", "abc", "state.safetensors"},
      {"a batch is missing", "batch-00001.safetensors", nullptr, "batch-00001.safetensors"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Folder folder;
    WriteJob(folder);
    if (row.content == nullptr) {
      std::filesystem::remove(folder.path(row.file));
    } else {
      folder.Write(row.file, row.content);
    }
    const auto job = JobDirectory::Open(folder.path());
    ASSERT_FALSE(job.ok());
    EXPECT_EQ(job.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(job.status().message(), HasSubstr(row.says));
  }
  EXPECT_THAT(JobDirectory::Open("/nowhere").status().message(), HasSubstr("/nowhere is not a directory"));
}

TEST(JobDirectoryTest, RefusesTensorsThatTheDescriptionDoesNotName) {
  const auto batch = [](absl::string_view name, absl::string_view dtype, absl::string_view shape, int bytes) {
    return Safetensors(absl::StrCat("{\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                                    ",\"data_offsets\":[0,", bytes, "]}}"),
                       std::string(static_cast<size_t>(bytes), 'x'));
  };
  const struct {
    std::string content;
    const char* says;
  } rows[] = {
      {batch("other", "I32", "[]", 4), "lacks the tensor batch"},
      {batch("batch", "I64", "[]", 8), "batch is s64[], but job.json says s32[]"},
      {batch("batch", "I32", "[1]", 4), "batch is s32[1]"},
      {Safetensors(
           R"({"batch":{"dtype":"I32","shape":[],"data_offsets":[0,4]},)"
           R"("x":{"dtype":"I32","shape":[],"data_offsets":[4,8]}})",
           "12345678"),
       "the tensor x is not an input of the job"},
  };
  for (const auto& row : rows) {
    Folder folder;
    WriteJob(folder);
    folder.Write("batch-00001.safetensors", row.content);
    const auto job = JobDirectory::Open(folder.path());
    ASSERT_FALSE(job.ok());
    EXPECT_THAT(job.status().message(), HasSubstr(row.says));
    EXPECT_THAT(job.status().message(), HasSubstr("batch-00001"));
  }
}

}  // namespace
}  // namespace alpa::client
