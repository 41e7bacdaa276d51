// Conformance tests (rows) for buffers, streams, events and donation, and for several programs and devices at the same
// time.
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "tests/conformance/backend/suite.h"

namespace alpa::conformance {
namespace {

using kernels::Backend;
using kernels::Buffer;

std::vector<std::byte> Pattern(size_t n) {
  std::vector<std::byte> bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 3);
  return bytes;
}

absl::Status BuffersRow(Backend& backend) {
  for (int device = 0; device < backend.device_count(); ++device) {
    for (Bytes size : {0, 1, 63, 64, 65, 4096, 1'000'003}) {
      ALPA_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer, backend.Allocate(device, size));
      if (buffer->size() != size)
        return Internal("allocated a buffer of %d bytes, but its size() is %d", size, buffer->size());
      if (size > 0 && reinterpret_cast<uintptr_t>(buffer->data()) % 64 != 0)
        return Internal("a buffer is not aligned to 64 bytes");
      const std::vector<std::byte> bytes = Pattern(size);
      std::vector<std::byte> back(size);
      backend.CopyToDevice(device, bytes, *buffer, 0);
      backend.CopyToHost(device, *buffer, 0, back);
      ALPA_RETURN_IF_ERROR(backend.stream(device).Record()->Wait());
      if (back != bytes) return Internal("a copy of %d bytes to the device and back changed them", size);
    }
  }
  return absl::OkStatus();
}

absl::Status OffsetsRow(Backend& backend) {
  ALPA_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer, backend.Allocate(0, 100));
  const std::byte zero[] = {std::byte{0}};
  std::vector<std::byte> expected(100), bytes = Pattern(30), back(100), middle(20);
  backend.Fill(0, *buffer, zero);
  backend.CopyToDevice(0, bytes, *buffer, 41);
  std::copy(bytes.begin(), bytes.end(), expected.begin() + 41);
  backend.CopyToHost(0, *buffer, 0, back);
  backend.CopyToHost(0, *buffer, 50, middle);
  ALPA_RETURN_IF_ERROR(backend.stream(0).Record()->Wait());
  if (back != expected) return Internal("a copy to offset 41 of the buffer wrote other bytes than expected");
  if (!std::equal(middle.begin(), middle.end(), expected.begin() + 50))
    return Internal("a copy from offset 50 of the buffer read other bytes than expected");
  return absl::OkStatus();
}

absl::Status FillRow(Backend& backend) {
  for (size_t width : {1, 2, 4, 8}) {
    ALPA_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer, backend.Allocate(1, 8 * 37));
    const std::vector<std::byte> pattern = Pattern(width);
    std::vector<std::byte> back(8 * 37);
    backend.Fill(1, *buffer, pattern);
    backend.CopyToHost(1, *buffer, 0, back);
    ALPA_RETURN_IF_ERROR(backend.stream(1).Record()->Wait());
    for (size_t i = 0; i < back.size(); ++i) {
      if (back[i] != pattern[i % width])
        return Internal("after a fill with a pattern of %d bytes, byte %d is wrong", width, i);
    }
  }
  return absl::OkStatus();
}

absl::Status OrderRow(Backend& backend) {
  std::vector<int> order;
  std::atomic<bool> go = false;
  kernels::Stream& stream = backend.stream(0);
  const std::thread::id caller = std::this_thread::get_id();
  std::thread::id worker;
  stream.Enqueue([&]() -> absl::Status {
    worker = std::this_thread::get_id();
    while (!go) std::this_thread::yield();
    return absl::OkStatus();
  });
  const std::shared_ptr<kernels::Event> early = stream.Record();
  for (int i = 0; i < 100; ++i) {
    stream.Enqueue([&order, i]() -> absl::Status {
      order.push_back(i);
      return absl::OkStatus();
    });
  }
  const std::shared_ptr<kernels::Event> late = stream.Record();
  const bool too_early = early->Done() || late->Done();
  go = true;
  ALPA_RETURN_IF_ERROR(late->Wait());
  ALPA_RETURN_IF_ERROR(early->Wait());
  if (too_early) return Internal("an event was done before the work that precedes the event in the stream");
  if (!early->Done() || !late->Done()) return Internal("Wait returned, but Done of the event is false");
  for (int i = 0; i < 100; ++i) {
    if (order.size() != 100 || order[i] != i) return Internal("the stream did not run its work in order");
  }
  if (worker == caller) return Internal("Enqueue ran the work in the thread of its caller");
  return absl::OkStatus();
}

absl::Status FailureRow(Backend& backend) {
  kernels::Stream& stream = backend.stream(2);
  bool ran = false;
  const std::shared_ptr<kernels::Event> before = stream.Record();
  stream.Enqueue([]() -> absl::Status { return absl::DataLossError("the first failure"); });
  const std::shared_ptr<kernels::Event> after = stream.Record();
  stream.Enqueue([&]() -> absl::Status {
    ran = true;
    return absl::InternalError("the second failure");
  });
  const absl::Status first = before->Wait(), second = after->Wait(), third = stream.Record()->Wait();
  stream.Reset();
  if (!first.ok()) return Internal("an event recorded before the failure returned %s, expected OK", first.ToString());
  if (second.code() != absl::StatusCode::kDataLoss || third.code() != absl::StatusCode::kDataLoss) {
    return Internal("events recorded after the failure returned %s and %s, expected DATA_LOSS", second.ToString(),
                    third.ToString());
  }
  if (ran) return Internal("work that was enqueued after a failure ran");
  ALPA_RETURN_IF_ERROR(Annotate(stream.Record()->Wait(), "after Reset"));
  bool works = false;
  stream.Enqueue([&]() -> absl::Status {
    works = true;
    return absl::OkStatus();
  });
  ALPA_RETURN_IF_ERROR(stream.Record()->Wait());
  return works ? absl::OkStatus() : Internal("work that was enqueued after Reset did not run");
}

// A failure on one device does not affect another device.
absl::Status IsolationRow(Backend& backend) {
  backend.stream(0).Enqueue([]() -> absl::Status { return absl::InternalError("device 0 only"); });
  Maker m("isolation");
  const Program program = m.Finish({m->Unary(Opcode::kNegate, m.Input({DType::kF32, {9}}))});
  const absl::Status other = RunOn(backend, 1, program).status();
  const absl::Status own = backend.stream(0).Record()->Wait();
  backend.stream(0).Reset();
  if (own.ok()) return Internal("an event of device 0 returned OK after its work failed");
  return Annotate(other, "device 1");
}

// Returns a training step with n x n matrices. Donating its state must not change its results.
Program Step(int64_t n) {
  Maker m("step");
  const Shape matrix{DType::kF32, {n, n}};
  const ValueId w = m.Input(matrix, -1, 1), v = m.Input(matrix, -1, 1), x = m.Input(matrix, -1, 1);
  const ValueId g = m->Dot(x, m->Dot(w, x, {{}, {}, {1}, {0}}, DType::kF32), {{}, {}, {0}, {0}}, DType::kF32);
  const ValueId v1 = m->Binary(Opcode::kAdd, m->Binary(Opcode::kMultiply, v, m->Full(matrix, 0.9)), g);
  const ValueId w1 = m->Binary(Opcode::kSubtract, w, m->Binary(Opcode::kMultiply, v1, m->Full(matrix, 0.01)));
  const ValueId change = m->Reduce(m->Binary(Opcode::kSubtract, w1, w), graph::ReduceKind::kMax, {0, 1});
  return m.Finish({v1, change, w1}, Normwise(64));
}

// Runs the program once without and once with `alias`, and compares the results of both runs with the evaluator.
absl::Status CheckAliased(Backend& backend, const Program& program, const std::vector<int32_t>& alias) {
  ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> expected, graph::Evaluate(program.graph, program.arguments));
  ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> apart, RunOn(backend, 0, program));
  ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> in_place, RunOn(backend, 0, program, alias));
  ALPA_RETURN_IF_ERROR(Annotate(CompareAll(expected, apart, program.tolerances), "not donated"));
  ALPA_RETURN_IF_ERROR(Annotate(CompareAll(expected, in_place, program.tolerances), "donated"));
  return absl::OkStatus();
}

void AddDonationRows(Rows& rows) {
  for (int64_t n : {1, 7, 64}) {
    rows.push_back({absl::StrCat("donation/training-step/", n), [n](Backend& backend) {
                      return CheckAliased(backend, Step(n), {1, -1, 0});
                    }});
  }
  rows.push_back({"donation/swap", [](Backend& backend) {
                    // Each result overwrites the buffer from which the other result is read.
                    Maker m("swap");
                    const ValueId a = m.Input({DType::kF32, {33}}), b = m.Input({DType::kF32, {33}});
                    return CheckAliased(backend, m.Finish({b, a}), {0, 1});
                  }});
  rows.push_back({"donation/rotate-and-compute", [](Backend& backend) {
                    Maker m("rotate");
                    const Shape s{DType::kF32, {4, 5}};
                    const ValueId a = m.Input(s), b = m.Input(s), c = m.Input(s);
                    return CheckAliased(
                        backend, m.Finish({m->Binary(Opcode::kAdd, b, c), c, m->Unary(Opcode::kNegate, a)}), {0, 1, 2});
                  }});
  rows.push_back({"donation/passes-through", [](Backend& backend) {
                    Maker m("through");
                    const ValueId a = m.Input({DType::kF32, {10}}), b = m.Input({DType::kS32, {3}});
                    return CheckAliased(backend, m.Finish({a, b}), {0, 1});
                  }});
  rows.push_back({"donation/donated-value-is-also-a-result", [](Backend& backend) {
                    // The donated value is also a result. The new value overwrites the donated buffer, so this result
                    // needs a different buffer.
                    Maker m("also");
                    const ValueId a = m.Input({DType::kF32, {65}}), doubled = m->Binary(Opcode::kAdd, a, a);
                    return CheckAliased(backend, m.Finish({doubled, a, doubled}), {0, -1, -1});
                  }});
  rows.push_back({"donation/transposed-into-itself", [](Backend& backend) {
                    Maker m("transposed");
                    const ValueId a = m.Input({DType::kF32, {31, 31}});
                    return CheckAliased(backend, m.Finish({m->Transpose(a, {1, 0})}), {0});
                  }});
  rows.push_back({"donation/reversed-and-shifted", [](Backend& backend) {
                    Maker m("shifted");
                    const ValueId a = m.Input({DType::kF32, {64}}), b = m.Input({DType::kF32, {64}});
                    const ValueId reversed = m.Add(Opcode::kReverse, {a}, graph::DimsAttrs{{0}});
                    const ValueId shifted = m->Concatenate({m->Slice(b, {1}, {64}), m->Slice(b, {0}, {1})}, 0);
                    return CheckAliased(backend, m.Finish({reversed, shifted}), {0, 1});
                  }});
  rows.push_back({"donation/read-late", [](Backend& backend) {
                    // The new value is computed first. A reduction, a dot and a slice read the old value afterwards.
                    Maker m("late");
                    const Shape s{DType::kF32, {16, 16}};
                    const ValueId a = m.Input(s), fresh = m->Unary(Opcode::kTanh, a);
                    const ValueId dot = m->Dot(fresh, a, {{}, {}, {1}, {0}}, DType::kF32);
                    const ValueId sum = m->Reduce(a, graph::ReduceKind::kSum, {0});
                    return CheckAliased(backend,
                                        m.Finish({fresh, dot, sum, m->Slice(a, {3, 0}, {5, 16})}, Normwise(32)),
                                        {0, -1, -1, -1});
                  }});
  rows.push_back({"donation/cache-update", [](Backend& backend) {
                    // A key-value cache: writes rows at a position that is an input, then reads the complete cache.
                    Maker m("cache");
                    const ValueId cache = m.Input({DType::kBF16, {2, 32, 8}}), row = m.Input({DType::kBF16, {2, 1, 8}});
                    const ValueId position = m.Input(LiteralOf(DType::kS32, {}, {13})),
                                  zero = m->Scalar(DType::kS32, 0);
                    const ValueId updated = m->DynamicUpdateSlice(cache, row, {zero, position, zero});
                    const ValueId scores = m->Dot(row, updated, {{0}, {0}, {2}, {2}}, DType::kF32);
                    return CheckAliased(backend, m.Finish({updated, scores}, Normwise(16)), {0, -1});
                  }});
  rows.push_back(
      {"donation/through-a-loop", [](Backend& backend) {
         Maker m("loop");
         const Shape count{DType::kS32, {}}, x{DType::kF32, {9, 4}};
         const auto condition = Region({count, x, x}, [](GraphBuilder& b, std::vector<ValueId> p) {
           return std::vector{b.Compare(graph::CompareDirection::kLt, p[0], b.Scalar(DType::kS32, 5))};
         });
         const auto body = Region({count, x, x}, [](GraphBuilder& b, std::vector<ValueId> p) {
           return std::vector{b.Binary(Opcode::kAdd, p[0], b.Scalar(DType::kS32, 1)),
                              b.Binary(Opcode::kMaximum, p[1], p[2]), p[1]};
         });
         const ValueId a = m.Input(x), b = m.Input(x);
         const std::vector<ValueId> r =
             m.AddAll(Opcode::kWhile, {m->Scalar(DType::kS32, 0), a, b}, {}, {condition, body});
         return CheckAliased(backend, m.Finish({r[2], r[1], m->Binary(Opcode::kSubtract, a, b)}), {0, 1, -1});
       }});
  rows.push_back({"donation/many-steps", [](Backend& backend) -> absl::Status {
                    // Each step reads the buffers that the previous step wrote. Nothing is copied between steps.
                    const Program program = Step(16);
                    ALPA_ASSIGN_OR_RETURN(std::unique_ptr<kernels::CompiledProgram> step,
                                          backend.Compile(0, program.graph, {.alias = {1, -1, 0}}));
                    std::vector<std::unique_ptr<Buffer>> buffers;
                    std::vector<Literal> state = program.arguments;
                    for (const Literal& literal : state) {
                      ALPA_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                                            backend.Allocate(0, literal.shape().bytes()));
                      backend.CopyToDevice(0, literal.bytes(), *buffer, 0);
                      buffers.push_back(std::move(buffer));
                    }
                    ALPA_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> change, backend.Allocate(0, 4));
                    const Shape matrix = state[0].shape();
                    std::vector<std::byte> w(matrix.bytes()), v(matrix.bytes());
                    for (int i = 0; i < 4; ++i) {
                      step->Run(backend.stream(0), {buffers[0].get(), buffers[1].get(), buffers[2].get()},
                                {buffers[1].get(), change.get(), buffers[0].get()});
                      ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> next, graph::Evaluate(program.graph, state));
                      state[0] = next[2];
                      state[1] = next[0];
                    }
                    backend.CopyToHost(0, *buffers[0], 0, w);
                    backend.CopyToHost(0, *buffers[1], 0, v);
                    ALPA_RETURN_IF_ERROR(backend.stream(0).Record()->Wait());
                    ALPA_RETURN_IF_ERROR(Compare(state[0], Literal(matrix, w), Normwise(512)));
                    return Compare(state[1], Literal(matrix, v), Normwise(512));
                  }});
}

// Uses all devices at the same time, with one thread per device. Each thread runs several different programs.
absl::Status ConcurrencyRow(Backend& backend) {
  const int devices = backend.device_count();
  std::vector<absl::Status> statuses(devices);
  std::vector<std::thread> threads;
  for (int d = 0; d < devices; ++d) {
    threads.emplace_back([&, d] {
      statuses[d] = [&]() -> absl::Status {
        for (int round = 0; round < 6; ++round) {
          Maker m(absl::StrCat("concurrent ", d, " ", round));
          const int64_t n = 16 + 13 * d + round;
          const ValueId a = m.Input({DType::kF32, {n, n}}, -1, 1), b = m.Input({DType::kF32, {n, n}}, -1, 1);
          const ValueId c = m->Unary(Opcode::kTanh, m->Dot(a, b, {{}, {}, {1}, {0}}, DType::kF32));
          const Program program = m.Finish({c, m->Reduce(c, graph::ReduceKind::kSum, {1})}, Normwise(64));
          ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> expected, graph::Evaluate(program.graph, program.arguments));
          ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> actual, RunOn(backend, d, program));
          ALPA_RETURN_IF_ERROR(CompareAll(expected, actual, program.tolerances));
        }
        return absl::OkStatus();
      }();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int d = 0; d < devices; ++d) ALPA_RETURN_IF_ERROR(Annotate(statuses[d], absl::StrCat("device ", d)));
  return absl::OkStatus();
}

// Enqueues several programs on one device before it waits for any of them. One of the programs is enqueued twice.
absl::Status QueueRow(Backend& backend) {
  std::vector<Loaded> loaded;
  std::vector<std::vector<Literal>> expected;
  for (int i = 0; i < 5; ++i) {
    const Program program = Step(8 + 5 * i);
    ALPA_ASSIGN_OR_RETURN(std::vector<Literal> results, graph::Evaluate(program.graph, program.arguments));
    expected.push_back(std::move(results));
    ALPA_ASSIGN_OR_RETURN(Loaded one, Loaded::Load(backend, 3, program.graph, program.arguments));
    loaded.push_back(std::move(one));
  }
  for (Loaded& one : loaded) one.Start();
  loaded[2].Start();
  for (size_t i = 0; i < loaded.size(); ++i) {
    ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> actual, loaded[i].Finish());
    ALPA_RETURN_IF_ERROR(CompareAll(expected[i], actual, std::vector<Tolerance>(3, Normwise(64))));
  }
  return absl::OkStatus();
}

// Checks that a program with the same inputs gives the same bits on every device and in every run.
absl::Status SameBitsRow(Backend& backend) {
  const Program program = Step(129);
  std::vector<Literal> first;
  for (int run = 0; run < 2; ++run) {
    for (int d = 0; d < backend.device_count(); ++d) {
      ALPA_ASSIGN_OR_RETURN(std::vector<Literal> results, RunOn(backend, d, program));
      if (first.empty()) first = results;
      if (results != first) return Internal("device %d, run %d: the bits differ from those of the first run", d, run);
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddStreamRows(Rows& rows) {
  rows.push_back({"stream/buffers", BuffersRow});
  rows.push_back({"stream/copies-at-offsets", OffsetsRow});
  rows.push_back({"stream/fill", FillRow});
  rows.push_back({"stream/runs-in-order", OrderRow});
  rows.push_back({"stream/failure-stays-until-reset", FailureRow});
  rows.push_back({"stream/failure-stays-on-its-device", IsolationRow});
  rows.push_back({"stream/all-devices-at-once", ConcurrencyRow});
  rows.push_back({"stream/several-programs-queued", QueueRow});
  rows.push_back({"stream/same-bits", SameBitsRow});
  AddDonationRows(rows);
}

}  // namespace alpa::conformance
