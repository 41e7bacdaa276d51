// Splits the programs of a one-mesh executable into *cells*. A cell is a part of a program that runs on one stage
// without waiting for another stage.
//
// Model:  Each op gets a round, the number of its turn. The round of an op is later than the round of any operand from
//         another stage, and as late as the op's readers allow. A cell is the work of one stage in one round. With good
//         labels, each stage of the region (labels.h) has one forward and one backward cell. The last of the S stages
//         has a single cell for both: F0 F1 .. FB(S-1) .. B1 B0. With any labels, the cells in order of rounds compute
//         the same results as the program.
//         With `split_weights`, the ops that only lead to accumulators form a separate cell after the backward. This is
//         the W cell of zero-bubble schedules (Qi et al., arXiv 2401.10241).
//         With `recompute_layers`, the forward and the backward of a stage are always separate cells. For each layer,
//         the backward recomputes the values that it needs from the values that are live at the beginning of the layer.
//         The last layer is not recomputed, because its backward directly follows its forward.
//         Values that cross between cells become slots. Each cell recomputes constants and other cheap values.
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
  double work = 0;   // FLOPs, plus 2 for each byte that is read or written
};

struct CellRequest {
  std::vector<int> mesh_of_stage;
  bool split_weights = false;
  bool recompute_layers = false;
};

struct Cells {
  // An executable on one mesh, in which each cell is a program. The RUN of a program is replaced by the RUNs of its
  // cells, in order of rounds.
  plan::Executable executable;
  std::vector<Cell> cells;       // one entry per program
  std::vector<int> slot_mesh;    // one entry per slot: the mesh on which its value is an input or is written
};

// Splits every program of `executable` into cells. `labels`: as LabelLoops and LabelRest return them.
Cells SplitIntoCells(const plan::Executable& executable, const Labels& labels, const CellRequest& request);

}  // namespace alpa::planner
