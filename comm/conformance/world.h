// Sets up the transport tests: distributes ranks over transports that treat each other as separate processes.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "comm/local/local_transport.h"
#include "comm/transport.h"
#include "comm/ucx/ucx_transport.h"

namespace alpa::comm {

struct Subject {
  std::string name;
  int ranks_per_transport = 1;   // 0: one local transport holds all ranks
  std::string ucx_tls;           // value of UCX_TLS; empty: UCX chooses
};

inline std::vector<Subject> AllSubjects() {
  return {{"local", 0, ""},
          {"ucx", 1, ""},
          {"ucx_spread_by_two", 2, ""},
          {"ucx_shared_memory_without_single_copy", 1, "sysv,self"},
          {"ucx_tcp", 1, "tcp,self"}};
}

inline std::string NameOfSubject(const ::testing::TestParamInfo<Subject>& info) { return info.param.name; }

using Endpoints = std::vector<std::unique_ptr<Endpoint>>;

class World {
 public:
  World(const Subject& subject, int ranks) : ranks_(ranks) {
    per_ = subject.ranks_per_transport == 0 ? ranks : subject.ranks_per_transport;
    if (!subject.ucx_tls.empty()) setenv("UCX_TLS", subject.ucx_tls.c_str(), 1);
    for (int first = 0; first < ranks; first += per_) {
      if (subject.ranks_per_transport == 0) {
        transports_.push_back(MakeLocalTransport());
        continue;
      }
      auto transport = MakeUcxTransport();
      if (!transport.ok()) {
        ADD_FAILURE() << transport.status();
        std::abort();
      }
      transports_.push_back(*std::move(transport));
    }
    if (!subject.ucx_tls.empty()) unsetenv("UCX_TLS");
  }

  int transports() const { return static_cast<int>(transports_.size()); }
  // Opens the epoch on one transport. Returns the endpoints of that transport's ranks.
  absl::StatusOr<Endpoints> OpenOn(int transport, uint64_t epoch) {
    std::vector<Transport::Peer> peers;
    for (int rank = 0; rank < ranks_; ++rank) {
      peers.push_back({transports_[rank / per_]->address(), rank / per_ == transport});
    }
    return transports_[transport]->Open(epoch, peers);
  }
  // Opens the epoch on all transports. Returns the endpoints of all ranks, in order of rank.
  Endpoints Open(uint64_t epoch) {
    Endpoints endpoints;
    for (int t = 0; t < transports(); ++t) {
      auto opened = OpenOn(t, epoch);
      EXPECT_TRUE(opened.ok()) << opened.status();
      if (!opened.ok()) std::abort();
      for (auto& endpoint : *opened) endpoints.push_back(std::move(endpoint));
    }
    return endpoints;
  }

 private:
  const int ranks_;
  int per_;
  std::vector<std::unique_ptr<Transport>> transports_;
};

// Runs `body` for every rank, each on its own thread.
inline void OnAll(Endpoints& endpoints, const std::function<void(Endpoint&)>& body) {
  std::vector<std::thread> threads;
  for (auto& endpoint : endpoints) threads.emplace_back([&body, raw = endpoint.get()] { body(*raw); });
  for (auto& thread : threads) thread.join();
}

template <typename T>
std::span<std::byte> BytesOf(std::vector<T>& v) {
  return std::as_writable_bytes(std::span(v));
}

inline void SleepMillis(int millis) { std::this_thread::sleep_for(std::chrono::milliseconds(millis)); }

}  // namespace alpa::comm
