// Collective algorithms over a Transport's endpoints: rings for large data, trees for small.
//
// Steps and bytes of each are in docs/collectives.md.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/transport.h"
#include "kernels/collective_group.h"

namespace alpa::comm {

// A group among `members` (ranks of `endpoint`, this device's own among them, in the group's order). `channel` tells
// apart the groups of one endpoint: equal on all members, different for groups that share two members.
// `endpoint` must outlive the group.
absl::StatusOr<std::unique_ptr<kernels::CollectiveGroup>> MakeGroup(Endpoint& endpoint, std::vector<int> members,
                                                                    uint32_t channel);

}  // namespace alpa::comm
