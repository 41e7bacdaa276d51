// Tagged point-to-point messages between the devices of one job, matched as in MPI. Collectives (comm/collective.h) are
// written once over this interface, for devices of one process or of several.
//
// Model:    An Endpoint belongs to one device of one epoch of one job. It can send to and receive from every peer rank
//           of that epoch. A message is matched by (sender, tag). Messages with the same sender, receiver and tag
//           arrive in order. A receive must be exactly as large as its message.
// Epochs:   every message carries its epoch. Stale messages are dropped, so epochs never receive each other's messages.
// Threads:  thread-safe. Waits block the calling thread.
// Errors:   after Abort(cause), every present and later operation of this process fails with `cause`. The epoch's other
//           processes are notified if they can be reached; their operations then soon fail with kAborted.
//           If a peer is lost, operations with it may fail with kUnavailable, or never complete. Heartbeats detect dead
//           peers; the transport does not.
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
  // Blocks until the operation is complete. Call it once. Afterwards, also after a failure, the caller may reuse the
  // buffer. The destructor waits if nobody has called Wait. A request must not outlive its endpoint.
  virtual absl::Status Wait() = 0;
};

class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Starts an operation. Until Wait returns, the caller must not modify (Send) or read (Recv) the memory.
  virtual std::unique_ptr<Request> Send(int peer, uint32_t tag, std::span<const std::byte> data) = 0;
  virtual std::unique_ptr<Request> Recv(int peer, uint32_t tag, std::span<std::byte> data) = 0;
  virtual void Abort(const absl::Status& cause) = 0;
};

// Opens epochs for one process.
class Transport {
 public:
  virtual ~Transport() = default;
  // Returns an opaque address that other processes need to reach this one. It is stable for the process's life.
  virtual std::string address() const = 0;

  struct Peer {
    std::string address;   // of the process that holds this rank's device
    bool local = false;    // this process holds the device
  };
  // Returns one endpoint for each local rank of an epoch, in order of rank. `epoch` must be the same on all processes
  // and must not have been used before. Does not wait for the peers.
  virtual absl::StatusOr<std::vector<std::unique_ptr<Endpoint>>> Open(uint64_t epoch,
                                                                      const std::vector<Peer>& ranks) = 0;
};

}  // namespace alpa::comm
