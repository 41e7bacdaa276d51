#include "kernels/cpu/body.h"

#include <time.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/fusion/exchange_dots.h"
#include "graph/fusion/fusion.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/tile_program.h"

namespace alpa::kernels::cpu {
namespace {

using graph::ValueId;

// Values of zero bytes have this address.
alignas(kAlignment) std::byte nowhere[kAlignment];

std::byte* AddressOf(const Place& place, std::span<std::byte* const> parameters, std::span<std::byte* const> results,
                     std::byte* arena, const graph::Graph& graph) {
  switch (place.kind) {
    case Place::Kind::kParameter:
      return parameters[place.index];
    case Place::Kind::kResult:
      return results[place.index];
    case Place::Kind::kArena:
      return arena + place.offset;
    case Place::Kind::kConstant: {
      const graph::Literal& literal = graph.def(ValueId(place.index)).as<graph::ConstantAttrs>().literal;
      return literal.bytes().empty() ? nowhere : const_cast<std::byte*>(literal.bytes().data());
    }
    case Place::Kind::kNone:
      break;
  }
  return nowhere;
}

// Reads the clock for profiles, in seconds. For a device with one thread, the clock is the processor time of that
// thread, which excludes the time of other processes.
double Seconds(const ThreadPool& pool) {
  timespec time;
  clock_gettime(pool.size() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::string Describe(const OpContext& c) {
  return c.op->results.empty() ? c.Where() : absl::StrCat(c.Where(), " ", c.out_shape().ToString());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Body>> Body::Compile(std::shared_ptr<const graph::Graph> graph,
                                                    const CompileOptions& options, int threads) {
  std::unique_ptr<Body> body(new Body);
  graph = ExchangeDots(std::move(graph));
  body->graph_ = graph;
  const graph::Graph& g = *graph;
  const int values = static_cast<int>(g.values().size());

  const FusionPlan plan =
      PlanFusion(g, [](const graph::Op& op, graph::DType type) { return OpPrim(op, type) != nullptr; });
  StorageProblem problem = StorageOf(g, plan, options.alias);
  for (const Unit& unit : plan.units) {
    const int scratch = values + static_cast<int>(problem.units.size());
    StorageUnit storage;
    BuiltKernel kernel;
    OpContext context;
    context.graph = graph;
    context.op = &g.ops()[unit.ops.back()];
    if (unit.fused) {
      ALPA_ASSIGN_OR_RETURN(FusedUnit fused, BuildFused(g, plan, unit, scratch, threads));
      kernel = std::move(fused.kernel);
      storage.reads = std::move(fused.reads);
      storage.writes = std::move(fused.writes);
    } else {
      context.collectives = options.collectives;
      context.threads = threads;
      context.scratch = scratch;
      for (ValueId id : context.op->operands) storage.reads.push_back(plan.root[id.value()]);
      for (ValueId id : context.op->results) storage.writes.push_back(id.value());
      context.in = storage.reads;
      context.out = storage.writes;
      ALPA_ASSIGN_OR_RETURN(kernel, BuildOp(context));
    }
    storage.scratch = kernel.scratch;
    storage.shares = std::move(kernel.shares);
    problem.units.push_back(std::move(storage));
    body->steps_.push_back({std::move(kernel.run), kernel.kind, Describe(context), 0});
  }
  body->plan_ = PlanStorage(problem);

  body->slots_.assign(values + problem.units.size(), nowhere);
  auto bind = [&](int slot, const Place& place) {
    switch (place.kind) {
      case Place::Kind::kParameter:
        body->parameter_slots_.push_back({slot, place.index});
        break;
      case Place::Kind::kResult:
        body->result_slots_.push_back({slot, place.index});
        break;
      case Place::Kind::kArena:
        body->arena_slots_.push_back({slot, place.offset});
        break;
      case Place::Kind::kConstant:
        body->slots_[slot] = AddressOf(place, {}, {}, nullptr, g);
        break;
      case Place::Kind::kNone:
        break;
    }
  };
  for (int v = 0; v < values; ++v) bind(v, body->plan_.values[v]);
  for (size_t u = 0; u < problem.units.size(); ++u) bind(values + static_cast<int>(u), body->plan_.scratch[u]);
  return body;
}

void Body::Bind(std::span<std::byte* const> parameters, std::span<std::byte* const> results, std::byte* arena) {
  for (const Binding& b : parameter_slots_) slots_[b.slot] = parameters[b.index];
  for (const Binding& b : result_slots_) slots_[b.slot] = results[b.index];
  if (arena == bound_arena_) return;
  for (const ArenaBinding& b : arena_slots_) slots_[b.slot] = arena + b.offset;
  bound_arena_ = arena;
}

absl::Status Body::Run(std::span<std::byte* const> parameters, std::span<std::byte* const> results, std::byte* arena,
                       ThreadPool& pool) {
  Bind(parameters, results, arena);
  const Frame frame{slots_.data(), &pool};
  if (profiling_) {
    for (Step& step : steps_) {
      const double begin = Seconds(pool);
      ALPA_RETURN_IF_ERROR(step.run(frame));
      step.seconds += Seconds(pool) - begin;
    }
  } else {
    for (Step& step : steps_) ALPA_RETURN_IF_ERROR(step.run(frame));
  }
  for (const Copy& copy : plan_.final_copies) {
    if (copy.size == 0) continue;
    std::memmove(AddressOf(copy.to, parameters, results, arena, *graph_),
                 AddressOf(copy.from, parameters, results, arena, *graph_), copy.size);
  }
  return absl::OkStatus();
}

void Body::set_profiling(bool on) {
  profiling_ = on;
  for (Step& step : steps_) step.seconds = 0;
}

}  // namespace alpa::kernels::cpu
