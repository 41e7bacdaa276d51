// alpa-worker: offers this machine's devices to a coordinator, and runs the coordinator's jobs on them.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>
#if ALPA_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include <algorithm>
#include <cstdio>
#include <thread>

#include "base/config.h"
#include "base/log.h"
#include "base/status.h"
#include "comm/local/local_transport.h"
#include "comm/ucx/ucx_transport.h"
#include "kernels/cpu/cpu_backend.h"
#include "worker/core/worker_core.h"
#include "worker/measure/facts.h"
#include "worker/measure/machine.h"
#include "worker/measure/measure.h"
#include "worker/measure/profile_cache.h"
#include "worker/rpc/session.h"
#include "worker/rpc/tensor_service.h"

namespace alpa::worker {
namespace {

struct WorkerFlags {
  CommonFlags common;
  std::string coordinator = "127.0.0.1:7400";
  std::string name;
  std::string advertise_host;
  std::string transport = "ucx";
  std::string measure = "auto";
  std::string cache_dir;
  int64_t devices = 1;
  int64_t threads = 0;
  int64_t device_memory = 0;
  double coordinator_timeout_seconds = 0;
};

// Returns four fifths of this machine's memory, divided by the number of devices.
Bytes DefaultDeviceMemory(int64_t devices) {
  const Bytes total = static_cast<Bytes>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return total / 5 * 4 / devices;
}

std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

void NotifySupervisor(const char* state) {
#if ALPA_HAVE_SYSTEMD
  sd_notify(0, state);
#else
  static_cast<void>(state);
#endif
}

std::unique_ptr<grpc::Server> Serve(const std::string& listen, TensorServiceImpl& service, int* port) {
  grpc::EnableDefaultHealthCheckService(true);
  if (IsLoopback(listen)) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), port);
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(static_cast<int>(8 * kMiB));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a port that is in use is an error
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, static_cast<int>(2 * kMiB));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, static_cast<int>(8 * kMiB));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  return builder.BuildAndStart();
}

int Fail(int code, absl::string_view message) {
  LogError("%s", message);
  StopLog();
  return code;
}

// Returns the name of the transport, followed by those UCX settings of the operator that affect its speed.
std::string TransportSettings(const std::string& transport) {
  std::string text = transport;
  for (const char* name : {"UCX_TLS", "UCX_NET_DEVICES"}) {
    if (const char* value = std::getenv(name); value != nullptr) absl::StrAppend(&text, " ", name, "=", value);
  }
  return text;
}

// Returns the facts of this machine. The profile in them is read from the cache, measured, or assumed. If the
// measurement fails, the profile is assumed.
cluster::NodeFacts FactsFor(const WorkerFlags& flags, const Machine& machine, const DeviceSettings& settings) {
  const std::string name = DeviceName(machine, settings);
  if (flags.measure == "never") return FactsOf(machine, settings, AssumedProfile(name, settings.threads));
  MeasureOptions options;
  options.device_name = name;
  options.devices = MeasuringDevices(machine, settings);
  options.backend = [&](int devices) {
    return kernels::cpu::MakeCpuBackend({.devices = devices, .threads_per_device = settings.threads});
  };
  options.transport = [&](bool far) -> absl::StatusOr<std::unique_ptr<comm::Transport>> {
    if (flags.transport == "local") return comm::MakeLocalTransport();
    return comm::MakeUcxTransport({.ways = far ? "tcp" : ""});
  };
  const ProfileCache cache(flags.cache_dir.empty() ? DefaultCacheFolder() : flags.cache_dir,
                           CacheKey(machine, settings, Version()));
  auto obtained = ObtainProfile(cache, flags.measure == "always", [&] { return MeasureNode(options); });
  if (!obtained.ok()) {
    LogWarning({.worker = flags.name}, "cannot measure this machine (%s), so round numbers are assumed",
               obtained.status().message());
    return FactsOf(machine, settings, AssumedProfile(name, settings.threads));
  }
  for (const std::string& remark : obtained->remarks) LogWarning({.worker = flags.name}, "%s", remark);
  LogInfo({.worker = flags.name}, "%s in %.2f s%s%s",
          obtained->measured_now ? "this machine was measured" : "the measurements of this machine were read",
          obtained->seconds, cache.path().empty() ? "" : ", kept in ", cache.path());
  return FactsOf(machine, settings, std::move(obtained->profile));
}

int Run(const WorkerFlags& flags) {
  const Machine machine = ReadMachine();
  DeviceSettings settings;
  settings.threads = flags.threads > 0
                         ? static_cast<int>(flags.threads)
                         : std::max(1, static_cast<int>(machine.cores / static_cast<double>(flags.devices)));
  settings.transport = TransportSettings(flags.transport);
  kernels::cpu::CpuBackendOptions backend_options;
  backend_options.devices = static_cast<int>(flags.devices);
  backend_options.threads_per_device = settings.threads;
  const std::unique_ptr<kernels::Backend> backend = kernels::cpu::MakeCpuBackend(backend_options);
  settings.kind = backend->kind();

  const std::string host = HostOf(flags.common.listen);
  std::string advertised = flags.advertise_host;
  if (advertised.empty()) advertised = host == "0.0.0.0" || host == "[::]" ? machine.host_name : host;
  std::unique_ptr<comm::Transport> transport;
  if (flags.transport == "local") {
    transport = comm::MakeLocalTransport();
  } else {
    auto made = comm::MakeUcxTransport({.listen_host = host, .advertise_host = advertised});
    if (!made.ok()) {
      return Fail(kExitUnavailable,
                  absl::StrCat("cannot open the transport between workers: ", made.status().message()));
    }
    transport = *std::move(made);
  }

  WorkerCore::Options core_options;
  core_options.backend = backend.get();
  core_options.transport = transport.get();
  core_options.device_memory = flags.device_memory > 0 ? flags.device_memory : DefaultDeviceMemory(flags.devices);
  WorkerCore core(core_options);
  TensorServiceImpl service(core);
  int port = 0;
  const std::unique_ptr<grpc::Server> server = Serve(flags.common.listen, service, &port);
  if (server == nullptr || port == 0) {
    return Fail(kExitUnavailable,
                absl::StrFormat("cannot listen on %s: is the port in use, or does the address belong to another "
                                "machine? Choose another --listen; port 0 takes any free port",
                                flags.common.listen));
  }
  const std::string address = absl::StrFormat("%s:%d", advertised, port);
  if (absl::Status written = WritePortFile(flags.common.port_file, address, ""); !written.ok()) {
    return Fail(kExitConfig, written.message());
  }
  LogInfo({.worker = flags.name}, "offering %d CPU devices; tensor address %s, coordinator %s", flags.devices, address,
          flags.coordinator);

  Session::Options options;
  options.coordinator = flags.coordinator;
  options.name = flags.name;
  options.version = std::string(Version());
  options.tensor_address = address;
  options.transport_address = transport->address();
  options.device_kind = backend->kind();
  options.device_memory = core_options.device_memory;
  options.coordinator_timeout =
      std::chrono::milliseconds(static_cast<int64_t>(1000 * flags.coordinator_timeout_seconds));
  options.drain_timeout = std::chrono::milliseconds(static_cast<int64_t>(1000 * flags.common.drain_timeout_seconds));
  options.on_registered = [&] {
    LogInfo({.worker = flags.name}, "registered with %s", flags.coordinator);
    NotifySupervisor("READY=1");
  };
  options.log = [&](const std::string& line) { LogWarning({.worker = flags.name}, "%s", line); };
  options.facts = FactsFor(flags, machine, settings);
  Session session(options, core);

  // Signals were blocked before the first thread started, so only this thread receives them. SIGUSR2 ends the thread.
  std::thread signals([&] {
    sigset_t set;
    sigemptyset(&set);
    for (int s : {SIGTERM, SIGINT, SIGUSR2}) sigaddset(&set, s);
    int signal = 0;
    while (sigwait(&set, &signal) == 0 && signal != SIGUSR2) {
      LogInfo({.worker = flags.name}, "%s: draining", signal == SIGTERM ? "SIGTERM" : "SIGINT");
      NotifySupervisor("STOPPING=1");
      session.RequestDrain();
    }
  });
  const Session::Result result = session.Run();
  kill(getpid(), SIGUSR2);
  signals.join();
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  switch (result.end) {
    case Session::End::kDrained: break;
    case Session::End::kRefused: return Fail(kExitConfig, result.message);
    case Session::End::kUnreachable: return Fail(kExitUnavailable, result.message);
  }
  LogInfo({.worker = flags.name}, "drained");
  StopLog();
  return kExitOk;
}

// Makes malloc keep the memory of messages. Tensors arrive and leave in messages of about 1 MiB. By default, malloc
// maps fresh pages for each message and unmaps them afterwards, which takes half of the time of a transfer. Blocks of
// 4 MiB and more, such as large device buffers, still return to the system when they are freed.
void KeepMessageMemory() {
  mallopt(M_MMAP_THRESHOLD, static_cast<int>(4 * kMiB));
  mallopt(M_TRIM_THRESHOLD, static_cast<int>(256 * kMiB));
  mallopt(M_TOP_PAD, static_cast<int>(16 * kMiB));
}

int Main(int argc, char** argv) {
  KeepMessageMemory();
  sigset_t set;
  sigemptyset(&set);
  for (int s : {SIGTERM, SIGINT, SIGUSR2}) sigaddset(&set, s);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);

  WorkerFlags worker;
  worker.name = ReadMachine().host_name;
  Flags flags("alpa-worker", "Offers this machine's devices to an Alpa coordinator, and runs the coordinator's jobs.",
              {{"alpa-worker --coordinator 127.0.0.1:7400 --name a --devices 2", "two CPU devices on this machine"}});
  worker.common.Declare(flags);
  flags.Add("coordinator", &worker.coordinator, "HOST:PORT", "the coordinator's gRPC address");
  flags.Add("name", &worker.name, "NAME", "this worker's name, unique in the cluster");
  flags.Add("devices", &worker.devices, "N", "number of devices that share this machine's cores", Between(1, 1024));
  flags.Add("threads", &worker.threads, "T", "threads per device; 0: the cores, divided evenly", Between(0, 1024));
  flags.Add("device-memory", &worker.device_memory, "BYTES",
            "memory limit per device; 0: an even share of 4/5 of this machine's memory", Between(0, int64_t{1} << 60));
  flags.Add("transport", &worker.transport, "KIND",
            "transport between workers: ucx, or local if there is only one worker", OneOf({"ucx", "local"}));
  flags.Add("measure", &worker.measure, "WHEN",
            "when to measure the machine: auto (at the first start), always (at each start), "
            "or never (assume round numbers)",
            OneOf({"auto", "always", "never"}));
  flags.Add("cache-dir", &worker.cache_dir, "DIR",
            "directory of the measurements; default: alpa in $XDG_CACHE_HOME or ~/.cache");
  flags.Add("advertise-host", &worker.advertise_host, "HOST",
            "host name or address at which other machines reach this one");
  flags.Add("coordinator-timeout", &worker.coordinator_timeout_seconds, "SECONDS",
            "give up after this time without a coordinator; 0: never", BetweenReal(0, 1e9));
  flags.ParseOrExit(argc, argv);
  if (absl::Status status = worker.common.Apply("worker"); !status.ok()) return Fail(kExitConfig, status.message());
  if (worker.name.empty() || worker.name.size() > 255) return Fail(kExitConfig, "--name must have 1 to 255 characters");
  if (worker.coordinator.rfind(':') == std::string::npos) {
    return Fail(kExitConfig, absl::StrFormat("--coordinator %s: expected HOST:PORT", worker.coordinator));
  }
  return Run(worker);
}

}  // namespace
}  // namespace alpa::worker

int main(int argc, char** argv) { return alpa::worker::Main(argc, argv); }
