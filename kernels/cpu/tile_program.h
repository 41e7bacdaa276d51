// Compiles a fused group to a small register program, and executes the program tile by tile.
//
// Model:     n elements are processed in tiles of up to kTile elements. In a reduction, a tile holds one or more
//            complete rows, or a piece of one row. For each tile, the instructions run one after the other. Each
//            instruction is a loop over the tile (tile_prims.h). Registers stay in the first-level cache. A register is
//            either a buffer, or the memory of a value that is read or written linearly.
// In place:  an output may have the address of an input that is only read linearly. The program computes such an output
//            in a buffer, and stores the buffer when the tile is done.
// Same bits: the split of work depends only on sizes and thread count. Partial results are combined in order.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/fusion/fusion.h"
#include "kernels/cpu/kernel.h"
#include "kernels/cpu/tile_prims.h"

namespace alpa::kernels::cpu {

// The number of elements per tile. It is small enough that the registers of a group stay in the first-level cache.
inline constexpr int64_t kTile = 512;

struct TileProgram {
  struct Register {
    enum class Kind : uint8_t { kBuffer, kInput, kOutput, kScalar };
    Kind kind = Kind::kBuffer;
    Bytes buffer = -1;  // offset of the buffer in a thread's memory; -1 for inputs
    int slot = -1;      // kInput, kOutput, kScalar
    int element = 4;    // bytes per element in memory (kInput, kOutput), or bytes per lane
    // kScalar: the source of the value that fills the register before the first tile.
    Bytes slot_offset = 0;
    Prim load = nullptr;
  };
  struct Instruction {
    enum class Kind : uint8_t { kPrim, kView, kIota };
    Kind kind = Kind::kPrim;
    Prim prim = nullptr;
    int d = -1, a = -1, b = -1, c = -1;  // numbers of registers; kPrim uses all four, kView and kIota only d
    int index = -1;                      // kView: index in `views`; kIota: index in `iotas`
  };
  struct ViewLoad {
    View view;
    int slot = -1, element = 4;
    bool may_point = false;  // the register may point into memory if a tile lies within one run
  };
  struct IotaLoad {
    int64_t inner = 1, size = 1;
    graph::DType dtype = graph::DType::kS32;
  };
  struct Reduction {
    int source = -1;  // the register that holds the elements to reduce
    int slot = -1, initial_slot = -1;
    graph::ReduceKind kind = graph::ReduceKind::kSum;
    graph::DType dtype = graph::DType::kF32;
    FoldPrim row = nullptr, column = nullptr;
    int lane = 4, accumulator = 8;  // bytes
    Bytes partials = 0;             // offset of the partial results in the shared part of scratch
  };

  int64_t n = 0;
  std::vector<Register> registers;
  std::vector<Instruction> instructions;
  std::vector<ViewLoad> views;
  std::vector<IotaLoad> iotas;
  std::vector<Reduction> reductions;
  ReduceLayout layout;     // the common layout of all reductions
  Bytes thread_bytes = 0;  // bytes per thread for the registers' buffers and pointers
    Bytes shared_bytes = 0;  // bytes for the partial results of all threads
  Bytes scratch_bytes(int threads) const { return thread_bytes * threads + shared_bytes; }
};

// Returns whether a reduction over columns computes its results in pieces of kTile results. A piece needs no partial
// results of other pieces.
inline bool InPieces(const ReduceLayout& layout, int threads) {
  return layout.inner >= kTile && layout.outer * ((layout.inner + kTile - 1) / kTile) >= threads;
}

// Compiles a unit to a register program for `threads` threads. Registers refer to slots as in OpContext.
// REQUIRES: `unit` is a fused unit of `plan`.
absl::StatusOr<TileProgram> CompileTiles(const graph::Graph& graph, const FusionPlan& plan, const Unit& unit,
                                         int threads);

// Executes the program. `scratch` has scratch_bytes(threads) bytes.
void RunTiles(const TileProgram& program, const Frame& frame, std::byte* scratch);

// The kernel of a fused unit, and the slots that it reads and writes. These slots belong to root values.
struct FusedUnit {
  BuiltKernel kernel;
  std::vector<int> reads, writes;
};
absl::StatusOr<FusedUnit> BuildFused(const graph::Graph& graph, const FusionPlan& plan, const Unit& unit,
                                     int scratch_slot, int threads);

}  // namespace alpa::kernels::cpu
