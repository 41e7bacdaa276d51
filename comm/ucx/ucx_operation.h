// One send or receive of a UcxEpoch. UCX holds a pointer to the operation until the operation is done, so the
// destructor waits until it is done.
#pragma once

#include "comm/ucx/ucx_epoch.h"

namespace alpa::comm {

class UcxEpoch::Operation : public Request {
 public:
  Operation(UcxEpoch& epoch, Peer& peer, ucp_tag_t tag, const void* memory, size_t bytes)
      : epoch(epoch), peer(peer), tag(tag), memory(memory), bytes(bytes) {}
  ~Operation() override {
    if (!waited) (void)Wait();
  }
  absl::Status Wait() override {
    waited = true;
    return epoch.Wait(*this);
  }

  UcxEpoch& epoch;
  Peer& peer;
  const ucp_tag_t tag;
  const void* const memory;
  const size_t bytes;
  bool waited = false;
  // Guarded by the epoch's mutex:
  bool done = false;
  bool greeting = false;             // one of the two greetings, which the epoch itself starts
  bool blocked = false;              // the thread that waits for the operation sleeps on `changed`
  ucs_status_ptr_t receive = nullptr;   // UCX's request, while the receive can be cancelled
  absl::Status status;
  CondVar changed;
  Operation *previous = nullptr, *next = nullptr;
};

}  // namespace alpa::comm
