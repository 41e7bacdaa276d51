// What one device of a backend does: products, memory, arithmetic, overheads; and how many of them memory serves at full speed.
//
// Model:   small programs through the backend's own interface, each numbers' meaning as cluster/profile.h says it, so that the
//          planner's prices are those of what really runs. Memory goes from small to large, products from coarse to fine;
//          what would begin after the time limit is left out, a coarse grid of products excepted.
// Threads: block; nothing else should run on the backend.
// Errors:  of the backend. A type that it does not multiply is left out.
#pragma once

#include "absl/status/statusor.h"
#include "cluster/profile.h"
#include "kernels/backend.h"
#include "worker/measure/timing.h"

namespace alpa::worker {

// Of device 0. The name is left empty.
absl::StatusOr<cluster::DeviceProfile> MeasureDevice(kernels::Backend& backend, const TimeLimit& limit);

// As cluster::Host::memory_streams, from a large fused kernel on all of the backend's devices at one time. 0: they do not hinder
// each other, there is only one, or there was no time.
absl::StatusOr<double> MeasureMemoryStreams(kernels::Backend& backend, const TimeLimit& limit);

}  // namespace alpa::worker
