#include "worker/measure/machine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace alpa::worker {
namespace {

// A folder with made-up system files.
class FakeSystem {
 public:
  FakeSystem() { std::filesystem::create_directories(root_); }
  ~FakeSystem() { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  const std::string& root() const { return root_; }

 private:
  const std::string root_ = ::testing::TempDir() + "alpa_machine_" + std::to_string(getpid());
};

TEST(Machine, TheHostKeyIdentifiesTheBootAndTheLastingIdTheInstallation) {
  FakeSystem system;
  system.Write("/etc/machine-id", "0123456789abcdef\n");
  system.Write("/proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
  system.Write("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Fast\x01 CPU\nmodel name\t: other\n");
  const Machine machine = ReadMachine(system.root());
  EXPECT_EQ(machine.host_key, "11111111-2222-3333-4444-555555555555");
  EXPECT_EQ(machine.lasting_id, "0123456789abcdef");
  EXPECT_EQ(machine.cpu_model, "Fast CPU");
  EXPECT_FALSE(machine.cpus.empty());
  EXPECT_EQ(machine.cores, static_cast<double>(machine.cpus.size()));
}

TEST(Machine, AMachineWithoutSystemFilesStillHasAHostKey) {
  FakeSystem system;
  const Machine machine = ReadMachine(system.root());
  EXPECT_EQ(machine.host_key, machine.host_name);
  EXPECT_EQ(machine.lasting_id, machine.host_name);
  EXPECT_GE(machine.cores, 1);
}

TEST(Machine, AQuotaOfTheGroupOrOfAGroupAboveItLimitsTheCores) {
  FakeSystem system;
  system.Write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  system.Write("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  system.Write("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "50000\n");
  system.Write("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  system.Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  system.Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CoresOfQuota("0::/a/b\n", system.root()), 1.5);
  EXPECT_EQ(CoresOfQuota("0::/c\n", system.root()), 0);
  EXPECT_EQ(CoresOfQuota("4:cpu,cpuacct:/x/y\n", system.root()), 0.5);
  EXPECT_EQ(CoresOfQuota("4:cpu,cpuacct:/z\n", system.root()), 0);
  EXPECT_EQ(CoresOfQuota("4:cpu,cpuacct:/x\n0::/a\n", system.root()), 0.5);
  EXPECT_EQ(CoresOfQuota("nonsense\n::::\n", system.root()), 0);
}

}  // namespace
}  // namespace alpa::worker
