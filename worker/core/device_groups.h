// The collective groups of one device in one job epoch. Each set of mesh axes that the executable names has one group
// and one channel. All members derive the same channel from the executable.
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

// Maps (mesh, axes) to a channel. The axes are in the order in which the executable names them. All workers have the
// same table, because it follows from the executable.
using ChannelTable = std::map<std::pair<int32_t, std::vector<int64_t>>, uint32_t>;
// The largest number of channels of one executable. The top 10 bits of a collective's tag are its channel
// (comm/collective.cc). SEND and RECV use the upper half of all tags, so collectives can use only 512 of the 1024
// channels.
inline constexpr size_t kMaxChannels = 512;
ChannelTable MakeChannelTable(const plan::Executable& executable);

class DeviceGroups : public kernels::CollectiveProvider {
 public:
  // All arguments must outlive this object.
  DeviceGroups(const plan::Executable& executable, const JobLayout& layout, const ChannelTable& channels,
               const LocalDevice& device, comm::Endpoint& endpoint)
      : executable_(executable), layout_(layout), channels_(channels), device_(device), endpoint_(endpoint) {}

  absl::StatusOr<kernels::CollectiveGroup*> GroupFor(std::span<const int64_t> mesh_axes) override;
  // Returns the mesh positions of the members of this device's group, in the group's order.
  std::vector<int64_t> Members(const std::vector<int64_t>& mesh_axes) const;
  // Aborts all groups and the endpoint under them. Later calls of GroupFor return `cause`.
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

// Returns the rank of a device, or -1 if the job does not have the device.
int RankOf(const JobLayout& layout, DeviceId device);

}  // namespace alpa::worker
