// The collective groups of one device of one job epoch: for each set of mesh axes that the executable names, a group of
// its own, on a channel that all members derive alike.
//
// Threads: thread-safe.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "comm/collective.h"
#include "comm/transport.h"
#include "kernels/backend.h"
#include "plan/executable.h"
#include "worker/core/job_layout.h"

namespace alpa::worker {

// (mesh, its axes in the order that they are named) -> channel. The same on all workers: it follows from the executable.
using ChannelTable = std::map<std::pair<int32_t, std::vector<int64_t>>, uint32_t>;
inline constexpr size_t kMaxChannels = 512;  // the upper half of all tags is SEND's and RECV's
ChannelTable MakeChannelTable(const plan::Executable& executable);

class DeviceGroups : public kernels::CollectiveProvider {
 public:
  // All arguments must outlive it.
  DeviceGroups(const plan::Executable& executable, const JobLayout& layout, const ChannelTable& channels,
               const LocalDevice& device, comm::Endpoint& endpoint)
      : executable_(executable), layout_(layout), channels_(channels), device_(device), endpoint_(endpoint) {}

  absl::StatusOr<kernels::CollectiveGroup*> GroupFor(std::span<const int64_t> mesh_axes) override;
  // Positions in the mesh of the members of this device's group, in its order.
  std::vector<int64_t> Members(const std::vector<int64_t>& mesh_axes) const;
  // Aborts the groups that are and will be, and the endpoint under them.
  void Abort(const absl::Status& cause);

 private:
  const plan::Executable& executable_;
  const JobLayout& layout_;
  const ChannelTable& channels_;
  const LocalDevice& device_;
  comm::Endpoint& endpoint_;
  Mutex mutex_;
  absl::Status aborted_ ALPA_GUARDED_BY(mutex_);
  std::map<std::vector<int64_t>, std::unique_ptr<kernels::CollectiveGroup>> groups_ ALPA_GUARDED_BY(mutex_);
};

// The rank of a device, -1 where it has none.
int RankOf(const JobLayout& layout, DeviceId device);

}  // namespace alpa::worker
