// Fixed weights of arithmetic, messages and memory, for devices that are not measured. The unit is the cost of sending
// one byte.
#pragma once

namespace alpa::planner {

// Per floating-point operation of a matrix product. It is large because cutting a weight is meant to avoid arithmetic
// that every device repeats.
inline constexpr double kProductFlopCost = 100;
// Per byte that a memory-bound op writes.
inline constexpr double kWrittenByteCost = 0.02;
// Per byte of state on a device.
inline constexpr double kStateByteCost = 0.01;
// Per collective, for starting it.
inline constexpr double kCollectiveStartCost = 32768;

}  // namespace alpa::planner
