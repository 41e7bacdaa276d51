// Tagged point-to-point messages between the devices of one job, matched as in MPI. The collectives (comm/collective.h)
// use only this interface, so they work within one process and between processes.
//
// Model:    An Endpoint belongs to one device in one epoch of one job. The endpoint can send to and receive from every
//           peer rank of that epoch. A receive matches a message by sender and tag. Messages with the same sender,
//           receiver and tag arrive in order. A receive must be exactly as large as its message.
// Epochs:   every message carries its epoch. Stale messages are dropped, so epochs never receive each other's messages.
// Threads:  thread-safe. Waits block the calling thread.
// Errors:   after Abort(cause), every present and later operation of this process in the epoch fails with `cause`. The
//           transport notifies the epoch's other processes if it can reach them. The operations of these processes then
//           soon fail with kAborted. If a peer is lost, operations with it may fail with kUnavailable, or never
//           complete. Heartbeats detect dead peers; the transport does not.
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
  // Blocks until the operation is complete. Call Wait at most once. After it returns, even with a failure, the caller
  // may reuse the buffer. If Wait was never called, the destructor waits. A request must not outlive its endpoint.
  virtual absl::Status Wait() = 0;
};

class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Start an operation. Until Wait returns, the caller must not modify the memory of a Send, and must not read or
  // modify the memory of a Recv.
  virtual std::unique_ptr<Request> Send(int peer, uint32_t tag, std::span<const std::byte> data) = 0;
  virtual std::unique_ptr<Request> Recv(int peer, uint32_t tag, std::span<std::byte> data) = 0;
  virtual void Abort(const absl::Status& cause) = 0;
};

// Opens epochs for one process.
class Transport {
 public:
  virtual ~Transport() = default;
  // Returns an opaque address that other processes need to reach this one. The address stays the same for the process's
  // life.
  virtual std::string address() const = 0;

  struct Peer {
    std::string address;   // the address of the process that holds this rank's device
    bool local = false;    // this process holds the device
  };
  // Returns one endpoint for each local rank of an epoch, in order of rank. `epoch` must be the same on all processes
  // and must not have been used before. Does not wait for the peers.
  virtual absl::StatusOr<std::vector<std::unique_ptr<Endpoint>>> Open(uint64_t epoch,
                                                                      const std::vector<Peer>& ranks) = 0;
};

}  // namespace alpa::comm
