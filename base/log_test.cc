#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace alpa {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

TEST(LogTest, TextLineNamesJobStepAndWorker) {
  EXPECT_EQ(FormatLogLine(false, LogLevel::kWarning, "worker", {.job = "j", .step = 3, .worker = "w"}, "a\nb", "T"),
            "T warning worker job=j step=3 worker=w: a\\nb");
  EXPECT_EQ(FormatLogLine(false, LogLevel::kInfo, "", {}, "hello", "T"), "T info   : hello");
}

TEST(LogTest, JsonLineEscapesSpecialCharacters) {
  EXPECT_EQ(FormatLogLine(true, LogLevel::kError, "coordinator", {.job = "a\"b", .step = 0}, "x\\y\x01", "T"),
            "{\"time\":\"T\",\"level\":\"error\",\"component\":\"coordinator\",\"job\":\"a\\\"b\",\"step\":0,"
            "\"message\":\"x\\\\y\\u0001\"}");
}

TEST(LogTest, UnknownOptionsAreRefused) {
  EXPECT_EQ(StartLog({.format = "xml"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StartLog({.level = "loud"}).code(), absl::StatusCode::kInvalidArgument);
}

TEST(LogTest, WritesLinesAtOrAboveTheLevelToStderrInOrder) {
  ::testing::internal::CaptureStderr();
  ASSERT_TRUE(StartLog({.format = "json", .level = "info", .component = "test"}).ok());
  LogDebug("hidden");
  LogInfo({.job = "j1"}, "step took %.1f s {}", 1.5);
  LogError("second %s", "line");
  StopLog();
  LogWarning("after the end");
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, Not(HasSubstr("hidden")));
  EXPECT_THAT(text, HasSubstr("\"job\":\"j1\",\"message\":\"step took 1.5 s {}\"}\n"));
  EXPECT_LT(text.find("step took"), text.find("second line"));
  EXPECT_THAT(text, HasSubstr("warning: after the end\n"));
  EXPECT_THAT(text.substr(0, text.find('\n')),
              MatchesRegex("\\{\"time\":\"[0-9-]+T[0-9:]+\\.[0-9]+Z\",\"level\":\"info\",\"component\":\"test\".*"));
}

}  // namespace
}  // namespace alpa
