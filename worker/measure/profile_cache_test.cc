#include "worker/measure/profile_cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/status.h"

namespace alpa::worker {
namespace {

namespace fs = std::filesystem;

class ProfileCacheTest : public ::testing::Test {
 protected:
  ProfileCacheTest() { fs::remove_all(folder_); }
  ~ProfileCacheTest() override { fs::remove_all(folder_); }

  ProfileCache Cache(const std::string& key = "a machine") { return {folder_, key}; }
  // Returns a function whose n-th call returns the assumed profile of n threads.
  std::function<absl::StatusOr<Measured>()> Measuring() {
    return [this]() -> absl::StatusOr<Measured> {
      ++measured_;
      Measured out;
      out.profile = AssumedProfile("cpu", measured_);
      out.profile.memory_streams = 1.5;
      out.profile.measured = true;
      return out;
    };
  }
  Obtained Obtain(const ProfileCache& cache, bool always = false) {
    auto obtained = ObtainProfile(cache, always, Measuring());
    EXPECT_TRUE(obtained.ok()) << obtained.status();
    return *std::move(obtained);
  }
  void Overwrite(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::trunc) << text; }
  std::string Text(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const std::string folder_ =
      ::testing::TempDir() + "alpa_profile_cache_" + std::to_string(getpid()) + "/made/when/needed";
  int measured_ = 0;
};

TEST_F(ProfileCacheTest, MeasuresOnceAndReadsTheSameNumbersAfterwards) {
  const Obtained first = Obtain(Cache());
  EXPECT_TRUE(first.measured_now);
  const Obtained second = Obtain(Cache());
  EXPECT_FALSE(second.measured_now);
  EXPECT_EQ(measured_, 1);
  EXPECT_EQ(first.profile, second.profile);
  EXPECT_TRUE(second.remarks.empty());
  EXPECT_FALSE(Obtain(Cache("another machine")).profile == first.profile);
}

TEST_F(ProfileCacheTest, MeasuresAgainOnRequest) {
  Obtain(Cache());
  EXPECT_TRUE(Obtain(Cache(), true).measured_now);
  EXPECT_EQ(Obtain(Cache()).profile.device, AssumedProfile("cpu", 2).device);
}

TEST_F(ProfileCacheTest, ADamagedFileIsMeasuredAgainWithARemark) {
  Obtain(Cache());
  const std::string path = Cache().path(), good = Text(path);
  ASSERT_NE(good.find("kernel_overhead"), std::string::npos);
  const auto with = [&](const std::string& from, const std::string& to) {
    return std::string(good).replace(good.find(from), from.size(), to);
  };
  struct Row {
    const char* name;
    std::string text;
  };
  const Row rows[] = {
      {"empty", ""},
      {"cut off", good.substr(0, good.size() / 2)},
      {"no profile", good.substr(0, good.find('\n') + 1)},
      {"other key", with("a machine", "b machine")},
      {"negative", with("kernel_overhead = ", "kernel_overhead = -")},
      {"not a number", with("kernel_overhead = ", "kernel_overhead = nan # ")},
      {"binary", good + std::string(100, '\0')},
      {"large", good + std::string(2 << 20, '#')},
      {"two hosts", good + good.substr(good.find("[[host]]"))},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Overwrite(path, row.text);
    EXPECT_TRUE(absl::IsDataLoss(Cache().Read().status())) << Cache().Read().status();
    const Obtained again = Obtain(Cache());
    EXPECT_TRUE(again.measured_now);
    EXPECT_EQ(again.remarks.size(), 1u);
    EXPECT_FALSE(Obtain(Cache()).measured_now);
  }
}

TEST_F(ProfileCacheTest, AFifoIsNotReadAndIsReplaced) {
  fs::create_directories(folder_);
  ASSERT_EQ(mkfifo(Cache().path().c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsDataLoss(Cache().Read().status()));
  EXPECT_TRUE(Obtain(Cache()).measured_now);  // this call replaces the FIFO with a file
  EXPECT_FALSE(Obtain(Cache()).measured_now);
}

TEST_F(ProfileCacheTest, AnUnusableFolderCausesAMeasurementAndARemark) {
  for (const std::string& folder : {std::string(), std::string("/proc/no/such/folder")}) {
    const Obtained obtained = Obtain(ProfileCache(folder, "a machine"));
    EXPECT_TRUE(obtained.measured_now);
    ASSERT_EQ(obtained.remarks.size(), 1u);
    EXPECT_NE(obtained.remarks[0].find("folder"), std::string::npos) << obtained.remarks[0];
  }
}

TEST_F(ProfileCacheTest, ASecondWorkerWaitsForTheMeasurementOfTheFirst) {
  const Measured first = *Measuring()();
  std::thread other;
  {
    auto lock = ProfileCache::Lock::Take(Cache("something else"), 0);
    ASSERT_TRUE(lock.ok()) << lock.status();
    EXPECT_TRUE(absl::IsDeadlineExceeded(ProfileCache::Lock::Take(Cache(), 0).status()));
    other = std::thread([&] {
      const Obtained second = Obtain(Cache());
      EXPECT_FALSE(second.measured_now);
      EXPECT_EQ(second.profile, first.profile);
    });
    // By now the other thread waits for the lock. If it is late, it finds the file at once.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_TRUE(Cache().Write(first.profile).ok());
  }
  other.join();
  EXPECT_EQ(measured_, 1);
}

TEST_F(ProfileCacheTest, AFailedMeasurementLeavesNoFile) {
  const auto failed =
      ObtainProfile(Cache(), false, []() -> absl::StatusOr<Measured> { return absl::InternalError("broken"); });
  EXPECT_EQ(failed.status().message(), "broken");
  EXPECT_TRUE(absl::IsNotFound(Cache().Read().status()));
}

}  // namespace
}  // namespace alpa::worker
