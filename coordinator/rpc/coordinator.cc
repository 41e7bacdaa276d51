#include "coordinator/rpc/coordinator.h"

#include <new>

#include "base/log.h"
#include "base/status.h"
#include "coordinator/core/errors.h"

namespace alpa::coordinator {
namespace {

constexpr int kPlanningThreads = 2;                                     // maximum number of tasks planned at once
constexpr Duration kProgressInterval = std::chrono::milliseconds(250);  // minimum time between two reports of a task
constexpr size_t kMaxWatches = 1000;                                    // open client streams; each holds a thread
constexpr std::chrono::milliseconds kTickInterval{200};
constexpr std::chrono::seconds kRegisterWithin{15};  // time from the start of a session to its registration

// Logs a failure that is a bug of ours, so that an operator sees it.
void LogIfInternal(const std::string& job_id, const absl::Status& status) {
  if (ReasonOf(status) != reason::kInternal) return;
  LogError({.job = job_id}, "planning failed: %s", std::string(status.message()));
}

absl::Status ShuttingDown() { return absl::UnavailableError("the coordinator is shutting down"); }

}  // namespace

Coordinator::Coordinator(Limits limits, std::string version, std::unique_ptr<Store> store,
                         std::unique_ptr<ProgramStore> programs, Planner planner)
    : store_(std::move(store)),
      programs_(std::move(programs)),
      planner_(std::move(planner)),
      check_timeout_(limits.planning_timeout),
      core_(limits, std::move(version), Clock::Real(), *store_, *this) {}

Coordinator::~Coordinator() { Shutdown(); }

absl::Status Coordinator::Start() {
  MutexLock lock(mutex_);
  ALPA_RETURN_IF_ERROR(core_.Replay());
  for (int i = 0; i < kPlanningThreads; ++i) planners_.emplace_back([this] { PlanLoop(); });
  ticker_ = std::thread([this] { TickLoop(); });
  return absl::OkStatus();
}

void Coordinator::Shutdown() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (auto& [id, session] : sessions_) session.queue->Close(ShuttingDown());
    for (auto& [watch, counted] : watches_) watch->Wake();
    tasks_changed_.NotifyAll();
    stopped_.NotifyAll();
  }
  for (std::thread& planner : planners_) planner.join();
  planners_.clear();
  if (ticker_.joinable()) ticker_.join();
}

bool Coordinator::stopping() const {
  MutexLock lock(mutex_);
  return stopping_;
}

// ---- Workers' streams ----

uint64_t Coordinator::OpenSession(std::shared_ptr<SessionQueue> queue) {
  MutexLock lock(mutex_);
  if (stopping_) queue->Close(ShuttingDown());
  const uint64_t session = next_session_++;
  sessions_[session] = {std::move(queue), Clock::Real().Now(), false};
  return session;
}

absl::Status Coordinator::Register(uint64_t session, const proto::Register& message) {
  MutexLock lock(mutex_);
  const auto entry = sessions_.find(session);
  if (stopping_ || entry == sessions_.end()) return ShuttingDown();
  ALPA_ASSIGN_OR_RETURN(proto::Welcome welcome, core_.OnRegister(session, message));
  entry->second.registered = true;
  proto::ToWorker hello;
  *hello.mutable_welcome() = std::move(welcome);
  entry->second.queue->Push(std::move(hello));
  return absl::OkStatus();
}

void Coordinator::CloseSession(uint64_t session, const std::string& why) {
  MutexLock lock(mutex_);
  core_.OnSessionEnd(session, why);
  sessions_.erase(session);
}

void Coordinator::FlushSessions(Duration limit) {
  const MonotonicTime until = Clock::Real().Now() + limit;
  MutexLock lock(mutex_);
  for (const auto& [id, session] : sessions_) {
    while (!session.queue->empty() && Clock::Real().Now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // the writer threads go on without mutex_
    }
  }
}

void Coordinator::SendToWorker(uint64_t session, proto::ToWorker message) {
  if (const auto entry = sessions_.find(session); entry != sessions_.end())
    entry->second.queue->Push(std::move(message));
}

void Coordinator::EndSession(uint64_t session, const absl::Status& why) {
  if (const auto entry = sessions_.find(session); entry != sessions_.end()) entry->second.queue->Close(why);
}

// ---- Clients' streams ----

absl::Status Coordinator::AddWatch(Watch* watch) {
  MutexLock lock(mutex_);
  if (watches_.size() >= kMaxWatches) {
    return WithReason(absl::ResourceExhaustedError(
                          absl::StrCat(watches_.size(), " client streams are open; the limit is ", kMaxWatches)),
                      reason::kTooManyStreams);
  }
  watches_[watch] = false;
  return absl::OkStatus();
}

void Coordinator::FollowJob(Watch* watch, const std::string& job_id) {
  MutexLock lock(mutex_);
  watch->job_id_ = job_id;
  followers_.emplace(job_id, watch);
  if (!core_.jobs().contains(job_id)) return;
  watches_[watch] = true;
  core_.CountStream(job_id, 1);
}

void Coordinator::RemoveWatch(Watch* watch) {
  MutexLock lock(mutex_);
  const auto entry = watches_.find(watch);
  if (entry == watches_.end()) return;
  if (entry->second) core_.CountStream(watch->job_id_, -1);
  watches_.erase(entry);
  for (auto [it, end] = followers_.equal_range(watch->job_id_); it != end; ++it) {
    if (it->second != watch) continue;
    followers_.erase(it);
    return;
  }
}

void Coordinator::Changed(const std::string& job_id) {
  for (auto [it, end] = followers_.equal_range(job_id); it != end; ++it) it->second->Wake();
}

// ---- Planning threads ----

void Coordinator::StartPlanning(PlanTask task) {
  tasks_.push_back(std::move(task));
  tasks_changed_.NotifyOne();
}

void Coordinator::PlanLoop() {
  for (;;) {
    PlanTask task;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && tasks_.empty()) tasks_changed_.Wait(lock);
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
      if (!core_.Wants(task)) continue;
    }
    PlanOne(task);
  }
}

void Coordinator::PlanOne(const PlanTask& task) {
  // A program can have 2 GiB. If the coordinator has no memory for it, only this task fails.
  const auto read = [&]() -> absl::StatusOr<std::string> {
    try {
      return programs_->Read(task.program_hash);
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError("cannot read the program: the coordinator has too little memory");
    }
  };
  const absl::StatusOr<std::string> program = read();
  const absl::Status unread =
      WithReason(program.status(), absl::IsNotFound(program.status()) ? reason::kBadProgram : reason::kStorage);
  const MonotonicTime begun = Clock::Real().Now();
  if (task.devices.empty()) {
    // The core limits the time of planning, but not the time of a check.
    const auto in_time = [&] { return Clock::Real().Now() - begun <= check_timeout_; };
    const auto wanted = [&](const std::string&) {
      MutexLock lock(mutex_);
      return !stopping_ && in_time() && core_.Wants(task);
    };
    absl::Status status = program.ok() ? planner_.check(task, *program, wanted) : unread;
    if (!status.ok() && !in_time()) {
      status = WithReason(
          absl::DeadlineExceededError(absl::StrFormat("checking the program took more than %.0f s; this is a bug in "
                                                      "alpa: please report it with the program",
                                                      std::chrono::duration<double>(check_timeout_).count())),
          reason::kInternal);
    }
    MutexLock lock(mutex_);
    if (stopping_) return;
    LogIfInternal(task.job_id, status);
    return core_.OnChecked(task.job_id, status);
  }
  MonotonicTime told = begun;
  const auto progress = [&](const std::string& text) {
    MutexLock lock(mutex_);
    if (stopping_) return false;
    const MonotonicTime now = Clock::Real().Now();
    if (text.empty() || now - told < kProgressInterval) return core_.Wants(task);
    told = now;
    return core_.OnPlanning(task, text);
  };
  absl::StatusOr<Planned> planned = program.ok() ? planner_.plan(task, *program, progress) : unread;
  MutexLock lock(mutex_);
  if (stopping_) return;  // the coordinator plans the job after its restart
  LogIfInternal(task.job_id, planned.status());
  if (planned.ok()) {
    for (const auto& [phase, seconds] : planned->phase_seconds) counters_.planning_seconds[phase].Add(seconds);
    for (const std::string& warning : planned->warnings) LogWarning({.job = task.job_id}, "%s", warning);
  }
  core_.OnPlanned(task.job_id, task.epoch, std::move(planned));
}

// ---- Time and counters ----

void Coordinator::TickLoop() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    core_.Tick();
    const MonotonicTime now = Clock::Real().Now();
    for (auto& [id, session] : sessions_) {
      if (session.registered || now - session.opened < kRegisterWithin) continue;
      session.queue->Close(absl::DeadlineExceededError("the worker did not register in time"));
    }
    stopped_.WaitUntil(lock, now + kTickInterval);
  }
}

Coordinator::Counters Coordinator::counters() const {
  MutexLock lock(mutex_);
  return counters_;
}

void Coordinator::CountSubmit(const absl::Status& status) {
  MutexLock lock(mutex_);
  ++counters_.submits[absl::StatusCodeToString(status.code())];
}

}  // namespace alpa::coordinator
