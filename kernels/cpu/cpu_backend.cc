#include "kernels/cpu/cpu_backend.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "base/status.h"
#include "kernels/cpu/body.h"
#include "kernels/cpu/stream.h"
#include "kernels/cpu/thread_pool.h"

namespace alpa::kernels::cpu {
namespace {

// The size of a huge page, in bytes. Allocations of at least this size are aligned to it, and may use huge pages.
constexpr Bytes kHugePage = 2 * kMiB;

// Counts the memory that one device has allocated, and enforces the limit.
class MemoryCounter {
 public:
  MemoryCounter(int device, Bytes limit) : device_(device), limit_(limit) {}

  absl::Status Take(Bytes size, absl::string_view what) {
    const Bytes before = used_.fetch_add(size, std::memory_order_relaxed);
    if (limit_ <= 0 || size <= limit_ - before) return absl::OkStatus();
    used_.fetch_sub(size, std::memory_order_relaxed);
    return absl::ResourceExhaustedError(absl::StrFormat(
        "device %d cannot hold %s of %d bytes: %d of its %d bytes are in use. Use more devices or smaller "
        "microbatches, or raise the memory limit",
        device_, what, size, before, limit_));
  }
  void Return(Bytes size) { used_.fetch_sub(size, std::memory_order_relaxed); }

 private:
  const int device_;
  const Bytes limit_;
  std::atomic<Bytes> used_{0};
};

// Returns the machine's memory in bytes. If the system overcommits, an allocation larger than the machine's memory
// succeeds. The system kills the process later, when the process uses the memory.
Bytes MachineMemory() {
  return static_cast<Bytes>(sysconf(_SC_PHYS_PAGES)) * static_cast<Bytes>(sysconf(_SC_PAGESIZE));
}

// Holds aligned memory. The counter includes the bytes of a Memory object as long as the object exists.
class Memory {
 public:
  static absl::StatusOr<std::unique_ptr<Memory>> Allocate(MemoryCounter& counter, Bytes size, absl::string_view what) {
    ALPA_RETURN_IF_ERROR(counter.Take(size, what));
    const size_t alignment = size >= kHugePage ? kHugePage : 64;
    const size_t rounded = (std::max<size_t>(size, 1) + alignment - 1) / alignment * alignment;
    void* data = size <= MachineMemory() ? std::aligned_alloc(alignment, rounded) : nullptr;
    if (data == nullptr) {
      counter.Return(size);
      return absl::ResourceExhaustedError(absl::StrFormat(
          "cannot allocate %s of %d bytes: the machine has %d bytes, and too few are free", what, size,
          MachineMemory()));
    }
    if (size >= kHugePage) madvise(data, rounded, MADV_HUGEPAGE);  // only a hint
    return std::unique_ptr<Memory>(new Memory(counter, size, static_cast<std::byte*>(data)));
  }
  ~Memory() {
    std::free(data_);
    counter_.Return(size_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  Bytes size() const { return size_; }
  std::byte* data() const { return data_; }

 private:
  Memory(MemoryCounter& counter, Bytes size, std::byte* data) : counter_(counter), size_(size), data_(data) {}
  MemoryCounter& counter_;
  const Bytes size_;
  std::byte* const data_;
};

class CpuBuffer : public Buffer {
 public:
  explicit CpuBuffer(std::unique_ptr<Memory> memory) : memory_(std::move(memory)) {}
  Bytes size() const override { return memory_->size(); }
  std::byte* data() override { return memory_->data(); }

 private:
  const std::unique_ptr<Memory> memory_;
};

// The temporary memory that all programs of a device share. The stream runs one program at a time, and no data in the
// arena outlives a run.
class SharedArena {
 public:
  // Makes the arena at least `size` bytes large. A run in progress keeps the memory with which it started.
  absl::Status Grow(MemoryCounter& counter, Bytes size) {
    std::lock_guard lock(mutex_);
    const Bytes old_size = memory_ == nullptr ? 0 : memory_->size();
    if (memory_ != nullptr && size <= old_size) return absl::OkStatus();
    memory_.reset();  // the old and the new memory might not fit at the same time
    auto larger = Memory::Allocate(counter, size, "a program's temporary memory");
    if (larger.ok()) {
      memory_ = *std::move(larger);
      return absl::OkStatus();
    }
    if (auto again = Memory::Allocate(counter, old_size, "a program's temporary memory"); again.ok()) {
      memory_ = *std::move(again);
    }
    return larger.status();
  }
  // Returns null if Grow could allocate neither the new size nor the old size again.
  std::shared_ptr<Memory> Use() {
    std::lock_guard lock(mutex_);
    return memory_;
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<Memory> memory_;
};

class CpuProgram : public CompiledProgram {
 public:
  CpuProgram(std::unique_ptr<Body> body, std::shared_ptr<SharedArena> arena, ThreadPool& pool)
      : body_(std::move(body)), arena_(std::move(arena)), pool_(pool) {}

  void Run(Stream& stream, std::vector<Buffer*> inputs, std::vector<Buffer*> outputs) override {
    std::vector<std::byte*> parameters, results;
    parameters.reserve(inputs.size());
    results.reserve(outputs.size());
    absl::Status fits = CheckSizes(inputs, outputs);
    if (!fits.ok()) {
      stream.Enqueue([fits] { return fits; });
      return;
    }
    for (Buffer* buffer : inputs) parameters.push_back(buffer->data());
    for (Buffer* buffer : outputs) results.push_back(buffer->data());
    stream.Enqueue([this, parameters = std::move(parameters), results = std::move(results)]() -> absl::Status {
      const std::shared_ptr<Memory> arena = arena_->Use();
      if (arena == nullptr) {
        return absl::ResourceExhaustedError(
            "cannot run the program: its device has no temporary memory, because enlarging this memory failed");
      }
      return body_->Run(parameters, results, arena->data(), pool_);
    });
  }
  Bytes temporary_bytes() const override { return body_->arena_bytes(); }
  Body& body() const { return *body_; }

 private:
  // Refuses buffers that are too small, because the program would access memory past their ends.
  absl::Status CheckSizes(const std::vector<Buffer*>& inputs, const std::vector<Buffer*>& outputs) const {
    const graph::Graph& g = body_->graph();
    auto check = [&](const std::vector<Buffer*>& buffers, const std::vector<graph::ValueId>& values,
                     const char* what) -> absl::Status {
      if (buffers.size() != values.size()) {
        return InvalidArgument("cannot run the program with %d %s buffers: it needs %d", buffers.size(), what,
                               values.size());
      }
      for (size_t i = 0; i < buffers.size(); ++i) {
        const Bytes needed = g.shape(values[i]).bytes();
        if (buffers[i] == nullptr || buffers[i]->size() < needed) {
          return InvalidArgument("cannot run the program with a buffer of %d bytes for %s %d, which needs %d bytes",
                                 buffers[i] == nullptr ? 0 : buffers[i]->size(), what, i, needed);
        }
      }
      return absl::OkStatus();
    };
    ALPA_RETURN_IF_ERROR(check(inputs, g.parameters(), "parameter"));
    return check(outputs, g.results(), "result");
  }

  const std::unique_ptr<Body> body_;
  const std::shared_ptr<SharedArena> arena_;
  ThreadPool& pool_;
};

struct Device {
  Device(int index, int threads, Bytes limit) : memory(index, limit), pool(threads) {}
  std::shared_ptr<SharedArena> Arena() {
    std::lock_guard lock(mutex);
    std::shared_ptr<SharedArena> current = arena.lock();
    if (current == nullptr) arena = current = std::make_shared<SharedArena>();
    return current;
  }
  MemoryCounter memory;
  std::mutex mutex;
  std::weak_ptr<SharedArena> arena;  // null if the device has no program
  ThreadPool pool;
  CpuStream stream;  // the last member, so that its thread ends before the pool is destroyed
};

int UsableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return 1;
}

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(const CpuBackendOptions& options) {
    const int threads =
        options.threads_per_device > 0 ? options.threads_per_device : std::max(1, UsableCores() / options.devices);
    for (int i = 0; i < options.devices; ++i) {
      devices_.push_back(std::make_unique<Device>(i, threads, options.memory_limit));
    }
  }

  std::string kind() const override { return "cpu"; }
  int device_count() const override { return static_cast<int>(devices_.size()); }
  Stream& stream(int device) override { return devices_[device]->stream; }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int device, Bytes size) override {
    if (size < 0) return InvalidArgument("cannot allocate a buffer of %d bytes", size);
    ALPA_ASSIGN_OR_RETURN(std::unique_ptr<Memory> memory, Memory::Allocate(devices_[device]->memory, size, "a buffer"));
    return std::unique_ptr<Buffer>(std::make_unique<CpuBuffer>(std::move(memory)));
  }

  absl::StatusOr<std::unique_ptr<CompiledProgram>> Compile(int device, const graph::Graph& graph,
                                                           const CompileOptions& options) override {
    Device& d = *devices_[device];
    try {
      ALPA_ASSIGN_OR_RETURN(std::unique_ptr<Body> body,
                            Body::Compile(std::make_shared<const graph::Graph>(graph), options, d.pool.size()));
      const std::shared_ptr<SharedArena> arena = d.Arena();
      ALPA_RETURN_IF_ERROR(arena->Grow(d.memory, body->arena_bytes()));
      return std::unique_ptr<CompiledProgram>(std::make_unique<CpuProgram>(std::move(body), arena, d.pool));
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError("out of memory while compiling a program");
    }
  }

  void CopyToDevice(int device, std::span<const std::byte> source, Buffer& destination, Bytes offset) override {
    if (!Inside(device, destination, offset, source.size())) return;
    stream(device).Enqueue([source, to = destination.data() + offset] {
      if (!source.empty()) std::memcpy(to, source.data(), source.size());
      return absl::OkStatus();
    });
  }
  void CopyToHost(int device, Buffer& source, Bytes offset, std::span<std::byte> destination) override {
    if (!Inside(device, source, offset, destination.size())) return;
    stream(device).Enqueue([destination, from = source.data() + offset] {
      if (!destination.empty()) std::memcpy(destination.data(), from, destination.size());
      return absl::OkStatus();
    });
  }
  void Fill(int device, Buffer& buffer, std::span<const std::byte> pattern) override {
    std::vector<std::byte> element(pattern.begin(), pattern.end());
    stream(device).Enqueue(
        [element = std::move(element), data = buffer.data(), size = buffer.size()]() -> absl::Status {
          const Bytes step = static_cast<Bytes>(element.size());
          if (step != 1 && step != 2 && step != 4 && step != 8)
            return InvalidArgument("cannot fill a buffer with a pattern of %d bytes: use 1, 2, 4 or 8", step);
          Bytes done = std::min(step, size);
          std::memcpy(data, element.data(), done);
          while (done < size) {  // each pass doubles the filled part of the buffer
            const Bytes more = std::min(done, size - done);
            std::memcpy(data + done, data, more);
            done += more;
          }
          return absl::OkStatus();
        });
  }

 private:
  // Returns whether the range is inside the buffer. If the range is not inside, makes the stream fail.
  bool Inside(int device, Buffer& buffer, Bytes offset, size_t size) {
    if (offset >= 0 && offset <= buffer.size() && static_cast<Bytes>(size) <= buffer.size() - offset) return true;
    stream(device).Enqueue([offset, size, whole = buffer.size()] {
      return InvalidArgument("cannot copy %d bytes at offset %d: the buffer has %d bytes", size, offset, whole);
    });
    return false;
  }

  std::vector<std::unique_ptr<Device>> devices_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(const CpuBackendOptions& options) {
  ALPA_CHECK(options.devices >= 1);
  return std::make_unique<CpuBackend>(options);
}

void EnableProfiling(CompiledProgram& program) { static_cast<CpuProgram&>(program).body().set_profiling(true); }

std::vector<KernelTime> ReadProfile(const CompiledProgram& program) {
  std::vector<KernelTime> profile;
  for (const Body::Step& step : static_cast<const CpuProgram&>(program).body().steps()) {
    profile.push_back({step.kind, step.where, step.seconds});
  }
  return profile;
}

}  // namespace alpa::kernels::cpu
