// Proves that instruction lists cannot deadlock, even where a send waits for its receive.
#pragma once

#include "absl/status/status.h"
#include "plan/executable.h"

namespace alpa::plan {

// Plays all devices' lists against each other with unbuffered (rendezvous) point-to-point messages and collectives that
// wait for their whole group. OK if every list comes to its end and no message is left; otherwise kInvalidArgument naming
// who waits for whom. REQUIRES: slots, peers and axes are in range.
// Cost: linear in instructions, loops unrolled where they communicate.
absl::Status VerifyProgress(const Executable& executable);

}  // namespace alpa::plan
