// TensorService: puts and gets of regions. Bytes move directly between network buffers and device buffers.
//
// Model:   the calls of proto/tensor_service.proto are registered by hand with raw messages, so that tensor bytes are
//          not copied through protobuf strings.
// Threads: each call runs on a gRPC thread. The call blocks on the network and on its copies to or from devices.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/sync_stream.h>

#include "worker/core/worker_core.h"

namespace alpa::worker {

class TensorServiceImpl : public grpc::Service {
 public:
  explicit TensorServiceImpl(WorkerCore& core);

 private:
  grpc::Status Put(grpc::ServerContext* context, grpc::ServerReader<grpc::ByteBuffer>* reader, grpc::ByteBuffer* reply);
  grpc::Status Get(grpc::ServerContext* context, const grpc::ByteBuffer* request,
                   grpc::ServerWriter<grpc::ByteBuffer>* writer);

  WorkerCore& core_;
};

}  // namespace alpa::worker
