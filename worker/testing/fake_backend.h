// A backend for tests. Each device has one thread, the reference evaluator runs the programs, and a test can inject
// failures and delays.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/backend.h"

namespace alpa::worker {

class FakeStream : public kernels::Stream {
 public:
  FakeStream();
  ~FakeStream() override;
  void Enqueue(std::function<absl::Status()> work) override;
  std::shared_ptr<kernels::Event> Record() override;
  void Reset() override;

 private:
  void Push(std::function<void()> item);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stop_ = false;
  absl::Status failure_;  // only the stream's thread uses it
  std::thread thread_;
};

class FakeBackend : public kernels::Backend {
 public:
  // Without `host_addressable`, copies go through the stream, like copies on a GPU.
  explicit FakeBackend(int devices, bool host_addressable = true);

  std::string kind() const override { return "fake"; }
  int device_count() const override { return static_cast<int>(streams_.size()); }
  bool host_addressable() const override { return host_addressable_; }
  kernels::Stream& stream(int device) override { return *streams_[device]; }
  absl::StatusOr<std::unique_ptr<kernels::Buffer>> Allocate(int device, Bytes size) override;
  absl::StatusOr<std::unique_ptr<kernels::CompiledProgram>> Compile(int device, const graph::Graph& graph,
                                                                    const kernels::CompileOptions& options) override;
  void CopyToDevice(int device, std::span<const std::byte> source, kernels::Buffer& destination, Bytes offset) override;
  void CopyToHost(int device, kernels::Buffer& source, Bytes offset, std::span<std::byte> destination) override;
  void Fill(int device, kernels::Buffer& buffer, std::span<const std::byte> pattern) override;

  // The stream calls this before each run of a program. An error makes the run fail. Set it before the backend is used.
  std::function<absl::Status(int device)> before_run;
  std::atomic<int> runs{0};

 private:
  const bool host_addressable_;
  std::vector<std::unique_ptr<FakeStream>> streams_;
};

}  // namespace alpa::worker
