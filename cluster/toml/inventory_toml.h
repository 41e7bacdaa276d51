// Clusters as TOML files: for machines that are not there, written by hand, and for those that were measured.
//
// Model:   [device.KEY] is a kind of device, [link.KEY] a kind of link, [[host]] one or `count` machines that name
// them. A device
//          or link is either *said* (peaks, bandwidth, latency: curves are worked out) or *measured* (curves, point by
//          point). docs/clusters.md lists every key.
// Threads: pure functions.
// Errors:  kInvalidArgument naming line, key, what was seen and what is allowed. An unknown key is an error.
// Start at: ReadInventory.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cluster/cluster.h"

namespace alpa::cluster {

// What is read from outside is bounded.
inline constexpr size_t kMaxInventoryBytes = 16 << 20;
inline constexpr int kMaxInventoryDevices = 100'000;

// OK: the cluster has a device at least, passes Check, and IsMeasured.
absl::StatusOr<Cluster> ReadInventory(absl::string_view toml);

// Text that ReadInventory reads as an equal cluster. kFailedPrecondition: the cluster is not measured, or does not pass
// Check.
absl::StatusOr<std::string> WriteInventory(const Cluster& cluster);

}  // namespace alpa::cluster
