// A Core for tests, with a fake clock, an in-memory store, and a record of all its actions.
//
//   CoreWorld world;
//   const uint64_t a = world.Worker("a", 2);
//   world.RunningJob("job", 2);                       // submits, plans and prepares it on free devices
//   world.StepDone(a, "job", 1);
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/core.h"
#include "coordinator/core/errors.h"
#include "coordinator/store/fake_store.h"

namespace alpa::coordinator {

class RecordingActions : public Actions {
 public:
  std::map<uint64_t, std::vector<proto::ToWorker>> sent;  // key: session
  std::map<uint64_t, absl::Status> ended;
  std::vector<PlanTask> tasks;
  std::map<std::string, int> changes;  // key: job id

  void SendToWorker(uint64_t session, proto::ToWorker message) override { sent[session].push_back(std::move(message)); }
  void EndSession(uint64_t session, const absl::Status& why) override { ended[session] = why; }
  void StartPlanning(PlanTask task) override { tasks.push_back(std::move(task)); }
  void Changed(const std::string& job_id) override { ++changes[job_id]; }
};

class CoreWorld {
 public:
  explicit CoreWorld(Limits limits = {}) : limits_(limits) { Restart(); }

  FakeClock clock;
  FakeStore store;
  RecordingActions actions;
  std::unique_ptr<Core> core;

  // Replaces the core and keeps only the store, as if the coordinator had restarted after `kill -9`.
  void Restart() {
    actions = {};
    core = std::make_unique<Core>(limits_, "1.0", clock, store, actions);
    EXPECT_TRUE(core->Replay().ok());
  }
  void Advance(Duration by) {
    clock.Advance(by);
    core->Tick();
  }

  static proto::Register Registration(const std::string& name, int devices) {
    proto::Register message;
    message.set_name(name);
    message.set_incarnation("first");
    message.set_version("1.0");
    message.set_tensor_address("host:1");
    message.set_transport_address("transport of " + name);
    message.set_device_kind("cpu");
    message.set_device_count(devices);
    message.set_device_memory_bytes(1 << 20);
    return message;
  }
  // Registers a worker and returns its session.
  uint64_t Worker(const std::string& name, int devices) {
    const auto welcome = core->OnRegister(next_session_, Registration(name, devices));
    EXPECT_TRUE(welcome.ok()) << welcome.status();
    return next_session_++;
  }
  void Heartbeat(uint64_t session) {
    proto::FromWorker message;
    message.mutable_heartbeat();
    core->OnMessage(session, message);
  }

  static proto::SubmitRequest Request(const std::string& id, int devices) {
    proto::SubmitRequest request;
    request.set_job_id(id);
    request.set_program_hash(7);
    request.mutable_plan()->set_devices(devices);
    return request;
  }
  proto::Job Submit(const proto::SubmitRequest& request) {
    auto job = core->Submit(request);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : proto::Job();
  }
  proto::Job Submit(const std::string& id, int devices) { return Submit(Request(id, devices)); }

  // Returns a plan that uses all devices of the task. Its first output is an f32 loss.
  static Planned PlanOf(const PlanTask& task) {
    Planned planned;
    planned.plan_text = "a plan";
    planned.spans = {{0, "step", 0, 0.5}};
    planned.serialized_executable = "executable";
    planned.devices = task.devices;
    planned.placement.add_outputs()->set_path("loss");
    planned.loss_output = 0;
    planned.loss_shape = graph::Shape{graph::DType::kF32, {}};
    return planned;
  }
  // Returns the job's last PlanTask with devices.
  const PlanTask& TaskOf(const std::string& id) const {
    for (auto it = actions.tasks.rbegin(); it != actions.tasks.rend(); ++it) {
      if (it->job_id == id && !it->devices.empty()) return *it;
    }
    ADD_FAILURE() << "job " << id << " was not given to the planner";
    static const PlanTask none;
    return none;
  }
  void Plan(const std::string& id) {
    const PlanTask task = TaskOf(id);
    core->OnPlanned(id, task.epoch, PlanOf(task));
  }
  void Prepared(uint64_t session, const std::string& id, int code = 0, bool secondary = false) {
    proto::FromWorker message;
    message.mutable_prepared()->set_job_id(id);
    message.mutable_prepared()->set_epoch(Job(id).epoch());
    SetError(message.mutable_prepared()->mutable_error(), code, secondary);
    core->OnMessage(session, message);
  }
  void RunningJob(const std::string& id, int devices) {
    Submit(id, devices);
    Plan(id);
    for (const auto& [name, worker] : core->workers()) {
      if (worker.up) Prepared(worker.session, id);
    }
    EXPECT_EQ(Job(id).state(), proto::Job::RUNNING) << Job(id).reason();
  }

  proto::StepCommand Command(const std::string& id, int64_t first, int64_t count) const {
    proto::StepCommand command;
    command.set_job_id(id);
    command.set_epoch(Job(id).epoch());
    command.set_first_step(first);
    command.set_count(count);
    command.set_batch_slots(1);
    return command;
  }
  absl::Status Steps(const std::string& id, int64_t first, int64_t count) {
    return core->RunSteps(Command(id, first, count));
  }
  void StepDone(uint64_t session, const std::string& id, int64_t step, float loss = 1.0f) {
    proto::FromWorker message = StepMessage(id, step);
    proto::ScalarAux* scalar = message.mutable_step_done()->add_scalars();
    scalar->set_output(0);
    scalar->mutable_data()->assign(reinterpret_cast<const char*>(&loss), sizeof(loss));
    core->OnMessage(session, message);
  }
  void StepFailed(uint64_t session, const std::string& id, int64_t step, int code, const std::string& op,
                  bool secondary = false) {
    proto::FromWorker message = StepMessage(id, step);
    SetError(message.mutable_step_done()->mutable_error(), code, secondary);
    message.mutable_step_done()->mutable_error()->set_op(op);
    core->OnMessage(session, message);
  }
  proto::FromWorker StepMessage(const std::string& id, int64_t step) const {
    proto::FromWorker message;
    message.mutable_step_done()->set_job_id(id);
    message.mutable_step_done()->set_epoch(Job(id).epoch());
    message.mutable_step_done()->set_step(step);
    return message;
  }

  proto::Job Job(const std::string& id) const {
    const auto job = core->GetJob(id);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : proto::Job();
  }
  // Returns one pair (first step, number of steps) for each RunStep message that was sent to a session.
  std::vector<std::pair<int64_t, int64_t>> SentSteps(uint64_t session) const {
    std::vector<std::pair<int64_t, int64_t>> runs;
    const auto sent = actions.sent.find(session);
    if (sent == actions.sent.end()) return runs;
    for (const proto::ToWorker& message : sent->second) {
      if (message.has_run_step()) runs.emplace_back(message.run_step().first_step(), message.run_step().count());
    }
    return runs;
  }
  int SentReleases(uint64_t session, const std::string& id) const {
    int n = 0;
    const auto sent = actions.sent.find(session);
    if (sent == actions.sent.end()) return n;
    for (const proto::ToWorker& message : sent->second) n += message.has_release() && message.release().job_id() == id;
    return n;
  }
  std::vector<std::string> EventKinds(const std::string& id) const {
    std::vector<std::string> kinds;
    const auto events = core->Events(id);
    EXPECT_TRUE(events.ok()) << events.status();
    if (events.ok()) {
      for (const StoredEvent& event : *events) kinds.push_back(event.kind);
    }
    return kinds;
  }

 private:
  static void SetError(proto::WorkerError* error, int code, bool secondary) {
    error->set_code(code);
    error->set_message(code == 0 ? "" : "it went wrong");
    error->set_secondary(secondary);
  }

  const Limits limits_;
  uint64_t next_session_ = 1;
};

}  // namespace alpa::coordinator
