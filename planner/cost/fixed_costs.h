// What arithmetic, messages and memory are worth against each other where no device was measured, in bytes sent.
#pragma once

namespace alpa::planner {

// A floating-point operation of a product: arithmetic that devices repeat is what cutting a weight is there to avoid.
inline constexpr double kProductFlopCost = 100;
// A byte that a memory-bound op writes.
inline constexpr double kWrittenByteCost = 0.02;
// A byte of state on a device.
inline constexpr double kStateByteCost = 0.01;
// Starting a collective.
inline constexpr double kCollectiveStartCost = 32768;

}  // namespace alpa::planner
