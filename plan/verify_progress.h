// Proves that instruction lists cannot deadlock, even if every send waits for its receive.
//
// Threads: a pure function.
#pragma once

#include "absl/status/status.h"
#include "plan/executable.h"

namespace alpa::plan {

// Runs the lists of all devices together, with unbuffered (rendezvous) messages and with collectives that wait for all
// members of their group. The messages of one SEND or RECV may complete in any order. The device continues when all of
// them are complete. Returns OK if every list reaches its end, every edge is used, and every edge has as many receives
// as sends. Otherwise returns kInvalidArgument. For a deadlock, the message names a device that waits, its instruction,
// and a device for which it waits.
// REQUIRES: slots, edges and axes are in range, and each edge is used on its own meshes.
// Cost: O(messages + devices * communicating instructions), with loops unrolled.
absl::Status VerifyProgress(const Executable& executable);

}  // namespace alpa::plan
