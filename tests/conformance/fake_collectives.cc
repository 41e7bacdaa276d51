#include "tests/conformance/fake_collectives.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "graph/builder.h"
#include "graph/evaluator.h"

namespace alpa::conformance {

using graph::DType;
using graph::ReduceKind;

std::vector<int64_t> CoordinatesOf(int device, const std::vector<int64_t>& mesh_shape) {
  std::vector<int64_t> coordinates(mesh_shape.size());
  int64_t rest = device;
  for (size_t d = mesh_shape.size(); d-- > 0;) {
    coordinates[d] = rest % mesh_shape[d];
    rest /= mesh_shape[d];
  }
  return coordinates;
}

int RankAlong(int device, const std::vector<int64_t>& mesh_shape, const std::vector<int64_t>& axes) {
  const std::vector<int64_t> coordinates = CoordinatesOf(device, mesh_shape);
  int64_t rank = 0;
  for (int64_t axis : axes) rank = rank * mesh_shape[axis] + coordinates[axis];
  return static_cast<int>(rank);
}

// In every collective, each rank posts its input, waits until all ranks have posted, reads the inputs of the other
// ranks, and waits again until all ranks have read.
class FakeFabric::Meeting {
 public:
  explicit Meeting(int size) : posts_(size), size_(size) {}

  absl::Status Post(int rank, std::span<const std::byte> bytes) {
    {
      MutexLock lock(mutex_);
      posts_[rank] = bytes;
    }
    return Arrive();
  }
  // Returns the input of rank r. REQUIRES: called between Post and Leave.
  std::span<const std::byte> PostOf(int r) {
    MutexLock lock(mutex_);
    return posts_[r];
  }
  absl::Status Leave() { return Arrive(); }

  void Abort(const absl::Status& cause) {
    MutexLock lock(mutex_);
    if (status_.ok()) status_ = cause;
    changed_.NotifyAll();
  }

 private:
  absl::Status Arrive() {
    MutexLock lock(mutex_);
    if (!status_.ok()) return status_;
    const int64_t round = round_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++round_;
      changed_.NotifyAll();
    }
    while (round_ == round && status_.ok()) changed_.Wait(lock);
    return round_ != round ? absl::OkStatus() : status_;
  }

  Mutex mutex_;
  CondVar changed_;
  std::vector<std::span<const std::byte>> posts_ ALPA_GUARDED_BY(mutex_);
  absl::Status status_ ALPA_GUARDED_BY(mutex_);
  int arrived_ ALPA_GUARDED_BY(mutex_) = 0;
  int64_t round_ ALPA_GUARDED_BY(mutex_) = 0;
  const int size_;
};

namespace {

// Reduces arrays of equal size with the evaluator: stacks them and reduces the stack along its first dimension. The
// evaluator accumulates in a wide type.
absl::StatusOr<std::vector<std::byte>> Combined(const std::vector<std::span<const std::byte>>& parts, DType dtype,
                                                ReduceKind kind) {
  const int64_t n = static_cast<int64_t>(parts[0].size()) / SizeOf(dtype);
  std::vector<std::byte> stacked;
  for (const auto& part : parts) {
    if (part.size() != parts[0].size())
      return InvalidArgument("a reduction got %d bytes from one rank, but %d from rank 0", part.size(),
                             parts[0].size());
    stacked.insert(stacked.end(), part.begin(), part.end());
  }
  graph::GraphBuilder b;
  const graph::Shape shape{dtype, {static_cast<int64_t>(parts.size()), n}};
  const graph::ValueId x = b.Parameter(shape);
  b.SetResults({b.Reduce(x, kind, {0})});
  const std::vector<graph::Literal> arguments{graph::Literal(shape, std::move(stacked))};
  ALPA_ASSIGN_OR_RETURN(const std::vector<graph::Literal> results, graph::Evaluate(b.Build(), arguments));
  return std::vector<std::byte>(results[0].bytes().begin(), results[0].bytes().end());
}

void CopyBytes(std::span<const std::byte> from, std::span<std::byte> to) {
  if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
}

class FakeGroup : public kernels::CollectiveGroup {
 public:
  FakeGroup(std::shared_ptr<FakeFabric::Meeting> meeting, int rank, int size)
      : meeting_(std::move(meeting)), rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  absl::Status AllReduce(std::span<std::byte> data, DType dtype, ReduceKind kind) override {
    ALPA_RETURN_IF_ERROR(meeting_->Post(rank_, data));
    ALPA_ASSIGN_OR_RETURN(const std::vector<std::byte> combined, Combined(All(), dtype, kind));
    ALPA_RETURN_IF_ERROR(meeting_->Leave());  // no rank writes before all ranks have read
    CopyBytes(combined, data);
    return absl::OkStatus();
  }
  absl::Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) override {
    if (out.size() != in.size() * size_)
      return InvalidArgument("cannot all-gather %d bytes per rank into %d bytes", in.size(), out.size());
    ALPA_RETURN_IF_ERROR(meeting_->Post(rank_, in));
    for (int r = 0; r < size_; ++r) CopyBytes(meeting_->PostOf(r), out.subspan(r * in.size(), in.size()));
    return meeting_->Leave();
  }
  absl::Status ReduceScatter(std::span<const std::byte> in, std::span<std::byte> out, DType dtype,
                             ReduceKind kind) override {
    if (in.size() != out.size() * size_) {
      return InvalidArgument("cannot reduce-scatter %d bytes into %d bytes per rank", in.size(), out.size());
    }
    ALPA_RETURN_IF_ERROR(meeting_->Post(rank_, in));
    ALPA_ASSIGN_OR_RETURN(const std::vector<std::byte> combined, Combined(All(), dtype, kind));
    ALPA_RETURN_IF_ERROR(meeting_->Leave());
    CopyBytes(std::span(combined).subspan(rank_ * out.size(), out.size()), out);
    return absl::OkStatus();
  }
  absl::Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) override {
    if (in.size() != out.size() || in.size() % size_ != 0) {
      return InvalidArgument("cannot run an all-to-all of %d bytes into %d bytes among %d ranks", in.size(), out.size(),
                             size_);
    }
    ALPA_RETURN_IF_ERROR(meeting_->Post(rank_, in));
    const size_t block = in.size() / size_;
    for (int r = 0; r < size_; ++r) {
      CopyBytes(meeting_->PostOf(r).subspan(rank_ * block, block), out.subspan(r * block, block));
    }
    return meeting_->Leave();
  }
  absl::Status Permute(std::span<const std::byte> in, std::span<std::byte> out,
                       std::span<const int64_t> permutation) override {
    ALPA_RETURN_IF_ERROR(meeting_->Post(rank_, in));
    std::fill(out.begin(), out.end(), std::byte{0});
    for (int r = 0; r < size_; ++r) {
      if (permutation[r] == rank_) CopyBytes(meeting_->PostOf(r), out);
    }
    return meeting_->Leave();
  }
  absl::Status Broadcast(std::span<std::byte> data, int root) override {
    ALPA_RETURN_IF_ERROR(meeting_->Post(rank_, data));
    if (rank_ != root) CopyBytes(meeting_->PostOf(root), data);
    return meeting_->Leave();
  }
  absl::Status Barrier() override {
    ALPA_RETURN_IF_ERROR(meeting_->Post(rank_, {}));
    return meeting_->Leave();
  }
  void Abort(const absl::Status& cause) override { meeting_->Abort(cause); }

 private:
  std::vector<std::span<const std::byte>> All() {
    std::vector<std::span<const std::byte>> parts;
    for (int r = 0; r < size_; ++r) parts.push_back(meeting_->PostOf(r));
    return parts;
  }
  std::shared_ptr<FakeFabric::Meeting> meeting_;
  const int rank_, size_;
};

}  // namespace

class FakeFabric::DeviceProvider : public kernels::CollectiveProvider {
 public:
  DeviceProvider(FakeFabric& fabric, int device) : fabric_(fabric), device_(device) {}
  absl::StatusOr<kernels::CollectiveGroup*> GroupFor(std::span<const int64_t> mesh_axes) override {
    const std::vector<int64_t> axes(mesh_axes.begin(), mesh_axes.end());
    for (int64_t axis : axes) {
      if (axis < 0 || axis >= static_cast<int64_t>(fabric_.mesh_shape_.size())) {
        return InvalidArgument("a collective names mesh axis %d; the mesh has %d axes", axis,
                               fabric_.mesh_shape_.size());
      }
    }
    MutexLock lock(mutex_);
    std::unique_ptr<FakeGroup>& group = groups_[axes];
    if (group == nullptr) {
      int rank = 0, size = 1;
      auto meeting = fabric_.MeetingFor(device_, axes, rank, size);
      group = std::make_unique<FakeGroup>(std::move(meeting), rank, size);
    }
    return group.get();
  }

 private:
  FakeFabric& fabric_;
  const int device_;
  Mutex mutex_;
  std::map<std::vector<int64_t>, std::unique_ptr<FakeGroup>> groups_ ALPA_GUARDED_BY(mutex_);
};

FakeFabric::FakeFabric(std::vector<int64_t> mesh_shape) : mesh_shape_(std::move(mesh_shape)) {
  int64_t devices = 1;
  for (int64_t d : mesh_shape_) devices *= d;
  for (int d = 0; d < devices; ++d) providers_.push_back(std::make_unique<DeviceProvider>(*this, d));
}
FakeFabric::~FakeFabric() = default;

kernels::CollectiveProvider& FakeFabric::Provider(int device) { return *providers_[device]; }

void FakeFabric::Abort(const absl::Status& cause) {
  MutexLock lock(mutex_);
  if (aborted_.ok()) aborted_ = cause;
  for (auto& [key, meeting] : meetings_) meeting->Abort(cause);
}

std::shared_ptr<FakeFabric::Meeting> FakeFabric::MeetingFor(int device, const std::vector<int64_t>& axes, int& rank,
                                                            int& size) {
  // The key of a meeting consists of the axes and of the group's coordinates along all other axes.
  std::vector<int64_t> key = axes;
  key.push_back(-1);
  const std::vector<int64_t> coordinates = CoordinatesOf(device, mesh_shape_);
  for (size_t d = 0; d < mesh_shape_.size(); ++d) {
    if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) == axes.end()) key.push_back(coordinates[d]);
  }
  rank = RankAlong(device, mesh_shape_, axes);
  size = 1;
  for (int64_t axis : axes) size *= static_cast<int>(mesh_shape_[axis]);
  MutexLock lock(mutex_);
  std::shared_ptr<Meeting>& meeting = meetings_[key];
  if (meeting == nullptr) {
    meeting = std::make_shared<Meeting>(size);
    if (!aborted_.ok()) meeting->Abort(aborted_);
  }
  return meeting;
}

}  // namespace alpa::conformance
