// Opens gRPC channels to the daemons.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace alpa::client {

// Returns a channel to `address` ("host:port"). The channel is not encrypted, ignores HTTP proxies, and sends keepalive
// pings. `own_connection`: whether the channel has a connection that it does not share with other channels.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, bool own_connection);

}  // namespace alpa::client
