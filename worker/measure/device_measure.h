// Measures one device of a backend: matrix products, memory, arithmetic and overheads. Also measures how many devices
// can use memory at full speed at the same time.
//
// Model:   small programs run through the backend's interface, like the programs of jobs. cluster/profile.h defines
//          each number. Memory is measured from small to large sizes. Matrix products are measured on a coarse grid of
//          sizes first, and then on a fine grid. A size whose measurement would begin after the time limit is left out,
//          unless it belongs to the coarse grid of 32-bit products.
// Threads: the functions block. Nothing else should run on the backend.
// Errors:  those of the backend. If the backend cannot multiply 16-bit floats, `half_products` is empty.
#pragma once

#include "absl/status/statusor.h"
#include "cluster/profile.h"
#include "kernels/backend.h"
#include "worker/measure/timing.h"

namespace alpa::worker {

// Measures device 0. Leaves the profile's name empty.
absl::StatusOr<cluster::DeviceProfile> MeasureDevice(kernels::Backend& backend, const TimeLimit& limit);

// Returns cluster::Host::memory_streams, measured with a large fused kernel on all of the backend's devices at the same
// time. Returns 0 if the devices do not slow each other down, if there is only one device, or if no time is left.
absl::StatusOr<double> MeasureMemoryStreams(kernels::Backend& backend, const TimeLimit& limit);

}  // namespace alpa::worker
