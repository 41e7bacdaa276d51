// Collective algorithms over a Transport's endpoints: rings for large data, trees and direct exchange for small data.
//
// docs/collectives.md lists the steps and bytes of each algorithm.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/transport.h"
#include "kernels/collective_group.h"

namespace alpa::comm {

// Makes a group of `members`: ranks of `endpoint`, including its own rank, in the group's order. `channel` (0 to 1023)
// distinguishes the groups of one endpoint. It must be the same on all members of a group. Two groups that share two or
// more members must have different channels. `endpoint` must outlive the group.
// kInvalidArgument: `endpoint` is not a member, a member is out of range or repeated, or `channel` is out of range.
absl::StatusOr<std::unique_ptr<kernels::CollectiveGroup>> MakeGroup(Endpoint& endpoint, std::vector<int> members,
                                                                    uint32_t channel);

}  // namespace alpa::comm
