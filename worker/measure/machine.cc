#include "worker/measure/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace alpa::worker {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;  // maximum number of bytes read from one system file

// Returns the text of a file, or an empty string if the file cannot be read.
std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxFileBytes, 0);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(0, file.gcount())));
  return text;
}

std::string FirstWord(const std::string& path) {
  const std::string text(absl::StripAsciiWhitespace(ReadFile(path)));
  return text.substr(0, std::min<size_t>(text.find_first_of(" \n\t"), 128));
}

std::string CpuModel(const std::string& root) {
  for (absl::string_view line : absl::StrSplit(ReadFile(root + "/proc/cpuinfo"), '\n')) {
    const std::pair<absl::string_view, absl::string_view> entry = absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (absl::StripAsciiWhitespace(entry.first) != "model name") continue;
    std::string model(absl::StripAsciiWhitespace(entry.second));
    // Keep only printable characters, because device names and comments in files contain the model.
    std::erase_if(model, [](char c) { return !absl::ascii_isprint(static_cast<unsigned char>(c)); });
    return model.substr(0, 128);
  }
  return "unknown processor";
}

// Returns the smaller limit; 0 means no limit.
double Least(double a, double b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

// Converts a CPU quota to cores. Quota and period are in microseconds. Returns 0 if there is no quota ("max" or -1).
double Quota(absl::string_view quota, absl::string_view period) {
  double most = 0, every = 0;
  if (!absl::SimpleAtod(quota, &most) || !absl::SimpleAtod(period, &every) || !(most > 0) || !(every > 0)) return 0;
  return most / every;
}

// Returns the smallest quota among a control group and all groups above it.
template <typename F>
double LeastUpwards(std::string group, const F& quota_of) {
  double least = 0;
  while (true) {
    least = Least(least, quota_of(group));
    if (group.empty() || group == "/") return least;
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

}  // namespace

double CoresOfQuota(const std::string& groups, const std::string& root) {
  double least = 0;
  for (absl::string_view line : absl::StrSplit(groups, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    if (parts[1].empty()) {
      least = Least(least, LeastUpwards(parts[2], [&](const std::string& group) {
        const std::vector<std::string> words =
            absl::StrSplit(absl::StripAsciiWhitespace(ReadFile(root + "/sys/fs/cgroup" + group + "/cpu.max")), ' ');
        return words.size() == 2 ? Quota(words[0], words[1]) : 0;
      }));
      continue;
    }
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
    if (std::find(controllers.begin(), controllers.end(), "cpu") == controllers.end()) continue;
    least = Least(least, LeastUpwards(parts[2], [&](const std::string& group) {
      const std::string folder = root + "/sys/fs/cgroup/" + parts[1] + group;
      return Quota(FirstWord(folder + "/cpu.cfs_quota_us"), FirstWord(folder + "/cpu.cfs_period_us"));
    }));
  }
  return least;
}

Machine ReadMachine(const std::string& root) {
  Machine machine;
  char name[256] = {};
  machine.host_name = gethostname(name, sizeof(name) - 1) == 0 && name[0] != 0 ? name : "unknown";
  machine.lasting_id = FirstWord(root + "/etc/machine-id");
  if (machine.lasting_id.empty()) machine.lasting_id = machine.host_name;
  machine.host_key = FirstWord(root + "/proc/sys/kernel/random/boot_id");
  if (machine.host_key.empty()) machine.host_key = machine.lasting_id;
  machine.cpu_model = CpuModel(root);
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) machine.cpus.push_back(cpu);
    }
  }
  const double allowed = machine.cpus.empty() ? 0 : static_cast<double>(machine.cpus.size());
  machine.cores = Least(allowed, CoresOfQuota(ReadFile(root + "/proc/self/cgroup"), root));
  if (machine.cores == 0) machine.cores = 1;
  return machine;
}

}  // namespace alpa::worker
