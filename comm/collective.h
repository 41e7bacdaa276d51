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

// Makes a group. `members` lists the group's ranks in the epoch of `endpoint`, in the group's order. `members` must
// contain the endpoint's own rank. `channel` (0 to 1023) distinguishes the groups of one endpoint. All members of a
// group must pass the same channel. Two groups that share two or more members must have different channels. `endpoint`
// must outlive the group.
// kInvalidArgument: `endpoint` is not a member, a member is out of range or repeated, or `channel` is out of range.
absl::StatusOr<std::unique_ptr<kernels::CollectiveGroup>> MakeGroup(Endpoint& endpoint, std::vector<int> members,
                                                                    uint32_t channel);

}  // namespace alpa::comm
