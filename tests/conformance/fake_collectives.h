// Collectives among threads of one process, for testing what calls them: works, simple, no algorithm worth
// the name.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "kernels/backend.h"
#include "kernels/collective_group.h"

namespace alpa::conformance {

// All groups of one mesh. Device d (row-major in `mesh_shape`) uses Provider(d).
class FakeFabric {
 public:
  explicit FakeFabric(std::vector<int64_t> mesh_shape);
  ~FakeFabric();

  int device_count() const { return static_cast<int>(providers_.size()); }
  kernels::CollectiveProvider& Provider(int device);
  // Fails every present and later call of every group.
  void Abort(const absl::Status& cause);

  class Meeting;  // where the ranks of one group meet

 private:
  class DeviceProvider;
  std::shared_ptr<Meeting> MeetingFor(int device, const std::vector<int64_t>& axes, int& rank, int& size);

  std::vector<int64_t> mesh_shape_;
  Mutex mutex_;
  std::map<std::vector<int64_t>, std::shared_ptr<Meeting>> meetings_ ALPA_GUARDED_BY(mutex_);
  absl::Status aborted_ ALPA_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<DeviceProvider>> providers_;
};

// Coordinates of `device` in a row-major mesh, and its rank among the devices that differ only along `axes`,
// which is row-major in the order of `axes`.
std::vector<int64_t> CoordinatesOf(int device, const std::vector<int64_t>& mesh_shape);
int RankAlong(int device, const std::vector<int64_t>& mesh_shape, const std::vector<int64_t>& axes);

}  // namespace alpa::conformance
