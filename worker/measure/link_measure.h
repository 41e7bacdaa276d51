// Measures messages and collectives between two devices, over the endpoints and groups that jobs use.
//
// Model:   two threads, one at each end of the link. An exchange is one round trip or one collective. The time of a
//          message is half of a round trip. Between exchanges, both ends compute for a moment, like devices in a step.
//          The time of this computation is not counted. For each size, several rounds of several exchanges are
//          measured, and the fastest round counts. The result includes the time to wake a sleeping thread. The result
//          excludes disturbances by other programs.
// Threads: the functions block, and start threads of their own.
// Errors:  those of the endpoints.
#pragma once

#include "absl/status/statusor.h"
#include "cluster/profile.h"
#include "comm/transport.h"
#include "worker/measure/timing.h"

namespace alpa::worker {

// Measures the link between ranks 0 and 1 of one epoch. Always measures messages of up to 256 KiB. Measures larger
// messages, and collectives, while there is time. Leaves the profile's name empty.
absl::StatusOr<cluster::LinkProfile> MeasureLink(comm::Endpoint& first, comm::Endpoint& second, const TimeLimit& limit);

// Opens an epoch of two ranks and measures the link between them. If `b` is null, both ranks are in `a`. Otherwise, one
// rank is in `a`, and the other in `b`. REQUIRES: neither transport was used before.
absl::StatusOr<cluster::LinkProfile> MeasureLinkOf(comm::Transport& a, comm::Transport* b, const TimeLimit& limit);

}  // namespace alpa::worker
