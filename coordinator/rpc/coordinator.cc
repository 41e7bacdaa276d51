#include "coordinator/rpc/coordinator.h"

#include "base/log.h"
#include "base/status.h"
#include "coordinator/core/errors.h"
#include "coordinator/core/planning.h"

namespace alpa::coordinator {

void SessionQueue::Push(proto::ToWorker message) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    messages_.push_back(std::move(message));
  }
  changed_.notify_one();
}

bool SessionQueue::Pop(proto::ToWorker* message) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || !messages_.empty(); });
  if (messages_.empty()) return false;
  *message = std::move(messages_.front());
  messages_.pop_front();
  return true;
}

void SessionQueue::Close(const absl::Status& why) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    why_ = why;
  }
  changed_.notify_all();
}

absl::Status SessionQueue::why() const {
  std::lock_guard lock(mutex_);
  return why_;
}

Coordinator::Coordinator(Limits limits, std::string version, std::unique_ptr<Store> store,
                         std::unique_ptr<ProgramStore> programs)
    : store_(std::move(store)), programs_(std::move(programs)),
      core_(limits, std::move(version), Clock::Real(), *store_, *this) {}

Coordinator::~Coordinator() { Shutdown(); }

absl::Status Coordinator::Start() {
  {
    std::lock_guard lock(mutex_);
    ALPA_RETURN_IF_ERROR(core_.Replay());
  }
  planner_ = std::thread([this] { PlanLoop(); });
  ticker_ = std::thread([this] { TickLoop(); });
  return absl::OkStatus();
}

void Coordinator::Shutdown() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& [id, queue] : sessions_) queue->Close(absl::UnavailableError("the coordinator is shutting down"));
  }
  changed_.notify_all();
  planning_.notify_all();
  if (planner_.joinable()) planner_.join();
  if (ticker_.joinable()) ticker_.join();
}

uint64_t Coordinator::OpenSession(std::shared_ptr<SessionQueue> queue) {
  std::lock_guard lock(mutex_);
  if (stopping_) queue->Close(absl::UnavailableError("the coordinator is shutting down"));
  sessions_[next_session_] = std::move(queue);
  return next_session_++;
}

void Coordinator::CloseSession(uint64_t session, const std::string& why) {
  std::lock_guard lock(mutex_);
  core_.OnSessionEnd(session, why);
  sessions_.erase(session);
}

Coordinator::Counters Coordinator::counters() {
  std::lock_guard lock(mutex_);
  return counters_;
}
void Coordinator::CountSubmit(const std::string& code) {
  std::lock_guard lock(mutex_);
  ++counters_.submits[code];
}

void Coordinator::SendToWorker(uint64_t session, proto::ToWorker message) {
  if (const auto found = sessions_.find(session); found != sessions_.end()) found->second->Push(std::move(message));
}

void Coordinator::EndSession(uint64_t session, const absl::Status& why) {
  if (const auto found = sessions_.find(session); found != sessions_.end()) found->second->Close(why);
}

void Coordinator::StartPlanning(PlanTask task) {
  to_plan_.push_back(std::move(task));
  planning_.notify_all();
}

void Coordinator::Changed() {
  ++changes_;
  changed_.notify_all();
}

void Coordinator::PlanLoop() {
  for (;;) {
    PlanTask task;
    {
      std::unique_lock lock(mutex_);
      planning_.wait(lock, [this] { return stopping_ || !to_plan_.empty(); });
      if (stopping_) return;
      task = std::move(to_plan_.front());
      to_plan_.pop_front();
    }
    absl::StatusOr<Planned> planned = absl::InternalError("not planned");
    auto program = programs_->Read(task.program_hash);
    if (program.ok()) planned = PlanProgram(task, *program);
    else planned = WithReason(program.status(), "BAD_PROGRAM");
    std::lock_guard lock(mutex_);
    ++counters_.plans;
    if (planned.ok()) counters_.planning_seconds += planned->seconds;
    core_.OnPlanned(task.job_id, task.epoch, std::move(planned));
  }
}

void Coordinator::TickLoop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    core_.Tick();
    planning_.wait_for(lock, std::chrono::milliseconds(200));
  }
}

}  // namespace alpa::coordinator
