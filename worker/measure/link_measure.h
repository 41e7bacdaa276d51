// What messages and collectives cost between two devices, over the endpoints and groups that jobs use.
//
// Model:   two threads, one at each end. A message is half of a round trip. Between exchanges the ends are busy for
//          a moment, as devices are; that is not counted. Of the rounds of each size, some exchanges
//          each, the fastest counts: waiting for a sleeping thread is part of the price, being disturbed by another program is
//          not.
// Threads: block.
// Errors:  of the endpoints.
#pragma once

#include "absl/status/statusor.h"
#include "cluster/profile.h"
#include "comm/transport.h"
#include "worker/measure/timing.h"

namespace alpa::worker {

// Between ranks 0 and 1 of one epoch. Messages of a quarter of a MiB at least are measured; larger ones, and
// collectives, while there is time. The name is left empty.
absl::StatusOr<cluster::LinkProfile> MeasureLink(comm::Endpoint& first, comm::Endpoint& second, const TimeLimit& limit);

// Opens an epoch of two ranks: both in `a`, or, where `b` is given, one in each. Neither transport may have been used.
absl::StatusOr<cluster::LinkProfile> MeasureLinkOf(comm::Transport& a, comm::Transport* b, const TimeLimit& limit);

}  // namespace alpa::worker
