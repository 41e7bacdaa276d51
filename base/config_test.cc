#include "base/config.h"

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace alpa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() : flags_("alpa-thing", "Does things.", {{"alpa-thing --devices 2", "with two devices"}}) {
    flags_.Add("data-dir", &data_dir_, "DIR", "files");
    flags_.Add("devices", &devices_, "N", "devices", Between(1, 64));
    flags_.Add("timeout", &timeout_, "SECONDS", "patience");
    flags_.Add("insecure", &insecure_, "no checks");
    flags_.Add("workers", &workers_, "NAMES", "which");
    flags_.Add("output,o", &output_, "FORM", "form", OneOf({"table", "json"}));
  }
  ~ConfigTest() override {
    for (const char* name : {"ALPA_DATA_DIR", "ALPA_DEVICES", "ALPA_CONFIG"}) unsetenv(name);
  }
  absl::StatusOr<Flags::Outcome> Parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "alpa-thing");
    return flags_.Parse(static_cast<int>(arguments.size()), arguments.data(), &text_);
  }
  std::string Error(std::vector<const char*> arguments) {
    auto outcome = Parse(std::move(arguments));
    return outcome.ok() ? "" : std::string(outcome.status().message());
  }
  std::string File(const std::string& content) {
    const std::string path = ::testing::TempDir() + "/config_test.toml";
    std::ofstream(path) << content;
    return path;
  }

  std::string data_dir_ = "here", output_ = "table", text_;
  int64_t devices_ = 1;
  double timeout_ = 2.5;
  bool insecure_ = false;
  std::vector<std::string> workers_;
  Flags flags_;
};

TEST_F(ConfigTest, KeepsDefaultsWithoutOtherSources) {
  ASSERT_TRUE(Parse({}).ok());
  EXPECT_EQ(data_dir_, "here");
  EXPECT_EQ(flags_.SourceOf("data-dir"), "default");
}

TEST_F(ConfigTest, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const std::string file = File("data-dir = \"file\"\ndevices = 3\ntimeout = 9\nworkers = [\"a\", \"b\"]\n");
  setenv("ALPA_DATA_DIR", "environment", 1);
  setenv("ALPA_DEVICES", "4", 1);
  ASSERT_TRUE(Parse({"--config", file.c_str(), "--devices", "5", "--insecure"}).ok());
  EXPECT_EQ(devices_, 5);
  EXPECT_EQ(data_dir_, "environment");
  EXPECT_EQ(timeout_, 9);
  EXPECT_TRUE(insecure_);
  EXPECT_THAT(workers_, ElementsAre("a", "b"));
  EXPECT_EQ(flags_.SourceOf("devices"), "flag");
  EXPECT_EQ(flags_.SourceOf("data-dir"), "environment");
  EXPECT_EQ(flags_.SourceOf("timeout"), "file");
}

TEST_F(ConfigTest, PrintedConfigIsAValidConfigFile) {
  ASSERT_EQ(*Parse({"--print-config", "--devices=7", "--workers", "x,y"}), Flags::Outcome::kExit);
  EXPECT_THAT(text_, HasSubstr("devices = 7  # flag\n"));
  EXPECT_THAT(text_, HasSubstr("workers = [\"x\", \"y\"]  # flag\n"));
  EXPECT_THAT(text_, HasSubstr("timeout = 2.5  # default\n"));
  const std::string file = File(text_);
  ASSERT_TRUE(Parse({"--config", file.c_str()}).ok());
  EXPECT_EQ(devices_, 7);
}

TEST_F(ConfigTest, UnknownNamesAreErrorsThatSuggestTheNearestName) {
  EXPECT_THAT(Error({"--devcies", "3"}), HasSubstr("did you mean '--devices'"));
  EXPECT_THAT(Error({"--zzzzzzzz"}), ::testing::Not(HasSubstr("did you mean")));
  EXPECT_THAT(Error({"stray"}), HasSubstr("unexpected argument 'stray'"));
  const std::string file = File("\ndata_dir = \"x\"\n");
  EXPECT_THAT(Error({"--config", file.c_str()}), HasSubstr("line 2: unknown key 'data_dir'; did you mean 'data-dir'"));
}

TEST_F(ConfigTest, ErrorsOfWrongValuesNameTheSource) {
  EXPECT_THAT(Error({"--devices", "65"}), HasSubstr("--devices '65': expected 1 to 64"));
  EXPECT_THAT(Error({"--devices", "two"}), HasSubstr("whole number"));
  EXPECT_THAT(Error({"--devices", "1", "--devices", "2"}), HasSubstr("--devices"));
  EXPECT_THAT(Error({"--devices"}), HasSubstr("--devices"));
  EXPECT_THAT(Error({"-o", "jsno"}), HasSubstr("did you mean 'json'"));
  setenv("ALPA_DEVICES", "0", 1);
  EXPECT_THAT(Error({}), HasSubstr("environment ALPA_DEVICES='0'"));
}

TEST_F(ConfigTest, ErrorsOfBrokenFilesNameTheLine) {
  const std::string broken = File("devices = 2\nnot toml\n");
  EXPECT_THAT(Error({"--config", broken.c_str()}), HasSubstr("line 2"));
  const std::string nested = File("[devices]\nx = 1\n");
  EXPECT_THAT(Error({"--config", nested.c_str()}), HasSubstr("must be a plain value"));
  EXPECT_THAT(Error({"--config", "/does/not/exist"}), HasSubstr("/does/not/exist"));
}

TEST_F(ConfigTest, HelpShowsExamplesFirst) {
  ASSERT_EQ(*Parse({"--help"}), Flags::Outcome::kExit);
  EXPECT_LT(text_.find("alpa-thing --devices 2"), text_.find("Usage:"));
  ASSERT_EQ(*Parse({"--version"}), Flags::Outcome::kExit);
  EXPECT_THAT(text_, HasSubstr(std::string(Version())));
}

TEST_F(ConfigTest, PositionalArgumentsMixWithFlags) {
  std::string job, extra = "none";
  flags_.AddPositional("JOB", &job, "the job's id");
  flags_.AddPositional("EXTRA", &extra, "more", false);
  EXPECT_THAT(Error({}), HasSubstr("JOB is missing"));
  ASSERT_TRUE(Parse({"--insecure", "my-job", "-o", "json"}).ok());
  EXPECT_EQ(job, "my-job");
  EXPECT_EQ(extra, "none");
  EXPECT_EQ(output_, "json");
  EXPECT_THAT(Error({"a", "b", "c"}), HasSubstr("unexpected argument 'c'"));
  // A flag takes one value. The next word is a positional argument.
  ASSERT_TRUE(Parse({"--data-dir", "there", "--workers", "a,b", "my-other-job"}).ok());
  EXPECT_EQ(data_dir_, "there");
  EXPECT_THAT(workers_, ElementsAre("a", "b"));
  EXPECT_EQ(job, "my-other-job");
}

TEST_F(ConfigTest, OnlyListFlagsMayBeRepeated) {
  ASSERT_TRUE(Parse({"--workers", "a", "--workers=b,c"}).ok());
  EXPECT_THAT(workers_, ElementsAre("a", "b", "c"));
  EXPECT_EQ(Error({"--devices", "1", "--devices", "2"}), "--devices is given 2 times; it takes one value");
}

TEST(ListenTest, AddressesReachableFromOtherMachinesNeedInsecure) {
  CommonFlags common;
  for (const char* good : {"127.0.0.1:0", "127.9.9.9:80", "localhost:7400", "[::1]:65535", "unix:/run/x"}) {
    EXPECT_TRUE(common.CheckListen("listen", good).ok()) << good;
  }
  for (const char* bad : {"0.0.0.0:7400", "10.0.0.1:1", "127.0.0.1.evil.example:1", "[::]:1", "127.0.0.1", ":80",
                          "localhost:99999"}) {
    EXPECT_FALSE(common.CheckListen("listen", bad).ok()) << bad;
  }
  common.insecure = true;
  EXPECT_TRUE(common.CheckListen("listen", "0.0.0.0:7400").ok());
  EXPECT_FALSE(common.CheckListen("listen", "0.0.0.0").ok());
}

TEST(PortFileTest, WritesAddressesAsJsonOrReturnsAnError) {
  const std::string path = ::testing::TempDir() + "/ports.json";
  ASSERT_TRUE(WritePortFile(path, "127.0.0.1:1", "127.0.0.1:2").ok());
  std::string text;
  std::getline(std::ifstream(path), text);
  EXPECT_EQ(text, "{\"grpc\":\"127.0.0.1:1\",\"http\":\"127.0.0.1:2\"}");
  EXPECT_FALSE(WritePortFile("/does/not/exist/x", "a:1", "").ok());
  EXPECT_TRUE(WritePortFile("", "a:1", "").ok());
}

}  // namespace
}  // namespace alpa
