// Passes messages between the devices of one process. Each message is copied directly from the sender's memory to the
// receiver's memory.
#pragma once

#include <memory>

#include "comm/transport.h"

namespace alpa::comm {

// Makes a transport for epochs whose ranks are all local. Open fails with kFailedPrecondition if a rank is in another
// process.
std::unique_ptr<Transport> MakeLocalTransport();

// Opens a new epoch with n ranks in this process, and returns the endpoints of all ranks.
std::vector<std::unique_ptr<Endpoint>> MakeLocalEndpoints(int n);

}  // namespace alpa::comm
