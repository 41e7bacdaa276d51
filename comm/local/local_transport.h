// Messages between devices of one process: the receiver copies straight from the sender's memory.
#pragma once

#include <memory>

#include "comm/transport.h"

namespace alpa::comm {

// A transport whose ranks must all be local.
std::unique_ptr<Transport> MakeLocalTransport();

// n endpoints of one epoch that know only each other.
std::vector<std::unique_ptr<Endpoint>> MakeLocalEndpoints(int n);

}  // namespace alpa::comm
