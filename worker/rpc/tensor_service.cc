#include "worker/rpc/tensor_service.h"

#include <grpcpp/impl/codegen/method_handler.h>

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "proto/tensor_service.pb.h"
#include "worker/core/errors.h"
#include "worker/rpc/chunk_wire.h"
#include "worker/rpc/status_rpc.h"

namespace alpa::worker {
namespace {

constexpr int64_t kChunkBytes = kMiB;  // maximum data per message of a get, in bytes
constexpr int kMaxRank = 64;           // maximum rank of a region in a request

absl::Status BadRequest(std::string message) {
  return WithReason(absl::InvalidArgumentError(message), "BAD_REQUEST");
}

grpc::ByteBuffer Serialized(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

absl::StatusOr<LeafKind> KindOf(const proto::LeafRef& ref) {
  switch (ref.kind()) {
    case proto::LeafRef::STATE: return LeafKind::kState;
    case proto::LeafRef::BATCH: return LeafKind::kBatch;
    case proto::LeafRef::AUX: return LeafKind::kAux;
    default: return BadRequest(absl::StrFormat("leaf kind %d is unknown", static_cast<int>(ref.kind())));
  }
}

absl::StatusOr<Region> RegionOf(const proto::LeafRef& ref) {
  if (ref.region().start_size() > kMaxRank || ref.region().size_size() > kMaxRank) {
    return BadRequest(absl::StrFormat("the region has %d starts; at most 64 starts and 64 sizes are allowed",
                                      ref.region().start_size()));
  }
  return Region{{ref.region().start().begin(), ref.region().start().end()},
                {ref.region().size().begin(), ref.region().size().end()}};
}

// Names a transfer for error messages, as in: put of leaf 3, job "x".
std::string Describe(const char* what, const proto::LeafRef& ref) {
  return absl::StrFormat("%s of leaf %d, job \"%s\"", what, ref.leaf(), ref.job_id());
}

absl::StatusOr<std::unique_ptr<JobRuntime::Transfer>> Begin(WorkerCore& core, const proto::LeafRef& ref, bool put) {
  ALPA_ASSIGN_OR_RETURN(const LeafKind kind, KindOf(ref));
  ALPA_ASSIGN_OR_RETURN(const Region region, RegionOf(ref));
  ALPA_ASSIGN_OR_RETURN(const std::shared_ptr<JobRuntime> job, core.Find(ref.job_id(), ref.epoch()));
  return put ? job->BeginPut(kind, ref.leaf(), ref.version(), region)
             : job->BeginGet(kind, ref.leaf(), ref.version(), region);
}

// Handles one message of a put. The first message opens the transfer.
absl::Status TakeChunk(WorkerCore& core, const grpc::ByteBuffer& message, proto::LeafRef* ref,
                       std::unique_ptr<JobRuntime::Transfer>* transfer) {
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) return absl::InvalidArgumentError("cannot decompress a message of the put");
  std::vector<ByteSpan> pieces;
  for (const grpc::Slice& slice : slices) {
    if (slice.size() > 0) pieces.push_back({reinterpret_cast<const std::byte*>(slice.begin()), slice.size()});
  }
  ALPA_ASSIGN_OR_RETURN(const PutChunkView chunk, ParsePutChunk(pieces));
  if (*transfer == nullptr) {
    if (!chunk.has_ref || !ref->ParseFromString(chunk.ref)) {
      return BadRequest("the first message of a put must name the leaf");
    }
    ALPA_ASSIGN_OR_RETURN(*transfer, Begin(core, *ref, true));
  } else if (chunk.has_ref) {
    return BadRequest("only the first message of a put may name the leaf");
  }
  for (ByteSpan data : chunk.data) ALPA_RETURN_IF_ERROR((*transfer)->Write(data));
  return absl::OkStatus();
}

}  // namespace

TensorServiceImpl::TensorServiceImpl(WorkerCore& core) : core_(core) {
  using grpc::internal::RpcMethod;
  using grpc::internal::RpcServiceMethod;
  AddMethod(new RpcServiceMethod(
      "/alpa.proto.TensorService/Put", RpcMethod::CLIENT_STREAMING,
      new grpc::internal::ClientStreamingHandler<TensorServiceImpl, grpc::ByteBuffer, grpc::ByteBuffer>(
          [](TensorServiceImpl* service, grpc::ServerContext* context, grpc::ServerReader<grpc::ByteBuffer>* reader,
             grpc::ByteBuffer* reply) { return service->Put(context, reader, reply); },
          this)));
  AddMethod(new RpcServiceMethod(
      "/alpa.proto.TensorService/Get", RpcMethod::SERVER_STREAMING,
      new grpc::internal::ServerStreamingHandler<TensorServiceImpl, grpc::ByteBuffer, grpc::ByteBuffer>(
          [](TensorServiceImpl* service, grpc::ServerContext* context, const grpc::ByteBuffer* request,
             grpc::ServerWriter<grpc::ByteBuffer>* writer) { return service->Get(context, request, writer); },
          this)));
}

grpc::Status TensorServiceImpl::Put(grpc::ServerContext* context, grpc::ServerReader<grpc::ByteBuffer>* reader,
                                    grpc::ByteBuffer* reply) {
  proto::LeafRef ref;
  std::unique_ptr<JobRuntime::Transfer> transfer;
  grpc::ByteBuffer message;
  while (reader->Read(&message)) {
    const absl::Status status = TakeChunk(core_, message, &ref, &transfer);
    message.Clear();
    if (!status.ok()) return ToGrpc(Annotate(status, Describe("put", ref)), *context);
  }
  // The reads above also end if the call was cancelled or its deadline passed. In this case, the region stays missing.
  if (context->IsCancelled()) return grpc::Status(grpc::StatusCode::CANCELLED, "the put was cancelled");
  if (transfer == nullptr) return ToGrpc(BadRequest("the put has no messages"), *context);
  if (const absl::Status status = transfer->Finish(); !status.ok()) {
    return ToGrpc(Annotate(status, Describe("put", ref)), *context);
  }
  proto::PutReply done;
  done.set_bytes(transfer->size());
  *reply = Serialized(done);
  return grpc::Status::OK;
}

grpc::Status TensorServiceImpl::Get(grpc::ServerContext* context, const grpc::ByteBuffer* request,
                                    grpc::ServerWriter<grpc::ByteBuffer>* writer) {
  proto::GetRequest get;
  grpc::Slice bytes;
  if (!request->DumpToSingleSlice(&bytes).ok() || !get.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()))) {
    return ToGrpc(BadRequest("cannot parse the GetRequest"), *context);
  }
  auto transfer = Begin(core_, get.ref(), false);
  if (!transfer.ok()) return ToGrpc(Annotate(transfer.status(), Describe("get", get.ref())), *context);
  for (int64_t at = 0; at < (*transfer)->size();) {
    const int64_t size = std::min(kChunkBytes, (*transfer)->size() - at);
    const std::string header = GetChunkHeader(static_cast<size_t>(size));
    // Header and data share one block, from which gRPC sends.
    grpc_slice block = grpc_slice_malloc(header.size() + static_cast<size_t>(size));
    std::byte* const to = reinterpret_cast<std::byte*>(GRPC_SLICE_START_PTR(block));
    std::memcpy(to, header.data(), header.size());
    const absl::Status status = (*transfer)->Read({to + header.size(), static_cast<size_t>(size)});
    const grpc::Slice owner(block, grpc::Slice::STEAL_REF);  // made after Read, because a slice copies a small block
    if (!status.ok()) {
      return ToGrpc(Annotate(status, Describe("get", get.ref())), *context);
    }
    if (!writer->Write(grpc::ByteBuffer(&owner, 1))) {
      return grpc::Status(grpc::StatusCode::CANCELLED, "the get was cancelled");
    }
    at += size;
  }
  return grpc::Status::OK;
}

}  // namespace alpa::worker
