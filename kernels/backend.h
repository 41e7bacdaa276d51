// The interface to one kind of device. A device holds memory, and compiles and runs stage programs.
//
// Model:     A Backend owns some devices of one node. Each device has memory and a Stream: a queue of work that is
//            executed in order, asynchronously. Host code enqueues work. An Event reports when the stream has reached a
//            certain point. A CompiledProgram belongs to one device. Compile plans the temporary memory of the program,
//            and the device holds this memory from then on. All programs of a device share one temporary memory.
// Ownership: destroy buffers and programs before their backend, and only after the work that uses them is done.
// Threads:   a Backend is thread-safe. Any thread may call a Stream's Enqueue. Only one thread at a time may call a
//            CompiledProgram's Run.
// Errors:    if work fails, its stream fails: the stream skips later work, and later Events return the first failure,
//            until Reset().
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/units.h"
#include "graph/graph.h"
#include "kernels/collective_group.h"

namespace alpa::kernels {

// A dense range of device memory, aligned to at least 64 bytes. The transport can register the buffer if the backend
// supports registration.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual Bytes size() const = 0;
  // Returns the address in the device's memory. On a CPU, this is an ordinary pointer.
  virtual std::byte* data() = 0;
};

// A point in a stream. Copies of the shared pointer refer to the same point.
class Event {
 public:
  virtual ~Event() = default;
  // Blocks until the stream has passed the point. Returns the stream's first failure, if any.
  virtual absl::Status Wait() = 0;
  virtual bool Done() = 0;
};

class Stream {
 public:
  virtual ~Stream() = default;
  // Enqueues `work`, which runs after all work that was enqueued before. `work` may block, as collectives do.
  virtual void Enqueue(std::function<absl::Status()> work) = 0;
  virtual std::shared_ptr<Event> Record() = 0;
  // Clears a failure, so that the stream can be used again. REQUIRES: the queue is empty.
  virtual void Reset() = 0;
};

// Provides the collective groups of one device: one group for each set of mesh axes that a collective of the program
// names.
class CollectiveProvider {
 public:
  virtual ~CollectiveProvider() = default;
  // Returns the group of devices that differ from this device only along `mesh_axes`. The provider owns the group.
  virtual absl::StatusOr<CollectiveGroup*> GroupFor(std::span<const int64_t> mesh_axes) = 0;
};

struct CompileOptions {
  std::vector<int32_t> alias;                    // as in StageProgram::alias
  CollectiveProvider* collectives = nullptr;     // null if the program has no collectives; must outlive the program
};

class CompiledProgram {
 public:
  virtual ~CompiledProgram() = default;
  // Enqueues one execution. inputs[i] is parameter i, outputs[j] is result j. The input and the output of an aliased
  // pair must be the same buffer. No other two buffers may overlap. Loop-index parameters are ordinary s32[] buffers.
  virtual void Run(Stream& stream, std::vector<Buffer*> inputs, std::vector<Buffer*> outputs) = 0;
  // Returns the number of bytes of temporary memory that the program needs. The temporary memory of a device is as
  // large as its largest program needs.
  virtual Bytes temporary_bytes() const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string kind() const = 0;          // "cpu"
  virtual int device_count() const = 0;
  // Returns whether host code may access Buffer::data() directly, while no enqueued work uses the buffer.
  virtual bool host_addressable() const { return kind() == "cpu"; }
  virtual Stream& stream(int device) = 0;
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int device, Bytes size) = 0;
  // Compiles `graph` for one device. If this backend does not support an op, the error is kUnimplemented and names the
  // op and its location.
  virtual absl::StatusOr<std::unique_ptr<CompiledProgram>> Compile(int device, const graph::Graph& graph,
                                                                   const CompileOptions& options) = 0;
  // Enqueue a copy between host and device. The host memory must stay valid until the stream has passed the copy.
  virtual void CopyToDevice(int device, std::span<const std::byte> source, Buffer& destination, Bytes offset) = 0;
  virtual void CopyToHost(int device, Buffer& source, Bytes offset, std::span<std::byte> destination) = 0;
  // Enqueues a fill: repeats `pattern` (1, 2, 4 or 8 bytes) over the whole buffer. `pattern` may be freed after the
  // call.
  virtual void Fill(int device, Buffer& buffer, std::span<const std::byte> pattern) = 0;
};

}  // namespace alpa::kernels
