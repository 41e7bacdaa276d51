// Splits the programs of a one-mesh executable into *cells*: pieces that run on one stage without waiting for another.
//
// Model:  ops are put into rounds: one more than that of any operand from another stage, and as late as their readers allow. A
//         cell is what one stage does in one round. For a region that is labelled well, these are the forward and backward of
//         each stage: F0 F1 .. FB(S-1) .. B1 B0. Whatever the labels, cells in order of rounds compute what the program computes.
//         With `split_weights`, what only leads to accumulators is a cell of its own behind the backward: W of zero-bubble
//         schedules (Qi et al., arXiv 2401.10241).
//         With `recompute_layers`, forward and backward of a stage are always cells of their own, and a backward recomputes what it
//         needs of a layer from what is alive where that begins; but not of the last layer, whose backward comes at once.
//         Values that cross between cells become slots. Constants and other cheap things are made anew in each.
#pragma once

#include <vector>

#include "plan/executable.h"
#include "planner/stage/labels.h"

namespace alpa::planner {

struct Cell {
  enum class Pass : uint8_t { kForward = 0, kBackward = 1, kWeights = 2 };
  int stage = 0;
  int round = 0;
  bool in_loop = false;
  Pass pass = Pass::kForward;
  double work = 0;   // FLOPs, and a little for bytes
};

struct CellRequest {
  std::vector<int> mesh_of_stage;
  bool split_weights = false;
  bool recompute_layers = false;
};

struct Cells {
  plan::Executable executable;   // one mesh still; each cell is a program, run in order of rounds where its program was run
  std::vector<Cell> cells;       // by program
  std::vector<int> slot_mesh;    // by slot: the mesh on which it is given or written
};

// `labels`: as LabelLoops and LabelRest made them.
Cells SplitIntoCells(const plan::Executable& executable, const Labels& labels, const CellRequest& request);

}  // namespace alpa::planner
