// Implements collectives among threads of one process, for tests of code that calls collectives. The implementation is
// simple and slow.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "kernels/backend.h"
#include "kernels/collective_group.h"

namespace alpa::conformance {

// Holds the collective groups of one mesh. Device `d`, counted row-major in `mesh_shape`, uses Provider(d).
// Threads: thread-safe. Each device of a group must call its collectives from a separate thread.
class FakeFabric {
 public:
  explicit FakeFabric(std::vector<int64_t> mesh_shape);
  ~FakeFabric();

  int device_count() const { return static_cast<int>(providers_.size()); }
  kernels::CollectiveProvider& Provider(int device);
  // Makes the current collective and all later collectives of every group fail with `cause`.
  void Abort(const absl::Status& cause);

  class Meeting;  // where the ranks of one group exchange their inputs

 private:
  class DeviceProvider;
  std::shared_ptr<Meeting> MeetingFor(int device, const std::vector<int64_t>& axes, int& rank, int& size);

  std::vector<int64_t> mesh_shape_;
  Mutex mutex_;
  std::map<std::vector<int64_t>, std::shared_ptr<Meeting>> meetings_ ALPA_GUARDED_BY(mutex_);
  absl::Status aborted_ ALPA_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<DeviceProvider>> providers_;
};

// CoordinatesOf returns the coordinates of `device` in a row-major mesh. RankAlong returns the rank of `device` among
// the devices whose coordinates differ only along `axes`. Ranks are row-major in the order of `axes`.
std::vector<int64_t> CoordinatesOf(int device, const std::vector<int64_t>& mesh_shape);
int RankAlong(int device, const std::vector<int64_t>& mesh_shape, const std::vector<int64_t>& axes);

}  // namespace alpa::conformance
