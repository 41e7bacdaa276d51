#include "tests/conformance/reference_backend.h"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status.h"
#include "graph/builder.h"
#include "graph/evaluator.h"
#include "graph/verify.h"

namespace alpa::conformance {
namespace {

using graph::Graph;
using graph::Literal;
using graph::Op;
using graph::Opcode;
using graph::Shape;
using kernels::CollectiveGroup;

constexpr size_t kAlignment = 64;  // alignment of buffers in bytes; kernels::Buffer requires at least 64

class HostBuffer : public kernels::Buffer {
 public:
  explicit HostBuffer(Bytes size)
      : data_(static_cast<std::byte*>(std::aligned_alloc(kAlignment, (size / kAlignment + 1) * kAlignment))),
        size_(size) {}
  ~HostBuffer() override { std::free(data_); }
  Bytes size() const override { return size_; }
  std::byte* data() override { return data_; }

 private:
  std::byte* data_;
  Bytes size_;
};

class PointEvent : public kernels::Event {
 public:
  absl::Status Wait() override {
    MutexLock lock(mutex_);
    while (!done_) changed_.Wait(lock);
    return status_;
  }
  bool Done() override {
    MutexLock lock(mutex_);
    return done_;
  }
  void Set(absl::Status status) {
    MutexLock lock(mutex_);
    done_ = true;
    status_ = std::move(status);
    changed_.NotifyAll();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool done_ ALPA_GUARDED_BY(mutex_) = false;
  absl::Status status_ ALPA_GUARDED_BY(mutex_);
};

class ThreadStream : public kernels::Stream {
 public:
  ThreadStream() : thread_([this] { Loop(); }) {}
  ~ThreadStream() override {
    {
      MutexLock lock(mutex_);
      closing_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }
  void Enqueue(std::function<absl::Status()> work) override { Push({std::move(work), nullptr}); }
  std::shared_ptr<kernels::Event> Record() override {
    auto event = std::make_shared<PointEvent>();  // the queue shares it, because the caller may drop the event early
    Push({nullptr, event});
    return event;
  }
  void Reset() override {
    MutexLock lock(mutex_);
    failure_ = absl::OkStatus();
  }

 private:
  struct Item {
    std::function<absl::Status()> work;
    std::shared_ptr<PointEvent> event;
  };
  void Push(Item item) {
    MutexLock lock(mutex_);
    queue_.push_back(std::move(item));
    changed_.NotifyAll();
  }
  void Loop() {
    for (;;) {
      Item item;
      absl::Status failure;
      {
        MutexLock lock(mutex_);
        while (queue_.empty() && !closing_) changed_.Wait(lock);
        if (queue_.empty()) return;
        item = std::move(queue_.front());
        queue_.pop_front();
        failure = failure_;
      }
      if (item.event != nullptr) {
        item.event->Set(failure);
      } else if (failure.ok()) {
        absl::Status status = item.work();
        MutexLock lock(mutex_);
        if (!status.ok()) failure_ = std::move(status);
      }
    }
  }

  Mutex mutex_;
  CondVar changed_;
  std::deque<Item> queue_ ALPA_GUARDED_BY(mutex_);
  bool closing_ ALPA_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ALPA_GUARDED_BY(mutex_);
  std::thread thread_;
};

// Splits `array` along `dim` into `parts` blocks and stacks the blocks along a new first dimension.
absl::StatusOr<Literal> SplitOut(const Literal& array, int64_t dim, int64_t parts) {
  graph::GraphBuilder b;
  const graph::ValueId x = b.Parameter(array.shape());
  std::vector<int64_t> dims = array.shape().dims;
  dims[dim] /= parts;
  dims.insert(dims.begin() + dim, parts);
  std::vector<int64_t> permutation{dim};
  for (int64_t d = 0; d < static_cast<int64_t>(dims.size()); ++d) {
    if (d != dim) permutation.push_back(d);
  }
  b.SetResults({b.Transpose(b.Reshape(x, dims), permutation)});
  ALPA_ASSIGN_OR_RETURN(std::vector<Literal> result, graph::Evaluate(b.Build(), std::vector<Literal>{array}));
  return result[0];
}

// The inverse of SplitOut: joins the blocks along `dim`.
absl::StatusOr<Literal> JoinIn(const Literal& stacked, int64_t dim) {
  graph::GraphBuilder b;
  const graph::ValueId x = b.Parameter(stacked.shape());
  const std::vector<int64_t>& dims = stacked.shape().dims;
  std::vector<int64_t> permutation, joined;
  for (int64_t d = 1; d < static_cast<int64_t>(dims.size()); ++d) {
    if (d - 1 == dim) permutation.push_back(0);
    permutation.push_back(d);
    joined.push_back(d - 1 == dim ? dims[d] * dims[0] : dims[d]);
  }
  b.SetResults({b.Reshape(b.Transpose(x, permutation), joined)});
  ALPA_ASSIGN_OR_RETURN(std::vector<Literal> result, graph::Evaluate(b.Build(), std::vector<Literal>{stacked}));
  return result[0];
}

std::vector<std::byte> BytesOf(const Literal& literal) {
  return std::vector<std::byte>(literal.bytes().begin(), literal.bytes().end());
}

absl::StatusOr<std::vector<Literal>> RunCollective(CollectiveGroup& group, const Graph& graph, const Op& op,
                                                   std::span<const Literal> operands) {
  const auto& attrs = op.as<graph::CollectiveAttrs>();
  const int64_t n = group.size();
  std::vector<Literal> results;
  if (op.opcode == Opcode::kAxisIndex)
    return std::vector<Literal>{Literal::Scalar<int32_t>(graph::DType::kS32, group.rank())};
  for (size_t i = 0; i < operands.size(); ++i) {
    const Literal& x = operands[i];
    const Shape& shape = graph.shape(op.results[i]);
    std::vector<std::byte> out(shape.bytes());
    switch (op.opcode) {
      case Opcode::kAllReduce:
        out = BytesOf(x);
        ALPA_RETURN_IF_ERROR(group.AllReduce(out, shape.dtype, attrs.kind));
        results.emplace_back(shape, std::move(out));
        break;
      case Opcode::kAllGather: {
        ALPA_RETURN_IF_ERROR(group.AllGather(x.bytes(), out));
        Shape stacked = x.shape();
        stacked.dims.insert(stacked.dims.begin(), n);
        ALPA_ASSIGN_OR_RETURN(Literal joined, JoinIn(Literal(stacked, std::move(out)), attrs.dim));
        results.push_back(std::move(joined));
        break;
      }
      case Opcode::kReduceScatter: {
        ALPA_ASSIGN_OR_RETURN(const Literal blocks, SplitOut(x, attrs.dim, n));
        ALPA_RETURN_IF_ERROR(group.ReduceScatter(blocks.bytes(), out, shape.dtype, attrs.kind));
        results.emplace_back(shape, std::move(out));
        break;
      }
      case Opcode::kAllToAll: {
        ALPA_ASSIGN_OR_RETURN(const Literal blocks, SplitOut(x, attrs.dim, n));
        ALPA_RETURN_IF_ERROR(group.AllToAll(blocks.bytes(), out));
        ALPA_ASSIGN_OR_RETURN(Literal joined, JoinIn(Literal(blocks.shape(), std::move(out)), attrs.concat_dim));
        results.push_back(std::move(joined));
        break;
      }
      case Opcode::kCollectivePermute:
        ALPA_RETURN_IF_ERROR(group.Permute(x.bytes(), out, attrs.permutation));
        results.emplace_back(shape, std::move(out));
        break;
      default:
        return Unimplemented("the reference backend does not support %s", std::string(NameOf(op.opcode)));
    }
  }
  return results;
}

class EvaluatedProgram : public kernels::CompiledProgram {
 public:
  EvaluatedProgram(Graph graph, kernels::CompileOptions options)
      : graph_(std::move(graph)), options_(std::move(options)) {}

  void Run(kernels::Stream& stream, std::vector<kernels::Buffer*> inputs,
           std::vector<kernels::Buffer*> outputs) override {
    stream.Enqueue(
        [this, inputs = std::move(inputs), outputs = std::move(outputs)] { return Execute(inputs, outputs); });
  }
  Bytes temporary_bytes() const override { return 0; }

 private:
  absl::Status Execute(const std::vector<kernels::Buffer*>& inputs, const std::vector<kernels::Buffer*>& outputs) {
    std::vector<Literal> arguments;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Shape& shape = graph_.shape(graph_.parameters()[i]);
      arguments.emplace_back(shape, std::vector<std::byte>(inputs[i]->data(), inputs[i]->data() + shape.bytes()));
    }
    graph::EvaluateOptions evaluate;
    evaluate.collective = [this](const Graph& graph, const Op& op,
                                 std::span<const Literal> operands) -> absl::StatusOr<std::vector<Literal>> {
      if (options_.collectives == nullptr)
        return FailedPrecondition("the program has a collective, but was compiled without a provider");
      ALPA_ASSIGN_OR_RETURN(CollectiveGroup * group,
                            options_.collectives->GroupFor(op.as<graph::CollectiveAttrs>().mesh_axes));
      return RunCollective(*group, graph, op, operands);
    };
    ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> results, graph::EvaluateWith(evaluate, graph_, arguments));
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!results[i].bytes().empty()) {
        std::memcpy(outputs[i]->data(), results[i].bytes().data(), results[i].bytes().size());
      }
    }
    return absl::OkStatus();
  }

  const Graph graph_;
  const kernels::CompileOptions options_;
};

class ReferenceBackend : public kernels::Backend {
 public:
  explicit ReferenceBackend(int devices) {
    for (int i = 0; i < devices; ++i) streams_.push_back(std::make_unique<ThreadStream>());
  }
  std::string kind() const override { return "reference"; }
  int device_count() const override { return static_cast<int>(streams_.size()); }
  kernels::Stream& stream(int device) override { return *streams_[device]; }
  absl::StatusOr<std::unique_ptr<kernels::Buffer>> Allocate(int device, Bytes size) override {
    if (size < 0) return InvalidArgument("cannot allocate %d bytes", size);
    return std::make_unique<HostBuffer>(size);
  }
  absl::StatusOr<std::unique_ptr<kernels::CompiledProgram>> Compile(int device, const Graph& graph,
                                                                    const kernels::CompileOptions& options) override {
    return std::make_unique<EvaluatedProgram>(graph, options);
  }
  void CopyToDevice(int device, std::span<const std::byte> source, kernels::Buffer& destination,
                    Bytes offset) override {
    stream(device).Enqueue([source, &destination, offset] {
      if (offset < 0 || offset + static_cast<Bytes>(source.size()) > destination.size()) {
        return InvalidArgument("cannot copy %d bytes to offset %d of a buffer of %d bytes", source.size(), offset,
                               destination.size());
      }
      if (!source.empty()) std::memcpy(destination.data() + offset, source.data(), source.size());
      return absl::OkStatus();
    });
  }
  void CopyToHost(int device, kernels::Buffer& source, Bytes offset, std::span<std::byte> destination) override {
    stream(device).Enqueue([&source, offset, destination] {
      if (offset < 0 || offset + static_cast<Bytes>(destination.size()) > source.size()) {
        return InvalidArgument("cannot copy %d bytes from offset %d of a buffer of %d bytes", destination.size(),
                               offset, source.size());
      }
      if (!destination.empty()) std::memcpy(destination.data(), source.data() + offset, destination.size());
      return absl::OkStatus();
    });
  }
  void Fill(int device, kernels::Buffer& buffer, std::span<const std::byte> pattern) override {
    stream(device).Enqueue([&buffer, bytes = std::vector<std::byte>(pattern.begin(), pattern.end())] {
      for (Bytes i = 0; i < buffer.size(); ++i) buffer.data()[i] = bytes[i % bytes.size()];
      return absl::OkStatus();
    });
  }

 private:
  std::vector<std::unique_ptr<ThreadStream>> streams_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<kernels::Backend>> MakeReferenceBackend(int devices) {
  if (devices < 1) return InvalidArgument("cannot make a backend of %d devices; it needs at least 1", devices);
  return std::make_unique<ReferenceBackend>(devices);
}

}  // namespace alpa::conformance
