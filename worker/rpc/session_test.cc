#include "worker/rpc/session.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/status.h"
#include "comm/local/local_transport.h"
#include "plan/serialize.h"
#include "proto/plan.pb.h"
#include "proto/tensor_service.grpc.pb.h"
#include "proto/worker_service.grpc.pb.h"
#include "worker/rpc/tensor_service.h"
#include "worker/testing/executables.h"
#include "worker/testing/fake_backend.h"

namespace alpa::worker {
namespace {

using ::testing::HasSubstr;

// A coordinator that the test controls: the test can send any message and wait for messages of the worker.
class FakeCoordinator : public proto::WorkerService::Service {
 public:
  explicit FakeCoordinator(int port = 0) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeCoordinator() override { Stop(); }
  void Stop() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  int port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  grpc::Status refusal;  // set it before the worker connects

  grpc::Status Session(grpc::ServerContext* context,
                       grpc::ServerReaderWriter<proto::ToWorker, proto::FromWorker>* stream) override {
    proto::FromWorker message;
    if (!stream->Read(&message) || !message.has_register_()) return {grpc::StatusCode::INVALID_ARGUMENT, "no register"};
    if (!refusal.ok()) return refusal;
    {
      std::lock_guard lock(mutex_);
      ++sessions_;
      stream_ = stream;
      received_.push_back(message);
      proto::ToWorker welcome;
      for (int32_t id : {0, 1}) welcome.mutable_welcome()->add_device_ids(id);
      welcome.mutable_welcome()->set_heartbeat_seconds(0.05);
      stream->Write(welcome);
      changed_.notify_all();
    }
    while (stream->Read(&message)) {
      std::lock_guard lock(mutex_);
      received_.push_back(message);
      changed_.notify_all();
    }
    std::lock_guard lock(mutex_);
    stream_ = nullptr;
    changed_.notify_all();
    return grpc::Status::OK;
  }

  void Send(const proto::ToWorker& message) {
    std::lock_guard lock(mutex_);
    if (stream_ != nullptr) stream_->Write(message);
  }
  bool WaitForSession(int n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return sessions_ >= n && stream_ != nullptr; });
  }
  // Waits for a message for which `wanted` holds, and returns the first such message. Earlier messages count, too.
  // Returns an empty message if no such message has come after kPatience.
  template <typename Wanted>
  proto::FromWorker WaitFor(Wanted wanted) {
    std::unique_lock lock(mutex_);
    proto::FromWorker found;
    changed_.wait_for(lock, kPatience, [&] {
      for (const proto::FromWorker& message : received_) {
        if (wanted(message)) return found = message, true;
      }
      return false;
    });
    return found;
  }

 private:
  static constexpr std::chrono::seconds kPatience{20};
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int sessions_ = 0;
  grpc::ServerReaderWriter<proto::ToWorker, proto::FromWorker>* stream_ = nullptr;
  std::vector<proto::FromWorker> received_;
};

class SessionTest : public ::testing::Test {
 protected:
  SessionTest()
      : backend_(2), transport_(comm::MakeLocalTransport()),
        core_({&backend_, transport_.get(), 0, &Clock::Real()}), service_(core_) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &tensor_port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    tensors_ = proto::TensorService::NewStub(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(tensor_port_), grpc::InsecureChannelCredentials()));
  }
  ~SessionTest() override {
    if (session_ != nullptr) session_->RequestDrain();
    if (runner_.joinable()) runner_.join();
  }

  void Start(const std::string& coordinator, Duration timeout = Duration{0}) {
    Session::Options options;
    options.coordinator = coordinator;
    options.name = "me";
    options.version = "1";
    options.coordinator_timeout = timeout;
    options.drain_timeout = std::chrono::seconds(5);
    session_ = std::make_unique<Session>(std::move(options), core_);
    runner_ = std::thread([this] { result_ = session_->Run(); });
  }
  Session::Result Join() {
    runner_.join();
    return result_;
  }

  static void SendPrepare(FakeCoordinator& coordinator, const plan::Executable& executable, uint64_t epoch) {
    proto::Executable message;
    plan::ToProto(executable, &message);
    const std::string bytes = message.SerializeAsString();
    for (size_t at = 0; at < bytes.size(); at += 100) {  // splits the executable into many parts
      proto::ToWorker to;
      proto::Prepare* prepare = to.mutable_prepare();
      prepare->set_job_id("job");
      prepare->set_epoch(epoch);
      prepare->set_executable_part(bytes.substr(at, 100));
      prepare->set_last_part(at + 100 >= bytes.size());
      if (prepare->last_part()) {
        for (int d = 0; d < 2; ++d) {
          proto::Prepare::Rank* rank = prepare->add_ranks();
          rank->set_device(d);
          rank->set_worker("me");
        }
        prepare->set_transport_epoch(epoch);
      }
      coordinator.Send(to);
    }
  }

  proto::LeafRef Ref(proto::LeafRef::Kind kind, int leaf, int64_t version, std::vector<int64_t> size,
                     uint64_t epoch = 1) {
    proto::LeafRef ref;
    ref.set_job_id("job");
    ref.set_epoch(epoch);
    ref.set_kind(kind);
    ref.set_leaf(leaf);
    ref.set_version(version);
    for (int64_t s : size) {
      ref.mutable_region()->add_start(0);
      ref.mutable_region()->add_size(s);
    }
    return ref;
  }
  grpc::Status Put(const proto::LeafRef& ref, const std::vector<float>& values, std::string* reason = nullptr) {
    grpc::ClientContext context;
    proto::PutReply reply;
    auto writer = tensors_->Put(&context, &reply);
    const std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    for (size_t at = 0; at < std::max<size_t>(1, bytes.size()); at += 6) {
      proto::PutChunk chunk;
      if (at == 0) *chunk.mutable_ref() = ref;
      chunk.set_data(bytes.substr(at, 6));
      if (!writer->Write(chunk)) break;
    }
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    if (reason != nullptr) {
      const auto found = context.GetServerTrailingMetadata().find("alpa-reason");
      *reason = found == context.GetServerTrailingMetadata().end()
                    ? ""
                    : std::string(found->second.data(), found->second.size());
    }
    EXPECT_EQ(reply.bytes(), status.ok() ? static_cast<int64_t>(bytes.size()) : 0);
    return status;
  }
  absl::StatusOr<std::vector<float>> Get(const proto::LeafRef& ref) {
    grpc::ClientContext context;
    proto::GetRequest request;
    *request.mutable_ref() = ref;
    auto reader = tensors_->Get(&context, request);
    std::string bytes;
    proto::GetChunk chunk;
    while (reader->Read(&chunk)) bytes += chunk.data();
    const grpc::Status status = reader->Finish();
    if (!status.ok()) return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  FakeBackend backend_;
  std::unique_ptr<comm::Transport> transport_;
  WorkerCore core_;
  TensorServiceImpl service_;
  int tensor_port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<proto::TensorService::Stub> tensors_;
  std::unique_ptr<Session> session_;
  std::thread runner_;
  Session::Result result_;
};

TEST_F(SessionTest, RunsAJobFromPrepareToRelease) {
  FakeCoordinator coordinator;
  Start(coordinator.address());
  ASSERT_TRUE(coordinator.WaitForSession(1));
  const proto::FromWorker hello = coordinator.WaitFor([](const auto& m) { return m.has_register_(); });
  EXPECT_EQ(hello.register_().name(), "me");
  EXPECT_EQ(hello.register_().device_count(), 2);
  SendPrepare(coordinator, AddExecutable(2), 1);
  const auto prepared = coordinator.WaitFor([](const auto& m) { return m.has_prepared(); });
  ASSERT_EQ(prepared.prepared().job_id(), "job");
  EXPECT_EQ(prepared.prepared().error().code(), 0) << prepared.prepared().error().message();
  ASSERT_TRUE(Put(Ref(proto::LeafRef::STATE, 0, 0, {4}), {1, 2, 3, 4}).ok());
  ASSERT_TRUE(Put(Ref(proto::LeafRef::BATCH, 1, 3, {8}), {1, 1, 1, 1, 1, 1, 1, 1}).ok());
  proto::ToWorker run;
  run.mutable_run_step()->set_job_id("job");
  run.mutable_run_step()->set_epoch(1);
  run.mutable_run_step()->set_first_step(1);
  run.mutable_run_step()->set_count(3);
  run.mutable_run_step()->set_first_batch_slot(3);
  run.mutable_run_step()->set_batch_slots(1);
  coordinator.Send(run);
  const auto done = coordinator.WaitFor([](const auto& m) { return m.has_step_done() && m.step_done().step() == 3; });
  EXPECT_EQ(done.step_done().error().code(), 0) << done.step_done().error().message();
  ASSERT_EQ(done.step_done().scalars_size(), 1);
  float loss = 0;
  ASSERT_EQ(done.step_done().scalars(0).data().size(), sizeof(loss));
  std::memcpy(&loss, done.step_done().scalars(0).data().data(), sizeof(loss));
  EXPECT_EQ(loss, 10 + 3 * 8);
  EXPECT_THAT(*Get(Ref(proto::LeafRef::STATE, 0, 3, {4})), ::testing::ElementsAre(7, 8, 9, 10));
  EXPECT_THAT(*Get(Ref(proto::LeafRef::AUX, 1, 3, {})), ::testing::ElementsAre(34));
  EXPECT_EQ(Get(Ref(proto::LeafRef::STATE, 0, 2, {4})).status().code(), absl::StatusCode::kFailedPrecondition);
  std::string reason;
  EXPECT_EQ(Put(Ref(proto::LeafRef::STATE, 0, 3, {4}, 7), {1, 2, 3, 4}, &reason).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(reason, "JOB_NOT_FOUND");
  EXPECT_EQ(Put(Ref(proto::LeafRef::STATE, 0, 3, {4}), {1, 2, 3}, &reason).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  const auto heartbeat = coordinator.WaitFor(
      [](const auto& m) { return m.has_heartbeat() && m.heartbeat().device_bytes_in_use(0) > 0; });
  EXPECT_EQ(heartbeat.heartbeat().device_bytes_in_use_size(), 2);
  proto::ToWorker release;
  release.mutable_release()->set_job_id("job");
  release.mutable_release()->set_epoch(1);
  coordinator.Send(release);
  EXPECT_EQ(coordinator.WaitFor([](const auto& m) { return m.has_released(); }).released().epoch(), 1u);
  EXPECT_EQ(Get(Ref(proto::LeafRef::STATE, 0, 3, {4})).status().code(), absl::StatusCode::kAborted);
}

TEST_F(SessionTest, ReportsAnUnreadableExecutableAndContinues) {
  FakeCoordinator coordinator;
  Start(coordinator.address());
  ASSERT_TRUE(coordinator.WaitForSession(1));
  proto::ToWorker to;
  to.mutable_prepare()->set_job_id("job");
  to.mutable_prepare()->set_epoch(1);
  to.mutable_prepare()->set_executable_part("\x12\xff\xff nonsense");
  to.mutable_prepare()->set_last_part(true);
  proto::Prepare::Rank* rank = to.mutable_prepare()->add_ranks();
  rank->set_device(0);
  rank->set_worker("me");
  coordinator.Send(to);
  EXPECT_EQ(coordinator.WaitFor([](const auto& m) { return m.has_prepared(); }).prepared().error().code(),
            static_cast<int>(absl::StatusCode::kInvalidArgument));
  rank->set_device(17);
  to.mutable_prepare()->set_job_id("other");
  coordinator.Send(to);
  const auto other =
      coordinator.WaitFor([](const auto& m) { return m.has_prepared() && m.prepared().job_id() == "other"; });
  EXPECT_THAT(other.prepared().error().message(), HasSubstr("device 17"));
}

TEST_F(SessionTest, ReconnectsAfterTheCoordinatorRestartsAndHasNoJobs) {
  auto coordinator = std::make_unique<FakeCoordinator>();
  const int port = coordinator->port();
  Start(coordinator->address());
  ASSERT_TRUE(coordinator->WaitForSession(1));
  SendPrepare(*coordinator, AddExecutable(2), 1);
  EXPECT_EQ(coordinator->WaitFor([](const auto& m) { return m.has_prepared(); }).prepared().error().code(), 0);
  coordinator.reset();
  coordinator = std::make_unique<FakeCoordinator>(port);
  ASSERT_TRUE(coordinator->WaitForSession(1));
  EXPECT_FALSE(Put(Ref(proto::LeafRef::STATE, 0, 0, {4}), {1, 2, 3, 4}).ok());
  SendPrepare(*coordinator, AddExecutable(2), 2);
  EXPECT_EQ(coordinator->WaitFor([](const auto& m) { return m.has_prepared(); }).prepared().error().code(), 0);
}

TEST_F(SessionTest, ARefusalIsFinal) {
  FakeCoordinator coordinator;
  coordinator.refusal = {grpc::StatusCode::ALREADY_EXISTS, "there is a worker \"me\""};
  Start(coordinator.address());
  const Session::Result result = Join();
  EXPECT_EQ(result.end, Session::End::kRefused);
  EXPECT_THAT(result.message, HasSubstr("there is a worker"));
}

TEST_F(SessionTest, GivesUpOnAnUnreachableCoordinatorAfterTheTimeout) {
  int port = 0;
  { port = FakeCoordinator().port(); }
  Start("127.0.0.1:" + std::to_string(port), std::chrono::milliseconds(500));
  EXPECT_EQ(Join().end, Session::End::kUnreachable);
}

TEST_F(SessionTest, DrainsWhenTheCoordinatorAsks) {
  FakeCoordinator coordinator;
  Start(coordinator.address());
  ASSERT_TRUE(coordinator.WaitForSession(1));
  proto::ToWorker drain;
  drain.mutable_drain();
  coordinator.Send(drain);
  EXPECT_EQ(Join().end, Session::End::kDrained);
}

}  // namespace
}  // namespace alpa::worker
