// What a kind of device can do for a worker: hold memory, compile a StageProgram, run it.
//
// Model:     A Backend owns some devices of one node. Each device has memory and a Stream: a queue of work that is executed
//            in order, asynchronously. Host code enqueues; an Event tells when a point in the stream was reached. A
//            CompiledProgram belongs to one device. Its temporary memory is planned and held from compile time on, and shared
//            with the device's other programs.
// Ownership: buffers and programs must be destroyed before their backend, and after the work that uses them was waited
//            for.
// Threads:   a Backend is thread-safe; a Stream's Enqueue may be called from any thread; a CompiledProgram's Run is called
//            from one thread at a time.
// Errors:    work that fails makes its stream fail: later work is skipped, and every Event from then on carries the first
//            failure until Reset().
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

// Device memory. Dense, aligned to 64 bytes at least, registrable with the transport where the backend can.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual Bytes size() const = 0;
  // Address in the device's memory; for CPU, an ordinary pointer.
  virtual std::byte* data() = 0;
};

// A point in a stream. Copies share it.
class Event {
 public:
  virtual ~Event() = default;
  // Blocks until the stream has passed the point. The stream's first failure, if any.
  virtual absl::Status Wait() = 0;
  virtual bool Done() = 0;
};

class Stream {
 public:
  virtual ~Stream() = default;
  // Runs `work` in order after everything enqueued before. `work` may block (collectives do).
  virtual void Enqueue(std::function<absl::Status()> work) = 0;
  virtual std::shared_ptr<Event> Record() = 0;
  // After a failure: forgets it, so that the stream can be used again. REQUIRES: nothing is enqueued.
  virtual void Reset() = 0;
};

// The collective groups of one device: for each set of mesh axes that the program's collectives name, its group.
class CollectiveProvider {
 public:
  virtual ~CollectiveProvider() = default;
  // The group of devices that differ from this one only along `mesh_axes`; owned by the provider.
  virtual absl::StatusOr<CollectiveGroup*> GroupFor(std::span<const int64_t> mesh_axes) = 0;
};

struct CompileOptions {
  std::vector<int32_t> alias;                    // as StageProgram::alias
  CollectiveProvider* collectives = nullptr;     // null: the program must have none. Must outlive the program.
};

class CompiledProgram {
 public:
  virtual ~CompiledProgram() = default;
  // Enqueues one execution. inputs[i] is parameter i, outputs[j] result j; an aliased pair must be the same buffer; no
  // other overlap. Loop-index parameters are ordinary s32[] buffers.
  virtual void Run(Stream& stream, std::vector<Buffer*> inputs, std::vector<Buffer*> outputs) = 0;
  // Bytes of temporary memory that it needs, for accounting: the programs of a device hold the largest of theirs.
  virtual Bytes temporary_bytes() const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string kind() const = 0;          // "cpu"
  virtual int device_count() const = 0;
  // Whether host code may read and write Buffer::data() itself, where no enqueued work does so.
  virtual bool host_addressable() const { return kind() == "cpu"; }
  virtual Stream& stream(int device) = 0;
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int device, Bytes size) = 0;
  // kUnimplemented names an op that this backend lacks, with its location.
  virtual absl::StatusOr<std::unique_ptr<CompiledProgram>> Compile(int device, const graph::Graph& graph,
                                                                   const CompileOptions& options) = 0;
  // Enqueued copies between host and device. The host memory must stay until the stream has passed.
  virtual void CopyToDevice(int device, std::span<const std::byte> source, Buffer& destination, Bytes offset) = 0;
  virtual void CopyToHost(int device, Buffer& source, Bytes offset, std::span<std::byte> destination) = 0;
  // Enqueued: every element of `buffer` set to `pattern` (1, 2, 4 or 8 bytes, repeated), which need not stay.
  virtual void Fill(int device, Buffer& buffer, std::span<const std::byte> pattern) = 0;
};

}  // namespace alpa::kernels
