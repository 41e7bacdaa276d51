// A fused group compiled to a small register program, and its execution tile by tile.
//
// Model:    n elements are taken kTile at a time (reductions: whole rows or pieces of one). For each tile the
//           instructions run one after the other, each a loop over the tile (tile_prims.h), on registers that stay in
//           the first-level cache. A register is a buffer, or directly the memory of a value that is read or written
// linearly. In place: an output may lie where an input lies that is read linearly only: it is then made in a buffer and
//           stored when the tile is done.
// Same bits: parts are cut by sizes and thread count alone; partial results are combined in order.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/fusion/fusion.h"
#include "kernels/cpu/kernel.h"
#include "kernels/cpu/tile_prims.h"

namespace alpa::kernels::cpu {

inline constexpr int64_t kTile = 512;

struct TileProgram {
  struct Register {
    enum class Kind : uint8_t { kBuffer, kInput, kOutput, kScalar };
    Kind kind = Kind::kBuffer;
    Bytes buffer = -1;  // offset of its buffer in a thread's memory; inputs have none
    int slot = -1;      // kInput, kOutput, kScalar
    int element = 4;    // bytes of an element in memory (kInput, kOutput); of a lane else
    // kScalar: how it gets its value before the first tile.
    Bytes slot_offset = 0;
    Prim load = nullptr;
  };
  struct Instruction {
    enum class Kind : uint8_t { kPrim, kView, kIota };
    Kind kind = Kind::kPrim;
    Prim prim = nullptr;
    int d = -1, a = -1, b = -1, c = -1;  // registers; of kPrim
    int index = -1;                      // kView: in views; kIota: in iotas
  };
  struct ViewLoad {
    View view;
    int slot = -1, element = 4;
    bool may_point = false;  // the register may point into memory where a tile lies within one run
  };
  struct IotaLoad {
    int64_t inner = 1, size = 1;
    graph::DType dtype = graph::DType::kS32;
  };
  struct Reduction {
    int source = -1;  // register
    int slot = -1, initial_slot = -1;
    graph::ReduceKind kind = graph::ReduceKind::kSum;
    graph::DType dtype = graph::DType::kF32;
    FoldPrim row = nullptr, column = nullptr;
    int lane = 4, accumulator = 8;  // bytes
    Bytes partials = 0;             // offset in the shared part of scratch
  };

  int64_t n = 0;
  std::vector<Register> registers;
  std::vector<Instruction> instructions;
  std::vector<ViewLoad> views;
  std::vector<IotaLoad> iotas;
  std::vector<Reduction> reductions;
  ReduceLayout layout;     // of the reductions
  Bytes thread_bytes = 0;  // registers' buffers and pointers
  Bytes shared_bytes = 0;  // partial results
  Bytes scratch_bytes(int threads) const { return thread_bytes * threads + shared_bytes; }
};

// Whether a reduction over columns goes piece by piece of kTile results: each needs no partial results of others.
inline bool InPieces(const ReduceLayout& layout, int threads) {
  return layout.inner >= kTile && layout.outer * ((layout.inner + kTile - 1) / kTile) >= threads;
}

// REQUIRES: a fused unit of `plan`. `slots` as in OpContext; `scratch` is the unit's.
absl::StatusOr<TileProgram> CompileTiles(const graph::Graph& graph, const FusionPlan& plan, const Unit& unit,
                                         int threads);

// Executes it with `scratch_bytes(threads)` at `scratch`.
void RunTiles(const TileProgram& program, const Frame& frame, std::byte* scratch);

// The kernel of a fused unit, with the reads and writes that it makes (roots, which are its slots).
struct FusedUnit {
  BuiltKernel kernel;
  std::vector<int> reads, writes;
};
absl::StatusOr<FusedUnit> BuildFused(const graph::Graph& graph, const FusionPlan& plan, const Unit& unit,
                                     int scratch_slot, int threads);

}  // namespace alpa::kernels::cpu
