// Proves that instruction lists cannot deadlock, even where a send waits for its receive.
#pragma once

#include "absl/status/status.h"
#include "plan/executable.h"

namespace alpa::plan {

// Plays all devices' lists against each other with unbuffered (rendezvous) messages and collectives that wait for their whole
// group. The messages of one SEND or RECV may meet in any order, and the device goes on when all have. OK if every edge is
// used, received as often as it is sent, and every list comes to its end; otherwise kInvalidArgument naming who waits for whom
// at which instruction. REQUIRES: slots, edges and axes are in range, and edges are used on their own meshes.
// Cost: linear in devices times instructions that communicate, loops unrolled, and in messages.
absl::Status VerifyProgress(const Executable& executable);

}  // namespace alpa::plan
