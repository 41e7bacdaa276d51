#include "client/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "client/cli/command.h"
#include "client/cli/completion.h"
#include "client/cli/job_flags.h"
#include "client/lib/testing.h"

namespace alpa::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<std::string> kCommands = {"submit", "status", "list", "logs", "plan show", "plan make"};

CommandLine Split(const std::vector<std::string>& words) {
  const auto line = SplitCommandLine(words, kCommands);
  EXPECT_TRUE(line.ok()) << line.status();
  return line.ok() ? *line : CommandLine{};
}
std::string Error(const std::vector<std::string>& words) {
  const auto line = SplitCommandLine(words, kCommands);
  return line.ok() ? "" : std::string(line.status().message());
}

TEST(CommandLineTest, PassesLeadingFlagsToTheCommand) {
  const CommandLine line =
      Split({"--address", "h:1", "-o", "json", "--format=table", "-ojsonl", "list", "--state", "failed"});
  EXPECT_EQ(line.command, "list");
  EXPECT_THAT(line.arguments,
              ElementsAre("--address", "h:1", "-o", "json", "--format=table", "-ojsonl", "--state", "failed"));
  // The value of a flag is not taken for the command, even if the value equals a command's name.
  EXPECT_EQ(Split({"--address", "list", "status", "list"}).command, "status");
  EXPECT_THAT(Split({"submit", "list"}).arguments, ElementsAre("list"));
}

TEST(CommandLineTest, FindsCommandsOfTwoWords) {
  EXPECT_EQ(Split({"plan", "show", "f", "--job", "d"}).command, "plan show");
  EXPECT_THAT(Split({"-o", "json", "plan", "show", "f"}).arguments, ElementsAre("-o", "json", "f"));
  EXPECT_EQ(Split({"help", "plan", "make"}).command, "plan make");
  EXPECT_EQ(Split({"plan", "--graph", "d", "--cluster", "c"}).command, "plan make");
  EXPECT_THAT(Split({"plan", "--graph", "d", "--cluster", "c"}).arguments,
              ElementsAre("--graph", "d", "--cluster", "c"));
  EXPECT_THAT(Split({"help", "plan", "make"}).arguments, ElementsAre("--help"));
  EXPECT_THAT(Split({"plan", "--help"}).command, IsEmpty());
  EXPECT_THAT(Error({"plan"}), HasSubstr("alpa plan needs a subcommand: alpa plan show, alpa plan make"));
  EXPECT_THAT(Error({"plan", "shwo"}), HasSubstr("no command 'plan shwo'; did you mean 'alpa plan show'?"));
  EXPECT_THAT(Error({"paln", "show"}), HasSubstr("no command 'paln'"));
}

TEST(CommandLineTest, RecognizesRequestsForHelpAndVersion) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"--help"}, {"-h"}, {"help"}, {"--address", "x", "--help"}}) {
    EXPECT_THAT(Split(words).command, IsEmpty());
    EXPECT_FALSE(Split(words).version);
  }
  EXPECT_TRUE(Split({"--version"}).version);
  EXPECT_EQ(Split({"help", "logs"}).command, "logs");
  EXPECT_THAT(Split({"help", "logs"}).arguments, ElementsAre("--help"));
  EXPECT_THAT(Split({"list", "--help"}).arguments, ElementsAre("--help"));
}

TEST(CommandLineTest, RefusesUnknownWordsAndSuggestsSimilarOnes) {
  EXPECT_THAT(Error({"sumbit", "job"}), HasSubstr("no command 'sumbit'; did you mean 'alpa submit'?"));
  EXPECT_EQ(Error({"frobnicate"}), "there is no command 'frobnicate'");
  EXPECT_THAT(Error({"help", "lits"}), HasSubstr("'alpa list'"));
  EXPECT_THAT(Error({"--adress", "x", "list"}), HasSubstr("'--adress' before the command; did you mean '--address'?"));
  EXPECT_THAT(Error({"--adress=x", "list"}), HasSubstr("'--adress' before the command; did you mean '--address'?"));
  EXPECT_THAT(Error({"--address"}), HasSubstr("--address needs a value"));
  EXPECT_THAT(Error({"--address", "h:1"}), HasSubstr("a command is missing"));
  EXPECT_THAT(Error({"--"}), HasSubstr("unknown flag '--'"));
  EXPECT_THAT(Error({"-x"}), HasSubstr("unknown flag '-x'"));
  EXPECT_THAT(Error({""}), HasSubstr("no command ''"));
}

TEST(CommandTest, EveryCommandHasExamplesAndCompletion) {
  std::vector<CommandWords> words;
  for (const auto& command : AllCommands()) {
    SCOPED_TRACE(command->name());
    EXPECT_FALSE(command->examples().empty());
    EXPECT_THAT(command->summary(), ::testing::EndsWith("."));
    words.push_back({command->name(), command->summary(), FlagsOf(*command)->Names(), {}});
    EXPECT_THAT(words.back().flags, ::testing::Contains("address"));
  }
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = CompletionScript(shell, words);
    for (const CommandWords& command : words) EXPECT_THAT(script, HasSubstr(command.name));
    EXPECT_THAT(script, HasSubstr("data-parallel"));
  }
}

TEST(CommandTest, AShellReadsAQuotedWordUnchanged) {
  for (const char* word : {"plain/path-1.2_x", "with space", "it's", "$HOME", "", "a;b", "*", "\n"}) {
    const std::string command = absl::StrCat("printf %s ", ShellWord(word));
    FILE* pipe = popen(command.c_str(), "r");
    char text[64] = {};
    const size_t size = fread(text, 1, sizeof(text), pipe);
    pclose(pipe);
    EXPECT_EQ(std::string(text, size), word);
  }
  EXPECT_EQ(ShellWord("job/1"), "job/1");
}

struct JobFlagsTest : ::testing::Test {
  JobFlagsTest() { WriteJob(folder); }
  absl::Status Parse(std::vector<std::string> words) {
    flags = {};
    Flags parser("alpa submit", "", {});
    flags.Declare(parser);
    std::vector<const char*> argv = {"alpa", folder_path.c_str()};
    for (const std::string& word : words) argv.push_back(word.c_str());
    std::string out;
    return parser.Parse(static_cast<int>(argv.size()), argv.data(), &out).status();
  }
  proto::PlanRequest Plan(std::vector<std::string> words) {
    EXPECT_TRUE(Parse(std::move(words)).ok());
    proto::PlanRequest plan;
    plan.set_devices(2);
    plan.set_data_parallel(2);
    plan.add_workers("w");
    return flags.PlanOver(plan).value();
  }

  Folder folder;
  const std::string folder_path = folder.path();
  JobFlags flags;
};

TEST_F(JobFlagsTest, OpenRequiresSteps) {
  ASSERT_TRUE(Parse({}).ok());
  const auto missing = flags.Open();
  EXPECT_EQ(ExitCodeOf(missing.status()), kExitUsage);
  EXPECT_THAT(missing.status().message(), HasSubstr("2 batches"));
  ASSERT_TRUE(Parse({"--steps", "3"}).ok());
  EXPECT_TRUE(flags.Open().ok());
  std::filesystem::remove(folder.path("job.json"));
  EXPECT_EQ(ExitCodeOf(flags.Open().status()), kExitUsage);
}

TEST_F(JobFlagsTest, FlagsOverrideTheDirectorysPlan) {
  EXPECT_EQ(Plan({}).devices(), 2);
  EXPECT_EQ(Plan({}).workers_size(), 1);
  EXPECT_EQ(Plan({"--devices", "4"}).devices(), 4);
  EXPECT_EQ(Plan({"--devices", "4"}).data_parallel(), 4);
  EXPECT_EQ(Plan({"--data-parallel", "4"}).devices(), 4);
  EXPECT_EQ(Plan({"--data-parallel", "2", "--devices", "4"}).devices(), 4);  // the coordinator refuses these counts
  EXPECT_EQ(Plan({"--data-parallel", "2", "--devices", "4"}).data_parallel(), 2);
  EXPECT_EQ(Plan({"--microbatches", "8"}).microbatches(), 8);
  EXPECT_EQ(Plan({"--local-statistics"}).statistics(), proto::Plan::LOCAL);
  proto::PlanRequest free;
  ASSERT_TRUE(Parse({"--devices", "4"}).ok());
  EXPECT_EQ(flags.PlanOver(free)->data_parallel(), 0);
}

TEST_F(JobFlagsTest, PipelineFlagsPinThePipelineAndItsDevices) {
  proto::PlanRequest plan = Plan({"--pipeline", "3", "--schedule", "gpipe", "--interleave", "2", "--remat", "layer"});
  EXPECT_EQ(plan.devices(), 6);  // the directory's data_parallel of 2 is kept
  EXPECT_EQ(plan.data_parallel(), 2);
  EXPECT_EQ(plan.pipeline().meshes(), 3);
  EXPECT_EQ(plan.pipeline().stages_per_mesh(), 2);
  EXPECT_EQ(plan.pipeline().schedule(), "gpipe");
  EXPECT_EQ(plan.remat(), "layer");
  EXPECT_EQ(Plan({"--pipeline", "2", "--devices", "4"}).data_parallel(), 2);
  EXPECT_EQ(Plan({"--pipeline", "2", "--tensor-parallel", "2"}).devices(), 8);

  plan = Plan({"--stage-devices", "1,3"});
  EXPECT_EQ(plan.pipeline().meshes(), 2);
  EXPECT_EQ(plan.pipeline().devices(1), 3);
  EXPECT_EQ(plan.devices(), 0);
  EXPECT_EQ(plan.data_parallel(), 0);

  proto::PlanRequest unequal = plan;
  ASSERT_TRUE(Parse({"--pipeline", "4"}).ok());
  EXPECT_TRUE(flags.PlanOver(unequal)->pipeline().devices().empty());
  ASSERT_TRUE(Parse({"--pipeline", "1"}).ok());
  EXPECT_EQ(flags.PlanOver(unequal)->pipeline().meshes(), 1);  // a pin: the search makes no pipeline
  EXPECT_TRUE(flags.PlanOver(unequal)->pipeline().devices().empty());
  ASSERT_TRUE(Parse({"--microbatches", "2"}).ok());
  EXPECT_EQ(flags.PlanOver(unequal)->pipeline().devices_size(), 2);
}

TEST_F(JobFlagsTest, APlanFileReplacesAllPins) {
  const std::string path =
      folder.Write("plan.json", R"({"meshes": [{"devices": [0]}, {"devices": [1]}], "stages": [{}, {"mesh": 1}]})");
  const proto::PlanRequest plan = Plan({"--plan", path});
  EXPECT_EQ(plan.given().meshes_size(), 2);
  EXPECT_EQ(plan.devices(), 0) << "the plan file replaces the directory's pins";
  EXPECT_EQ(plan.workers_size(), 1) << "the plan file does not replace the directory's workers";
  ASSERT_TRUE(Parse({"--plan", path, "--devices", "2"}).ok());
  EXPECT_THAT(flags.PlanOver({}).status().message(), HasSubstr("leave out --devices 2"));
  ASSERT_TRUE(Parse({"--plan", folder.Write("bad.json", "{")}).ok());
  EXPECT_THAT(flags.PlanOver({}).status().message(), HasSubstr("bad.json: not a plan"));
  EXPECT_EQ(ExitCodeOf(flags.PlanOver({}).status()), kExitUsage);
  ASSERT_TRUE(Parse({"--plan", folder.path("none.json")}).ok());
  EXPECT_EQ(ExitCodeOf(flags.PlanOver({}).status()), kExitUsage);
}

TEST_F(JobFlagsTest, TypedReproducesTheFlags) {
  ASSERT_TRUE(Parse({"--steps", "3", "--output", "my out", "--data-parallel", "2", "--microbatches", "4", "--name", "n",
                     "--devices", "2", "--local-statistics"})
                  .ok());
  flags.only_workers = {"a", "b"};
  EXPECT_EQ(flags.Typed(), absl::StrCat(folder_path,
                                        " --steps 3 --output 'my out' --name n --devices 2 --data-parallel 2 "
                                        "--microbatches 4 --local-statistics --only-workers a,b"));
  ASSERT_TRUE(Parse({"--steps", "3", "--stage-devices", "1,3", "--interleave", "2", "--schedule", "1f1b", "--remat",
                     "layer", "--pipeline", "2"})
                  .ok());
  EXPECT_EQ(flags.Typed(), absl::StrCat(folder_path,
                                        " --steps 3 --pipeline 2 --interleave 2 --schedule 1f1b "
                                        "--stage-devices 1,3 --remat layer"));
}

TEST_F(JobFlagsTest, RefusesBadFlags) {
  EXPECT_THAT(Parse({"--steps", "0"}).message(), HasSubstr("--steps '0': expected 1 to"));
  EXPECT_THAT(Parse({"--steps", "ten"}).message(), HasSubstr("expected a whole number"));
  EXPECT_THAT(Parse({"--steps"}).message(), HasSubstr("--steps"));
  EXPECT_THAT(Parse({"--setps", "1"}).message(), HasSubstr("did you mean '--steps'"));
  EXPECT_THAT(Parse({"--microbatches", "-1"}).message(), HasSubstr("--microbatches '-1'"));
  EXPECT_THAT(Parse({"--stage-devices", "1,0"}).message(), HasSubstr("'0' is not a number of devices"));
  EXPECT_THAT(Parse({"--schedule", "2f2b"}).message(), HasSubstr("zero-bubble"));
  EXPECT_THAT(Parse({"--remat", "all"}).message(), HasSubstr("layer"));
  EXPECT_THAT(Parse({"--steps", "1", "--steps", "2"}).message(), HasSubstr("given 2 times"));
  EXPECT_THAT(Parse({"--steps", "1", "other"}).message(), HasSubstr("unexpected argument 'other'"));
}

}  // namespace
}  // namespace alpa::client
