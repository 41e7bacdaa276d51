// Connections to the daemons.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace alpa::client {

// Not encrypted, past any HTTP proxy, with keepalive. `own_connection`: not shared with other channels to the address.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, bool own_connection);

}  // namespace alpa::client
