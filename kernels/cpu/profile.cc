// cpu-profile FILE [--runs N] [--threads N] [--top N] [--print]: compiles a serialized HloModuleProto for the CPU
// backend, runs it on random inputs, and prints the time of each kernel.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <random>
#include <string>

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "graph/import.h"
#include "graph/print.h"
#include "graph/simplify.h"
#include "kernels/cpu/cpu_backend.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DType;

struct Flags {
  std::string file;
  int runs = 5, threads = 0, top = 15;
  bool print = false;
};

absl::StatusOr<Flags> Parse(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    int* const number = name == "--runs"      ? &flags.runs
                        : name == "--threads" ? &flags.threads
                        : name == "--top"     ? &flags.top
                                              : nullptr;
    if (number != nullptr) {
      if (++i == argc || !absl::SimpleAtoi(argv[i], number) || *number < 1)
        return InvalidArgument("%s needs a number of 1 or more", name);
    } else if (name == "--print") {
      flags.print = true;
    } else if (name.starts_with("-") || !flags.file.empty()) {
      return InvalidArgument("unknown argument %s", name);
    } else {
      flags.file = name;
    }
  }
  if (flags.file.empty())
    return InvalidArgument("usage: cpu-profile FILE [--runs N] [--threads N] [--top N] [--print]");
  return flags;
}

// Fills an array with small numbers, so that indices stay in range and exponentials stay finite.
void FillRandom(const graph::Shape& shape, std::mt19937_64& random, std::byte* to) {
  const int64_t n = shape.elements();
  if (shape.dtype == DType::kF32) {
    for (int64_t i = 0; i < n; ++i) {
      const float value = std::uniform_real_distribution<float>(0.01f, 0.1f)(random);
      std::memcpy(to + i * 4, &value, 4);
    }
    return;
  }
  const Bytes size = graph::SizeOf(shape.dtype);
  const bool number = graph::IsInteger(shape.dtype);
  std::memset(to, 0, n * size);
  for (int64_t i = 0; number && i < n; ++i) to[i * size] = static_cast<std::byte>(random() % 64);
}

absl::Status Main(int argc, char** argv) {
  ALPA_ASSIGN_OR_RETURN(const Flags flags, Parse(argc, argv));
  std::ifstream in(flags.file, std::ios::binary);
  if (!in) return InvalidArgument("cannot read %s", flags.file);
  ALPA_ASSIGN_OR_RETURN(graph::Graph graph, graph::ImportHlo(std::string(std::istreambuf_iterator<char>(in),
                                                                         std::istreambuf_iterator<char>())));
  graph = graph::Simplify(graph);
  if (flags.print) std::cout << graph::Print(graph);
  const std::unique_ptr<Backend> backend = MakeCpuBackend({.devices = 1, .threads_per_device = flags.threads});
  const auto started = std::chrono::steady_clock::now();
  ALPA_ASSIGN_OR_RETURN(const std::unique_ptr<CompiledProgram> program, backend->Compile(0, graph, {}));
  const double compiled = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();

  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<Buffer*> inputs, outputs;
  auto allocate = [&](graph::ValueId id, std::vector<Buffer*>& list) -> absl::Status {
    ALPA_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer, backend->Allocate(0, graph.shape(id).bytes()));
    list.push_back(buffer.get());
    buffers.push_back(std::move(buffer));
    return absl::OkStatus();
  };
  std::mt19937_64 random(1);
  for (graph::ValueId id : graph.parameters()) {
    ALPA_RETURN_IF_ERROR(allocate(id, inputs));
    FillRandom(graph.shape(id), random, inputs.back()->data());
  }
  for (graph::ValueId id : graph.results()) ALPA_RETURN_IF_ERROR(allocate(id, outputs));

  std::vector<double> seconds;
  for (int i = -1; i < flags.runs; ++i) {
    if (i == 0) EnableProfiling(*program);  // not in run -1, in which the system maps the memory
    const auto begin = std::chrono::steady_clock::now();
    program->Run(backend->stream(0), inputs, outputs);
    ALPA_RETURN_IF_ERROR(backend->stream(0).Record()->Wait());
    if (i >= 0) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(seconds.begin(), seconds.end());
  std::vector<KernelTime> profile = ReadProfile(*program);
  std::printf("%d ops, %zu kernels, compiled in %.0f ms, arena %.1f MiB; median of %d runs %.3f ms, minimum %.3f ms\n",
              graph.size(), profile.size(), compiled * 1e3, static_cast<double>(program->temporary_bytes()) / kMiB,
              flags.runs, seconds[seconds.size() / 2] * 1e3, seconds[0] * 1e3);
  std::map<std::string, std::pair<int, double>> by_kind;
  for (const KernelTime& k : profile) by_kind[k.kind].first++, by_kind[k.kind].second += k.seconds;
  for (const auto& [kind, sum] : by_kind) {
    std::printf("%10.3f ms  %5d  %s\n", sum.second / flags.runs * 1e3, sum.first, kind.c_str());
  }
  std::stable_sort(profile.begin(), profile.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  std::printf("\n");
  for (size_t i = 0; i < profile.size() && i < static_cast<size_t>(flags.top); ++i) {
    std::printf("%10.3f ms  %-12s %s\n", profile[i].seconds / flags.runs * 1e3, profile[i].kind.c_str(),
                profile[i].where.c_str());
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace alpa::kernels::cpu

int main(int argc, char** argv) {
  const absl::Status status = alpa::kernels::cpu::Main(argc, argv);
  if (status.ok()) return 0;
  std::cerr << "cpu-profile: " << status.message() << "\n";
  return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
}
