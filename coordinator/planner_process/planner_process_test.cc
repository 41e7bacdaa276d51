#include "coordinator/planner_process/planner_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "coordinator/core/errors.h"
#include "coordinator/testing/temp_dir.h"

namespace alpa::coordinator {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

int64_t OpenDescriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

// Runs fake_planner, which follows the command in the program. Checks that each test leaves no process running and no
// descriptor open.
class PlannerProcessTest : public ::testing::Test {
 protected:
  PlannerProcessTest() {
    task_.job_id = "job";
    task_.devices = {DeviceId(4)};
    cluster::Device device;
    device.id = DeviceId(4);
    device.node = "a";
    device.kind = "cpu";
    task_.cluster.devices = {device};
  }
  ~PlannerProcessTest() override {
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD) << "a process is left";
    EXPECT_EQ(OpenDescriptors(), descriptors_);
  }

  static PlannerProcessOptions Options() { return {FAKE_PLANNER, 256 * kMiB, "1.0"}; }
  absl::StatusOr<Planned> Plan(absl::string_view program, const PlanningProgress& progress = {},
                               const PlannerProcessOptions& options = Options()) const {
    return MakePlannerProcess(options).plan(task_, program, progress);
  }
  // Expects an INTERNAL error, which blames neither the user nor the machine.
  void ExpectFault(absl::string_view program, const std::string& text) const {
    const absl::Status status = Plan(program).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << program << ": " << status;
    EXPECT_EQ(ReasonOf(status), reason::kInternal) << program;
    EXPECT_THAT(std::string(status.message()), HasSubstr(text)) << program;
  }

  PlanTask task_;
  const int64_t descriptors_ = OpenDescriptors();
};

TEST_F(PlannerProcessTest, APlanAndItsProgressArrive) {
  std::vector<std::string> told;
  const auto planned = Plan("anything", [&](const std::string& text) {
    if (!text.empty()) told.push_back(text);
    return true;
  });
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ(planned->devices, task_.devices);
  EXPECT_EQ(planned->serialized_executable, "executable of anything");
  EXPECT_THAT(planned->warnings, ElementsAre("a warning"));
  EXPECT_THAT(told, ElementsAre("planning: 1 plan evaluated"));
}

TEST_F(PlannerProcessTest, LargeProgramsAndExecutablesArrive) {
  const std::string program(50 << 20, 'p');
  const auto planned = Plan(program, {}, {FAKE_PLANNER, 0, "1.0"});
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ(planned->serialized_executable, "executable of " + program);
}

TEST_F(PlannerProcessTest, ErrorsKeepTheirReason) {
  const absl::Status status = Plan("fail because").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "because");
  EXPECT_EQ(ReasonOf(status), reason::kBadProgram);
}

TEST_F(PlannerProcessTest, ATaskWithoutDevicesIsChecked) {
  task_.devices.clear();
  const Planner planner = MakePlannerProcess(Options());
  EXPECT_TRUE(planner.check(task_, "anything", {}).ok());
  EXPECT_EQ(ReasonOf(planner.check(task_, "fail because", {})), reason::kBadProgram);
  EXPECT_EQ(ReasonOf(planner.check(task_, "segfault", {})), reason::kInternal);
}

TEST_F(PlannerProcessTest, ADeathIsAnInternalErrorWithItsCause) {
  ExpectFault("segfault", "signal 11, Segmentation fault");
  ExpectFault("abort", "signal 6, Aborted");
  ExpectFault("throw on a thread", "signal 6, Aborted");
  ExpectFault("stack", "signal 11, Segmentation fault");
  ExpectFault("exit 3", "exit code 3");
}

TEST_F(PlannerProcessTest, BytesThatAreNoAnswerAreAnInternalError) {
  ExpectFault("garbage", "there is no frame of kind 116");
  ExpectFault("a huge frame", "at most");
  ExpectFault("a bad answer", "cannot be parsed");
  ExpectFault("a task", "a task or a program arrived");
  ExpectFault("half a frame", "exit code 0 and without an answer");
  const MonotonicTime begin = Clock::Real().Now();
  ExpectFault("close early", "was killed");
  EXPECT_LT(Clock::Real().Now() - begin, seconds(6));
}

TEST_F(PlannerProcessTest, AProcessThatNeedsTooMuchMemoryNamesTheLimit) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs more address space than any limit";
  for (const char* program : {"allocate", "allocate on a thread"}) {
    const absl::Status status = Plan(program).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(ReasonOf(status), reason::kNoFeasiblePlan);
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("256.0 MiB"), HasSubstr("--planner-memory")));
  }
  // If malloc fails, code that does not expect the failure crashes.
  ExpectFault("malloc", "near the limit of 256.0 MiB");
}

TEST_F(PlannerProcessTest, ATaskThatIsNoLongerWantedIsKilledWithinASecond) {
  for (const char* program : {"hang", "leave the group and hang", "flood"}) {
    const MonotonicTime begin = Clock::Real().Now();
    std::atomic<int> asked = 0;
    const absl::Status status =
        Plan(program, [&](const std::string& text) { return !text.empty() || ++asked < 2; }).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << program << ": " << status;
    EXPECT_LT(Clock::Real().Now() - begin, seconds(kSanitized ? 5 : 1)) << program;
  }
  EXPECT_EQ(Plan("tell and hang", [](const std::string& text) { return text.empty(); }).status().code(),
            absl::StatusCode::kCancelled)
      << "`progress` can also cancel the task in reply to a text that is not empty";
}

TEST_F(PlannerProcessTest, AProcessThatDoesNotReadItsTaskHoldsNothingUp) {
  const TempDir directory;
  const std::string sleeper = directory.path() + "/sleeper";
  std::ofstream(sleeper) << "#!/bin/sh\nexec sleep 1000\n";
  std::filesystem::permissions(sleeper, std::filesystem::perms::owner_all);
  const std::string program(50 << 20, 'p');
  const auto never = [](const std::string&) { return false; };
  EXPECT_EQ(Plan(program, never, {sleeper, 0, "1.0"}).status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(Plan(program, {}, {"/bin/false", 0, "1.0"}).status().message()), HasSubstr("exit code 1"));
}

TEST_F(PlannerProcessTest, AProcessThatThePlannerStartedDiesWithIt) {
  ExpectFault("start a process and die", "code 3");
}

TEST_F(PlannerProcessTest, TwoTasksRunAtTheSameTime) {
  std::atomic<int> running = 0;
  std::vector<std::thread> threads;
  // Each task runs until both tasks have reported progress.
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      const auto progress = [&](const std::string& text) {
        if (!text.empty()) ++running;
        return running < 2;
      };
      EXPECT_EQ(Plan("tell and hang", progress).status().code(), absl::StatusCode::kCancelled);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(PlannerProcessTest, ManyTasksOnManyThreadsDoNotDisturbEachOther) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 5; ++k) {
        ExpectFault("abort", "signal 6");
        EXPECT_TRUE(Plan("anything").ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(PlannerProcessTest, TheProcessInheritsNeitherDescriptorsNorBlockedSignals) {
  const int leak = dup(STDERR_FILENO);  // without O_CLOEXEC
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  EXPECT_TRUE(Plan("descriptors").ok()) << Plan("descriptors").status();
  EXPECT_TRUE(Plan("signals").ok()) << Plan("signals").status();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(leak);
}

TEST_F(PlannerProcessTest, AnotherVersionIsRefused) {
  PlannerProcessOptions options = Options();
  options.version = "2.0";
  const absl::Status status = Plan("anything", {}, options).status();
  EXPECT_EQ(ReasonOf(status), reason::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("same build"));
}

TEST_F(PlannerProcessTest, AMissingProgramIsAnError) {
  EXPECT_EQ(ReasonOf(Plan("anything", {}, {"/nobody", 0, "1.0"}).status()), reason::kInternal);
  for (const char* path : {"/nobody", "/tmp", "/etc/passwd", ""}) {
    const auto found = FindPlannerProgram(path);
    EXPECT_EQ(found.status().code(), absl::StatusCode::kFailedPrecondition) << path;
    EXPECT_THAT(std::string(found.status().message()), HasSubstr("--planner")) << path;
  }
  EXPECT_EQ(*FindPlannerProgram(FAKE_PLANNER), FAKE_PLANNER);
}

}  // namespace
}  // namespace alpa::coordinator
