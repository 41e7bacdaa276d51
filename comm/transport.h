// Bytes between the devices of one job: tagged, point to point, matched like MPI's. Collectives (comm/collective.h) are
// written over this once, for devices of one process and of many.
//
// Model:    An Endpoint belongs to one device of one epoch of one job. It can send to and receive from every peer rank of
//           that epoch. A message is matched by (sender, tag); messages of one pair with one tag arrive in order. A
//           receive must be as large as the message.
// Epochs:   endpoints of different epochs never meet: every message carries its epoch, and stale ones are dropped.
// Threads:  thread-safe. Waits block the calling thread.
// Errors:   after Abort(cause), every present and later operation of this process fails with `cause`. The other processes of
//           the epoch are told, and theirs fail with kAborted, soon, if they can be reached. A peer that is gone makes
//           operations fail with kUnavailable at best; liveness is judged by heartbeats, not here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace alpa::comm {

class Request {
 public:
  virtual ~Request() = default;
  // Blocks until the operation is complete; call once. Buffers may be reused afterwards, also on failure. A request that
  // is dropped waits, too; none may outlive its endpoint.
  virtual absl::Status Wait() = 0;
};

class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Start an operation. The memory stays untouched (send) or unread (receive) by the caller until Wait returned.
  virtual std::unique_ptr<Request> Send(int peer, uint32_t tag, std::span<const std::byte> data) = 0;
  virtual std::unique_ptr<Request> Recv(int peer, uint32_t tag, std::span<std::byte> data) = 0;
  virtual void Abort(const absl::Status& cause) = 0;
};

// The process's end of all epochs.
class Transport {
 public:
  virtual ~Transport() = default;
  // Opaque address that other processes need to reach this one; stable for the process's life.
  virtual std::string address() const = 0;

  struct Peer {
    std::string address;   // of the process that holds this rank's device
    bool local = false;    // it is this process
  };
  // One endpoint for each local rank of an epoch, in order of rank. `epoch` must be the same on all processes and never
  // used before. Does not wait for the peers.
  virtual absl::StatusOr<std::vector<std::unique_ptr<Endpoint>>> Open(uint64_t epoch, const std::vector<Peer>& ranks) = 0;
};

}  // namespace alpa::comm
