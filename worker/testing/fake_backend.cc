#include "worker/testing/fake_backend.h"

#include <cstring>
#include <future>

#include "base/status.h"
#include "graph/evaluator.h"

namespace alpa::worker {
namespace {

class FakeBuffer : public kernels::Buffer {
 public:
  explicit FakeBuffer(Bytes size) : bytes_(static_cast<size_t>(size), std::byte{0xcd}) {}
  Bytes size() const override { return static_cast<Bytes>(bytes_.size()); }
  std::byte* data() override { return bytes_.data(); }

 private:
  std::vector<std::byte> bytes_;
};

class FakeEvent : public kernels::Event {
 public:
  explicit FakeEvent(std::shared_future<absl::Status> passed) : passed_(std::move(passed)) {}
  absl::Status Wait() override { return passed_.get(); }
  bool Done() override { return passed_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

 private:
  std::shared_future<absl::Status> passed_;
};

std::vector<std::byte> Copy(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

class FakeProgram : public kernels::CompiledProgram {
 public:
  FakeProgram(FakeBackend& backend, int device, graph::Graph graph, kernels::CollectiveProvider* collectives)
      : backend_(backend), device_(device), graph_(std::move(graph)), collectives_(collectives) {}

  void Run(kernels::Stream& stream, std::vector<kernels::Buffer*> inputs,
           std::vector<kernels::Buffer*> outputs) override {
    stream.Enqueue(
        [this, inputs = std::move(inputs), outputs = std::move(outputs)] { return Execute(inputs, outputs); });
  }
  Bytes temporary_bytes() const override { return 0; }

 private:
  absl::Status Execute(const std::vector<kernels::Buffer*>& inputs, const std::vector<kernels::Buffer*>& outputs) {
    ++backend_.runs;
    if (backend_.before_run) ALPA_RETURN_IF_ERROR(backend_.before_run(device_));
    std::vector<graph::Literal> arguments;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const graph::Shape& shape = graph_.shape(graph_.parameters()[i]);
      arguments.emplace_back(shape, Copy({inputs[i]->data(), static_cast<size_t>(shape.bytes())}));
    }
    graph::EvaluateOptions options;
    options.collective = [&](const graph::Graph& graph, const graph::Op& op, std::span<const graph::Literal> operands) {
      return Collective(op, operands);
    };
    ALPA_ASSIGN_OR_RETURN(const std::vector<graph::Literal> results, graph::EvaluateWith(options, graph_, arguments));
    for (size_t i = 0; i < outputs.size(); ++i) {
      std::memcpy(outputs[i]->data(), results[i].bytes().data(), results[i].bytes().size());
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<graph::Literal>> Collective(const graph::Op& op,
                                                         std::span<const graph::Literal> operands) {
    const auto& attrs = op.as<graph::CollectiveAttrs>();
    ALPA_ASSIGN_OR_RETURN(kernels::CollectiveGroup * group, collectives_->GroupFor(attrs.mesh_axes));
    if (op.opcode == graph::Opcode::kAxisIndex) {
      return std::vector<graph::Literal>{graph::Literal::Scalar<int32_t>(graph::DType::kS32, group->rank())};
    }
    if (op.opcode != graph::Opcode::kAllReduce) {
      return absl::UnimplementedError("the fake backend has no collectives other than all-reduce and axis index");
    }
    std::vector<graph::Literal> results;
    for (const graph::Literal& operand : operands) {
      std::vector<std::byte> bytes = Copy(operand.bytes());
      ALPA_RETURN_IF_ERROR(group->AllReduce(bytes, operand.shape().dtype, attrs.kind));
      results.emplace_back(operand.shape(), std::move(bytes));
    }
    return results;
  }

  FakeBackend& backend_;
  const int device_;
  const graph::Graph graph_;
  kernels::CollectiveProvider* const collectives_;
};

}  // namespace

FakeStream::FakeStream()
    : thread_([this] {
        while (true) {
          std::function<void()> item;
          {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return stop_ || !queue_.empty(); });
            if (queue_.empty()) return;
            item = std::move(queue_.front());
            queue_.pop_front();
          }
          item();
        }
      }) {}

FakeStream::~FakeStream() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void FakeStream::Push(std::function<void()> item) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(item));
  }
  changed_.notify_all();
}

void FakeStream::Enqueue(std::function<absl::Status()> work) {
  Push([this, work = std::move(work)] {
    if (failure_.ok()) failure_ = work();
  });
}

std::shared_ptr<kernels::Event> FakeStream::Record() {
  auto passed = std::make_shared<std::promise<absl::Status>>();
  auto event = std::make_shared<FakeEvent>(passed->get_future().share());
  Push([this, passed] { passed->set_value(failure_); });
  return event;
}

void FakeStream::Reset() {
  auto done = std::make_shared<std::promise<void>>();
  Push([this, done] {
    failure_ = absl::OkStatus();
    done->set_value();
  });
  done->get_future().wait();
}

FakeBackend::FakeBackend(int devices, bool host_addressable) : host_addressable_(host_addressable) {
  for (int i = 0; i < devices; ++i) streams_.push_back(std::make_unique<FakeStream>());
}

absl::StatusOr<std::unique_ptr<kernels::Buffer>> FakeBackend::Allocate(int device, Bytes size) {
  return std::make_unique<FakeBuffer>(size);
}

absl::StatusOr<std::unique_ptr<kernels::CompiledProgram>> FakeBackend::Compile(int device, const graph::Graph& graph,
                                                                               const kernels::CompileOptions& options) {
  return std::make_unique<FakeProgram>(*this, device, graph, options.collectives);
}

void FakeBackend::CopyToDevice(int device, std::span<const std::byte> source, kernels::Buffer& destination,
                               Bytes offset) {
  stream(device).Enqueue([source, &destination, offset] {
    std::memcpy(destination.data() + offset, source.data(), source.size());
    return absl::OkStatus();
  });
}

void FakeBackend::CopyToHost(int device, kernels::Buffer& source, Bytes offset, std::span<std::byte> destination) {
  stream(device).Enqueue([&source, offset, destination] {
    std::memcpy(destination.data(), source.data() + offset, destination.size());
    return absl::OkStatus();
  });
}

void FakeBackend::Fill(int device, kernels::Buffer& buffer, std::span<const std::byte> pattern) {
  stream(device).Enqueue([&buffer, pattern = std::vector<std::byte>(pattern.begin(), pattern.end())] {
    for (Bytes at = 0; at + static_cast<Bytes>(pattern.size()) <= buffer.size();
         at += static_cast<Bytes>(pattern.size())) {
      std::memcpy(buffer.data() + at, pattern.data(), pattern.size());
    }
    return absl::OkStatus();
  });
}

}  // namespace alpa::worker
