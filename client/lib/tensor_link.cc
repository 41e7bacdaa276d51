#include "client/lib/tensor_link.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "client/lib/box_cursor.h"
#include "client/lib/channel.h"
#include "client/lib/outcome.h"

namespace alpa::client {
namespace {

constexpr Bytes kChunk = kMiB;        // bytes of data per message; the protocol allows at most 1 MiB
constexpr Bytes kPiece = 16 * kMiB;   // approximate bytes of data per call
constexpr int kConnections = 2;       // number of connections to each worker
constexpr size_t kThreads = 8;        // number of calls at the same time
constexpr double kCallSeconds = 600;  // deadline of a call, which moves one piece

}  // namespace

struct TensorLink::Piece {
  Kind kind;
  int64_t version;
  int leaf;
  const graph::Shape* shape;
  plan::Region region;
  int worker;
  size_t turn;            // selects one of the connections to the worker
  const uint8_t* source;  // the bytes of the leaf to put; null: this piece is read from the worker
  uint8_t* target;        // the bytes of the leaf to get
};

TensorLink::TensorLink(std::string job_id, Placement placement, Interruption* interruption)
    : job_id_(std::move(job_id)), placement_(std::move(placement)), interruption_(interruption) {
  for (const Worker& worker : placement_.workers) {
    auto& stubs = stubs_.emplace_back();
    for (int i = 0; i < kConnections; ++i) {
      stubs.push_back(proto::TensorService::NewStub(MakeChannel(worker.address, /*own_connection=*/true)));
    }
  }
}

TensorLink::~TensorLink() = default;

absl::Status TensorLink::Put(Kind kind, const std::vector<Source>& sources) {
  std::vector<Piece> pieces;
  for (const Source& source : sources) {
    const LeafParts& leaf = placement_.inputs[source.leaf];
    ALPA_CHECK(static_cast<Bytes>(source.bytes.size()) == leaf.shape.bytes());
    for (const HeldPart& part : leaf.parts) {
      for (const plan::Region& region : CutBox(part.region, graph::SizeOf(leaf.shape.dtype), kPiece)) {
        for (int worker : part.workers) {
          pieces.push_back({kind, source.version, source.leaf, &leaf.shape, region, worker, pieces.size(),
                            source.bytes.data(), nullptr});
        }
      }
    }
  }
  return RunAll(std::move(pieces));
}

absl::Status TensorLink::Get(Kind kind, int64_t version, const std::vector<Target>& targets) {
  std::vector<Piece> pieces;
  for (const Target& target : targets) {
    const LeafParts& leaf = (kind == proto::LeafRef::AUX ? placement_.outputs : placement_.inputs)[target.leaf];
    ALPA_CHECK(static_cast<Bytes>(target.bytes.size()) == leaf.shape.bytes());
    if (leaf.parts.empty() && leaf.shape.elements() > 0) {
      return Internal("the coordinator's placement has no parts of leaf %d", target.leaf);
    }
    for (const HeldPart& part : leaf.parts) {
      for (const plan::Region& region : CutBox(part.region, graph::SizeOf(leaf.shape.dtype), kPiece)) {
        const int worker = part.workers[pieces.size() % part.workers.size()];
        pieces.push_back(
            {kind, version, target.leaf, &leaf.shape, region, worker, pieces.size(), nullptr, target.bytes.data()});
      }
    }
  }
  return RunAll(std::move(pieces));
}

proto::TensorService::Stub& TensorLink::Pick(int worker, size_t turn) {
  return *stubs_[worker][turn % stubs_[worker].size()];
}

std::string TensorLink::NameOf(const Piece& piece) const {
  const Worker& worker = placement_.workers[piece.worker];
  return absl::StrCat("worker ", worker.name, " at ", worker.address);
}

absl::Status TensorLink::RunAll(std::vector<Piece> pieces) {
  std::atomic<size_t> next = 0;
  Mutex mutex;
  absl::Status first;
  const auto work = [&] {
    for (size_t i = next++; i < pieces.size(); i = next++) {
      Call call(interruption_, kCallSeconds);
      absl::Status status = pieces[i].source != nullptr ? RunPut(pieces[i], call) : RunGet(pieces[i], call);
      if (status.ok()) continue;
      if (absl::IsUnavailable(status) && ReasonOf(status).empty()) status = WithReason(status, kReasonNoWorker);
      next = pieces.size();  // makes the other threads stop after their current piece
      MutexLock lock(mutex);
      if (first.ok()) first = std::move(status);
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(kThreads, pieces.size()); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return first;
}

namespace {

void FillRef(proto::LeafRef& ref, const std::string& job_id, uint64_t epoch, proto::LeafRef::Kind kind, int leaf,
             int64_t version, const plan::Region& region) {
  ref.set_job_id(job_id);
  ref.set_epoch(epoch);
  ref.set_kind(kind);
  ref.set_leaf(leaf);
  ref.set_version(version);
  ref.mutable_region()->mutable_start()->Add(region.start.begin(), region.start.end());
  ref.mutable_region()->mutable_size()->Add(region.size.begin(), region.size.end());
}

}  // namespace

absl::Status TensorLink::RunPut(const Piece& piece, Call& call) {
  const std::string doing = absl::StrCat("writing leaf ", piece.leaf, " to ", NameOf(piece));
  BoxCursor cursor(piece.shape->dims, piece.region, graph::SizeOf(piece.shape->dtype));
  const Bytes total = cursor.remaining();
  proto::PutReply reply;
  auto writer = Pick(piece.worker, piece.turn).Put(call.context(), &reply);
  proto::PutChunk chunk;
  FillRef(*chunk.mutable_ref(), job_id_, placement_.epoch, piece.kind, piece.leaf, piece.version, piece.region);
  bool open = true;
  while (open && cursor.remaining() > 0) {
    const Bytes size = std::min(kChunk, cursor.remaining());
    std::string& data = *chunk.mutable_data();
    data.resize(size);
    cursor.CopyOut(piece.source, reinterpret_cast<uint8_t*>(data.data()), size);
    open = writer->Write(chunk);
    chunk.clear_ref();
  }
  writer->WritesDone();
  ALPA_RETURN_IF_ERROR(call.Finish(writer->Finish(), doing));
  if (reply.bytes() != total) return Internal("%s: the worker took %d of %d bytes", doing, reply.bytes(), total);
  return absl::OkStatus();
}

absl::Status TensorLink::RunGet(const Piece& piece, Call& call) {
  const std::string doing = absl::StrCat("reading leaf ", piece.leaf, " from ", NameOf(piece));
  BoxCursor cursor(piece.shape->dims, piece.region, graph::SizeOf(piece.shape->dtype));
  proto::GetRequest request;
  FillRef(*request.mutable_ref(), job_id_, placement_.epoch, piece.kind, piece.leaf, piece.version, piece.region);
  auto reader = Pick(piece.worker, piece.turn).Get(call.context(), request);
  proto::GetChunk chunk;
  bool fits = true;
  while (reader->Read(&chunk)) {
    const Bytes size = static_cast<Bytes>(chunk.data().size());
    fits = fits && size <= cursor.remaining();
    if (fits) cursor.CopyIn(piece.target, reinterpret_cast<const uint8_t*>(chunk.data().data()), size);
  }
  ALPA_RETURN_IF_ERROR(call.Finish(reader->Finish(), doing));
  if (!fits || cursor.remaining() > 0) return Internal("%s: the worker did not send the requested size", doing);
  return absl::OkStatus();
}

}  // namespace alpa::client
