#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/status.h"
#include "kernels/cpu/tile_program.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DType;
using graph::ReduceKind;
using Register = TileProgram::Register;
using Instruction = TileProgram::Instruction;
using Reduction = TileProgram::Reduction;

// Threads get work in portions of about half this number of element operations. A kernel of at most one portion runs on
// one thread.
constexpr int64_t kParallelWork = 64 * 1024;

template <typename T>
void FillIota(const TileProgram::IotaLoad& iota, int64_t begin, int64_t count, T* to) {
  int64_t within = begin % iota.inner, index = begin / iota.inner % iota.size;
  for (int64_t i = 0; i < count;) {
    const int64_t run = std::min(count - i, iota.inner - within);
    if (iota.inner == 1) {
      const int64_t line = std::min(count - i, iota.size - index);
      for (int64_t k = 0; k < line; ++k) to[i + k] = static_cast<T>(index + k);
      i += line;
      index = (index + line) % iota.size;
      continue;
    }
    std::fill(to + i, to + i + run, static_cast<T>(index));
    i += run;
    within = 0;
    index = index + 1 == iota.size ? 0 : index + 1;
  }
}

void LoadIota(const TileProgram::IotaLoad& iota, int64_t begin, int64_t count, std::byte* to) {
  switch (LaneOf(iota.dtype)) {
    case Lane::kF32:
      return FillIota(iota, begin, count, reinterpret_cast<float*>(to));
    case Lane::kF64:
      return FillIota(iota, begin, count, reinterpret_cast<double*>(to));
    case Lane::kI32:
    case Lane::kU32:
      return FillIota(iota, begin, count, reinterpret_cast<uint32_t*>(to));
    default:
      return FillIota(iota, begin, count, reinterpret_cast<uint64_t*>(to));
  }
}

// ---- Accumulators of reductions ----

// Calls f with a value of a reduction's accumulator type: double, or the lane's type.
template <typename F>
void VisitAccumulator(const Reduction& r, F&& f) {
  const bool wide = graph::IsFloat(r.dtype) && (r.kind == ReduceKind::kSum || r.kind == ReduceKind::kProduct);
  if (wide) return f(double{});
  switch (LaneOf(r.dtype)) {
    case Lane::kF32:
      return f(float{});
    case Lane::kF64:
      return f(double{});
    case Lane::kI32:
      return f(int32_t{});
    case Lane::kU32:
      return f(uint32_t{});
    case Lane::kI64:
      return f(int64_t{});
    case Lane::kU64:
      return f(uint64_t{});
  }
}

template <typename T>
T Identity(ReduceKind kind, DType dtype) {
  switch (kind) {
    case ReduceKind::kSum:
      return 0;
    case ReduceKind::kProduct:
      return 1;
    case ReduceKind::kAnd:
      return static_cast<T>(dtype == DType::kPred ? 1 : -1);
    case ReduceKind::kOr:
      return 0;
    case ReduceKind::kMax:
      if constexpr (std::is_floating_point_v<T>)
        return -std::numeric_limits<T>::infinity();
      else
        return std::numeric_limits<T>::lowest();
    case ReduceKind::kMin:
      if constexpr (std::is_floating_point_v<T>)
        return std::numeric_limits<T>::infinity();
      else
        return std::numeric_limits<T>::max();
  }
  return 0;
}

void FillIdentity(const Reduction& r, int64_t n, std::byte* to) {
  VisitAccumulator(r, [&](auto type) {
    using T = decltype(type);
    std::fill_n(reinterpret_cast<T*>(to), n, Identity<T>(r.kind, r.dtype));
  });
}

template <typename T>
T Combine(ReduceKind kind, T a, T b) {
  switch (kind) {
    case ReduceKind::kMax:
      return a != a || a >= b ? a : b;
    case ReduceKind::kMin:
      return a != a || a <= b ? a : b;
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    return kind == ReduceKind::kProduct ? a * b : a + b;
  } else {
    using U = std::make_unsigned_t<T>;
    const U x = static_cast<U>(a), y = static_cast<U>(b);
    switch (kind) {
      case ReduceKind::kSum:
        return static_cast<T>(x + y);
      case ReduceKind::kProduct:
        return static_cast<T>(x * y);
      case ReduceKind::kAnd:
        return static_cast<T>(x & y);
      default:
        return static_cast<T>(x | y);
    }
  }
}

// Combines the accumulators of all parts, in order, into those of the first part. Parts are `stride` bytes apart.
void CombineParts(const Reduction& r, int64_t n, int parts, Bytes stride, std::byte* first) {
  VisitAccumulator(r, [&](auto type) {
    using T = decltype(type);
    T* to = reinterpret_cast<T*>(first);
    for (int part = 1; part < parts; ++part) {
      const T* from = reinterpret_cast<const T*>(first + part * stride);
      for (int64_t i = 0; i < n; ++i) to[i] = Combine(r.kind, to[i], from[i]);
    }
  });
}

// Writes results [begin, begin + n): combines the accumulators with the initial value and converts to the result's
// type.
void Finish(const Reduction& r, const Frame& frame, int64_t begin, int64_t n, const std::byte* accumulators) {
  std::byte* const out = frame.slots[r.slot];
  const std::byte* const initial = frame.slots[r.initial_slot];
  VisitAccumulator(r, [&](auto type) {
    using T = decltype(type);
    const T* from = reinterpret_cast<const T*>(accumulators);
    auto store = [&](auto element, auto load, auto convert) {
      using E = decltype(element);
      E* to = reinterpret_cast<E*>(out) + begin;
      const T start = load(*reinterpret_cast<const E*>(initial));
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<E>(convert(Combine(r.kind, start, from[i])));
    };
    auto plain = [](auto x) { return static_cast<T>(x); };
    auto same = [](T x) { return x; };
    switch (r.dtype) {
      case DType::kBF16:
        return store(
            uint16_t{}, [](uint16_t x) { return static_cast<T>(graph::Bf16ToFloat(x)); },
            [](T x) { return graph::FloatToBf16(static_cast<float>(x)); });
      case DType::kF16:
        return store(
            uint16_t{}, [](uint16_t x) { return static_cast<T>(graph::F16ToFloat(x)); },
            [](T x) { return graph::FloatToF16(static_cast<float>(x)); });
      case DType::kF32:
        return store(float{}, plain, same);
      case DType::kF64:
        return store(double{}, plain, same);
      case DType::kPred:
        return store(
            uint8_t{}, [](uint8_t x) { return static_cast<T>(x != 0); }, same);
      case DType::kS8:
        return store(int8_t{}, plain, same);
      case DType::kU8:
        return store(uint8_t{}, plain, same);
      case DType::kS16:
        return store(int16_t{}, plain, same);
      case DType::kU16:
        return store(uint16_t{}, plain, same);
      case DType::kS32:
        return store(int32_t{}, plain, same);
      case DType::kU32:
        return store(uint32_t{}, plain, same);
      case DType::kS64:
        return store(int64_t{}, plain, same);
      case DType::kU64:
        return store(uint64_t{}, plain, same);
    }
  });
}

// ---- Registers of one thread ----

class Tiles {
 public:
  Tiles(const TileProgram& program, const Frame& frame, std::byte* memory)
      : p_(program), frame_(frame), memory_(memory), registers_(reinterpret_cast<std::byte**>(memory)) {
    const int64_t fill = std::min<int64_t>(kTile, p_.n);
    for (size_t i = 0; i < p_.registers.size(); ++i) {
      const Register& r = p_.registers[i];
      registers_[i] = r.buffer >= 0 ? memory + r.buffer : nullptr;
      if (r.kind == Register::Kind::kScalar) FillScalar(r, fill, registers_[i]);
      if (r.kind == Register::Kind::kOutput) buffered_ = buffered_ || InPlace(r);
    }
  }

  // Computes elements [begin, begin + count). REQUIRES: count <= kTile.
  void Run(int64_t begin, int64_t count) {
    for (size_t i = 0; i < p_.registers.size(); ++i) {
      const Register& r = p_.registers[i];
      if (r.kind == Register::Kind::kInput || (r.kind == Register::Kind::kOutput && !buffered_)) {
        registers_[i] = frame_.slots[r.slot] + begin * r.element;
        Prefetch(registers_[i] + count * r.element, count * r.element);
      }
    }
    for (const Instruction& x : p_.instructions) {
      switch (x.kind) {
        case Instruction::Kind::kPrim:
          x.prim(count, registers_[x.d], x.a >= 0 ? registers_[x.a] : nullptr, x.b >= 0 ? registers_[x.b] : nullptr,
                 x.c >= 0 ? registers_[x.c] : nullptr);
          break;
        case Instruction::Kind::kView:
          LoadView(x, begin, count);
          break;
        case Instruction::Kind::kIota:
          LoadIota(p_.iotas[x.index], begin, count, registers_[x.d]);
          break;
      }
    }
    if (!buffered_) return;
    for (size_t i = 0; i < p_.registers.size(); ++i) {
      const Register& r = p_.registers[i];
      if (r.kind == Register::Kind::kOutput) {
        std::memcpy(frame_.slots[r.slot] + begin * r.element, registers_[i], count * r.element);
      }
    }
  }

  const std::byte* at(int r) const { return registers_[r]; }

 private:
  // Prefetches the next tile while the current tile is computed. Tiles of several arrays alternate, so the processor's
  // own prefetcher does not detect the streams.
  static void Prefetch(const std::byte* from, int64_t bytes) {
    constexpr int64_t kLine = 64;  // bytes per cache line
    for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(from + at);
  }

  bool InPlace(const Register& output) const {
    for (const Register& r : p_.registers) {
      if (r.kind == Register::Kind::kInput && frame_.slots[r.slot] == frame_.slots[output.slot]) return true;
    }
    return false;
  }

  void FillScalar(const Register& r, int64_t n, std::byte* to) {
    const std::byte* from = frame_.slots[r.slot] + r.slot_offset;
    alignas(8) std::byte lane[8];
    if (r.load != nullptr)
      r.load(1, lane, from, nullptr, nullptr);
    else
      std::memcpy(lane, from, r.element);
    if (r.element == 8) {
      uint64_t value;
      std::memcpy(&value, lane, 8);
      std::fill_n(reinterpret_cast<uint64_t*>(to), n, value);
    } else {
      uint32_t value;
      std::memcpy(&value, lane, 4);
      std::fill_n(reinterpret_cast<uint32_t*>(to), n, value);
    }
  }

  void LoadView(const Instruction& x, int64_t begin, int64_t count) {
    const TileProgram::ViewLoad& load = p_.views[x.index];
    const std::byte* from = frame_.slots[load.slot];
    if (load.may_point) {
      const int64_t inner = load.view.dims.back(), within = begin % inner;
      if (within + count <= inner) {
        int64_t at = load.view.offset + within, rest = begin / inner;
        for (size_t d = load.view.dims.size() - 1; d-- > 0;) {
          at += rest % load.view.dims[d] * load.view.strides[d];
          rest /= load.view.dims[d];
        }
        registers_[x.d] = const_cast<std::byte*>(from) + at * load.element;
        return;
      }
      registers_[x.d] = memory_ + p_.registers[x.d].buffer;
    }
    CopyView(load.view, from, load.element, begin, count, registers_[x.d]);
  }

  const TileProgram& p_;
  const Frame& frame_;
  std::byte* const memory_;
  std::byte** const registers_;
  bool buffered_ = false;
};

// ---- Traversals of the elements of a fused group ----

class Run {
 public:
  Run(const TileProgram& program, const Frame& frame, std::byte* scratch)
      : p_(program), frame_(frame), scratch_(scratch), shared_(scratch + program.thread_bytes * frame.pool->size()) {}

  void Elements() {
    const int64_t work = std::max<int64_t>(1, static_cast<int64_t>(p_.instructions.size()));
    const int64_t grain = std::max<int64_t>(1, kParallelWork / 2 / work / kTile) * kTile;
    Split(p_.n, grain, [&](Tiles& tiles, int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += kTile) tiles.Run(i, std::min(kTile, end - i));
    });
  }

  // Reduces neighbouring elements. Each result comes from one row.
  void Rows() {
    const int64_t rows = p_.layout.outer, length = p_.layout.reduced;
    if (length <= kTile) {
      const int64_t together = kTile / length;
      Split(rows, GrainOf(length), [&](Tiles& tiles, int, int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; row += together) {
          const int64_t count = std::min(together, end - row);
          tiles.Run(row * length, count * length);
          for (const Reduction& r : p_.reductions) FoldRows(r, tiles, row, count, length);
        }
      });
      return;
    }
    if (rows >= frame_.pool->size()) {
      Split(rows, GrainOf(length), [&](Tiles& tiles, int part, int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          for (const Reduction& r : p_.reductions) FillIdentity(r, 1, Partial(r, part, 1));
          FoldLong(tiles, part, row, 0, length);
          for (const Reduction& r : p_.reductions) Finish(r, frame_, row, 1, Partial(r, part, 1));
        }
      });
      return;
    }
    for (int64_t row = 0; row < rows; ++row) {
      const int parts =
          Split(length, std::max(kTile, GrainOf(1)), [&](Tiles& tiles, int part, int64_t begin, int64_t end) {
            for (const Reduction& r : p_.reductions) FillIdentity(r, 1, Partial(r, part, 1));
            FoldLong(tiles, part, row, begin, end);
          });
      for (const Reduction& r : p_.reductions) {
        CombineParts(r, 1, parts, r.accumulator, Partial(r, 0, 1));
        Finish(r, frame_, row, 1, Partial(r, 0, 1));
      }
    }
  }

  // Reduces elements that are `inner` places apart.
  void Columns() {
    const int64_t outer = p_.layout.outer, reduced = p_.layout.reduced, inner = p_.layout.inner;
    if (InPieces(p_.layout, frame_.pool->size())) return Pieces();
    if (outer >= frame_.pool->size()) {
      Split(outer, GrainOf(reduced * inner), [&](Tiles& tiles, int part, int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; ++o) {
          for (const Reduction& r : p_.reductions) FillIdentity(r, inner, Partial(r, part, inner));
          FoldColumns(tiles, part, o, 0, reduced);
          for (const Reduction& r : p_.reductions) Finish(r, frame_, o * inner, inner, Partial(r, part, inner));
        }
      });
      return;
    }
    for (int64_t o = 0; o < outer; ++o) {
      const int parts = Split(reduced, GrainOf(inner), [&](Tiles& tiles, int part, int64_t begin, int64_t end) {
        for (const Reduction& r : p_.reductions) FillIdentity(r, inner, Partial(r, part, inner));
        FoldColumns(tiles, part, o, begin, end);
      });
      for (const Reduction& r : p_.reductions) {
        CombineParts(r, inner, parts, inner * r.accumulator, Partial(r, 0, inner));
        Finish(r, frame_, o * inner, inner, Partial(r, 0, inner));
      }
    }
  }

  // Reduces columns, kTile results at a time.
  void Pieces() {
    const int64_t reduced = p_.layout.reduced, inner = p_.layout.inner;
    const int64_t pieces = (inner + kTile - 1) / kTile;
    Split(p_.layout.outer * pieces, GrainOf(reduced * kTile), [&](Tiles& tiles, int part, int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece) {
        const int64_t o = piece / pieces, c = piece % pieces * kTile, count = std::min(kTile, inner - c);
        for (const Reduction& r : p_.reductions) FillIdentity(r, count, Partial(r, part, kTile));
        for (int64_t i = 0; i < reduced; ++i) {
          tiles.Run((o * reduced + i) * inner + c, count);
          for (const Reduction& r : p_.reductions) r.column(count, Partial(r, part, kTile), tiles.at(r.source));
        }
        for (const Reduction& r : p_.reductions) Finish(r, frame_, o * inner + c, count, Partial(r, part, kTile));
      }
    });
  }

  // Computes reductions over zero elements, whose results are the initial values.
  void Empty() {
    const int64_t results = p_.layout.outer * p_.layout.inner;
    for (const Reduction& r : p_.reductions) {
      alignas(8) std::byte accumulator[8];
      FillIdentity(r, 1, accumulator);
      for (int64_t i = 0; i < results; ++i) Finish(r, frame_, i, 1, accumulator);
    }
  }

 private:
  // Returns the minimum number of rows per thread. Each row has `length` elements.
  int64_t GrainOf(int64_t length) const {
    const int64_t work = length * std::max<int64_t>(1, static_cast<int64_t>(p_.instructions.size()) + 1);
    return std::max<int64_t>(1, kParallelWork / 2 / std::max<int64_t>(1, work));
  }

  // Splits [0, n) and calls f(tiles, part, begin, end) for each part. Returns the number of parts.
  template <typename F>
  int Split(int64_t n, int64_t grain, const F& f) {
    const int64_t grains = (n + grain - 1) / grain;
    const int parts = static_cast<int>(std::clamp<int64_t>(grains, 1, frame_.pool->size()));
    frame_.pool->Run(parts, [&](int part) {
      Tiles tiles(p_, frame_, scratch_ + part * p_.thread_bytes);
      f(tiles, part, std::min(n, grains * part / parts * grain), std::min(n, grains * (part + 1) / parts * grain));
    });
    return parts;
  }

  std::byte* Partial(const Reduction& r, int part, int64_t width) const {
    return shared_ + r.partials + part * width * r.accumulator;
  }

  void FoldRows(const Reduction& r, const Tiles& tiles, int64_t row, int64_t count, int64_t length) {
    const std::byte* from = tiles.at(r.source);
    alignas(64) std::byte accumulators[64 * 8];
    for (int64_t i = 0; i < count; i += 64) {
      const int64_t now = std::min<int64_t>(64, count - i);
      FillIdentity(r, now, accumulators);
      for (int64_t k = 0; k < now; ++k) {
        r.row(length, accumulators + k * r.accumulator, from + (i + k) * length * r.lane);
      }
      Finish(r, frame_, row + i, now, accumulators);
    }
  }

  void FoldLong(Tiles& tiles, int part, int64_t row, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kTile) {
      const int64_t count = std::min(kTile, end - i);
      tiles.Run(row * p_.layout.reduced + i, count);
      for (const Reduction& r : p_.reductions) r.row(count, Partial(r, part, 1), tiles.at(r.source));
    }
  }

  void FoldColumns(Tiles& tiles, int part, int64_t outer, int64_t begin, int64_t end) {
    const int64_t inner = p_.layout.inner;
    const int64_t base = outer * p_.layout.reduced * inner;
    if (inner <= kTile) {
      const int64_t together = kTile / inner;
      for (int64_t i = begin; i < end; i += together) {
        const int64_t count = std::min(together, end - i);
        tiles.Run(base + i * inner, count * inner);
        for (const Reduction& r : p_.reductions) {
          for (int64_t k = 0; k < count; ++k) {
            r.column(inner, Partial(r, part, inner), tiles.at(r.source) + k * inner * r.lane);
          }
        }
      }
      return;
    }
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t c = 0; c < inner; c += kTile) {
        const int64_t count = std::min(kTile, inner - c);
        tiles.Run(base + i * inner + c, count);
        for (const Reduction& r : p_.reductions) {
          r.column(count, Partial(r, part, inner) + c * r.accumulator, tiles.at(r.source));
        }
      }
    }
  }

  const TileProgram& p_;
  const Frame& frame_;
  std::byte* const scratch_;
  std::byte* const shared_;
};

}  // namespace

void RunTiles(const TileProgram& program, const Frame& frame, std::byte* scratch) {
  Run run(program, frame, scratch);
  if (program.n == 0) {
    if (!program.reductions.empty()) run.Empty();
  } else if (program.reductions.empty()) {
    run.Elements();
  } else if (program.layout.inner == 1) {
    run.Rows();
  } else {
    run.Columns();
  }
}

}  // namespace alpa::kernels::cpu
