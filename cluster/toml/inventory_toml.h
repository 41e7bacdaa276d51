// Clusters as TOML files. A user writes such a file by hand for machines that do not exist yet. For measured machines,
// WriteInventory writes it.
//
// Model:   [device.KEY] describes a kind of device and [link.KEY] a kind of link. [[host]] describes one machine, or
//          `count` equal machines, and names their devices and links. A device or link is either *data-sheet* (peaks,
//          bandwidth and latency, from which ReadInventory derives curves) or *measured* (the points of the curves).
//          docs/clusters.md lists every key.
// Threads: pure functions.
// Errors:  kInvalidArgument names the line, the key, the observed value and the allowed values. An unknown key is an
//          error.
// Start at: ReadInventory.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cluster/cluster.h"

namespace alpa::cluster {

// Bounds on a file, which comes from outside.
inline constexpr size_t kMaxInventoryBytes = 16 << 20;
inline constexpr int kMaxInventoryDevices = 100'000;

// Parses a cluster. The returned cluster has at least one device, passes Check, and is measured.
absl::StatusOr<Cluster> ReadInventory(absl::string_view toml);

// Returns text that ReadInventory reads as an equal cluster. Returns kFailedPrecondition if the cluster is not
// measured, does not pass Check, has a host without devices, or has a link without a message curve.
absl::StatusOr<std::string> WriteInventory(const Cluster& cluster);

}  // namespace alpa::cluster
