// Converts clusters and worker facts to and from messages (proto/inventory.proto).
//
// Threads: pure functions.
// Errors:  FromProto returns kInvalidArgument if the value of the message is not valid. A returned value has passed
//          Check.
#pragma once

#include "absl/status/statusor.h"
#include "cluster/cluster.h"
#include "cluster/node.h"

namespace alpa::proto {
class Inventory;
class NodeFacts;
}  // namespace alpa::proto

namespace alpa::cluster {

proto::NodeFacts ToProto(const NodeFacts& facts);
absl::StatusOr<NodeFacts> FromProto(const proto::NodeFacts& message);

proto::Inventory ToProto(const Cluster& cluster);
absl::StatusOr<Cluster> FromProto(const proto::Inventory& message);

}  // namespace alpa::cluster
