// Fixed weights of arithmetic, messages and memory, for devices that are not measured. The unit is the cost of sending
// one byte.
#pragma once

namespace alpa::planner {

// Cost per FLOP of a matrix product. It is large because the purpose of cutting a weight is to avoid arithmetic that
// every device repeats.
inline constexpr double kProductFlopCost = 100;
// Cost per byte that a memory-bound op writes.
inline constexpr double kWrittenByteCost = 0.02;
// Cost per byte of state on a device.
inline constexpr double kStateByteCost = 0.01;
// Cost of starting a collective, in addition to its bytes.
inline constexpr double kCollectiveStartCost = 32768;

}  // namespace alpa::planner
